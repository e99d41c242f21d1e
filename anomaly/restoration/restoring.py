"""Restore any number of images with a run: one after another, and only what is missing."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from anomaly.cohorts.cohort import read_cohort, refuse_overlap
from anomaly.cohorts.masks import COLUMN, Given, counting
from anomaly.cohorts.tables import Form, GrowingTable
from anomaly.errors import RunError, UnreadableImage
from anomaly.images.finding import Globs
from anomaly.images.image import alone
from anomaly.images.intake import Ready, intake
from anomaly.progress import progress
from anomaly.restoration.brushes import open_brush
from anomaly.restoration.drawing import Brush, Drawn, OwnGrid
from anomaly.restoration.writing import FOLDER, write_restored
from anomaly.restorers.directions import tell_direction
from anomaly.shown import Readable
from anomaly.streams import ordered
from anomaly.training.machine import one_core_left

RESTORED = Form("restored", "restore.json", ("id", "subject", "path", "files"), files="files")
COLUMNS = ("change", "largest_change")
AHEAD = 2


@dataclass(frozen=True, repr=False)
class Restored(Readable):
    """What a call of `restore` did.

    Args:
        path: the table of restored images.
        errors: the table of images that cannot be used, there if there are any.
        new, before, failed: images restored now, by an earlier call, and that cannot be used.
        images: folder of the images.
    """

    path: Path
    errors: Path
    new: int
    before: int
    failed: int
    images: Path

    def _in_short(self) -> tuple[str, dict[str, object]]:
        title = f"{self.new} images new, {self.before} from before, {self.failed} unreadable"
        return title, {"table": self.path, "images": self.images, "errors": self.errors if self.failed else None}


def restore(
    run: Path | str,
    images: Path | str | pd.DataFrame,
    out: Path | str,
    *,
    degrade: bool = False,
    holes: Given = None,
    subject: str | None = None,
    subject_pattern: str | None = None,
    where: Mapping[str, str] | None = None,
    match: Globs = None,
    exclude: Globs = None,
    allow_overlap: bool = False,
    seed: int = 0,
    device: str = "auto",
    workers: int | None = None,
) -> Restored:
    """Draw of every image how it may have been before it became poor; this is `anomaly restore apply`.

    Writes `restored.csv`: id, subject, path, files, `change` (mean |restored - poor|, of a range of 2) and
    `largest_change`. Images are taken as poor as they are. What was learned to undo fewer pixels or slices gives images
    of a finer grid, with its affine; everything else gives images of the same grid. What is drawn is added to the
    image, so that what the network does not touch keeps its values. Memory does not grow with the number of images; a
    second call with the same arguments restores only what is missing.

    Args:
        run: the folder that `anomaly restore train` left, or of a detector of the method `restoration`, whose drawing
            is brought from its own grid to that of the image.
        images: a folder or a table.
        out: gets `restored.csv`, `errors.csv`, `restore.json` and `images/`.
        degrade: make images poor first, to see what comes back; they lose what goes beyond whole steps.
        holes: masks of what is to be drawn, where a run fills holes: a folder, a pattern, a column of the table.
        subject, subject_pattern, where, match, exclude: see `read_cohort`.
        allow_overlap: restore images of subjects the run was trained on as well.
        seed: of what is done to images with `degrade`.
        device: "auto", "cpu", "cuda", ...
        workers: threads that read, and as many that write; None takes one a core.

    Raises:
        CohortError: no images, or subjects the run was trained on.
        RunError: a run that cannot be used, or an `out` that holds images restored otherwise.
    """
    out, brush = Path(out), open_brush(run, device=device)
    if degrade and brush.degradation is None:
        raise RunError(f"{run} has no degradation to make images poor by; leave --degrade out")
    if degrade and holes is not None:
        raise RunError("with --degrade it is the degradation that says what is missing; leave --holes out")
    cohort = read_cohort(
        images, subject=subject, subject_pattern=subject_pattern, where=where, match=match, exclude=exclude,
        mask="none" if holes is None else holes, missing="keep",
    )  # fmt: skip
    cohort = counting(cohort)
    if not allow_overlap:
        refuse_overlap(brush.trained, cohort, brush.run.folder)
    rows: list[Any] = cohort.to_dict("records")
    facts = {
        "run": brush.run.identity, "undoes": brush.undoes, "degraded": degrade, "seed": seed if degrade else None,
        "holes": None if holes is None else cohort.attrs["masks_from"], "runs": [os.path.relpath(run, out)],
    }  # fmt: skip
    table = GrowingTable(RESTORED, out, settings=facts, columns=COLUMNS)
    left = table.left(rows)
    if left and isinstance(brush, OwnGrid):
        tell_direction(cohort, brush.degradation, brush.run.preprocessing, poor=not degrade)
    before = len(rows) - len(left)
    with (
        ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool, table, one_core_left(),
        progress("restoring", len(rows), done=before, unit="images") as bar,
    ):  # fmt: skip
        drawn = _drawn(brush, left, pool, seed if degrade else None)
        for row in ordered(pool, partial(_finish, out), drawn, ahead=AHEAD):
            table.add([row])
            bar.advance()
    return Restored(table.path, table.errors, table.added, before, table.failed, out / FOLDER)


def _drawn(
    brush: Brush, rows: Sequence[Any], pool: ThreadPoolExecutor, seed: int | None
) -> Iterator[tuple[Ready, Drawn | str]]:
    for (one,) in intake(rows, brush.prepare, pool, 1, fewest=0):  # a hole may be of one pixel
        if one.image is None:
            yield one, one.error
            continue
        told = None if seed is None else f"{seed} {one.row['id']}"
        try:
            yield one, alone(one.image.path, partial(brush.draw, one.image, one.prepared[0], told=told), "restored")
        except UnreadableImage as error:
            yield one, str(error)


def _finish(folder: Path, done: tuple[Ready, Drawn | str]) -> dict[str, Any]:
    """Write the file of an image, then give its row: a row never names a file that is not there."""
    one, found = done
    about = {name: value for name, value in one.about.items() if name != COLUMN}
    if isinstance(found, str) or one.image is None:
        return {**about, "error": found}
    write = partial(write_restored, folder, str(about["id"]), one.image, found.values, found.frame)
    try:
        file = alone(one.image.path, write, "written")
    except UnreadableImage as error:
        return {**about, "error": str(error)}
    return {**about, "files": file, "change": found.change, "largest_change": found.largest}
