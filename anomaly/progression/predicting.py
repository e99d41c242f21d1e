"""Predict the next visit of any number of persons with a run: one after another, and only what is missing."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.cohorts.cohort import refuse_overlap
from anomaly.cohorts.masks import suited
from anomaly.cohorts.tables import Form, GrowingTable
from anomaly.errors import AnomalyError, UnreadableImage
from anomaly.images.finding import Globs
from anomaly.images.image import alone
from anomaly.progress import progress
from anomaly.progression.forecasting import DRAWS, Forecast, forecast, read_pairs, refuse_years
from anomaly.progression.pairing import singles
from anomaly.progression.reading import Pair
from anomaly.progression.run import ForecasterRun
from anomaly.progression.writing import write_maps, write_picture
from anomaly.shown import Readable
from anomaly.training.machine import one_core_left

PREDICTIONS = Form("predictions", "progress.json", ("id", "subject", "path", "files"), files="files")
COLUMNS = (
    *("years", "volume", "predicted_volume", "change", "change_low", "change_high", "spread", "p_growing"),
    *("unit", "interval"),
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
        draws: whose mean and spread are told, of a method with noise.
        subject, subject_pattern, where, match, exclude: see `read_cohort`.
        mask: masks of what counts, for a run that was trained with such.
        allow_overlap: take persons of the training too.
        device: "auto", "cpu", "cuda", ...
        workers: threads that read; None takes one a core.

    Raises:
        AnomalyError: a time beyond those that were learned from.
        CohortError: no images, or persons that the run knows.
        RunError: a run that cannot be used, or an `out` that holds predictions by another.
    """
    out, opened = Path(out), ForecasterRun.open(run, device=device)
    until = asked_years(opened, years)
    cohort = singles(
        images, maps, mask, subject=subject, subject_pattern=subject_pattern, where=where, match=match, exclude=exclude
    )
    cohort = suited_to(opened, cohort, mask)
    if not allow_overlap:
        refuse_overlap(opened.trained, cohort, opened.folder)
    rows: list[Any] = cohort.to_dict("records")
    facts = {
        "forecaster": opened.identity, "years": until, "draws": draws, "threshold": opened.forecaster.threshold,
        "runs": [os.path.relpath(opened.folder, out)],
    }  # fmt: skip
    table = GrowingTable(PREDICTIONS, out, settings=facts, columns=COLUMNS)
    left = table.left(rows)
    before = len(rows) - len(left)
    work = _Work(opened, out, until, draws)
    with (
        ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool, table, one_core_left(),
        progress("predicting", len(rows), done=before, unit="persons") as bar,
    ):  # fmt: skip
        for row in work.rows(left, pool):
            table.add([row])
            bar.advance()
    return Predicted(table.path, table.errors, table.added, before, table.failed, opened.calibration.why_none)


def asked_years(run: ForecasterRun, years: float | None) -> float:
    """The years until the next visit that are asked for, the mean of those learned from where none are.

    Raises:
        AnomalyError: they lie beyond those.
    """
    if years is None or not run.facts["told_years"]:
        if years is not None:
            raise AnomalyError(f"{run.folder} learned from visits whose times nobody told; leave the years out")
        return run.years
    try:
        refuse_years(years, run.spans, run.timed, "asked for")
    except UnreadableImage as error:
        raise AnomalyError(f"{error} ({run.folder}); nobody knows what is beyond") from None
    return years


def suited_to(run: ForecasterRun, cohort: pd.DataFrame, mask: str | Path | None) -> pd.DataFrame:
    """A cohort with masks where the run takes such, without where not; CohortError where it has them not as it must."""
    cohort.attrs["masks_from"] = "" if mask is None or "mask" not in cohort else str(mask)
    return suited(cohort, mask, run.reading.preprocessing.mask, str(run.folder))


def about(row: Mapping[str, Any]) -> dict[str, Any]:
    """Id, subject and path of a row."""
    return {name: row[name] for name in ("id", "subject", "path")}


@dataclass(frozen=True)
class _Work:
    """What is done to each image."""

    run: ForecasterRun
    out: Path
    years: float
    draws: int

    def rows(self, left: Sequence[Mapping[str, Any]], pool: ThreadPoolExecutor) -> Iterator[dict[str, Any]]:
        """The row of each image, once its files are written, or why it has none."""
        for row, pair in read_pairs(left, self.run.reading, pool, known=False):
            try:
                if isinstance(pair, UnreadableImage):
                    raise pair
                yield {**about(row), **alone(Path(row["path"]), partial(self._one, str(row["id"]), pair), "predicted")}
            except UnreadableImage as error:
                yield {**about(row), "error": str(error)}

    def _one(self, name: str, pair: Pair) -> dict[str, Any]:
        if pair.unit != self.run.unit:
            raise UnreadableImage(
                f"{pair.image.path}: its volume would be in {pair.unit}, the run's is {self.run.unit}"
            )
        told = forecast(self.run.forecaster, pair, self.years, name, self.draws)
        found = said(self.run, told) | {"years": self.years, "unit": pair.unit}
        run = self.run
        says = f"anomaly: drawn by {run.forecaster.name} {run.identity[:12]}, not measured"
        files = write_maps(self.out, name, pair, told, says)
        files.append(write_picture(self.out, name, pair, told, _footer(found)))
        return {**found, "interval": run.calibration.why_none or "95 %", "files": ";".join(files)}


def said(run: ForecasterRun, told: Forecast) -> dict[str, float]:
    """Volumes, change with interval, spread and the chance of growth, of one forecast."""
    change = told.predicted_volume - told.volume
    found = {"volume": told.volume, "predicted_volume": told.predicted_volume, "change": change, "spread": told.spread}
    interval = run.calibration.said(pd.DataFrame([found])).iloc[0]
    ends = {name: "" if math.isnan(interval[name]) else float(interval[name]) for name in ("change_low", "change_high")}
    return {**found, **ends, "p_growing": float(np.round(interval["p_growing"], 6))}  # type: ignore[dict-item]


def _footer(found: Mapping[str, Any]) -> str:
    ends = f" ({found['change_low']:.4g} to {found['change_high']:.4g})" if found["change_low"] != "" else ""
    return (
        f"volume {found['volume']:.4g} {found['unit']}, in {found['years']:.3g} years {found['predicted_volume']:.4g}: "
        f"{found['change']:+.4g}{ends}; drawn, not measured"
    )
