"""Find the images in a folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from anomaly.errors import CohortError
from anomaly.images import contents, itk, masks, own
from anomaly.images.dicom import beside, entries, is_dicom, read_dicom
from anomaly.images.names import spelled
from anomaly.images.reading import READERS, suffix, whole_pair

LOGGER = logging.getLogger(__name__)
Globs = str | Sequence[str] | None


@dataclass
class _Seen:
    """What a walk through a folder met: images, files whose content is not here, and what was passed over."""

    images: list[Path] = field(default_factory=list)
    absent: list[Path] = field(default_factory=list)
    ours: list[Path] = field(default_factory=list)
    beside: dict[Path, str] = field(default_factory=dict)
    others: int = 0
    unasked: int = 0


def find(folder: Path, match: Globs = None, exclude: Globs = None, *, all_of_it: bool = False) -> list[Path]:
    """List the images in a folder and the folders in it, sorted by path.

    A folder with the slices of a DICOM series counts as one image, the folder; DICOM files that form no stack
    (radiographs, one file a volume) count one by one. Passed over, with a word that counts them and names one, are:
    hidden files and files that are no images; folders that this program made; links to content that is not here;
    masks and segmentations (see `anomaly.images.masks`; DICOM objects that are no images of anybody, whatever their
    names), unless the folder holds nothing else.

    Args:
        folder: the folder.
        match: take only what fits one of these patterns, `*` standing for folders too: see `fits`. A mask by its name
            is then taken where the pattern has that word; how many values images hold is not asked.
        exclude: leave out what fits one of these.
        all_of_it: take masks and what this program drew as well, as one who asks for maps does.

    Raises:
        CohortError: the folder does not exist, holds no image, or none that fits.
    """
    folder = Path(folder)
    if not folder.is_dir():
        wrong = "a file, neither a folder nor a table" if folder.exists() else "no such folder"
        raise CohortError(f"{folder}: {wrong}; correct the path, or give a CSV with a column 'path'")
    seen = _walked(folder, _listed(match), _listed(exclude), all_of_it)
    if not seen.images and (seen.ours or seen.beside):  # a folder of maps or segmentations, given on purpose
        seen = _walked(folder, _listed(match), _listed(exclude), True)
    _tell(folder, seen)
    if not seen.images:
        raise CohortError(_nothing(folder, seen, match, exclude))
    return sorted(seen.images if all_of_it else _without_masks(folder, seen.images, _listed(match)))


def fits(path: str, patterns: Sequence[str]) -> bool:
    """Whether a path from the folder, its name, or a folder in it fits a pattern of the shell (`*`, `?`, `[...]`).

    `*` stands for any text, slashes included, so `*_T1w.nii.gz` finds files however deep; `**/` may be nothing.
    """
    steps = PurePosixPath(path)
    names = {path, steps.name, *(str(each) for each in steps.parents)} - {"."}
    forms = {form for each in patterns for form in (each.strip("/"), each.strip("/").replace("**/", ""))}
    return any(fnmatchcase(name, form.removeprefix("./")) for name in names for form in forms)


def asked(path: str, match: Globs, exclude: Globs) -> bool:
    """Whether a path is to be taken by what is to match and what to leave out."""
    wanted, unwanted = _listed(match), _listed(exclude)
    return (not wanted or fits(path, wanted)) and not (unwanted and fits(path, unwanted))


def as_typed(match: Globs, exclude: Globs) -> str:
    """The patterns as they would be typed."""
    words = [f"--match {each}" for each in _listed(match)] + [f"--exclude {each}" for each in _listed(exclude)]
    return " ".join(words)


def _listed(patterns: Globs) -> list[str]:
    return [patterns] if isinstance(patterns, str) else list(patterns or ())


def _walked(folder: Path, match: list[str], exclude: list[str], all_of_it: bool) -> _Seen:
    seen = _Seen()
    for here, names in _folders(folder, seen, all_of_it):
        files = [here / name for name in sorted(names) if name[0] != "."]
        if not all_of_it:
            pages = own.pages(here, names)
        else:
            pages = {name for name in names if name == "sheet.png" and "generated.json" in names}
        there = [file for file in files if file.name not in pages]
        gone = dict.fromkeys(file for file in there if _counts(file) and contents.pointer(file))
        dicoms = [file for file in there if file not in gone and _is_dicom(file)]
        aside = {} if all_of_it else beside(dicoms)
        images = _images(here, [file for file in there if file not in gone])
        images |= entries(here, [file for file in dicoms if file not in aside])
        fitting = {file for file in (*there, here) if asked(_from(folder, file), match, exclude)}
        seen.absent += [file for file in gone if file in fitting]
        kept = [file for file, made_of in images.items() if fitting & {*made_of}]
        seen.unasked += len(images) - len(kept)
        seen.images += kept
        seen.beside |= {file: kind for file, kind in aside.items() if file in fitting}
        seen.others += len(files) - len(gone) - len(aside) - sum(map(len, images.values()))
    return seen


def _folders(folder: Path, seen: _Seen, all_of_it: bool) -> Iterator[tuple[Path, list[str]]]:
    """Each folder with the names of its files, links followed, none twice; those of this program's are passed over."""
    been: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        here = Path(place)
        been.add(os.path.realpath(here))
        folders[:] = [each for each in folders if each[0] != "." and os.path.realpath(here / each) not in been]
        if not all_of_it:
            parts = own.parts(here) if here == folder else set()
            ours = [each for each in folders if each in parts or own.told_by(here / each) or own.drawn(here / each)]
            folders[:] = [each for each in folders if each not in ours]
            seen.ours += [here / each for each in ours]
        yield here, names


def _images(here: Path, files: Sequence[Path]) -> dict[Path, list[Path]]:
    """The images but DICOM among one folder's files, each with the files that it is made of."""
    found: dict[Path, list[Path]] = {}
    here_too = set(files)
    for file in files:
        if suffix(file) not in READERS or READERS[suffix(file)] is read_dicom or not whole_pair(file):
            continue
        pair = file.with_suffix(".img") if suffix(file) == ".hdr" else file
        found.setdefault(pair if pair in here_too else file, []).append(file)
    return found


def _is_dicom(file: Path) -> bool:
    reader = READERS.get(suffix(file))
    if reader is not None:
        return reader is read_dicom
    return file.name.upper() != "DICOMDIR" and file.is_file() and is_dicom(file)


def _counts(file: Path) -> bool:
    """Whether a file that cannot be opened would be an image, by its name."""
    return suffix(file) in READERS or not suffix(file)


def _from(folder: Path, file: Path) -> str:
    path = file.relative_to(folder) if file != folder else Path(folder.name)
    return spelled(path.as_posix())


def _without_masks(folder: Path, images: list[Path], match: list[str]) -> list[Path]:
    """The images without masks and segmentations, with a word about these."""
    by_path = {_from(folder, image): image for image in images}
    found = masks.named(list(by_path))
    named = {path for path, word in found.items() if not any(word.lower() in each.lower() for each in match)}
    kept = {path: image for path, image in by_path.items() if path not in named}
    if not kept:
        raise CohortError(
            f"{folder}: holds nothing but masks or segmentations ({len(named)}, such as {min(named)}); give the "
            f"images, or --match '*{found[min(named)]}*' if these are what is meant"
        )
    few = set() if match else {path for path, image in kept.items() if masks.of_few_values(image)}
    few = few if len(few) < len(kept) else set()  # images of few values are what this folder is made of
    out = sorted(named | few)
    if out:
        LOGGER.warning(
            "%s: left out %d masks or segmentations, such as %s (%s); if they are images, name them by --match or in "
            "a CSV", folder, len(out), out[0], "by its name" if out[0] in named else "few values, whole numbers"
        )  # fmt: skip
    return [image for path, image in kept.items() if path not in few]


def _tell(folder: Path, seen: _Seen) -> None:
    """Count what was passed over, and name one of each kind."""
    if seen.others:
        LOGGER.info("%s: passed over %d files that are no images", folder, seen.others)
    if seen.beside and seen.images:
        first, kind = next(iter(seen.beside.items()))
        LOGGER.warning(
            "%s: left out %d DICOM objects that are no images, such as %s (%s)", folder, len(seen.beside), first, kind
        )
    if seen.unasked:
        LOGGER.info("%s: passed over %d images that were not asked for", folder, seen.unasked)
    if seen.ours:
        LOGGER.info("%s: passed over %d folders of this program, such as %s", folder, len(seen.ours), seen.ours[0])
    if seen.absent and seen.images:
        first = seen.absent[0]
        LOGGER.warning(
            "%s: left out %d images whose content is not here: %s %s; %s",
            folder, len(seen.absent), spelled(str(first)), contents.pointed(first), contents.pointer(first),
        )  # fmt: skip
    analyze = [file for file in seen.images if suffix(file) == ".img" and not contents.is_nifti_pair(file)]
    if analyze:
        told = "%s: %d Analyze files, such as %s, do not tell left from right; convert them to NIfTI if it matters"
        LOGGER.warning(told, folder, len(analyze), analyze[0].name)
    strange = sum(suffix(file) in itk.ENDINGS for file in seen.images)
    if strange and not itk.has_reader():
        told = "%s: %d MetaImage or NRRD files cannot be read without SimpleITK: %s"
        LOGGER.warning(told, folder, strange, itk.EXTRA)


def _nothing(folder: Path, seen: _Seen, match: Globs, exclude: Globs) -> str:
    """Why a folder has no image to give."""
    if seen.absent:
        first = seen.absent[0]
        return (
            f"{folder}: none of its {len(seen.absent)} images is here: {spelled(first.name)} "
            f"{contents.pointed(first)}; {contents.pointer(first)}"
        )
    if seen.unasked:
        return f"{folder}: none of its {seen.unasked} images fits {as_typed(match, exclude)}; mend the pattern"
    return f"{folder}: holds no image ({seen.others} other files); expected DICOM or {', '.join(READERS)} files"
