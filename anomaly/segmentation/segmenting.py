"""Segment any number of images with a run, or with several together: streaming, and only what is missing."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from anomaly.cohorts.cohort import read_cohort, refuse_overlap
from anomaly.cohorts.masks import Given, suited
from anomaly.cohorts.results import some
from anomaly.cohorts.tables import Form, GrowingTable
from anomaly.errors import CohortError, UnreadableImage
from anomaly.files import write_whole
from anomaly.images import Image
from anomaly.images.finding import Globs
from anomaly.images.image import alone
from anomaly.images.intake import Ready, intake
from anomaly.images.prepared import Prepared, scaled
from anomaly.images.preprocessing import Preprocessing
from anomaly.progress import progress
from anomaly.segmentation.annotations import UNLABELLED, Source
from anomaly.segmentation.finding import Asked, Found, found_in
from anomaly.segmentation.opening import open_runs
from anomaly.segmentation.run import SegmenterRun
from anomaly.segmentation.writing import SEGMENTATION, volumes, write_found
from anomaly.segmenters.uncertainty import refuse_without_dropout
from anomaly.shown import Readable
from anomaly.streams import ordered
from anomaly.training.machine import one_core_left

SEGMENTATIONS = Form("segmentations", "segment.json", ("id", "subject", "path", "file"), files="files")
AHEAD = 2
logger = logging.getLogger(__name__)
TEXTS = {"id": str, "subject": str, "path": str, "file": str, "files": str}


@dataclass(frozen=True, repr=False)
class Segmentation(Readable):
    """What a call of `segment` did.

    Args:
        path: the table of label maps, with the volume of each class.
        cohort: the images with their label maps as a table to go on with.
        errors: the table of images that cannot be used, there if there are any.
        new, before, failed: images segmented now, by an earlier call, and that cannot be used.
    """

    path: Path
    cohort: Path
    errors: Path
    new: int
    before: int
    failed: int

    def _in_short(self) -> tuple[str, dict[str, object]]:
        title = f"{self.new} images new, {self.before} from before, {self.failed} unreadable"
        return title, {"table": self.path, "cohort": self.cohort, "errors": self.errors if self.failed else None}


def segment(
    runs: Path | str | Sequence[Path | str],
    images: Source,
    out: Path | str,
    *,
    probabilities: bool = False,
    uncertainty: bool = False,
    dropout_draws: int = 0,
    largest: Sequence[str] = (),
    smallest: float = 0.0,
    subject: str | None = None,
    subject_pattern: str | None = None,
    where: Mapping[str, str] | None = None,
    match: Globs = None,
    exclude: Globs = None,
    mask: Given = None,
    allow_overlap: bool = False,
    device: str = "auto",
    workers: int | None = None,
) -> Segmentation:
    """Say of each pixel of images which class it is; this is `anomaly segment apply`.

    Writes `ID_segmentation.png` (of pictures) or `.nii.gz` on the grid of each image, with the numbers of the label
    maps learned from. `segmentations.csv` has id, subject, path, file, `volume_CLASS` in `unit` (mm3, mm2 or pixels),
    `uncertainty`, the mean over the image, and `uncertainty_marked`, over what is marked (1: all classes as likely).
    `cohort.csv` lists the images with their label maps in the column `segmentation`, to go on with: as `--mask`,
    `--truth` or `--labels`. Memory does not grow with the number of images; a second call with the same arguments
    segments only what is missing.

    Args:
        runs: what `learn_segmentation` left; several are an ensemble, whose probabilities are averaged.
        images: a folder or a table.
        out: gets all that is written.
        probabilities: write `ID_probability-CLASS.nii.gz` as well.
        uncertainty: write `ID_uncertainty.nii.gz` as well: the entropy of the probabilities, 0 to 1; and of several
            runs or draws `ID_disagreement.nii.gz`, the part of it that is theirs: mutual information, 0 to 1.
        dropout_draws: how often each run looks with channels dropped by chance; probabilities are the mean.
        largest: classes of which the largest piece alone is kept.
        smallest: pieces of a class smaller than this, in the unit of the volumes, are taken away.
        subject, subject_pattern, where, match, exclude, mask: see `read_cohort`. Masks are for runs that were trained
            with masks; outside them all is background.
        allow_overlap: segment images of subjects whose label maps a run has seen as well; whoever it has seen without
            is not refused.
        device: "auto", "cpu", "cuda", ...
        workers: threads that read, and as many that write; None takes one a core.

    Raises:
        CohortError: no images, or subjects whose label maps a run has seen.
        RunError: a run that cannot be used, or not with the others, or an `out` that holds other segmentations.
    """
    out, folders = Path(out), [runs] if isinstance(runs, str | Path) else list(runs)
    opened = open_runs(folders, device=device)
    if dropout_draws:
        for run in opened:
            refuse_without_dropout(run.segmenter, run.folder)
    asked = Asked.of(
        opened[0].labels, probabilities=probabilities, uncertainty=uncertainty, draws=dropout_draws, largest=largest,
        smallest=smallest,
    )  # fmt: skip
    preprocessing = opened[0].preprocessing
    cohort = read_cohort(
        images, subject=subject, subject_pattern=subject_pattern, where=where, match=match, exclude=exclude, mask=mask,
        missing="keep",
    )  # fmt: skip
    cohort = suited(cohort, mask, preprocessing.mask, str(folders[0]))
    if not allow_overlap:
        for run in opened:
            refuse_overlap(run.trained, cohort, run.folder)
    for run in opened:
        if seen := sorted({*cohort["subject"]} & run.subjects(UNLABELLED)):
            logger.info("%d subjects were seen by %s without their label maps (%s)", len(seen), run.folder, some(seen))
    rows: list[Any] = cohort.to_dict("records")
    table = GrowingTable(SEGMENTATIONS, out, settings=_settings(opened, asked, cohort, out), columns=columns(asked))
    left = table.left(rows)
    before = len(rows) - len(left)
    with (
        ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool, table, one_core_left(),
        progress("segmenting", len(rows), done=before, unit="images") as bar,
    ):  # fmt: skip
        for row in ordered(pool, partial(_finish, out, asked), _found(opened, left, asked, pool), ahead=AHEAD):
            table.add([row])
            bar.advance()
    found = pd.read_csv(table.path, dtype=TEXTS, keep_default_na=False)
    if found.empty:
        raise CohortError(f"none of the {len(rows)} images can be segmented; {table.errors} says what is wrong")
    path = _write_cohort(out, found, cohort)
    return Segmentation(table.path, path, table.errors, table.added, before, table.failed)


def columns(asked: Asked) -> list[str]:
    """Of the table, behind the usual ones."""
    return [*(f"volume_{name}" for name in asked.labels.names), "unit", "uncertainty", "uncertainty_marked", "files"]


def prepared_for(image: Image, preprocessing: Preprocessing) -> tuple[Prepared, ...]:
    """The image as a segmenter takes it.

    Raises:
        UnreadableImage: it does not suit the preprocessing.
    """
    return (scaled(preprocessing.apply(image), image.path),)


def _settings(runs: Sequence[SegmenterRun], asked: Asked, cohort: pd.DataFrame, out: Path) -> dict[str, Any]:
    return {
        "segmenters": [run.identity for run in runs],
        "classes": asked.labels.as_json(),
        **asked.as_json(),
        "mask": cohort.attrs.get("masks_from", ""),
        "runs": [os.path.relpath(run.folder, out) for run in runs],
    }


def _found(
    runs: Sequence[SegmenterRun], rows: Sequence[Any], asked: Asked, pool: ThreadPoolExecutor
) -> Iterator[tuple[Ready, Found | str]]:
    prepare = partial(prepared_for, preprocessing=runs[0].preprocessing)
    segmenters = [run.segmenter for run in runs]
    for (one,) in intake(rows, prepare, pool, 1):
        if one.image is None:
            yield one, one.error
            continue
        work = partial(found_in, segmenters, one.image, one.prepared[0], asked, told=str(one.row["id"]))
        try:
            yield one, alone(one.image.path, work, "segmented")
        except UnreadableImage as error:
            yield one, str(error)


def _finish(folder: Path, asked: Asked, done: tuple[Ready, Found | str]) -> dict[str, Any]:
    """Write the files of an image, then give its row: a row never names a file that is not there."""
    one, found = done
    about = {name: value for name, value in one.about.items() if name != "mask"}
    if isinstance(found, str) or one.image is None:
        return {**about, "error": found}
    write = partial(write_found, folder, str(about["id"]), one.image, found, asked)
    try:
        files = alone(one.image.path, write, "written")
    except UnreadableImage as error:
        return {**about, "error": str(error)}
    told = volumes(found.places, one.image, asked.labels)
    sure = {"uncertainty": found.mean_uncertainty, "uncertainty_marked": found.uncertainty_marked}
    return {**about, **told, **sure, "file": files[0], "files": ";".join(files)}


def _write_cohort(out: Path, found: pd.DataFrame, cohort: pd.DataFrame) -> Path:
    """`cohort.csv`: the images as a table, whose they are, their label maps, and their masks where there are any."""
    table = found[["id", "subject", "path"]].assign(**{SEGMENTATION: found["file"]})
    if "mask" in cohort:
        masks = dict(zip(cohort["path"], cohort["mask"], strict=True))
        table["mask"] = [masks.get(path, "") for path in found["path"]]
    path = out / "cohort.csv"
    write_whole(path, table.to_csv(index=False))
    return path
