"""Find the images in a folder."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from anomaly.errors import CohortError
from anomaly.images.dicom import entries, is_dicom, read_dicom
from anomaly.images.reading import READERS, suffix

LOGGER = logging.getLogger(__name__)
PAGES = {"sheet.png": "generated.json"}
"""Pages of pictures that the program makes, and what lies beside them where it did (`anomaly generate`)."""


def find(folder: Path) -> list[Path]:
    """List the images in a folder and the folders in it, sorted by path.

    A folder with the slices of a DICOM series counts as one image, the folder; DICOM files that form no stack
    (radiographs, one file a volume) count one by one. Hidden files and files that are no images are passed
    over, and so is the page that `anomaly generate` lays beside what it draws. Raises CohortError where the folder
    does not exist or holds no image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CohortError(f"{folder}: no such folder; correct the path, or give a CSV with a column 'path'")
    found: list[Path] = []
    passed, seen = 0, set()
    for here, folders, names in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(here))
        folders[:] = [f for f in folders if f[0] != "." and os.path.realpath(Path(here, f)) not in seen]
        files = [Path(here, name) for name in sorted(names) if name[0] != "."]
        images = [file for file in files if PAGES.get(file.name) not in names]
        dicoms = [file for file in images if _is_dicom(file)]
        others = [file for file in images if suffix(file) in READERS and READERS[suffix(file)] is not read_dicom]
        found += others + entries(Path(here), dicoms)
        passed += len(files) - len(dicoms) - len(others)
    if passed:
        LOGGER.info("%s: passed over %d files that are no images", folder, passed)
    if not found:
        raise CohortError(
            f"{folder}: holds no image ({passed} other files); expected DICOM or {', '.join(READERS)} files"
        )
    return sorted(found)


def _is_dicom(file: Path) -> bool:
    reader = READERS.get(suffix(file))
    if reader is not None:
        return reader is read_dicom
    return file.name.upper() != "DICOMDIR" and file.is_file() and is_dicom(file)
