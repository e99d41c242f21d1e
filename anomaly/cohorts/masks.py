"""Which mask says what of an image counts: by a column of the table, or by the names in a folder of masks."""

from __future__ import annotations

import glob
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from anomaly.cohorts.results import some
from anomaly.errors import CohortError
from anomaly.images import find
from anomaly.images.names import located, spelled
from anomaly.images.reading import READERS, suffix

COLUMN, NONE = "mask", "none"
SIMULATED = frozenset({"simulated", "twin"})
"""Columns of simulated images, whose `mask` is a truth."""
Given = str | Path | None
logger = logging.getLogger(__name__)
WORDS = (
    r"anomaly|desc-\w+|label-\w+|brain|bet|head|body|lung|knee|mask|brainmask|segm?|segmentation|labels?|labelmap|roi"
)
MARK = re.compile(rf"(?:^|[ _.-])(?:{WORDS})(?=$|[ _.-])(?:[ _.-](?:{WORDS}))*$", re.IGNORECASE)
NAMED = re.compile(r"(?:^|[ _.-]|brain)(?:mask|segm?|segmentation|labels?|labelmap|roi)$", re.IGNORECASE)
ENTITY = re.compile(r"(?:^|_)([a-zA-Z]+)-([a-zA-Z0-9+]+)")
SEPARATOR = re.compile(r"[ _.-]")
OWN = frozenset({"desc", "label", "res", "space", "hemi", "den"})
"""Entities of BIDS that tell one derivative of an image from another, not one image from another."""


def with_masks(table: pd.DataFrame, given: str | Path, base: Path, name: str) -> pd.DataFrame:
    """A cohort whose column `mask`, where `attrs["masks_from"]` tells of it, is the path of each image's mask, or "".

    Args:
        table: id, path (absolute), subject and whatever else; what are masks by `given` is no image.
        given: a folder of masks, a pattern of their paths (from here, or from `base`), a column of the table, "none" to
            take none.
        base: the folder that paths of the table begin from.
        name: of the table, for messages.

    `attrs["masks_from"]` says in words what told them, "" where there are none: a column `mask` is then as it was.

    Raises:
        CohortError: there are no such masks, none belongs to an image, or several belong to one.
    """
    attributes, told, masks = dict(table.attrs), "", None
    if str(given) in table:
        told, masks = f"the column {given}", _paths(table[str(given)], base)
        if not any(masks):
            raise CohortError(f"{name}: no row has a mask in the column {given}; fill in their files")
    elif str(given) != NONE:
        there = _Masks(str(given), base, name)
        table = table[~table["path"].isin(there.paths)].reset_index(drop=True)
        if table.empty:
            raise CohortError(f"{name}: all its images are masks by --mask {given}; give the images, or other masks")
        told, masks = str(given), there.of([Path(path) for path in table["path"]])
    if masks is not None:
        table = table.assign(**{COLUMN: masks})
    table.attrs = {**attributes, "masks_from": told}
    return table


def counting(table: pd.DataFrame) -> pd.DataFrame:
    """A cohort without a column `mask` that does not say what of images counts."""
    if table.attrs.get("masks_from"):
        return table
    return _without(table)


def _without(table: pd.DataFrame) -> pd.DataFrame:
    """A cohort without masks."""
    kept = table.drop(columns=COLUMN, errors="ignore")
    kept.attrs = {**table.attrs, "masks_from": ""}
    return kept


def suited(table: pd.DataFrame, given: Given, prepared: str, run: str) -> pd.DataFrame:
    """A cohort as it suits a run that prepares images with masks ("given") or without ("none").

    Raises:
        CohortError: masks are missing, or were asked for where the run makes nothing of them.
    """
    table = counting(table)
    if prepared == "given":
        if COLUMN not in table:
            raise CohortError(
                f"{run} was trained with masks, and these images have none; give --mask, a folder or pattern of masks, "
                "or a table with a column mask"
            )
        logger.info(told_in_short(table))
        return table
    if given is not None and COLUMN in table:
        raise CohortError(f"{run} was trained without masks; leave --mask out, or train it again with --mask")
    if COLUMN in table:
        logger.info("the column mask is not used: %s takes no masks; if it is meant, give --mask mask in training", run)
    return _without(table)


def told_in_short(cohort: pd.DataFrame) -> str:
    """Where masks are from, for a line on the screen; "" where there are none."""
    if COLUMN not in cohort:
        return ""
    there = int((cohort[COLUMN] != "").sum())
    return f"masks: {there} of {len(cohort)} images, by {cohort.attrs['masks_from']}; what lies outside does not count"


def said_by_column(table: pd.DataFrame) -> bool:
    """Whether the column `mask`, which nobody asked for, says what of each image counts: it may mark disease as well.

    It does where every row of the table has one, and no column of simulated images is there, whose masks are truths.
    """
    if COLUMN not in table:
        return False
    there = sum(not pd.isna(cell) and bool(str(cell).strip()) for cell in table[COLUMN])
    if there and (there < len(table) or SIMULATED & {*table}):
        logger.info(
            "the column mask names a file in %d of %d rows%s, so it is not taken for what of an image counts; if it is "
            "meant, give --mask mask", there, len(table), " of simulated images" if SIMULATED & {*table} else "",
        )  # fmt: skip
        return False
    return there > 0


def _paths(column: pd.Series, base: Path) -> list[str]:
    texts = ["" if pd.isna(cell) else str(cell).strip() for cell in column]
    return [_spelled(base / text) if text else "" for text in texts]


def _spelled(path: Path) -> str:
    return spelled(str(located(Path(os.path.abspath(path)))))


def _candidates(given: str, base: Path, name: str) -> dict[Path, str]:
    """The files that may be masks, each with its path from where they lie."""
    for root in (Path(), base):
        place = root / given
        if place.is_dir():
            try:
                return {file: file.relative_to(place).as_posix() for file in find(place, all_of_it=True)}
            except CohortError as error:
                raise CohortError(f"no masks in {place}: {error}; correct --mask") from None
        if place.is_file():
            return {place: place.name}
        if glob.has_magic(given):
            found = sorted(Path(each) for each in glob.glob(str(place), recursive=True))
            files = [each for each in found if each.is_file() and suffix(each) in READERS]
            if files:
                parent = Path(os.path.commonpath([file.parent for file in files]))
                return {file: file.relative_to(parent).as_posix() for file in files}
    raise CohortError(
        f"no masks at {given}: there is no such folder, no file fits it as a pattern, and {name} has no such column; "
        "correct --mask"
    )


class _Masks:
    """All masks of a folder or a pattern, to be asked which belongs to an image.

    Args:
        given: the folder or the pattern.
        base: the folder that paths of images begin from.
        name: of the images' table, for messages.
    """

    def __init__(self, given: str, base: Path, name: str) -> None:
        self.given, self.base = given, base
        masks = [_Mask(file, below) for file, below in _candidates(given, base, name).items()]
        if any(NAMED.search(mask.stem) for mask in masks):  # other derivatives lie beside them
            masks = [mask for mask in masks if NAMED.search(mask.stem)]
        self.all = masks
        self.paths = {_spelled(mask.file) for mask in masks}
        self._by_path = {mask.below: mask for mask in masks}
        self._by_name: dict[str, list[_Mask]] = {}
        for mask in masks:
            self._by_name.setdefault(mask.key, []).append(mask)

    def of(self, images: Sequence[Path]) -> list[str]:
        """The mask of each image, "" where it has none; says which images have none, and which masks no image."""
        found = [self._one(image) for image in images]
        names = some([mask.below for mask in self.all])
        if not any(found):
            raise CohortError(
                f"none of the {len(self.all)} masks of {self.given} ({names}) has the name of an image "
                f"({some([image.name for image in images])}), with _mask, _seg, _anomaly or desc-brain_mask "
                "behind; rename them, or give a table with a column mask"
            )
        bare = [image.name for image, mask in zip(images, found, strict=True) if mask is None]
        if bare:
            told = "%d of %d images have no mask in %s and will be left out: %s"
            logger.warning(told, len(bare), len(images), self.given, some(bare))
        taken = {mask.file for mask in found if mask}
        if alone := [mask.below for mask in self.all if mask.file not in taken]:
            told = "%d masks of %s belong to no image that is asked for: %s"
            logger.warning(told, len(alone), self.given, some(alone))
        return ["" if mask is None else _spelled(mask.file) for mask in found]

    def _one(self, image: Path) -> _Mask | None:
        """The mask of an image.

        Raises:
            CohortError: several may be meant.
        """
        if image.is_relative_to(self.base) and (same := self._by_path.get(image.relative_to(self.base).as_posix())):
            return same
        stem = _stem(image)
        entities = dict(ENTITY.findall(stem))
        ends = [place.start() for place in SEPARATOR.finditer(stem)]
        keys = [f"sub-{entities['sub']}"] if "sub" in entities else []
        keys += ["", *(stem[:end] for end in ends), stem]
        near = [mask for key in dict.fromkeys(keys) for mask in self._by_name.get(key, ())]
        fitting = [(fit, mask) for mask in near if (fit := mask.fits(image, entities)) is not None]
        best = max((fit for fit, _ in fitting), default=None)
        found = [mask for fit, mask in fitting if fit == best]
        if len(found) > 1:
            raise CohortError(
                f"{image}: {len(found)} masks may be meant, {some([mask.below for mask in found])}; give a pattern "
                "that fits one, as --mask '*_desc-brain_mask.nii.gz', or a table with a column mask"
            )
        return found[0] if found else None


class _Mask:
    """A file that may be the mask of an image, and by what it is known.

    Args:
        file: its path.
        below: from the folder of masks.
    """

    def __init__(self, file: Path, below: str) -> None:
        self.file, self.below = file, below
        self.stem = _stem(file)
        self.entities = dict(ENTITY.findall(self.stem))
        self.telling = {key: value for key, value in self.entities.items() if key not in OWN}
        begins = MARK.sub("", self.stem)
        self.key = f"sub-{self.telling['sub']}" if "sub" in self.telling else begins

    def fits(self, image: Path, entities: dict[str, str]) -> tuple[int, int, int] | None:
        """How well it fits an image of its key, more is better; None where it does not.

        A mask is known by the beginning of the image's name, the longer the better; by the entities of BIDS, which
        must not differ; or, called but "mask", by lying beside it.
        """
        beside = int(os.path.abspath(self.file.parent) == os.path.abspath(image.parent))
        if "sub" in entities and "sub" in self.telling:
            if any(entities.get(key) != value for key, value in self.telling.items()):
                return None
            return len(self.telling), int(entities.get("space") == self.entities.get("space")), beside
        if not self.key:
            return (0, 0, 1) if beside else None
        parts = zip(self.file.parent.parts[::-1], image.parent.parts[::-1], strict=False)
        return len(self.key), beside, sum(a == b for a, b in parts)


def _stem(file: Path) -> str:
    ending = suffix(file)
    return file.name[: -len(ending)] if ending in READERS else file.name
