"""Say how near restored images come to good ones, beside what needs no learning, and whether anybody is helped."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.classical.classical import AS_GIVEN
from anomaly.cohorts.cohort import read_cohort, refuse_overlap
from anomaly.cohorts.joining import events
from anomaly.cohorts.masks import Given, counting
from anomaly.cohorts.tables import Form, GrowingTable
from anomaly.errors import CohortError, RunError, UnreadableImage
from anomaly.files import write_whole
from anomaly.images.finding import Globs
from anomaly.images.image import alone
from anomaly.images.intake import Ready, intake
from anomaly.progress import progress
from anomaly.restoration.drawing import OwnGrid
from anomaly.restoration.floors import Floors
from anomaly.restoration.judging import (
    MEASURES,
    POOR,
    RESTORED,
    TRUTH,
    Judge,
    Judged,
    asked_of,
    figures,
    inside_of,
    judge_of,
    open_judge,
    versions_of,
)
from anomaly.restoration.telling import HTML, html, page, picture, summary
from anomaly.restorers.degrading import last_step
from anomaly.restorers.keeping import GOOD
from anomaly.restorers.learning import paired
from anomaly.restorers.run import RestorerRun
from anomaly.restorers.scales import laid_out
from anomaly.runs.run import COHORT, Run
from anomaly.shown import Readable
from anomaly.training.batches import evenly
from anomaly.training.machine import one_core_left

FIDELITY = Form("fidelity", "fidelity.json", ("id", "subject", "path", "files"), files="files")
SHOWN = 6


@dataclass(frozen=True, repr=False)
class Fidelity(Readable):
    """How near restored images come to good ones.

    Args:
        path: the table of figures, a row an image.
        summary: means with intervals, and differences from the best floor, a row each.
        page: what a reader is told.
        errors: the table of images that cannot be used, there if there are any.
        failed: how many these are.
        sentences: the main figures in words.
    """

    path: Path
    summary: pd.DataFrame
    page: Path
    errors: Path
    failed: int
    sentences: tuple[str, ...]

    def _in_short(self) -> tuple[str, dict[str, object]]:
        return self.sentences[0], {
            "table": self.path,
            "page": self.page,
            "errors": self.errors if self.failed else None,
        }


def evaluate_restorer(
    run: Path | str,
    images: Path | str | pd.DataFrame,
    out: Path | str,
    *,
    pairs: str | None = None,
    mask: Given = None,
    judge: Path | str | Judge | None = None,
    outcome: str | None = None,
    positive: str | None = None,
    subject: str | None = None,
    subject_pattern: str | None = None,
    where: Mapping[str, str] | None = None,
    match: Globs = None,
    exclude: Globs = None,
    allow_overlap: bool = False,
    seed: int = 0,
    device: str = "auto",
    workers: int | None = None,
) -> Fidelity:
    """Make good images poor, restore them, and say how near they come; this is `anomaly restore evaluate`.

    Writes `fidelity.csv`, a row an image: of the poor image, of what needs no learning and of the restored one PSNR and
    SSIM (of a range of 2, black to white), RMSE (in the image's intensities), NMSE, inside a mask as well where there
    is one, and what a judge says. `summary.csv` has means with 95 % intervals by bootstrap of subjects, and the paired
    difference from the best floor; `fidelity.html`, `fidelity.md` and `fidelity.png` show it. Images are cropped to
    whole steps of the degradation.

    Args:
        run: the folder that `anomaly restore train` left.
        images: good images; poor ones where the run learned from pairs.
        out: gets the tables and the page.
        pairs: the column that names the good image of each poor one, as in training.
        mask: masks of what matters, such as a lesion: a folder, a pattern, a column.
        judge: run of a detector, whose value, or any callable, which says a number of an `Image`, is asked of the good,
            the poor and the restored image.
        outcome: with a judge, the column that is 1 for cases: does the judge tell them apart as well?
        positive: the value of it that counts as 1.
        subject, subject_pattern, where, match, exclude: see `read_cohort`.
        allow_overlap: take images of subjects that the run, or the judge, was trained on as well.
        seed: of the degradation, and of the bootstrap.
        device: "auto", "cpu", "cuda", ...
        workers: threads that read; None takes one a core.

    Raises:
        CohortError: no images, or subjects that the run was trained on, or the judge was trained or calibrated on.
        RunError: a run that cannot be used, or an `out` that holds other figures.
    """
    out, opened = Path(out), RestorerRun.open(run, device=device)
    brush, detector = OwnGrid(opened), None if judge is None or callable(judge) else open_judge(judge, device)
    asked = judge if callable(judge) else None if detector is None else judge_of(detector)
    if (opened.degradation is None) != (pairs is not None):
        told = "learned from pairs; give --pairs" if pairs is None else "makes images poor by itself; leave --pairs out"
        raise RunError(f"{run} {told}")
    if outcome is not None and asked is None:
        raise RunError("an outcome is for a judge to tell; give --judge, the run of a detector, or leave --outcome out")
    cohort = read_cohort(
        images, subject=subject, subject_pattern=subject_pattern, where=where, match=match, exclude=exclude,
        mask="none" if mask is None else mask, missing="keep",
    )  # fmt: skip
    cohort = counting(cohort)
    if pairs is not None:
        cohort = paired(cohort, pairs, Path() if isinstance(images, pd.DataFrame) else Path(images).parent)
    if not allow_overlap:
        refuse_overlap(opened.trained, cohort, opened.folder)
        if detector is not None:
            refuse_overlap(detector.normals["subject"], cohort, detector.folder)
    work = _Work(brush, Floors.of(opened.degradation, _held_out(opened, cohort), opened.preprocessing), asked, seed)
    rows: list[Any] = cohort.to_dict("records")
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        facts = {
            "run": opened.identity, "undoes": opened.undoes, "pairs": pairs, "seed": seed,
            "floors": {name: work.floors.strengths.get(name) for name in work.floors.names},
            "untuned": list(work.floors.untuned),
            "mask": None if mask is None else cohort.attrs.get("masks_from"),
            "judge": _named(judge, detector), "runs": [os.path.relpath(run, out)],
        }  # fmt: skip
        table = GrowingTable(FIDELITY, out, settings=facts, columns=work.columns(mask is not None))
        left = table.left(rows)
        before = len(rows) - len(left)
        with table, one_core_left(), progress("judging", len(rows), done=before, unit="images") as bar:
            for row in work.rows(left, pool):
                table.add([row])
                bar.advance()
    found = pd.read_csv(table.path, dtype={"id": str, "subject": str, "path": str}, keep_default_na=False)
    if found.empty:
        raise CohortError(f"none of the {len(rows)} images can be used; see {table.errors}")
    floors = [*([] if set(AS_GIVEN) & {*work.floors.names} else [POOR]), *work.floors.names]
    labels = None if outcome is None else _labels(found, cohort, outcome, positive)
    means = summary(found, floors, labels=labels, seed=seed)
    write_whole(out / "summary.csv", means.to_csv(index=False))
    shown = [row for row in rows if row["path"] in set(found["path"])]
    drawn = list(work.shown([shown[i] for i in evenly(len(shown), SHOWN)]))
    step = last_step(opened.degradation, len(opened.restorer.shape_) - 1)
    picture(out / "fidelity.png", drawn, means, opened.undoes, step)
    text, sentences = page(means, opened, found, table.failed, work.floors.untuned)
    write_whole(out / "fidelity.md", text)
    write_whole(out / HTML, html(means, opened, sentences, out))
    return Fidelity(table.path, means, out / HTML, table.errors, table.failed, tuple(sentences))


@dataclass(frozen=True)
class _Work:
    """What is done to each image."""

    brush: OwnGrid
    floors: Floors
    judge: Judge | None
    seed: int

    def columns(self, masked: bool) -> list[str]:
        """Of the table, behind the usual ones."""
        names = [POOR, *self.floors.names, RESTORED]
        measures = [*MEASURES, *(["nmse_inside"] if masked else [])]
        judged = [f"{name}_judged" for name in (TRUTH, *names)] if self.judge else []
        return [*(f"{name}_{measure}" for name in names for measure in measures), *judged]

    def rows(self, left: Sequence[Any], pool: ThreadPoolExecutor) -> Iterator[dict[str, Any]]:
        """The figures of each image, or why it has none."""
        for (one,) in intake(left, lambda image: (laid_out(image, self.brush.run.preprocessing),), pool, 1):
            about = {name: value for name, value in one.about.items() if name != "mask"}
            if one.image is None:
                yield {**about, "error": one.error}
                continue
            try:
                yield {**about, "files": "", **alone(one.image.path, partial(self._one, one), "judged")}
            except UnreadableImage as error:
                yield {**about, "error": str(error)}

    def versions(self, one: Ready) -> Judged:
        """The image, made poor and restored."""
        assert one.image is not None
        told = f"{self.seed} {one.row['id']}"
        return versions_of(self.brush, one.image, self.floors, told, one.row.get(GOOD))

    def _one(self, one: Ready) -> dict[str, float]:
        assert one.image is not None
        judged = self.versions(one)
        inside = inside_of(one.image, self.brush, judged.versions[TRUTH].shape[2:])
        found = figures(judged, inside)
        if self.judge is not None:
            found |= asked_of(self.judge, judged, one.image, tuple(judged.versions))
        return found

    def shown(self, rows: Sequence[Any]) -> Iterator[tuple[str, Judged]]:
        """The versions of some images again, to be drawn."""
        with ThreadPoolExecutor(1) as pool:
            for (one,) in intake(rows, lambda image: (laid_out(image, self.brush.run.preprocessing),), pool, 1):
                if one.image is not None:
                    yield str(one.row["id"]), self.versions(one)


def _named(judge: Path | str | Judge | None, detector: Run | None) -> str | None:
    """What tells a judge from others, in another process as well."""
    if judge is None or detector is not None:
        return None if detector is None else detector.identity
    return f"{judge.__module__}.{getattr(judge, '__qualname__', type(judge).__qualname__)}"


def _held_out(run: RestorerRun, judged: pd.DataFrame) -> list[str]:
    """Files of images that the run held out, of nobody judged here: strengths of filters are chosen by them."""
    table = pd.read_csv(run.folder / COHORT, dtype=str, keep_default_na=False)
    return list(table.loc[(table["split"] == "choose") & ~table["subject"].isin(judged["subject"]), "path"])


def _labels(found: pd.DataFrame, cohort: pd.DataFrame, outcome: str, positive: str | None) -> np.ndarray:
    """1 for cases, 0 for the others, NaN where unknown, of the rows of the table of figures."""
    told = events(cohort, outcome, positive, [])
    by_path = dict(zip(cohort["path"], told, strict=True))
    return np.array([by_path.get(path, np.nan) for path in found["path"]], dtype=float)
