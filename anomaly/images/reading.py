"""One door for every format: a path in, an Image out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath

from anomaly.errors import UnreadableImage
from anomaly.images import contents
from anomaly.images.arrays import read_array
from anomaly.images.dicom import is_dicom, read_dicom, read_series
from anomaly.images.image import Image, checked
from anomaly.images.itk import ENDINGS, read_itk
from anomaly.images.names import located, spelled
from anomaly.images.nifti import read_nifti
from anomaly.images.pictures import read_picture

READERS: dict[str, Callable[[Path], Image]] = {
    **dict.fromkeys((".nii", ".nii.gz", ".mgz", ".mgh", ".hdr", ".img", ".mnc"), read_nifti),
    **dict.fromkeys((".dcm", ".dicom", ".ima"), read_dicom),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif"), read_picture),
    **dict.fromkeys((".npy", ".npz"), read_array),
    **dict.fromkeys(ENDINGS, read_itk),
}
PAIRED = {".img": ".hdr", ".hdr": ".img"}
"""Analyze and NIfTI in two files, values and header: both must be there, and either names the image."""
MEANT: dict[Callable[[Path], Image], tuple[str, ...]] = {
    read_nifti: ("NIfTI", "gzip", "MINC", "HDF5"),
    read_dicom: ("DICOM",),
    read_picture: ("picture",),
    read_array: ("NumPy", "ZIP"),
    read_itk: ("NRRD", "a text"),
}
"""Words of `contents.kind` for files that are what their name says."""


def read(path: Path) -> Image:
    """Read one image, whatever its format: a file, or the folder of one DICOM series.

    The format follows from the file's name; a file of another name that carries the DICOM mark is DICOM.
    Raises UnreadableImage, with the path, what was found and what to do, for everything that cannot be used;
    no other exception leaves it. Where a name is not UTF-8, the image's path and messages have it as `names.spelled`
    writes it, and such a path is read as well.
    """
    given = Path(spelled(str(path)))
    path = located(Path(path))
    try:
        image = checked(_reader(path)(path))
        return image if image.path == given else dataclasses.replace(image, path=given)
    except UnreadableImage as error:
        text = spelled(str(error)).replace(spelled(str(path)), str(given))
        if text == str(error):
            raise
        raise UnreadableImage(text) from error
    except Exception as error:  # a damaged file makes the format libraries raise almost anything
        raise UnreadableImage(f"{given}: {spelled(_damaged(path, error))}") from error


def suffix(path: PurePath) -> str:
    """Give the ending that names the format, in small letters: ".nii.gz", ".png"."""
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()


def whole_pair(path: Path) -> bool:
    """Whether the other file of an image in two files is there; True of all images that are one file."""
    return suffix(path) not in PAIRED or path.with_suffix(PAIRED[suffix(path)]).is_file() or _other_case(path)


def absent(files: Sequence[Path]) -> list[Path]:
    """The files whose content is not here: dangling links, pointers of git-annex and Git LFS."""
    return [file for file in files if contents.pointer(file)]


def _other_case(path: Path) -> bool:
    ending = PAIRED[suffix(path)]
    return path.with_suffix(ending.upper()).is_file()


def _reader(path: Path) -> Callable[[Path], Image]:
    if path.is_dir():
        _refuse_absent(path)
        return read_series
    if fetch := contents.pointer(path):
        raise UnreadableImage(f"{path}: {contents.pointed(path)}; {fetch}")
    if not path.exists():
        raise UnreadableImage(f"{path}: no such file; correct the path, or copy the file there")
    if path.stat().st_size == 0:
        raise UnreadableImage(f"{path}: is empty (0 bytes); copy it again")
    if not whole_pair(path):
        other = PAIRED[suffix(path)]
        raise UnreadableImage(f"{path}: there is no {other} file beside it; Analyze is two files, .img and .hdr")
    if suffix(path) in READERS:
        return READERS[suffix(path)]
    if is_dicom(path):
        return read_dicom
    what = contents.kind(path)
    raise UnreadableImage(
        f"{path}: is of no known format{f' ({what})' if what else ''}; expected DICOM or one of "
        f"{', '.join(READERS)}: convert it to NIfTI"
    )


def _refuse_absent(folder: Path) -> None:
    """Refuse a series some of whose files are only links or pointers: it would be read without these slices."""
    files = sorted(file for file in folder.iterdir() if file.name[0] != "." and not file.is_dir())
    gone = absent(files)
    if gone:
        raise UnreadableImage(
            f"{folder}: {len(gone)} of its {len(files)} files are not here ({gone[0].name} "
            f"{contents.pointed(gone[0])}); {contents.pointer(gone[0])}"
        )


def _damaged(path: Path, error: Exception) -> str:
    """Why a file could not be read, and what it is, where it begins as something else than its name says."""
    if isinstance(error, ModuleNotFoundError):  # MINC 2 by nibabel
        return f"needs the package {error.name}, which is missing: pip install {error.name}"
    reason = (str(error).strip().splitlines() or [""])[0]
    what, meant = contents.kind(path) if path.is_file() else "", MEANT.get(READERS.get(suffix(path), read_dicom), ())
    if what and not any(word in what for word in meant):
        return f"is {what}, not what its name says (damaged, or another file under this name); copy the image again"
    return (
        f"cannot be read ({type(error).__name__}: {reason}); the file is damaged or is not what its name says: copy "
        "or convert it again"
    )
