"""One door for every format: a path in, an Image out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePath

from anomaly.errors import UnreadableImage
from anomaly.images.arrays import read_array
from anomaly.images.dicom import is_dicom, read_dicom, read_series
from anomaly.images.image import Image, checked
from anomaly.images.nifti import read_nifti
from anomaly.images.pictures import read_picture

READERS: dict[str, Callable[[Path], Image]] = {
    ".nii": read_nifti,
    ".nii.gz": read_nifti,
    ".mgz": read_nifti,
    ".dcm": read_dicom,
    ".dicom": read_dicom,
    ".ima": read_dicom,
    ".png": read_picture,
    ".jpg": read_picture,
    ".jpeg": read_picture,
    ".tif": read_picture,
    ".tiff": read_picture,
    ".npy": read_array,
    ".npz": read_array,
}


def read(path: Path) -> Image:
    """Read one image, whatever its format: a file, or the folder of one DICOM series.

    The format follows from the file's name; a file of another name that carries the DICOM mark is DICOM.
    Raises UnreadableImage, with the path, what was found and what to do, for everything that cannot be used;
    no other exception leaves it.
    """
    path = Path(path)
    try:
        return checked(_reader(path)(path))
    except UnreadableImage:
        raise
    except Exception as error:  # a damaged file makes the format libraries raise almost anything
        reason = (str(error).strip().splitlines() or [""])[0]
        raise UnreadableImage(
            f"{path}: cannot be read ({type(error).__name__}: {reason}); the file is damaged or is not what "
            "its name says: copy or convert it again"
        ) from error


def suffix(path: PurePath) -> str:
    """Give the ending that names the format, in small letters: ".nii.gz", ".png"."""
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()


def _reader(path: Path) -> Callable[[Path], Image]:
    if path.is_dir():
        return read_series
    if not path.exists():
        raise UnreadableImage(f"{path}: no such file; correct the path, or copy the file there")
    if path.stat().st_size == 0:
        raise UnreadableImage(f"{path}: is empty (0 bytes); copy it again")
    if suffix(path) in READERS:
        return READERS[suffix(path)]
    if is_dicom(path):
        return read_dicom
    raise UnreadableImage(
        f"{path}: is of no known format; expected DICOM or one of {', '.join(READERS)}: convert it to NIfTI"
    )
