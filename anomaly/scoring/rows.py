"""What is said of images, as rows of the table, a batch at a time: in this process, or in a worker of a cluster."""

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from anomaly.clusters.working import Work
from anomaly.errors import RunError, UnreadableImage
from anomaly.images.dicom_maps import highdicom
from anomaly.images.image import alone
from anomaly.images.intake import AHEAD, Ready, taken_in
from anomaly.runs.run import Run
from anomaly.scoring.ensemble import Ensemble, Verdict
from anomaly.scoring.grid import grid_row
from anomaly.scoring.maps import write_heatmaps
from anomaly.scoring.unlike import Stranger
from anomaly.streams import ordered
from anomaly.training.machine import computing_with, one_core_left

Row = dict[str, Any]
Batch = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Asked:
    """What a scoring is asked for, in plain values, which travel to the workers of a cluster.

    Args:
        runs: folders, whole paths.
        weights: their identities; a worker that finds others there refuses.
        out: where heatmaps go.
        endless: see `Ensemble`.
        workers: threads that read, and as many that write; None takes one a core of those that may be used.
        alpha, heatmaps, refuse_unlike, method, device: see `score`.
    """

    runs: tuple[str, ...]
    weights: tuple[str, ...]
    out: str
    alpha: float
    heatmaps: tuple[str, ...]
    refuse_unlike: bool
    endless: bool
    method: str | None
    device: str
    workers: int | None

    def open(self, threads: int) -> Work:
        """Open the runs in a worker of a cluster: rows of batches, computed by so many threads.

        Raises:
            MissingPackage: heatmaps are to be DICOM, and highdicom is not installed there.
            RunError: the folders hold other runs there.
        """
        if "dicom" in self.heatmaps:
            highdicom()
        runs = [Run.open(folder, device=self.device, method=self.method) for folder in self.runs]
        ensemble = Ensemble(runs, endless=self.endless)
        if tuple(ensemble.identities) != self.weights:
            raise RunError(f"{self.runs[0]} holds another run where the worker is; put runs on a shared disk")
        scorer = Scorer(self, ensemble, Stranger(runs, self.refuse_unlike), self.workers or threads)

        def rows(batches: Sequence[Batch]) -> list[list[Row]]:
            with computing_with(threads):
                return list(scorer.rows(batches))

        return rows


@dataclass(frozen=True)
class Scorer:
    """Runs that are open, and what they are asked.

    Args:
        workers: threads that read, and as many that write.
    """

    asked: Asked
    ensemble: Ensemble
    stranger: Stranger
    workers: int

    def rows(self, batches: Sequence[Batch]) -> Iterator[list[Row]]:
        """Rows of one batch after another, their heatmaps written: with an `error` for images that cannot be used."""
        with one_core_left(), ThreadPoolExecutor(self.workers) as pool:
            judged = self._judged(batches, pool)
            yield from ordered(pool, lambda work: self._finish(*work), judged, ahead=AHEAD)

    def _judged(
        self, batches: Sequence[Batch], pool: ThreadPoolExecutor
    ) -> Iterator[tuple[list[Ready], list[Verdict]]]:
        for ready in taken_in(batches, self.ensemble.prepare, pool):
            fine = [one for one in ready if not one.error]
            yield ready, self.ensemble.judge([one.prepared for one in fine]) if fine else []

    def _finish(self, ready: Sequence[Ready], verdicts: Sequence[Verdict]) -> list[Row]:
        """Write the heatmaps of a batch, then give its rows: a row never names a heatmap that is not there."""
        told = zip(verdicts, self.stranger.columns([one for one in ready if one.image is not None]), strict=True)
        rows: list[Row] = []
        for one in ready:
            about = one.about
            if one.image is None:
                rows.append({**about, "error": one.error})
                continue
            verdict, unlike = next(told)
            if "error" in unlike:
                rows.append({**about, "error": unlike["error"]})
                continue
            if not math.isfinite(verdict.value):
                rows.append({**about, "error": f"its value is {verdict.value}; look at the image and its intensities"})
                continue
            row = {
                **about, "value": verdict.value, "z": verdict.z, "p_value": verdict.p_value,
                "flagged": int(verdict.p_value <= self.asked.alpha), "heatmap": "", **verdict.parts, **unlike,
                **grid_row(verdict.cells, one.image),
            }  # fmt: skip
            draw = partial(
                write_heatmaps, Path(self.asked.out), row, one.image, one.prepared, verdict, self.asked.heatmaps,
                self.asked.weights,
            )  # fmt: skip
            try:
                row["heatmap"] = ";".join(alone(one.image.path, draw, "drawn"))
            except UnreadableImage as error:
                row = {**about, "error": str(error)}
            rows.append(row)
        return rows
