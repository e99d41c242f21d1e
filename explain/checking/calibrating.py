"""Trainings on permuted labels say how much a run draws of nothing, and that is taken away of all its maps."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from anomaly.errors import AnomalyError, CohortError
from anomaly.files import write_whole
from anomaly.runs.facts import read_facts
from anomaly.runs.plans import planned, refuse_taken
from anomaly.shown import Readable, unread
from anomaly.statistics import Estimate
from anomaly.training.batches import chunks
from explain.base import Explainer
from explain.checking.again import Again, images_of, refuse_method
from explain.checking.findings import FEWEST_SUBJECTS
from explain.checking.holding import Held, by_person, smallest_that_holds, thresholds
from explain.checking.images import streamed
from explain.checking.permuted import permuted as permuted_
from explain.runs.calibration import ERRORS, FILE, Calibration, Sizes, write_calibration
from explain.runs.cards import model_card
from explain.runs.shrinking import sizes_at, strength
from explain.runs.source import Source, open_source
from explain.sides.sides import CHOOSE, TRAIN

logger = logging.getLogger(__name__)
STREAM = 1
"""Keeps these permutations apart from those of a check with the same seed, which tests what was calibrated by these."""
SMOOTHING = 1.0
"""Pixels around each that say how much is changed there: a lone pixel goes before a lesion does. Not tuned."""


@dataclass(frozen=True, repr=False)
class Calibrated(Readable):
    """What a call of `calibrate` did.

    Args:
        path: `calibration.json` in the run folder.
        errors: the table of held-out images that cannot be read, there if there are any.
        calibration: what is in `path`.
        unreadable: held-out images that cannot be read.
    """

    path: Path
    errors: Path
    calibration: Calibration
    unreadable: int

    def _in_short(self) -> tuple[str, dict[str, object]]:
        return "holds" if self.calibration.holds else "nothing holds", {
            "found": self.calibration.told(),
            "calibration": self.path,
            "unreadable": unread(self.unreadable, "images", self.errors),
        }


def calibrate(
    run: Path | str,
    *,
    permuted: int = 1,
    allowed: float = 0.05,
    images: Path | str | None = None,
    seed: int | None = None,
    method: str | None = None,
    device: str = "auto",
    save_every: int = 500,
    workers: int | None = None,
) -> Calibrated:
    """Measure how much a run draws if labels mean nothing, and take it away; this is `anomaly explain calibrate`.

    The explainer is trained again on permuted labels, in `permuted_1`, ... of its folder. On the cases held out the
    smallest threshold is looked for from which on what is left of those changes is at most `allowed` of what is left of
    the real ones (`explain.checking.holding`); it may be 0. `explain map` then makes all changes smaller by it
    (`explain.runs.shrinking`). Where there is no such threshold nothing holds: maps are empty, and say so.

    Writes `calibration.json` into the run folder, `calibration_errors.csv` where images cannot be read, and its
    sentence into `MODEL_CARD.md`. A stopped call leaves the run as it was, and goes on where it stood when it is called
    again.

    Args:
        run: run folder of an explainer that was trained on cases and controls alone.
        permuted: so many trainings, each with other labels; each must hold, so that more of them are stricter.
        allowed: share of the real maps.
        images: the folder that holds its images now, where they were moved.
        seed: of the permutations; that of what stands in `permuted_1` unless given, or else 0. Those of `explain check`
            are others, whatever its seed.
        method: FILE.py:CLASS again, for a run of a user's own method.
        device: "auto", "cpu", "cuda", ...
        save_every: steps between two checkpoints of a training.
        workers: threads that read images.

    Raises:
        AnomalyError: a number out of range, or a run whose maps have no reason to vanish.
        CohortError: images that are not there or cannot be read, or too few subjects.
        RunError: a run that cannot be used, or trainings that were begun with other settings.
    """
    if permuted < 1 or not 0 < allowed < 1:
        raise AnomalyError(f"permuted is {permuted}, allowed {allowed}; expected 1 or more, and a share below 1")
    source = open_source(run, method=method, device=device, raw=True)
    if source.run is None:
        raise AnomalyError(
            f"{run} is not trained, so there are no labels to permute; `anomaly explain check` checks it"
        )
    refuse_method(source.run)
    again = Again(
        run=source.run, out=source.run.folder, method=method, steps=None, device=device, save_every=save_every,
        workers=workers,
    )  # fmt: skip
    table = images_of(source.run, images)
    held_out = table[table["part"] == CHOOSE]
    largest, moves = _largest(source, held_out, workers)  # before anything is trained
    seed = _begun_with(source.run.folder / "permuted_1") if seed is None else seed
    others, changed = _trained(again, table, permuted, seed)
    errors: list[dict[str, Any]] = []
    found = _measured(source, others, held_out, thresholds(largest), workers, errors)
    held = smallest_that_holds(*found.of(1), found.tried, allowed=allowed)
    calibration = Calibration(
        run=source.run.identity, threshold=held.threshold, moves=moves, smoothing=SMOOTHING, allowed=allowed,
        ratio=held.ratio.value, ratio_high=_high(held.ratio), raw_ratio=held.raw.value, raw_ratio_high=_high(held.raw),
        permutations=permuted, seed=seed, changed=tuple(changed),
        interval=len(set(found.of(1)[2])) >= FEWEST_SUBJECTS, cases=_sizes(found, 1, held),
        controls=_sizes(found, 0, held) if (found.labels == 0).any() else None,
    )  # fmt: skip
    unreadable = source.run.folder / ERRORS
    unreadable.unlink(missing_ok=True)
    if errors:
        write_whole(unreadable, pd.DataFrame(errors).to_csv(index=False))
    write_calibration(source.run.folder, calibration)
    write_whole(source.run.folder / "MODEL_CARD.md", model_card(source.run.learned, source.run.facts, calibration))
    return Calibrated(source.run.folder / FILE, unreadable, calibration, len(errors))


def _begun_with(folder: Path) -> int:
    """The seed of the permutation that a training in this folder was begun with, finished or not; 0 where none was."""
    told = ""
    if (folder / "run.json").is_file():
        told = read_facts(folder)["data"]["subjects_from"]
    elif refuse_taken(folder, resume=True):
        told = planned(folder)["subjects_from"]
    found = re.search(r"\(permutation 1 of seed (-?\d+)\)", told)
    return int(found[1]) if found else 0


def _trained(again: Again, table: pd.DataFrame, count: int, seed: int) -> tuple[list[Explainer], list[str]]:
    """The explainers of so many permutations, trained now or before, and how many labels each changed."""
    others: list[Explainer] = []
    changes: list[str] = []
    for number in range(1, count + 1):
        mixed, changed = permuted_(table, number, seed, STREAM)
        logger.info("calibrating, permutation %d of %d: the labels of %s are changed", number, count, changed)
        told = f"labels are permuted in the part {TRAIN} (permutation {number} of seed {seed})"
        others.append(again.train(number, mixed, told, "a calibration").explainer)
        changes.append(changed)
    return others, changes


@dataclass(frozen=True)
class _Measured:
    """Mean change of held-out images at each threshold; of a volume that is taken apart the mean over its slices.

    Args:
        tried: the thresholds, (T,).
        real, nothing: (n, T) and (K, n, T).
        subjects, labels: (n,).
    """

    tried: np.ndarray
    real: np.ndarray
    nothing: np.ndarray
    subjects: np.ndarray
    labels: np.ndarray

    def of(self, label: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of one side: real, nothing, subjects."""
        there = self.labels == label
        return self.real[there], self.nothing[:, there], self.subjects[there]


def _largest(source: Source, table: pd.DataFrame, workers: int | None) -> tuple[float, bool]:
    """The largest `strength` of a change in all held-out cases, and whether it is a movement."""
    errors: list[dict[str, Any]] = []
    rows: list[Any] = table[table["label"] == 1].to_dict("records")
    largest, changed, moves = 0.0, -1.0, False
    for group in streamed(source, rows, workers, errors):
        for x in chunks(np.concatenate([pixels for _, pixels in group]), source.device):
            drawn = source.as_drawn(x)
            largest, moves = max(largest, float(strength(drawn, x, SMOOTHING).max())), drawn.field is not None
            changed = max(changed, float(sizes_at(drawn, x, [0.0], SMOOTHING).max()))
    if changed < 0:
        raise CohortError(f"none of {len(rows)} held-out cases can be read; first: {errors[0]['error']}")
    if changed == 0:
        raise AnomalyError(
            f"maps are 0 in all {len(rows)} held-out cases, so there is nothing to calibrate; train longer, or with "
            "less weight on small changes"
        )
    return largest, moves


def _measured(
    source: Source,
    others: Sequence[Explainer],
    table: pd.DataFrame,
    tried: np.ndarray,
    workers: int | None,
    errors: list[dict[str, Any]],
) -> _Measured:
    """Explain the held-out images by the real explainer and the others, and take away from it at each threshold."""

    def sizes_of(x: Tensor) -> np.ndarray:
        drawn_by = [source.as_drawn(x), *(source.within_masks(other.explain(x), x) for other in others)]
        return np.stack([sizes_at(each, x, tried, SMOOTHING) for each in drawn_by])

    rows: list[Any] = table.to_dict("records")
    sizes: list[np.ndarray] = []
    whose: list[tuple[str, int]] = []
    for group in streamed(source, rows, workers, errors):
        slices = [len(pixels) for _, pixels in group]
        parts = [sizes_of(x) for x in chunks(np.concatenate([pixels for _, pixels in group]), source.device)]
        of_images = np.split(np.concatenate(parts, axis=1), np.cumsum(slices)[:-1], axis=1)
        sizes += [each.mean(1) for each in of_images]
        whose += [(row["subject"], int(row["label"])) for row, _ in group]
    found = np.stack(sizes, axis=1)
    subjects, labels = (np.array(each, dtype=object) for each in zip(*whose, strict=True))
    return _Measured(tried, found[0], found[1:], subjects, labels)


def _sizes(found: _Measured, label: int, held: Held) -> Sizes:
    """Means over the persons of one side; of several trainings on permuted labels of the one that draws most."""
    real, nothing, subjects = found.of(label)
    images, real, nothing = len(real), by_person(real, subjects), by_person(nothing, subjects)
    left = (0.0, 0.0) if held.at is None else (real[:, held.at].mean(), nothing[:, :, held.at].mean(1).max())
    return Sizes(images, len(real), float(real[:, 0].mean()), float(nothing[:, :, 0].mean(1).max()), *map(float, left))


def _high(estimate: Estimate) -> float | None:
    """The upper end of an interval, where there is one."""
    return float(estimate.high) if np.isfinite(estimate.high) else None
