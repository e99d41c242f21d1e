"""PNG, JPEG and TIFF pictures, 8 and 16 bit; PNG written as it is given, and pages of colours fast."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.JpegImagePlugin
import PIL.MpoImagePlugin
import PIL.PngImagePlugin
import PIL.TiffImagePlugin  # each makes its format known: a file of none of them is then told as such

from anomaly.errors import UnreadableImage
from anomaly.files import whole, write_whole
from anomaly.images.image import Image, as_float

FORMATS = ("PNG", "JPEG", "TIFF", "MPO")
AS_STORED = {"L", "RGB", "I;16", "I;16L", "I;16B", "I;16N", "I", "F"}
TO_GREY = {"1", "LA", "La"}


def read_picture(path: Path) -> Image:
    """Read a picture as (1, rows, columns) where it is grey and (3, rows, columns) where it has colours.

    Grey keeps its 16 bits; transparency is dropped; a palette of greys becomes grey. Rows and columns are
    those of the file: a camera's rotation mark (EXIF) is not followed.

    Raises UnreadableImage for several pages.
    """
    with PIL.Image.open(path, formats=FORMATS) as file:
        pages = getattr(file, "n_frames", 1)
        if pages > 1 and file.format != "MPO":  # MPO: a camera's JPEG that carries its thumbnails
            raise UnreadableImage(
                f"{path}: has {pages} pages; expected one: save every page as a file, or the stack as NIfTI"
            )
        values, bits = _values(file), 16 if file.mode.startswith("I") else 8
        known = values.dtype.kind == "u" or (file.mode == "I" and file.format == "PNG")
    pixels = np.moveaxis(values, -1, 0) if values.ndim == 3 else values[None]
    limits = (0.0, float(2**bits - 1)) if known else None
    return Image(as_float(pixels, path), np.eye(4), path, "picture", limits)


def write_grey(path: Path, values: np.ndarray) -> None:
    """Write (rows, columns) or (rows, columns, 3), uint8 or uint16, as PNG of the same depth; bool as 0 and 255."""
    stored = values.astype(np.uint8) * 255 if values.dtype == bool else values
    with whole(path) as part:
        PIL.Image.fromarray(stored).save(part, format="PNG")


def write_png(path: Path, picture: PIL.Image.Image) -> None:
    """Write a picture in colours as PNG, whole or not at all.

    Every row is stored as its difference from the one above (PNG specification, filter type 2) at the fastest
    level. Pillow tries five filters for every row, which takes twice as long and saves nothing here.
    """
    pixels = np.asarray(picture.convert("RGB"))
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, -1)
    filtered = np.full((height, 1 + 3 * width), 2, dtype=np.uint8)
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(filtered.tobytes(), 1)), (b"IEND", b""))
    content = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    write_whole(path, b"\x89PNG\r\n\x1a\n" + b"".join(content))


def _values(file: PIL.Image.Image) -> np.ndarray:
    if file.mode in AS_STORED:
        return np.asarray(file)
    if file.mode in TO_GREY:
        return np.asarray(file.convert("L"))
    values = np.asarray(file.convert("RGB"))
    grey = file.mode in ("P", "PA") and (values == values[..., :1]).all()
    return values[..., 0] if grey else values
