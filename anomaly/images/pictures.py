"""PNG, JPEG, TIFF, BMP and GIF pictures; PNG written as it is given, and pages of colours fast."""

from __future__ import annotations

import struct
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import PIL.BmpImagePlugin
import PIL.GifImagePlugin
import PIL.Image
import PIL.JpegImagePlugin
import PIL.MpoImagePlugin
import PIL.PngImagePlugin
import PIL.TiffImagePlugin  # each makes its format known: a file of none of them is then told as such

from anomaly.errors import UnreadableImage
from anomaly.files import whole, write_whole
from anomaly.images.claims import DEFLATED, Within, refuse_more
from anomaly.images.contents import kind
from anomaly.images.image import Image, as_float

deflate: Any
try:
    from isal import isal_zlib as deflate
except ImportError:  # no wheel for this machine
    import zlib as deflate

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF")  # a camera's MPO is opened as the JPEG that it begins with
READ = "PNG, JPEG, TIFF (whole numbers of up to 32 bits, floating-point numbers of 32), BMP and GIF of one picture"
GROWTH = {"PNG": DEFLATED, "JPEG": 64, "MPO": 64}
"""What a byte of a picture stands for at most, in bytes of one bit a pixel; of a JPEG, a block of 64 in each bit."""
AS_STORED = {"L", "RGB", "I;16", "I;16L", "I;16B", "I;16N", "I", "F"}
TO_GREY = {"1", "LA", "La"}
BITS, PHOTOMETRIC, SAMPLE_FORMAT, WHITE_IS_ZERO, SUBSAMPLED = 258, 262, 339, 0, 6
COMPRESSION, SAMPLES, PLANAR, APART = 259, 277, 284, 2
STRIPS, ROWS_OF_STRIP, BYTES_OF_STRIPS = 273, 278, 279
TILES, WIDTH_OF_TILE, HEIGHT_OF_TILE, BYTES_OF_TILES = 324, 322, 323, 325


def read_picture(path: Path) -> Image:
    """Read a picture as (1, rows, columns) where it is grey and (3, rows, columns) where it has colours.

    Grey keeps its 16 bits, and a TIFF its floating-point numbers or 32 bits; transparency is dropped; a palette of
    greys becomes grey; of a TIFF whose 0 is white the values are turned round, so that higher is brighter. Rows and
    columns are those of the file: a camera's rotation mark (EXIF) is not followed.

    Raises UnreadableImage for several pages, and for what is no such picture.
    """
    with Within(path) as stream:
        try:
            file = PIL.Image.open(stream, formats=FORMATS)
        except PIL.UnidentifiedImageError:
            raise UnreadableImage(f"{path}: {_unknown(path)}") from None
        pages = getattr(file, "n_frames", 1)
        if pages > 1 and file.format != "MPO":  # MPO: a camera's JPEG that carries its thumbnails
            raise UnreadableImage(
                f"{path}: has {pages} pages; expected one: save every page as a file, or the stack as NIfTI"
            )
        if file.format in GROWTH:  # one bit a pixel is the least that a picture of them has
            refuse_more(path, file.size[::-1], 1, stream.size, GROWTH[file.format])
        if file.format == "TIFF":
            _refuse_few_strips(file, path)
        values, top = _values(file), _top(file)
    pixels = np.moveaxis(values, -1, 0) if values.ndim == 3 else values[None]
    return Image(as_float(pixels, path), np.eye(4), path, "picture", None if top is None else (0.0, top))


def indices(path: Path) -> np.ndarray | None:
    """Places in its palette (rows, columns) of a picture that has one, 0 and 1 of one with a bit a pixel, else None.

    A label map has its numbers there, whatever colours or greys show them (as those of Pascal VOC).
    """
    with Within(path) as stream:
        file = PIL.Image.open(stream, formats=FORMATS)
        if file.mode not in ("1", "P", "PA"):
            return None
        values = np.asarray(file).astype(np.uint8)
    return values[..., 0] if values.ndim == 3 else values


def write_grey(path: Path, values: np.ndarray, *, says: str = "") -> None:
    """Write (rows, columns) or (rows, columns, 3), uint8 or uint16, as PNG of the same depth; bool as 0 and 255.

    What the file is to say of itself stands in its text as `Description`.
    """
    stored = values.astype(np.uint8) * 255 if values.dtype == bool else values
    text = PIL.PngImagePlugin.PngInfo()
    if says:
        text.add_text("Description", says)
    with whole(path) as part:
        PIL.Image.fromarray(stored).save(part, format="PNG", pnginfo=text)


def write_png(path: Path, picture: PIL.Image.Image | np.ndarray) -> None:
    """Write a picture in colours, or an array (rows, columns, 3) uint8, as PNG, whole or not at all.

    Every row is stored as its difference from the one above (PNG specification, filter type 2) at the fastest
    level, by Intel's ISA-L where it is there: five times as fast as zlib, without the interpreter's lock, and no
    larger. Pillow tries five filters for every row, which takes twice as long and saves nothing here.
    """
    pixels = picture if isinstance(picture, np.ndarray) else np.asarray(picture.convert("RGB"))
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, -1)
    filtered = np.full((height, 1 + 3 * width), 2, dtype=np.uint8)
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", deflate.compress(filtered, 1)), (b"IEND", b""))
    content = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", deflate.crc32(kind + data))
        for kind, data in chunks
    )
    write_whole(path, b"\x89PNG\r\n\x1a\n" + b"".join(content))


def _refuse_few_strips(file: Any, path: Path) -> None:
    """Refuse a TIFF with fewer strips, tiles or bytes than its size asks for: Pillow would make the rest black."""
    tags, (width, height) = file.tag_v2, file.size
    strips, planes = STRIPS in tags, tags.get(SAMPLES, 1) if tags.get(PLANAR) == APART else 1
    down = ceil(height / max(tags.get(ROWS_OF_STRIP, height) if strips else tags.get(HEIGHT_OF_TILE, height), 1))
    across = 1 if strips else ceil(width / max(tags.get(WIDTH_OF_TILE, width), 1))
    there = tags.get(STRIPS if strips else TILES) or ()
    if len(there) < down * across * planes:
        raise UnreadableImage(
            f"{path}: lists {len(there)} strips or tiles, and its size of {height} x {width} asks for "
            f"{down * across * planes}; it is damaged: copy or convert it again"
        )
    stored = sum(tags.get(BYTES_OF_STRIPS if strips else BYTES_OF_TILES) or ())
    if tags.get(COMPRESSION, 1) == 1 and tags.get(PHOTOMETRIC) != SUBSAMPLED and stored:
        samples = min(tags.get(SAMPLES, 1), len(file.getbands()))
        refuse_more(path, (height, width, samples), min(tags.get(BITS, (1,))), stored)


def _values(file: PIL.Image.Image) -> np.ndarray:
    if file.mode in AS_STORED:
        return _stored(file)
    if file.mode in TO_GREY:
        return np.asarray(file.convert("L"))
    values = np.asarray(file.convert("RGB"))
    grey = file.mode in ("P", "PA") and (values == values[..., :1]).all()
    return values[..., 0] if grey else values


def _stored(file: PIL.Image.Image) -> np.ndarray:
    """Values as the file means them, where Pillow hands on the bits alone (TIFF 6.0, sections 4 and 19)."""
    values = np.asarray(file)
    if file.format != "TIFF":
        return values
    tags: Any = file.tag_v2  # type: ignore[attr-defined]
    if file.mode == "I" and tags.get(BITS) == (32,) and tags.get(SAMPLE_FORMAT, (1,)) == (1,):
        values = values.view(np.uint32)  # which Pillow takes for signed
    turned = file.mode.startswith("I;16") and tags.get(PHOTOMETRIC) == WHITE_IS_ZERO  # Pillow turns 8 bits alone
    return 2 ** int(tags[BITS][0]) - 1 - values if turned else values


def _top(file: PIL.Image.Image) -> float | None:
    """What white stands for, where the depth of the file says so."""
    if file.mode == "F" or (file.mode == "I" and file.format != "PNG"):
        return None
    if not file.mode.startswith("I"):
        return 255.0
    bits = int(file.tag_v2[BITS][0]) if file.format == "TIFF" else 16  # type: ignore[attr-defined]
    return float(2**bits - 1)


def _unknown(path: Path) -> str:
    """Why a file is no picture that can be read."""
    what = kind(path)
    begun = what.startswith(tuple(f"a {name} picture" for name in ("PNG", "JPEG", "GIF", "BMP")))
    if begun:
        return f"begins as {what}, but is damaged; copy or convert it again"
    return f"is {what or 'no picture'}; pictures are read as {READ}: convert it, or leave it out"
