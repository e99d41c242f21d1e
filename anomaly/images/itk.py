"""MetaImage and NRRD files, which SimpleITK reads; it is an extra of the project."""

from __future__ import annotations

import importlib.util
import locale
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import numpy as np

from anomaly.errors import UnreadableImage
from anomaly.images.frame import LPS, Frame
from anomaly.images.image import MOST_CHANNELS, Image, as_float
from anomaly.images.itk_headers import refuse_header
from anomaly.images.nifti import single

ENDINGS = (".mha", ".mhd", ".nrrd", ".nhdr")
EXTRA = 'pip install "anomaly-explain[dicom]"'
_LOCK = Lock()
_HELD: list[str] = []
"""How numbers were written before, once for each block that holds it."""


def has_reader() -> bool:
    """Whether SimpleITK is installed."""
    return importlib.util.find_spec("SimpleITK") is not None


def read_itk(path: Path) -> Image:
    """Read MetaImage (.mha, .mhd) or NRRD (.nrrd, .nhdr) as (C, i, j, k), or (C, rows, columns) of a 2D file.

    ITK's space is LPS, millimetres; the affine is turned to RAS+. Up to 8 components a voxel become channels. A 2D
    file does not tell how its plane lies in the body: its affine holds the pixel size alone.
    Raises UnreadableImage where SimpleITK is missing, or for another number of axes or components.
    """
    if not has_reader():
        raise UnreadableImage(f"{path}: MetaImage and NRRD are read by SimpleITK, which is missing: {EXTRA}")
    import SimpleITK

    refuse_header(path)
    try:
        name = os.fsencode(path).decode()
    except UnicodeDecodeError:
        raise UnreadableImage(f"{path}: SimpleITK opens no file whose path is not UTF-8; rename it") from None
    try:
        with _decimal_points():
            file = SimpleITK.ReadImage(name)
    except RuntimeError as error:  # its first lines tell of its own source
        reason = ([line.strip() for line in str(error).splitlines() if line.strip()] or ["no reason told"])[-1]
        raise UnreadableImage(f"{path}: cannot be read by SimpleITK ({reason}); copy or convert it again") from error
    dims, channels = file.GetDimension(), file.GetNumberOfComponentsPerPixel()
    stored = SimpleITK.GetArrayFromImage(file)
    if dims not in (2, 3) or channels > MOST_CHANNELS:
        raise UnreadableImage(
            f"{path}: has {dims} axes and {channels} numbers a voxel; expected 2 or 3 axes and up to {MOST_CHANNELS} "
            "numbers: save one volume of the series"
        )
    limits = (0.0, 255.0) if stored.dtype == np.uint8 else None
    values = as_float(stored if channels > 1 else stored[..., None], path)
    if dims == 2:
        spacing = file.GetSpacing()
        affine = np.diag([spacing[1], spacing[0], 1.0, 1.0])
        return Image(np.ascontiguousarray(np.moveaxis(values, -1, 0)), affine, path, "dicom", limits)
    pixels = values.transpose(3, 2, 1, 0)
    dropped = single(pixels.shape[1:])
    frame = Frame.of(_affine(file), dropped)
    pixels = pixels if dropped is None else pixels.squeeze(dropped + 1)
    return Image(np.ascontiguousarray(pixels), frame.affine, path, "nifti", limits, frame)


@contextmanager
def _decimal_points() -> Iterator[None]:
    """Have C read 1.25 as that, whatever language a program around this one (a notebook's, a viewer's) has set.

    NRRD's reader takes the numbers of a header as C does, and with decimal commas finds a spacing of 1 in 1.25.
    """
    with _LOCK:
        _HELD.append(_HELD[0] if _HELD else locale.setlocale(locale.LC_NUMERIC))
        if _HELD[0] != "C":
            locale.setlocale(locale.LC_NUMERIC, "C")
    try:
        yield
    finally:
        with _LOCK:
            before = _HELD.pop()
            if not _HELD and before != "C":
                locale.setlocale(locale.LC_NUMERIC, before)


def _affine(file: object) -> np.ndarray:
    """Index (i, j, k) to millimetres, RAS+, of a volume of SimpleITK."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(file.GetDirection(), (3, 3)) * np.array(file.GetSpacing())  # type: ignore[attr-defined]
    affine[:3, 3] = file.GetOrigin()  # type: ignore[attr-defined]
    return np.asarray(LPS @ affine)
