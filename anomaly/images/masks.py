"""Masks and segmentations that lie among images, known by their names or by how few values they hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anomaly.images.reading import READERS, suffix

MOST_VALUES, FEWEST_PIXELS = 8, 256
ROOM = 1024
"""Bytes of a file that are not its pixels, at most: header and tables of a compressed picture."""
BIDS = re.compile(r"_(?:mask|dseg|probseg)$|\.seg$", re.IGNORECASE)
FREESURFER = re.compile(r"^(?:(?:[\w.]+\+)?aseg(?:\.\w+)?|(?:[lr]h\.)?ribbon|wmparc)$")
BESIDE = re.compile(
    r"^(?P<image>.+?)[ _.-](?P<word>mask|segm?|segmentation|labels?|labelmap|roi|gt|groundtruth|annotations?)$",
    re.IGNORECASE,
)
FOLDERS = re.compile(
    r"^(?:masks?|segs?|segmentations?|labels?|labelst[rs]|rois?|annotations?|gt|ground_?truth)$", re.IGNORECASE
)
NNUNET = re.compile(r"_\d{4}$")  # the channel at the end of an image's name, which its label map has not
COMPRESSED = (".png", ".gif", ".nii.gz", ".mgz")
PICTURES, ARRAYS = (".png", ".gif", ".bmp", ".tif", ".tiff"), (".npy",)
VOLUMES = (".nii", ".nii.gz", ".mgz", ".mgh", ".img", ".hdr")


def named(files: Sequence[str]) -> dict[str, str]:
    """Those of an image folder's files (paths from the folder) whose names say that they are masks, and by which word.

    These are files with the BIDS suffix `_mask`, `_dseg` or `_probseg`; with another such word (`_seg`, `-label` ...)
    where an image of the same beginning lies beside; label maps of FreeSurfer; and files in a folder called `masks`,
    `labels` or alike that have the name of an image elsewhere.
    """
    stems = {file: _stem(file) for file in files}
    always = {file: word for file, stem in stems.items() if (word := _always(file, stem))}
    there: dict[str, list[str]] = {}
    for file, stem in stems.items():
        if file not in always and not BESIDE.match(stem):
            there.setdefault(_folder(file), []).append(stem)
    beside = {file: word for file, stem in stems.items() if (word := _beside(stem, there.get(_folder(file), ())))}
    return _in_folders(stems) | beside | always


def of_few_values(file: Path) -> bool:
    """Whether an image holds whole numbers of 2 to 8 different values; a constant one is none, nor a tiny one.

    Files that are too large for that, by what compression makes of a mask, are not read beyond their headers.
    False where a file cannot be read: whoever reads it will say why.
    """
    ending = suffix(file)
    try:
        peek = next((each for endings, each in PEEKS if ending in endings), None)
        values = None if peek is None else peek(file)
    except Exception:  # the libraries raise almost anything of a damaged file
        return False
    return values is not None and _few(values)


def _stem(file: str) -> str:
    name = Path(file)
    ending = suffix(name)
    return name.name[: -len(ending)] if ending in READERS else name.name


def _folder(file: str) -> str:
    return file.rpartition("/")[0]


def _always(file: str, stem: str) -> str:
    found = BIDS.search(stem)
    if found is None and suffix(Path(file)) in (".mgz", ".mgh"):
        found = FREESURFER.match(stem)
    return "" if found is None else found[0].lstrip("_.")


def _beside(stem: str, images: Sequence[str]) -> str:
    found = BESIDE.match(stem)
    if found is None:
        return ""
    image = found["image"]
    lies = any(each == image or (each.startswith(image) and each[len(image)] in " _.-") for each in images)
    return found["word"] if lies else ""


def _in_folders(stems: dict[str, str]) -> dict[str, str]:
    parts = {file: [part for part in file.split("/")[:-1] if FOLDERS.match(part)] for file in stems}
    others = {form for file, stem in stems.items() if not parts[file] for form in (stem, NNUNET.sub("", stem))}
    return {file: found[-1] for file, found in parts.items() if found and stems[file] in others}


def _few(values: np.ndarray) -> bool:
    rest, count = values.ravel(), 0
    if rest.size < FEWEST_PIXELS:
        return False
    while rest.size and count <= MOST_VALUES:
        if not float(rest[0]).is_integer():
            return False
        rest, count = rest[rest != rest[0]], count + 1
    return 2 <= count <= MOST_VALUES


def _small(file: Path, pixels: int) -> bool:
    """Whether a compressed file takes less than a bit a pixel, as masks do and images do not."""
    return suffix(file) not in COMPRESSED or file.stat().st_size * 8 < pixels + 8 * ROOM


def _of_picture(file: Path) -> np.ndarray | None:
    import PIL.Image

    from anomaly.images.pictures import FORMATS

    with PIL.Image.open(file, formats=FORMATS) as opened:
        if not _small(file, opened.size[0] * opened.size[1]) or opened.mode not in ("1", "L", "P", "I", "I;16", "RGB"):
            return None
        values = np.asarray(opened)
    grey = values.ndim == 2
    return values if grey else values[..., 0] if (values == values[..., :1]).all() else None


def _of_volume(file: Path) -> np.ndarray | None:
    import nibabel as nib

    opened: Any = nib.load(file)
    shape = opened.shape
    if not _small(file, int(np.prod(shape))) or len(shape) < 3:
        return None
    if suffix(file) not in COMPRESSED:
        middle = np.asanyarray(opened.dataobj[..., shape[-1] // 2])
        if middle.dtype.names or (np.ptp(middle) > 0 and not _few(middle)):
            return None
    values = np.asanyarray(opened.dataobj)
    return None if values.dtype.names else values


def _of_array(file: Path) -> np.ndarray | None:
    values = np.load(file, mmap_mode="r", allow_pickle=False)
    return np.asarray(values) if values.dtype.kind in "biu" else None


PEEKS: tuple[tuple[tuple[str, ...], Callable[[Path], np.ndarray | None]], ...] = (
    (PICTURES, _of_picture),
    (VOLUMES, _of_volume),
    (ARRAYS, _of_array),
)
