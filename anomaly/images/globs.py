"""Images by a glob in quotes, such as 'scans/*_T1w.nii.gz' or 'scans/**/T1w.nii.gz', and one image by its path."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING

from anomaly.errors import CohortError

if TYPE_CHECKING:
    from anomaly.images.finding import Globs


def is_glob(path: Path) -> bool:
    """Whether a path is a pattern of the shell; a file or folder that is called so is none."""
    return glob.has_magic(str(path)) and not os.path.lexists(path)


def fits_anything(path: Path) -> bool:
    """Whether a pattern fits a file or a folder."""
    return next(glob.iglob(str(path), recursive=True), None) is not None


def found(path: Path, match: Globs = None, exclude: Globs = None) -> tuple[Path, list[Path]]:
    """The images that an absolute pattern fits, and the folder that it starts from.

    `*` stands for names within a folder, `**` for folders however deep. Of a folder that fits, all images are taken; a
    DICOM series is taken where one of its files fits, whole. What is passed over is as for a folder (`finding.find`).

    Raises:
        CohortError: no image fits.
    """
    from anomaly.images.finding import asked, find

    base = Path(*path.parts[: next(k for k, part in enumerate(path.parts) if glob.has_magic(part))])
    hits = {os.path.normpath(each) for each in glob.iglob(str(path), recursive=True)}
    if not hits:
        raise CohortError(f"{path}: no file fits this pattern; mend it, and write it in quotes")
    below = path.relative_to(base).as_posix()
    images = [
        image
        for image in find(base, below, exclude)
        if any(str(each) in hits for each in (image, *image.parents))
        or (image.is_dir() and any(str(file) in hits for file in image.iterdir()))
    ]
    home = base.parent if images == [base] else base  # a series whose slices the pattern names
    taken = [image for image in images if asked(image.relative_to(home).as_posix(), match, None)]
    if not taken:
        raise CohortError(f"{path}: no image fits this pattern; mend it, and write it in quotes")
    return home, taken


def is_image(file: Path) -> bool:
    """Whether a file is an image, by its ending, or DICOM of any name."""
    from anomaly.images.dicom import is_dicom
    from anomaly.images.reading import READERS, suffix

    return suffix(file) in READERS or is_dicom(file)


def one(file: Path, match: Globs = None, exclude: Globs = None) -> list[Path]:
    """The one image of a path.

    Raises:
        CohortError: it does not fit what is to match, or what is to be left out.
    """
    from anomaly.images.finding import as_typed, asked

    if not asked(file.name, match, exclude):
        raise CohortError(f"{file}: does not fit {as_typed(match, exclude)}; mend the pattern")
    return [file]
