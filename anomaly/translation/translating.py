"""Draw any number of images as of the other heap: streaming, and only what is missing."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from anomaly.cohorts.cohort import read_cohort, refuse_overlap
from anomaly.cohorts.masks import Given, suited
from anomaly.cohorts.tables import Form, GrowingTable
from anomaly.errors import CohortError, UnreadableImage
from anomaly.files import write_whole
from anomaly.images import Image
from anomaly.images.finding import Globs
from anomaly.images.image import alone
from anomaly.images.intake import AHEAD, Ready, in_batches, taken_in
from anomaly.images.prepared import Prepared, scaled
from anomaly.images.redrawn import changed, write_redrawn
from anomaly.progress import progress
from anomaly.shown import Readable
from anomaly.streams import ordered
from anomaly.training.batches import chunks
from anomaly.training.machine import one_core_left
from anomaly.translation.run import TranslatorRun
from anomaly.translators.structure import CHANGED

BATCH = 32
TRANSLATED = "_translated"
TRANSLATIONS = Form("translations", "translate.json", ("id", "subject", "path", "file"), files="file")


@dataclass(frozen=True, repr=False)
class Translated(Readable):
    """What a call of `translate` did.

    Args:
        path: the table of translations.
        cohort: the translated images as a table to go on with.
        errors: the table of images that cannot be read, there if there are any.
        new, before, failed: images translated now, by an earlier call, and that cannot be read.
        change: mean size of the change, of a range of 2, over all images of the table.
    """

    path: Path
    cohort: Path
    errors: Path
    new: int
    before: int
    failed: int
    change: float

    def _in_short(self) -> tuple[str, dict[str, object]]:
        title = f"{self.new} images new, {self.before} from before, {self.failed} unreadable"
        told = {"table": self.path, "cohort": self.cohort, "errors": self.errors if self.failed else None}
        return title, {**told, "mean change": f"{self.change:.4f} of a range of 2"}


def translate(
    run: Path | str,
    images: Path | str | pd.DataFrame,
    out: Path | str,
    *,
    back: bool = False,
    subject: str | None = None,
    subject_pattern: str | None = None,
    where: Mapping[str, str] | None = None,
    match: Globs = None,
    exclude: Globs = None,
    mask: Given = None,
    allow_overlap: bool = False,
    device: str = "auto",
    batch: int = BATCH,
    workers: int | None = None,
) -> Translated:
    """Draw images of one heap as those of the other; this is `anomaly translate apply`.

    Writes `ID_translated.png` or `.nii.gz` on the grid of each image and in its own intensities: the image plus what
    the network adds, brought to that grid. Name and header say that it was drawn. `translations.csv` has id, subject,
    path, file, `change` (mean |drawn - image|, of a range of 2) and `changed` (share of pixels that change by more than
    0.05); `cohort.csv` lists the translated images, whose they are and their masks, to go on with. Memory does not grow
    with the number of images; a second call with the same arguments translates only what is missing.

    Args:
        run: what `learn_translation` left.
        images: a folder or a table of images of "from" (with `back`: of "to").
        out: gets all that is written.
        back: draw images of "to" as of "from".
        subject, subject_pattern, where, match, exclude, mask: see `read_cohort`. Masks are for a run that was trained
            with masks; outside them nothing is changed.
        allow_overlap: translate images of subjects that the run was trained on as well.
        device: "auto", "cpu", "cuda", ...
        batch: images translated at once.
        workers: threads that read, and as many that write; None takes one a core.

    Raises:
        CohortError: no images, or subjects the run was trained on.
        RunError: a run that cannot be used, or an `out` that holds translations by another.
    """
    out, opened = Path(out), TranslatorRun.open(run, device=device)
    cohort = read_cohort(
        images, subject=subject, subject_pattern=subject_pattern, where=where, match=match, exclude=exclude,
        mask=mask, missing="keep",
    )  # fmt: skip
    cohort = suited(cohort, mask, opened.preprocessing.mask, str(run))
    if not allow_overlap:
        refuse_overlap(opened.trained(), cohort, opened.folder)
    rows: list[Any] = cohort.to_dict("records")
    facts = {"translator": opened.identity, "back": back, "run": os.path.relpath(opened.folder, out)}
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        table = GrowingTable(TRANSLATIONS, out, settings=facts, columns=["change", "changed"])
        left = table.left(rows)
        before = len(rows) - len(left)
        says = f"anomaly: drawn by {opened.translator.name} {opened.identity[:12]}, not measured"
        batches = in_batches(left, partial(prepare, run=opened), batch, of=rows, refused=table.refused)
        work = _drawn(opened, batches, pool, back)
        with table, one_core_left(), progress("translating", len(rows), done=before, unit="images") as bar:
            for finished in ordered(pool, lambda done: _finish(*done, out, says), work, ahead=AHEAD):
                bar.advance(table.add(finished))
    found = pd.read_csv(table.path, dtype={"id": str, "subject": str, "path": str}, keep_default_na=False)
    if found.empty:
        raise CohortError(f"none of the {len(rows)} images can be translated; {table.errors} says what is wrong")
    path = _write_cohort(out, found, cohort)
    told = table.added, before, table.failed, float(pd.to_numeric(found["change"]).mean())
    return Translated(table.path, path, table.errors, *told)


def prepare(image: Image, run: TranslatorRun) -> tuple[Prepared, ...]:
    """The image as the translator takes it.

    Raises:
        UnreadableImage: it does not suit the preprocessing, or has another shape than those learned from.
    """
    prepared = scaled(run.preprocessing.apply(image), image.path)
    shape, expected = prepared.pixels.shape[1:], run.translator.shape_
    if shape != expected:
        raise UnreadableImage(f"{image.path}: has shape {shape} once prepared; expected {expected} (C, *space)")
    return (prepared,)


def _drawn(
    run: TranslatorRun, batches: Sequence[Sequence[Any]], pool: ThreadPoolExecutor, back: bool
) -> Iterator[tuple[list[Ready], list[np.ndarray]]]:
    """Batches as read, and the change (S, C, *size) of each image that could be."""
    for ready in taken_in(batches, partial(prepare, run=run), pool):
        fine = [one.prepared[0].pixels for one in ready if not one.error]
        if not fine:
            yield list(ready), []
            continue
        pixels, ends = np.concatenate(fine), np.cumsum([0, *map(len, fine)])
        with torch.no_grad():
            parts = [x - run.translator.translate(x, back=back) for x in chunks(pixels)]
        change = torch.cat(parts).numpy()
        yield list(ready), [change[a:b] for a, b in pairwise(ends)]


def _finish(ready: Sequence[Ready], found: Sequence[np.ndarray], out: Path, says: str) -> list[dict[str, Any]]:
    """Write the files of a batch, then give its rows: a row never names a file that is not there."""
    changes, rows = iter(found), list[dict[str, Any]]()
    for one in ready:
        if one.image is None:
            rows.append({**one.about, "error": one.error})
            continue
        image, prepared, change = one.image, one.prepared[0], next(changes)
        counted = np.abs(change)[np.broadcast_to(prepared.foreground, change.shape)]
        stem = out / f"{one.about['id']}{TRANSLATED}"
        draw = partial(_write, stem, image, prepared, change, says)
        try:
            name = alone(image.path, draw, "drawn").name
        except UnreadableImage as error:
            rows.append({**one.about, "error": str(error)})
            continue
        told = {"change": float(counted.mean()), "changed": float((counted > CHANGED).mean())}
        rows.append({**one.about, **told, "file": name})
    return rows


def _write(stem: Path, image: Image, prepared: Prepared, change: np.ndarray, says: str) -> Path:
    return write_redrawn(stem, image, changed(image, prepared, change), says)


def _write_cohort(out: Path, found: pd.DataFrame, cohort: pd.DataFrame) -> Path:
    """`cohort.csv`: the translated images as a table, with what they were drawn from and its mask."""
    table = found[["id", "subject"]].assign(path=found["file"], drawn_from=found["path"])
    if "mask" in cohort:
        masks = dict(zip(cohort["path"], cohort["mask"], strict=True))
        table["mask"] = [masks.get(path, "") for path in found["path"]]
    path = out / "cohort.csv"
    write_whole(path, table.to_csv(index=False))
    return path
