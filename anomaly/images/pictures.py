"""PNG, JPEG and TIFF pictures, 8 and 16 bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import PIL.JpegImagePlugin
import PIL.MpoImagePlugin
import PIL.PngImagePlugin
import PIL.TiffImagePlugin  # each makes its format known: a file of none of them is then told as such

from anomaly.errors import UnreadableImage
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


def _values(file: PIL.Image.Image) -> np.ndarray:
    if file.mode in AS_STORED:
        return np.asarray(file)
    if file.mode in TO_GREY:
        return np.asarray(file.convert("L"))
    values = np.asarray(file.convert("RGB"))
    grey = file.mode in ("P", "PA") and (values == values[..., :1]).all()
    return values[..., 0] if grey else values
