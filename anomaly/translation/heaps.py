"""Two heaps of images without pairs: another hospital, another scanner; who is in which, and who is held out."""

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from anomaly.cohorts.cohort import FILE_NAMES, NO_SUBJECTS, read_cohort, split
from anomaly.cohorts.masks import COLUMN as MASK
from anomaly.cohorts.masks import Given, counting, told_in_short
from anomaly.cohorts.results import some
from anomaly.errors import CohortError
from anomaly.images.caching import CachedImages, first_readable
from anomaly.images.finding import Globs
from anomaly.images.preprocessing import Preprocessing

logger = logging.getLogger(__name__)
FROM, TO = "from", "to"
TRAIN, CHOOSE = "train", "choose"
HEAP, BESIDE = "heap", "beside "
Source = Path | str | pd.DataFrame


@dataclass(frozen=True, kw_only=True)
class Heaps:
    """Where the two heaps are found.

    Args:
        source, target: a folder or a table of images each: those to be translated, and those as which they are drawn.
        source_where, target_where: rows of the one and of the other table to keep, beside those that `where` keeps.
        subject, subject_pattern, where, match, exclude, mask: see `read_cohort`; both have masks, or neither.
    """

    source: Source
    target: Source
    source_where: Mapping[str, str] = field(default_factory=dict)
    target_where: Mapping[str, str] = field(default_factory=dict)
    subject: str | None = None
    subject_pattern: str | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    match: Globs = None
    exclude: Globs = None
    mask: Given = None

    def read(self, beside: Sequence[str] = ()) -> pd.DataFrame:
        """One row an image: id, path, subject, heap ("from" or "to").

        Args:
            beside: columns to keep as the tables have them, as `beside NAME`, whatever they mean otherwise (a column
                `mask` that marks something, and does not say what counts).

        Raises:
            CohortError: what is there cannot be used, or an image is in both heaps.
        """
        tables = [
            self._one(self.source, self.source_where, beside),
            self._one(self.target, self.target_where, beside),
        ]
        if len({MASK in table for table in tables}) > 1:
            raise CohortError("only one heap has masks; give those of both, or --mask none")
        table = pd.concat(
            [each.assign(**{HEAP: name}) for name, each in zip((FROM, TO), tables, strict=True)], ignore_index=True
        )
        twice = table.loc[table["path"].duplicated(), "path"]
        if len(twice):
            raise CohortError(
                f"{len(twice)} images are in both heaps ({some(twice)}); give two heaps that have no image in common"
            )
        if table["id"].duplicated().any():
            table["id"] = table[HEAP] + "_" + table["id"]
        told = list(dict.fromkeys(each.attrs["subjects_from"] for each in tables))
        table.attrs |= {"subjects_from": " and ".join(told), "masks_from": tables[0].attrs["masks_from"]}
        return table

    def parted(self, choose: float) -> pd.DataFrame:
        """The same with the columns `part` and `split` (part and heap); a subject is in one part alone.

        Those who are in one heap, in the other and in both are parted each by themselves, so that no heap is left
        without somebody held out; who is held out depends on nothing but names.

        Raises:
            CohortError: a heap has too few subjects to hold one out.
        """
        table = self.read()
        told_by = dict(table.attrs)
        of = table.groupby("subject")[HEAP].agg(lambda heaps: " ".join(sorted(set(heaps))))
        part: dict[str, str] = {}
        for group in sorted(set(of)):
            names = list(of.index[of == group])
            parts = split(names, choose=choose, calibrate=0) if len(names) > 1 else [TRAIN]
            part |= dict(zip(names, parts, strict=True))
        table["part"] = table["subject"].map(part)
        table["split"] = table["part"] + " " + table[HEAP]
        for heap in (FROM, TO):
            rows = table[table[HEAP] == heap]
            if set(rows["part"]) != {TRAIN, CHOOSE}:
                raise CohortError(
                    f"the heap --{heap} has {len(rows)} images of {rows['subject'].nunique()} subjects, too few to "
                    "hold one out; give more subjects"
                )
        table.attrs |= told_by
        return table

    def _one(self, source: Source, where: Mapping[str, str], beside: Sequence[str]) -> pd.DataFrame:
        found = read_cohort(
            source, subject=self.subject, subject_pattern=self.subject_pattern, where={**self.where, **where},
            match=self.match, exclude=self.exclude, mask=self.mask, missing="keep",
        )  # fmt: skip
        told = dict(found.attrs)
        found = found.assign(**{BESIDE + name: found[name] for name in beside if name in found})
        found.attrs = told
        return counting(found)


def tell(table: pd.DataFrame) -> None:
    """Say who is in both heaps, where masks are from, and where nothing tells whose an image is."""
    of = table.groupby("subject")[HEAP].nunique()
    both = list(of.index[of > 1])
    if both:
        logger.info(
            "%d of %d subjects are in both heaps (%s); all images of one are learned from, or all are held out",
            len(both), len(of), some(both),
        )  # fmt: skip
    if FILE_NAMES in table.attrs["subjects_from"]:
        logger.warning("%sparts of one person land on both sides of the split", NO_SUBJECTS)
    if MASK in table:
        logger.info(told_in_short(table))


def told_apart(table: pd.DataFrame) -> str:
    """Sum up in one SHA-256 which image is of which heap, whose it is, and who is held out."""
    rows = sorted("\t".join(map(str, row)) for row in table[["id", "subject", HEAP, "part"]].to_numpy())
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def refuse_unlike(table: pd.DataFrame, preprocessing: Preprocessing) -> tuple[int, ...]:
    """The shape (C, *space) of prepared images, asked of one image of each heap, before all are read.

    Raises:
        CohortError: the heaps come out in two shapes, or one in colours and the other in grey; or no image can be read.
    """
    firsts = {heap: first_readable(table[table[HEAP] == heap], preprocessing) for heap in (FROM, TO)}
    shapes = {heap: each.shape[1:] for heap, each in firsts.items()}
    if shapes[FROM] != shapes[TO]:
        raise CohortError(
            f"images of --from come out in shape {shapes[FROM]}, those of --to in {shapes[TO]} (C, *space); give one "
            "--size for both"
        )
    grey = {heap: bool((each == each[:, :1]).all()) for heap, each in firsts.items()}
    if grey[FROM] != grey[TO]:
        one, other = (TO, FROM) if grey[TO] else (FROM, TO)
        raise CohortError(f"images of --{one} are grey and those of --{other} in colours; give --channels 1")
    return shapes[FROM]


def refuse_copies(images: CachedImages) -> None:
    """Say plainly when an image of one heap is there in the other too, under whatever name.

    Raises:
        CohortError: one is.
    """
    table = images.table
    ends = np.cumsum(table["slices"].to_numpy())
    sums = [
        hashlib.sha256(images.pixels[end - slices : end].tobytes()).digest()
        for end, slices in zip(ends, table["slices"], strict=True)
    ]
    known = {each: path for each, path in _of(FROM, sums, table)}
    twice = [(known[each], path) for each, path in _of(TO, sums, table) if each in known]
    if twice:
        raise CohortError(
            f"{len(twice)} images are in both heaps, as {twice[0][0]} and {twice[0][1]}; give two heaps that have no "
            "image in common"
        )


def _of(heap: str, sums: list[bytes], table: pd.DataFrame) -> Iterable[tuple[bytes, str]]:
    rows = zip(sums, table[HEAP], table["path"], strict=True)
    return [(each, path) for each, where, path in rows if where == heap]
