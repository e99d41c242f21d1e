"""Say how well label maps that were found agree with those that were drawn, beside what needs no network."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.cohorts.masks import COLUMN as MASK
from anomaly.cohorts.masks import NONE, Given
from anomaly.cohorts.tables import Form, GrowingTable
from anomaly.errors import AnomalyError, CohortError, UnreadableImage
from anomaly.files import sha256_of, write_whole
from anomaly.images import Image, read
from anomaly.images.image import alone
from anomaly.images.labels import Labels, read_labels
from anomaly.images.masking import masked
from anomaly.progress import progress
from anomaly.runs.settings import nearest
from anomaly.segmentation.absent import told_absent
from anomaly.segmentation.annotations import Source
from anomaly.segmentation.classes import numbers_in
from anomaly.segmentation.differing import differences
from anomaly.segmentation.drawing import cases, picture
from anomaly.segmentation.floors import BRIGHTNESS, PLACE, Floors
from anomaly.segmentation.judging import Judge
from anomaly.segmentation.pairing import FOUND, LABELS, Pairs, paired
from anomaly.segmentation.seen import SEEN, seen_by
from anomaly.segmentation.summing import summary
from anomaly.segmentation.telling import HTML, Page, page, sentences
from anomaly.shown import Readable
from anomaly.streams import ordered
from anomaly.training.machine import one_core_left

AGREEMENT = Form("agreement", "agreement.json", ("id", "subject", "path", "files"), files="files")
AHEAD = 2
TEXTS = {"id": str, "subject": str, "path": str}


@dataclass(frozen=True, repr=False)
class Agreement(Readable):
    """How well label maps that were found agree with those drawn.

    Args:
        path: the table of figures, a row an image.
        summary: means with intervals by subject.
        differences: from another segmentation of the same images; None where none was given.
        page: what a reader is told.
        errors: the table of images that cannot be used, there if there are any.
        failed: how many these are.
        sentences: the main figures in words.
    """

    path: Path
    summary: pd.DataFrame
    differences: pd.DataFrame | None
    page: Path
    errors: Path
    failed: int
    sentences: tuple[str, ...]

    def _in_short(self) -> tuple[str, dict[str, object]]:
        told: dict[str, object] = {
            "table": self.path,
            "page": self.page,
            "errors": self.errors if self.failed else None,
        }
        return self.sentences[0], told


def evaluate_segmentation(
    segmentations: Path | str,
    labels: str | Path,
    out: Path | str,
    *,
    cohort: Source | None = None,
    classes: str | None = None,
    lesions: Sequence[str] = (),
    compare: Path | str | None = None,
    where: Mapping[str, str] | None = None,
    mask: Given = None,
    seed: int = 0,
    workers: int | None = None,
) -> Agreement:
    """Say how well label maps that were found agree with those drawn; this is `anomaly segment evaluate`.

    Writes `agreement.csv`, a row an image: `seen`, what a run has seen of its subject; of each class `NAME:state`
    (both, missed, only found, neither), `NAME:dice`, `NAME:distance95` and `NAME:distance` between surfaces (mm, or
    pixels where files tell no size; empty where a surface is not there), volumes drawn and found, lesions where they
    are asked for, and the Dice of floors. `summary.csv` has means with 95 % intervals by subject, `differences.csv`
    those from another segmentation; `agreement.html`, `agreement.md` and `agreement.png` show it, `cases.png` the worst
    and the best. A second call with the same arguments judges only what is missing.

    Args:
        segmentations: `segmentations.csv` of `segment`, or its folder; another table with `path` and `segmentation`;
            or, with a cohort, a folder of label maps.
        labels: those drawn: a column of the cohort (without one, of the table), or a folder.
        out: gets the tables and the page.
        cohort: table of the images, joined on path, else on id.
        classes: as "tumour=1+4,bone=2"; None takes those of the segmenter, else each number that is held.
        lesions: classes whose pieces are counted one by one.
        compare: another segmentation, as `segmentations`, of which this one's differences are told.
        where: rows of the cohort (without one, of the table) to keep.
        mask: what of each image counts: a folder of masks, a pattern, a column of the cohort (without one, of the
            table), or "none". Left out, the masks that the segmenter was given; of label maps of others the column
            `mask`. Nothing outside counts, drawn or found, as nothing there was learned.
        seed: of the bootstrap.
        workers: threads that read; None takes one a core.

    Raises:
        CohortError: no label maps, or none of the images can be used.
        AnomalyError: a class that there is not.
        RunError: `out` holds other figures.
    """
    out = Path(out)
    pairs = paired(segmentations, labels, cohort, mask=mask, where=where)
    known = classes_of(pairs, classes, workers)
    for name in lesions:
        if name not in known.names:
            raise AnomalyError(
                f"there is no class {name!r}; {nearest(name, known.names)}the classes are {', '.join(known.names)}"
            )
    table, told = _judged(pairs, known, tuple(lesions), out, workers, floors=True)
    means = summary(told, known, seed=seed)
    apart = theirs = None
    if compare is not None:
        other = _same_images(paired(compare, labels, cohort, mask=NONE), pairs)
        if other.table.empty:
            raise CohortError(f"{compare} has no image in common with {segmentations}; give segmentations of the same")
        _, theirs = _judged(other, known, tuple(lesions), out / "compared", workers, floors=False)
        apart = differences(told, theirs, known, seed=seed)
        write_whole(out / "differences.csv", apart.to_csv(index=False))
    write_whole(out / "summary.csv", means.to_csv(index=False))
    said = sentences(
        means, apart, known, told, pairs.without, table.failed, masks=pairs.masks, other=theirs,
        against="" if compare is None else str(compare),
    )  # fmt: skip
    said += told_absent(pairs.absent, pairs.count, pairs.extra)
    cases(out / "cases.png", told, pairs.table, known)
    picture(out / "agreement.png", told, means, known)
    shown = Page(str(segmentations), means, apart, tuple(said), None if compare is None else str(compare))
    text, html = page(shown, out)
    write_whole(out / "agreement.md", text)
    write_whole(out / HTML, html)
    return Agreement(table.path, means, apart, out / HTML, table.errors, table.failed, tuple(said))


def classes_of(pairs: Pairs, asked: str | None, workers: int | None = None) -> Labels:
    """The classes to judge: as asked, as the segmenter has them, or each number that label maps hold."""
    if asked is not None:
        return Labels.asked(asked)
    if pairs.classes is not None:
        return pairs.classes
    held: set[int] = set()
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        for each in ordered(pool, numbers_in, [*pairs.table[LABELS], *pairs.table[FOUND]], ahead=AHEAD):
            held |= set() if isinstance(each, UnreadableImage) else each
    return Labels.found(held)


def _same_images(other: Pairs, pairs: Pairs) -> Pairs:
    """Of another segmentation the images that are judged, within the same masks."""
    masks = dict(zip(pairs.table["path"], pairs.table[MASK], strict=True))
    table = other.table[other.table["path"].isin(masks)].reset_index(drop=True)
    return replace(other, table=table.assign(**{MASK: [masks[path] for path in table["path"]]}), masks=pairs.masks)


def _judged(
    pairs: Pairs, labels: Labels, lesions: tuple[str, ...], out: Path, workers: int | None, *, floors: bool
) -> tuple[GrowingTable, pd.DataFrame]:
    """The table of figures, with what was missing in it, and its rows as they are read."""
    beside = _floors(pairs, labels) if floors else None
    judge = Judge(labels, lesions, beside, bool(pairs.masks))
    images = pairs.table.assign(**{SEEN: seen_by(pairs.runs, pairs.table)})
    rows: list[Any] = images.to_dict("records")
    names = [] if beside is None else [PLACE, BRIGHTNESS]
    facts: dict[str, Any] = {
        "classes": labels.as_json(),
        "lesions": list(lesions),
        "floors": names,
        "pairs": _sum(rows),
    }
    facts |= {"mask": pairs.masks, SEEN: images[SEEN].value_counts().to_dict()}
    table = GrowingTable(AGREEMENT, out, settings=facts, columns=[SEEN, *judge.columns(names)])
    left = table.left(rows)
    before = len(rows) - len(left)
    with (
        ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool, table, one_core_left(),
        progress("judging", len(rows), done=before, unit="images") as bar,
    ):  # fmt: skip
        for row in _rows(judge, left, pool):
            table.add([row])
            bar.advance()
    told = pd.read_csv(table.path, dtype=TEXTS, keep_default_na=False)
    if told.empty:
        raise CohortError(f"none of the {len(rows)} images can be used; {table.errors} says what is wrong")
    return table, told


def _rows(judge: Judge, left: Sequence[Any], pool: ThreadPoolExecutor) -> Iterator[dict[str, Any]]:
    def one(row: Any) -> dict[str, Any]:
        about = {name: row[name] for name in ("id", "subject", "path")}
        try:
            if judge.masked and not row[MASK]:
                raise UnreadableImage(f"{row['path']}: has no mask, and others have; give it one, or --mask none")
            image = masked(read(Path(row["path"])), row[MASK])
            truth, found = (judge.labels.places(read_labels(row[name], image)) for name in (LABELS, FOUND))
            told = alone(image.path, partial(judge, image, truth, found), "judged")
        except UnreadableImage as error:
            return {**about, "error": str(error)}
        return {**about, "files": "", SEEN: row[SEEN], **{key: _plain(value) for key, value in told.items()}}

    yield from ordered(pool, one, left, ahead=AHEAD)


def _plain(value: Any) -> Any:
    """NaN as an empty cell."""
    return "" if isinstance(value, float) and np.isnan(value) else value


def _floors(pairs: Pairs, labels: Labels) -> Floors | None:
    """Floors of the run that found the label maps, of as many axes as the first image that can be read has."""
    first = next(filter(None, map(_readable, pairs.table["path"])), None)
    return None if first is None else Floors.of(pairs.runs, labels, first.ndim)


def _readable(path: str) -> Image | None:
    try:
        return read(Path(path))
    except (UnreadableImage, OSError):
        return None


def _sum(rows: Sequence[Any]) -> str:
    """Which label maps are compared, within which masks, so that figures of changed ones are not gone on with."""
    files = [row[name] for row in rows for name in (FOUND, LABELS, MASK) if row[name]]
    sums = [sha256_of(Path(file)) if Path(file).is_file() else "" for file in files]
    return hashlib.sha256(json.dumps([files, sums]).encode()).hexdigest()
