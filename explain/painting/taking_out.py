"""Paint lesions out of images: how each would look without, as an explanation that the program evaluates."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.ndimage import binary_dilation

from anomaly.cohorts.cohort import refuse_overlap
from anomaly.cohorts.results import read_facts
from anomaly.cohorts.tables import GrowingTable
from anomaly.errors import CohortError, UnreadableImage
from anomaly.images.finding import Globs
from anomaly.images.labels import Labels
from anomaly.images.nifti import write_volume
from anomaly.pictures.scales import FINEST
from anomaly.shown import Readable
from explain.evaluating.truths import WITHIN
from explain.measures.metrics import proximity, sparsity
from explain.painting.canvas import Canvas, open_canvas, refuse_whole
from explain.painting.cohort import CLASS, LESION, TISSUES, Lesions, lesion_cohort
from explain.painting.growing import MASKED_BY, NoLesion, Painting, as_json, marked_by, named, painted_into
from explain.painting.painting import paint_image
from explain.painting.run import PainterRun
from explain.painting.writing import write_painted
from explain.pictures.pictures import limit_of, save_figure
from explain.runs.mapping import EXPLANATIONS
from explain.runs.records import FOLDER

IMAGES, PAINTED_OUT = "images", "_painted-out"
COLUMNS = ("change", "largest_change", "unchanged", "painted", MASKED_BY)
PROBED = 4
LESION_OF_ANY = "lesion"


@dataclass(frozen=True, repr=False)
class PaintedOut(Readable):
    """What a call of `paint_out` did.

    Args:
        path: the table of explanations.
        errors: the table of images that cannot be used, there if there are any.
        new, before, failed: images painted now, by an earlier call, and that cannot be used.
        without: images that have no lesions, and were left out.
        images: folder of the images.
    """

    path: Path
    errors: Path
    new: int
    before: int
    failed: int
    without: int
    images: Path

    def _in_short(self) -> tuple[str, dict[str, object]]:
        title = f"{self.new} images new, {self.before} from before, {self.failed} unreadable, {self.without} without"
        return title, {"table": self.path, "images": self.images, "errors": self.errors if self.failed else None}


def paint_out(
    run: Path | str,
    images: Path | str | pd.DataFrame,
    lesions: str,
    out: Path | str,
    *,
    classes: Labels | None = None,
    tissues: str | None = None,
    grow: int = 0,
    draws: int = 1,
    seed: int = 0,
    subject: str | None = None,
    subject_pattern: str | None = None,
    where: Mapping[str, str] | None = None,
    match: Globs = None,
    exclude: Globs = None,
    allow_overlap: bool = False,
    device: str = "auto",
    workers: int | None = None,
) -> PaintedOut:
    """Draw of every image how it would look without its lesions; this is `anomaly paint out`.

    Writes `images/ID_painted-out.*`, of the type and on the grid of each image, in which nothing but what was masked
    differs, and an explanation in the form of `anomaly explain map`: `explanations.csv` (id, subject, path, files,
    `change`, `largest_change`, `unchanged`, `painted`, the share of the image that was masked, and `masked_by`, a
    checksum of its mask), `explain.json`, `maps/ID_map.nii.gz` (image less twin, of a range of 2),
    `maps/ID_counterfactual.*` and a figure. Images without lesions are left out. A second call with the same arguments
    paints only what is missing.

    Args:
        run: what `learn_painter` left.
        images: a folder or a table.
        lesions: column of the masks, or a folder of these.
        out: gets all that is written.
        classes: which numbers of masks are lesions, where the run is not to say it.
        tissues: column of label maps of tissues, or a folder, for a run that learned with such.
        grow: pixels by which masks are made larger on all sides.
        draws: paintings of each; with several `maps/ID_spread.nii.gz` is their standard deviation, and the first is the
            twin.
        seed: another one gives other paintings.
        subject, subject_pattern, where, match, exclude: see `read_cohort`.
        allow_overlap: paint images of subjects the run was trained on as well.
        device: "auto", "cpu", "cuda", ...
        workers: threads that read and write; None takes one a core.

    Raises:
        CohortError: no images, none with lesions, or subjects the run was trained on.
        RunError: a run that cannot be used, or an `out` that holds explanations by others or by other masks.
    """
    out, opened = Path(out), PainterRun.open(run, device=device)
    asked = asked_of(opened, lesions, tissues, classes)
    cohort = lesion_cohort(
        images, asked, subject=subject, subject_pattern=subject_pattern, where=where, match=match, exclude=exclude
    )  # fmt: skip
    if not allow_overlap:
        refuse_overlap(opened.trained, cohort, opened.folder)
    ill = cohort[cohort[LESION] != ""]
    rows: list[Any] = ill.assign(**{CLASS: LESION_OF_ANY}).to_dict("records")
    draw = partial(_drawn, opened, asked.classes, grow, draws, seed)
    limit = _limit(out, draw, rows)
    facts = {
        "source": {"source": opened.identity}, "settings": opened.painter.settings(), "outputs": ["nifti", "png"],
        "limit": limit, "thresholds": {}, "controls": None, "runs": {"source": os.path.relpath(opened.folder, out)},
        "painting": {"grow": grow, "draws": draws, "seed": seed}, "lesions": named(lesions, cohort.columns, out),
        "classes": as_json(asked.classes), "labels": named(tissues, cohort.columns, out), WITHIN: "given masks",
    }  # fmt: skip
    rows = [{**row, MASKED_BY: marked_by(row[LESION], row[TISSUES])} for row in rows]
    table = GrowingTable(EXPLANATIONS, out, settings=facts, columns=COLUMNS)
    before, without = painted_into(
        table, rows, draw, partial(_finish, out, limit), title="painting out", unit="images", workers=workers
    )  # fmt: skip
    without += len(cohort) - len(ill)
    return PaintedOut(table.path, table.errors, table.added, before, table.failed, without, out / IMAGES)


def asked_of(run: PainterRun, lesions: str | None, tissues: str | None, classes: Labels | None) -> Lesions:
    """Where lesions and tissues are, for a run that says what of them counts.

    Raises:
        CohortError: the run was trained with tissues, and none are given, or the other way about.
    """
    if (run.tissues is None) != (tissues is None):
        has = "without" if run.tissues is None else "with"
        what = "leave --labels out" if run.tissues is None else "give --labels, the label maps of tissues"
        raise CohortError(f"{run.folder} was trained {has} tissues; {what}")
    return Lesions(
        given=lesions, classes=classes or run.classes, any_class=True, tissues=tissues, of_tissues=run.tissues
    )  # fmt: skip


def _drawn(
    run: PainterRun, classes: Labels | None, grow: int, draws: int, seed: int, row: Mapping[str, Any]
) -> Painting:
    """Canvas, what is painted on the grid of the file (*space) bool, and paintings (draws, S, C, *size)."""
    names = (LESION_OF_ANY,) if classes is None else classes.names
    canvas = open_canvas(row, run.preprocessing, names, classes, run.tissues)
    hole = canvas.marked > 0
    if not hole.any():
        raise NoLesion(f"{canvas.image.path}: its mask {row[LESION]} marks no lesion; nothing to paint out")
    hole = binary_dilation(hole, iterations=grow) if grow else hole
    places = canvas.laid(hole.astype(np.uint8), 2)
    refuse_whole(places, canvas.image.path)
    painted = paint_image(
        run.painter, canvas.x, places, 0, canvas.tissues, str(row["id"]), draws=draws, seed=seed
    )  # fmt: skip
    return canvas, hole, painted


def _limit(out: Path, draw: Any, rows: Sequence[Mapping[str, Any]]) -> float:
    """Where colours of maps end: as before, or by the first images that can be painted."""
    known = read_facts(out / "explain.json").get("limit")
    if known:
        return float(known)
    maps, first = [], ""
    for row in rows:
        try:
            canvas, _, painted = draw(row)
        except UnreadableImage as error:
            first = first or str(error)
            continue
        maps.append(canvas.change(painted[0]))
        if len(maps) == PROBED:
            break
    if not maps:
        raise CohortError(f"none of the {len(rows)} images can be used; the first: {first or 'there is none'}")
    return max(limit_of([each[each != 0] if (each != 0).any() else each for each in maps]), FINEST)


def _finish(folder: Path, limit: float, row: Mapping[str, Any], found: Painting) -> dict[str, Any]:
    """Write the files of an image, then give its row."""
    canvas, hole, painted = found
    change = canvas.change(painted[0])
    about = {name: row[name] for name in ("id", "subject", "path", MASKED_BY)}
    figures = {
        "change": float(proximity(canvas.x, canvas.x - change).mean()), "largest_change": float(np.abs(change).max()),
        "unchanged": float(sparsity(canvas.x, canvas.x - change).mean()), "painted": float(hole.mean()),
    }  # fmt: skip
    return {**about, "files": ";".join(_written(folder, about, canvas, hole, painted, limit)), **figures}


def _written(
    folder: Path, about: Mapping[str, Any], canvas: Canvas, hole: np.ndarray, painted: np.ndarray, limit: float
) -> list[str]:
    image, prepared = canvas.image, canvas.prepared
    change = canvas.change(painted[0])
    values = canvas.values(change, hole)
    for name in (FOLDER, IMAGES):
        (folder / name).mkdir(parents=True, exist_ok=True)
    stem = f"{FOLDER}/{about['id']}"
    map_ = np.where(hole, prepared.restore(change.mean(1, keepdims=True)), 0)
    write_volume(folder / f"{stem}_map.nii.gz", map_, image.frame)
    twin = write_painted(folder / IMAGES / f"{about['id']}{PAINTED_OUT}", image, values, hole)
    ending = twin.name.removeprefix(f"{about['id']}{PAINTED_OUT}")
    shutil.copyfile(twin, folder / f"{stem}_counterfactual{ending}")
    names = [f"{stem}_map.nii.gz", f"{stem}_counterfactual{ending}", f"{IMAGES}/{twin.name}"]
    spread = None
    if len(painted) > 1:
        spread = prepared.restore(painted.std(0, ddof=1).mean(1, keepdims=True))
        names.append(f"{stem}_spread.nii.gz")
        write_volume(folder / names[-1], spread, image.frame)
    names.append(f"{stem}.png")
    save_figure(
        folder / names[-1], image.pixels.mean(0), map=map_, affine=image.affine, title=str(about["id"]),
        counterfactual=values.mean(0), limits=limit, spread=spread, footer=f"painted {hole.mean():.1%} of the image",
    )  # fmt: skip
    return names
