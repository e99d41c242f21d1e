"""Paint lesions of a class into images without: new cases, marked as drawn."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.cohorts.cohort import refuse_overlap
from anomaly.cohorts.labels import base_of
from anomaly.cohorts.tables import Form, GrowingTable
from anomaly.errors import AnomalyError, CohortError, UnreadableImage
from anomaly.images.finding import Globs, find
from anomaly.images.labels import Labels, write_labels
from anomaly.images.masking import read_mask
from anomaly.shown import Readable
from explain.painting.canvas import Canvas, open_canvas, refuse_whole
from explain.painting.cohort import CLASS, LESION, TISSUES, Lesions, lesion_cohort, refuse_unknown
from explain.painting.growing import MASKED_BY, Painting, marked_by, named, painted_into
from explain.painting.healthy import healthy
from explain.painting.painting import paint_image
from explain.painting.run import PainterRun
from explain.painting.shapes import Shape, laid, tissue
from explain.painting.taking_out import IMAGES, asked_of
from explain.painting.writing import SAYS_MASK, write_painted

MASKS, PAINTED_IN = "masks", "_painted-in"
CASES = Form(
    "cohort", "paint.json",
    ("id", "path", "subject", "mask", "labels", "class", "drawn_from", "drawn", "files"), files="files",
)  # fmt: skip
COLUMNS = ("pixels", "change", MASKED_BY)
GUESSES = 20
"""Lesions that are tried before an image is said to have no room."""


@dataclass(frozen=True, repr=False)
class PaintedIn(Readable):
    """What a call of `paint_in` did.

    Args:
        path: `cohort.csv`, the new cases.
        errors: the table of cases that could not be made, there if there are any.
        new, before, failed: cases made now, by an earlier call, and that could not be.
        without: images that have lesions of their own, and were left out.
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
        title = f"{self.new} cases new, {self.before} from before, {self.failed} not made"
        return title, {
            "cohort": self.path, "images": self.images, "left out": self.without or None,
            "errors": self.errors if self.failed else None,
        }  # fmt: skip


def paint_in(
    run: Path | str,
    images: Path | str | pd.DataFrame,
    name: str,
    out: Path | str,
    *,
    count: int | None = None,
    lesions: str | None = None,
    tissues: str | None = None,
    where_label: Sequence[str] = (),
    seed: int = 0,
    subject: str | None = None,
    subject_pattern: str | None = None,
    where: Mapping[str, str] | None = None,
    match: Globs = None,
    exclude: Globs = None,
    allow_overlap: bool = False,
    device: str = "auto",
    workers: int | None = None,
) -> PaintedIn:
    """Paint lesions of a class into images without, as new cases; this is `anomaly paint in`.

    Writes `images/ID.*` of the type and on the grid of each image, in which nothing but the lesion differs,
    `masks/ID.*` and `cohort.csv`: id, path, subject, mask and labels (the same file, which holds the number of the
    class), class, drawn_from (the file of the image), drawn (1), files, pixels of the lesion, the mean change inside
    of it, of a range of 2, and masked_by, a checksum of what said where. A second call with the same arguments makes
    only what is missing. Images that have lesions of their own by the column that the run was told of are left out,
    unless that column is `lesions`, so that they are painted over.

    Args:
        run: what `learn_painter` left.
        images: a folder or a table of images without lesions.
        name: of the class.
        out: gets all that is written.
        count: cases; None makes one of each image. Images are taken in turn, each time with another lesion.
        lesions: a column of masks that say of each image where, or a folder of masks of others, on the grid of the
            images, of which one is taken by chance; None lays shapes of lesions of the training about where they lay.
        tissues: column of label maps of tissues, or a folder; for a run that learned with such, or for `where_label`.
        where_label: names of tissues within which lesions lie, anywhere; numbers of the maps where the run knows none.
        seed: of shapes, places and paintings.
        subject, subject_pattern, where, match, exclude: see `read_cohort`.
        allow_overlap: take images of subjects the run was trained on as well.
        device: "auto", "cpu", "cuda", ...
        workers: threads that write; None takes one a core.

    Raises:
        AnomalyError: a class or a tissue that the run has not learned.
        CohortError: no images, or subjects the run was trained on.
        RunError: a run that cannot be used, or an `out` that holds other cases, or cases by other masks.
    """
    out, opened = Path(out), PainterRun.open(run, device=device)
    refuse_unknown([name], opened.names, opened.folder)
    within = _within(opened, where_label, tissues)
    asked = asked_of(opened, None, tissues if opened.tissues else None, None)
    if within is not None and opened.tissues is None:
        asked = Lesions(given=None, tissues=tissues, of_tissues=within)
    cohort = lesion_cohort(
        images, asked, subject=subject, subject_pattern=subject_pattern, where=where, match=match, exclude=exclude
    )  # fmt: skip
    if not allow_overlap:
        refuse_overlap(opened.trained, cohort, opened.folder)
    total = len(cohort)
    if lesions is None or lesions != opened.facts["lesions"]["given"]:
        cohort = healthy(cohort, images, opened, workers)
    without = total - len(cohort)
    told = {"lesions": named(lesions, cohort.columns, out), "labels": named(tissues, cohort.columns, out)}
    cohort, folder = _lesions_of(cohort, images, lesions)
    inside = tuple(where_label) if within is None or opened.tissues else within.names
    maker = _Maker(opened, name, asked.of_tissues, inside, seed)
    rows = [_case(cohort, k, name, folder, seed) for k in range(len(cohort) if count is None else count)]
    facts = {
        "run": opened.identity, "class": name, "seed": seed, "where_label": list(where_label), **told,
        "runs": [os.path.relpath(opened.folder, out)],
    }  # fmt: skip
    table = GrowingTable(CASES, out, settings=facts, columns=COLUMNS)
    rows = [{**row, "path": table.done.get(row["id"], row["path"])} for row in rows]
    before, _ = painted_into(
        table, rows, maker.draw, partial(_finish, out, maker), title="painting in", unit="cases", workers=workers
    )  # fmt: skip
    return PaintedIn(table.path, table.errors, table.added, before, table.failed, without, out / IMAGES)


@dataclass(frozen=True)
class _Maker:
    """How a case is made."""

    run: PainterRun
    name: str
    tissues: Labels | None
    where_label: tuple[str, ...]
    seed: int

    @property
    def place(self) -> int:
        return self.run.place(self.name)

    def draw(self, row: Mapping[str, Any]) -> Painting:
        """Canvas, where the lesion lies on the file's grid (*space) bool, and the painting (S, C, *size)."""
        plain = {**row, "path": row["drawn_from"], LESION: ""}
        canvas = open_canvas(plain, self.run.preprocessing, self.run.names, None, self.tissues)
        rng = _chance(self.seed, row["case"])
        places = self._asked(canvas, row[LESION]) if row[LESION] else self._laid(canvas, rng)
        refuse_whole(places, canvas.image.path)
        around = canvas.tissues if self.run.tissues is not None else np.zeros_like(canvas.tissues)
        kinds = np.array([0, self.place])
        painted = paint_image(self.run.painter, canvas.x, places, kinds, around, str(row["id"]), seed=self.seed)[0]
        hole = canvas.prepared.restore((places > 0).astype(np.float32)[:, None]) > 0.5
        return canvas, hole, painted

    @staticmethod
    def _asked(canvas: Canvas, file: str) -> np.ndarray:
        """Where a mask says."""
        return canvas.laid(read_mask(Path(file), canvas.image, 1).astype(np.uint8), 2)

    def _laid(self, canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
        """Where a lesion of the training, in shape, finds room."""
        shapes: Sequence[Shape] = [each for each in self.run.shapes if each.place == self.place]
        chosen = None if not self.where_label or self.tissues is None else [
            1 + self.tissues.names.index(each) for each in self.where_label
        ]  # fmt: skip
        for _ in range(GUESSES):
            s = int(rng.integers(len(canvas.x)))
            allowed = tissue(canvas.x[s]) if chosen is None else np.isin(canvas.tissues[s], chosen)
            shape = shapes[int(rng.integers(len(shapes)))]
            found = laid(shape, allowed.shape, rng, near=chosen is None, allowed=allowed)
            if found is not None:
                places = np.zeros(canvas.lesions.shape, dtype=np.uint8)
                places[s] = found
                return places
        raise UnreadableImage(
            f"{canvas.image.path}: has no room for a lesion of the class {self.name} within "
            f"{', '.join(self.where_label) or 'its tissue'}; give --lesions, where it is to lie, or leave the image out"
        )


def _finish(folder: Path, maker: _Maker, row: Mapping[str, Any], found: Painting) -> dict[str, Any]:
    """Write image and mask, then give the row."""
    canvas, hole, painted = found
    change = canvas.change(painted)
    classes = maker.run.classes
    number = maker.place if classes is None else classes.numbers[maker.place - 1][0]
    for name in (IMAGES, MASKS):
        (folder / name).mkdir(parents=True, exist_ok=True)
    path = write_painted(folder / IMAGES / row["id"], canvas.image, canvas.values(change, hole), hole)
    marked = (hole * number).astype(np.min_scalar_type(number))
    mask = write_labels(folder / MASKS / row["id"], canvas.image, marked, SAYS_MASK)
    files = [f"{IMAGES}/{path.name}", f"{MASKS}/{mask.name}"]
    where = (change != 0).any(1)
    told = {"pixels": int(hole.sum()), "change": float(np.abs(change).mean(1)[where].mean()) if where.any() else 0.0}
    beside = {"mask": files[1], "labels": files[1], "class": maker.name, "drawn_from": row["drawn_from"], "drawn": 1}
    about = {name: row[name] for name in ("id", "subject", MASKED_BY)}
    return {**about, "path": files[0], **beside, "files": ";".join(files), **told}


def _case(cohort: pd.DataFrame, k: int, name: str, folder: Sequence[Path], seed: int) -> dict[str, Any]:
    """What is to be made of the k-th case; the ending of its path follows when it is written."""
    row: dict[str, Any] = dict(cohort.iloc[k % len(cohort)])
    case = f"{row['id']}{PAINTED_IN}-{_safe(name)}-{k // len(cohort) + 1}"
    if folder:
        row[LESION] = str(folder[int(_chance(seed, k).integers(len(folder)))])
    masks = {MASKED_BY: marked_by(row[LESION], row[TISSUES])}
    return {**row, CLASS: "", "case": k, "drawn_from": row["path"], "id": case, "path": f"{IMAGES}/{case}", **masks}


def _chance(seed: int, case: int) -> np.random.Generator:
    return np.random.default_rng([seed, int(case)])


def _safe(name: str) -> str:
    return "".join(each if each.isalnum() else "-" for each in name)


def _lesions_of(
    cohort: pd.DataFrame, images: Path | str | pd.DataFrame, given: str | None
) -> tuple[pd.DataFrame, tuple[Path, ...]]:
    """The cohort with the mask of each image, or the masks of a folder to take one of."""
    if given is None:
        return cohort.assign(**{LESION: ""}), ()
    if given in cohort:
        base = base_of(images)
        cells = ["" if pd.isna(cell) or not str(cell).strip() else str(base / str(cell)) for cell in cohort[given]]
        if not all(cells):
            raise CohortError(f"{cells.count('')} images have no mask in the column {given}; fill in their files")
        return cohort.assign(**{LESION: cells}), ()
    if Path(given).is_dir():
        return cohort.assign(**{LESION: ""}), tuple(find(Path(given), all_of_it=True))
    raise CohortError(f"the table has no column {given!r}, and there is no folder of that name; correct --lesions")


def _within(run: PainterRun, where_label: Sequence[str], tissues: str | None) -> Labels | None:
    """The tissues that lesions are to lie in, of a run that knows none.

    Raises:
        AnomalyError: no label maps, or no such tissue.
    """
    if not where_label:
        return None
    if tissues is None:
        raise AnomalyError("--where-label names tissues of label maps; give these by --labels")
    if run.tissues is None:
        return Labels.asked(",".join(where_label))
    for name in where_label:
        if name not in run.tissues.names:
            raise AnomalyError(f"{run.folder} knows no tissue {name!r}; it knows {', '.join(run.tissues.names)}")
    return run.tissues
