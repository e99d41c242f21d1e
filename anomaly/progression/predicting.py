"""Predict the next visit of any number of persons with a run: one after another, and only what is missing."""

import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from anomaly.cohorts.cohort import refuse_overlap
from anomaly.cohorts.joining import simulated
from anomaly.cohorts.masks import suited
from anomaly.cohorts.results import some
from anomaly.cohorts.tables import Form, GrowingTable
from anomaly.cohorts.visits import SIDES
from anomaly.errors import AnomalyError, CohortError, UnreadableImage
from anomaly.images.finding import Globs
from anomaly.images.image import alone
from anomaly.progress import progress
from anomaly.progression.forecasting import DRAWS, Forecast, forecast, read_pairs, refuse_years
from anomaly.progression.inputs import INPUTS, inputs_of, left_of, refuse_others
from anomaly.progression.pairing import singles
from anomaly.progression.reading import Pair, flags_alone
from anomaly.progression.run import ForecasterRun
from anomaly.progression.volumes import told as told_volume
from anomaly.progression.writing import write_maps, write_picture
from anomaly.shown import Readable
from anomaly.training.machine import one_core_left

logger = logging.getLogger(__name__)
PREDICTIONS = Form("predictions", "progress.json", ("id", "subject", "path", "files"), files="files")
COLUMNS = (
    *("years", "volume", "predicted_volume", "change", "change_low", "change_high", "spread", "p_growing"),
    *("unit", "interval", INPUTS),
)


@dataclass(frozen=True, repr=False)
class Predicted(Readable):
    """What a call of `predict_progression` did.

    Args:
        path: the table of predictions.
        errors: the table of images that cannot be used, there if there are any.
        new, before, failed: images predicted now, by an earlier call, and that cannot be used.
        why_none: why there are no intervals; "" where there are.
    """

    path: Path
    errors: Path
    new: int
    before: int
    failed: int
    why_none: str

    def _in_short(self) -> tuple[str, dict[str, object]]:
        title = f"{self.new} persons new, {self.before} from before, {self.failed} unreadable"
        told = {"table": self.path, "errors": self.errors if self.failed else None}
        return title, {**told, "intervals": self.why_none or None}


def predict_progression(
    run: Path | str,
    images: Path | str | pd.DataFrame,
    out: Path | str,
    *,
    years: float | None = None,
    maps: str | Path | None = None,
    draws: int = DRAWS,
    subject: str | None = None,
    subject_pattern: str | None = None,
    where: Mapping[str, str] | None = None,
    match: Globs = None,
    exclude: Globs = None,
    mask: str | Path | None = None,
    allow_overlap: bool = False,
    device: str = "auto",
    workers: int | None = None,
) -> Predicted:
    """Draw the map of the next visit of every image; this is `anomaly progress predict`.

    Writes `maps/ID_followup` and `maps/ID_evolution` (NIfTI on the grid of the map's file, PNG of pictures), whose
    headers say that they were drawn, `pictures/ID.png`, and `predictions.csv`: id, subject, path, years, volume now,
    predicted_volume, change with its 95 % interval (change_low, change_high), spread of the draws, p_growing, unit. A
    second call with the same arguments predicts only what is missing.

    Args:
        run: what `learn_progression` left.
        images: a folder or a table of images of now.
        out: gets all that is written.
        years: until the next visit; None takes the mean of those learned from.
        maps: where the map of each image is, as in `Visits`.
        draws: whose mean and spread are told, of a method with noise. The interval is calibrated with 10; with others
            there is none.
        subject, subject_pattern, where, match, exclude: see `read_cohort`.
        mask: masks of what counts, for a run that was trained with such; left out, the table's column `mask`.
        allow_overlap: take persons of the training too.
        device: "auto", "cpu", "cuda", ...
        workers: threads that read; None takes one a core.

    Raises:
        AnomalyError: a time beyond those that were learned from.
        CohortError: no images, or persons that the run knows.
        RunError: a run that cannot be used, or an `out` that holds predictions by another, or of other files.
    """
    out, opened = Path(out), ForecasterRun.open(run, device=device)
    until = asked_years(opened, years)
    refuse_no_maps(opened, maps)
    cohort = singles(
        images, maps, mask, subject=subject, subject_pattern=subject_pattern, where=where, match=match, exclude=exclude
    )
    _tell_several(cohort)
    work = _Work(opened, out, until, draws)
    return work.done(new_to(opened, cohort, mask, allow_overlap), workers)


def refuse_no_maps(run: ForecasterRun, maps: str | Path | None) -> None:
    """Refuse images where a run learned from maps that lay beside them: they would be taken as maps.

    Raises:
        CohortError: so.
    """
    learned = run.facts.get("pairs", {}).get("maps")
    if maps is None and learned is not None:
        raise CohortError(
            f"{run.folder} learned from maps beside the images ({learned}), and none are given; give --maps "
            "(--maps path where the images are such maps)"
        )


def _tell_several(cohort: pd.DataFrame) -> None:
    """Say so where persons have several images: an earlier one is foretold as well, though its next visit is there."""
    side = next((name for name in SIDES if name in cohort), None)
    again = cohort[cohort.duplicated(["subject", *([side] if side else [])], keep=False)]
    if len(again):
        logger.warning(
            "%d images are of persons with several (%s), and the next visit is predicted of each; to predict from the "
            "latest alone, choose it with --where",
            len(again), some(again["subject"].unique()),
        )  # fmt: skip


def new_to(
    run: ForecasterRun, cohort: pd.DataFrame, mask: str | Path | None, allow_overlap: bool
) -> list[Mapping[str, Any]]:  # fmt: skip
    """Rows, each with its `INPUTS`, as they suit a run that must not know their subjects."""
    cohort = suited(cohort, mask, run.reading.preprocessing.mask, str(run.folder))
    if not allow_overlap:
        refuse_overlap(run.trained, cohort, run.folder)
    by_depth = run.reading.span is None and not run.reading.flags
    if by_depth and flags_alone(cohort):
        logger.warning(
            "all maps hold grey 0 and 1 alone, and 1 is a small probability to this run, as pictures are read by their "
            "depth; if it is to be disease, save it as the largest grey (255)"
        )
    rows: list[Any] = cohort.to_dict("records")
    return [{**row, INPUTS: inputs_of(row)} for row in rows]


def asked_years(run: ForecasterRun, years: float | None) -> float:
    """The years until the next visit that are asked for, the mean of those learned from where none are.

    Raises:
        AnomalyError: they lie beyond those.
    """
    if years is None or not run.facts["told_years"]:
        if years is not None:
            raise AnomalyError(f"{run.folder} learned from visits whose times nobody told; leave the years out")
        return run.years
    if not (math.isfinite(years) and years > 0):
        raise AnomalyError(f"years is {years:g}; expected a number above 0, until the next visit")
    try:
        refuse_years(years, run.spans, run.timed, "asked for")
    except UnreadableImage as error:
        raise AnomalyError(f"{error} ({run.folder}); nobody knows what is beyond") from None
    return years


def about(row: Mapping[str, Any]) -> dict[str, Any]:
    """Id, subject and path of a row, and what it is made of."""
    return {name: row[name] for name in ("id", "subject", "path", INPUTS)}


@dataclass(frozen=True)
class _Work:
    """What is done to each image."""

    run: ForecasterRun
    out: Path
    years: float
    draws: int

    def done(self, rows: Sequence[Mapping[str, Any]], workers: int | None) -> Predicted:
        """Predict what is missing, and keep the tables of it."""
        run = self.run
        facts = {
            "forecaster": run.identity, "years": self.years, "draws": self.draws,
            "threshold": run.forecaster.threshold, "runs": [os.path.relpath(run.folder, self.out)],
        }  # fmt: skip
        refuse_others(PREDICTIONS, self.out)
        table = GrowingTable(PREDICTIONS, self.out, settings=facts, columns=COLUMNS)
        left = left_of(table, rows)
        before = len(rows) - len(left)
        with (
            ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool, table, one_core_left(),
            progress("predicting", len(rows), done=before, unit="persons") as bar,
        ):  # fmt: skip
            for row in self.rows(left, pool):
                table.add([row])
                bar.advance()
        return Predicted(table.path, table.errors, table.added, before, table.failed, why_none(run, self.draws))

    def rows(self, left: Sequence[Mapping[str, Any]], pool: ThreadPoolExecutor) -> Iterator[dict[str, Any]]:
        """The row of each image, once its files are written, or why it has none."""
        for row, pair in read_pairs(left, self.run.reading, pool, known=False):
            try:
                if isinstance(pair, UnreadableImage):
                    raise pair
                yield {**about(row), **alone(Path(row["path"]), partial(self._one, row, pair), "predicted")}
            except UnreadableImage as error:
                yield {**about(row), "error": str(error)}

    def _one(self, row: Mapping[str, Any], pair: Pair) -> dict[str, Any]:
        name = str(row["id"])
        if pair.unit != self.run.unit:
            raise UnreadableImage(
                f"{pair.image.path}: its volume would be in {pair.unit}, the run's is {self.run.unit}"
            )
        told = forecast(self.run.forecaster, pair, self.years, name, self.draws)
        found = said(self.run, told, self.draws) | {"years": self.years, "unit": pair.unit}
        run = self.run
        says = f"anomaly: drawn by {run.forecaster.name} {run.identity[:12]}, not measured"
        files = write_maps(self.out, name, pair, told, says)
        made_up = "SIMULATED: " if run.simulated or simulated(pd.DataFrame([row])) else ""
        files.append(write_picture(self.out, name, pair, told, made_up + _footer(found)))
        return {**found, "interval": why_none(run, self.draws) or "95 %", "files": ";".join(files)}


def said(run: ForecasterRun, told: Forecast, draws: int) -> dict[str, Any]:
    """Volumes, change with interval, spread and the chance of growth, of one forecast; "" for what cannot be told."""
    change = told.predicted_volume - told.volume
    found = {"volume": told.volume, "predicted_volume": told.predicted_volume, "change": change, "spread": told.spread}
    interval = run.calibration.said(pd.DataFrame([found]), _many(run, draws)).iloc[0]
    ends: dict[str, Any] = {str(name): "" if math.isnan(end) else float(end) for name, end in interval.items()}
    if ends["p_growing"] != "":
        ends["p_growing"] = round(ends["p_growing"], 6)
    return {**found, **ends}


def why_none(run: ForecasterRun, draws: int) -> str:
    """Why predictions with so many draws have no interval; "" where they have."""
    return run.calibration.why_none_of(_many(run, draws))


def _many(run: ForecasterRun, draws: int) -> int:
    """Of how many draws a prediction is the mean: 1 of a method without noise, whatever is asked."""
    return draws if run.forecaster.noisy else 1


def _footer(found: Mapping[str, Any]) -> str:
    ends = ""
    if found["change_low"] != "":
        ends = f" ({told_volume(found['change_low'])} to {told_volume(found['change_high'])})"
    now, then = (told_volume(found[name], found["unit"]) for name in ("volume", "predicted_volume"))
    sign = "+" if found["change"] >= 0 else ""
    return (
        f"volume {now}, in {found['years']:.3g} years {then}: {sign}{told_volume(found['change'])}{ends}; drawn, not "
        "measured"
    )
