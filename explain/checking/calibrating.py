"""Trainings on permuted labels say how much a run draws of nothing, and that is taken away of all its maps."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.errors import AnomalyError
from anomaly.files import write_whole
from anomaly.pictures.scales import NOTHING
from anomaly.runs.facts import read_facts
from anomaly.runs.plans import planned, refuse_taken
from anomaly.shown import Readable, unread
from anomaly.statistics import Estimate
from explain.base import Explainer
from explain.checking.again import Again, images_of, refuse_method
from explain.checking.findings import FEWEST_SUBJECTS, little_told
from explain.checking.holding import smallest_that_holds, thresholds
from explain.checking.measuring import SMOOTHING, Seen, measured, seen_in, sizes_of
from explain.checking.permuted import permuted as permuted_
from explain.runs.calibration import ERRORS, FILE, Calibration, write_calibration
from explain.runs.cards import model_card
from explain.runs.run import LearnedRun
from explain.runs.source import open_source
from explain.runs.untold import UNTOLD, Untold, write_untold
from explain.sides.sides import CHOOSE, TRAIN

logger = logging.getLogger(__name__)
STREAM = 1
"""Keeps these permutations apart from those of a check with the same seed, which tests what was calibrated by these."""


@dataclass(frozen=True, repr=False)
class Calibrated(Readable):
    """What a call of `calibrate` did.

    Args:
        path: `calibration.json` in the run folder; where nothing could be told it is not there, or of an earlier call.
        errors: the table of held-out images that cannot be read, there if there are any.
        calibration: what was written to `path`; None where nothing could be told.
        sentence: what was found, in plain words.
        unreadable: held-out images that cannot be read.
    """

    path: Path
    errors: Path
    calibration: Calibration | None
    sentence: str
    unreadable: int

    def _in_short(self) -> tuple[str, dict[str, object]]:
        if self.calibration is None:
            verdict = "cannot tell"
        else:
            verdict = "holds" if self.calibration.holds else "nothing holds"
        return verdict, {
            "found": self.sentence,
            "calibration": "none" if self.calibration is None else self.path,
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
    (`explain.runs.shrinking`). Where there is no such threshold nothing holds: maps are empty, and say so. Thresholds
    that leave next to nothing in more than half of the persons are not asked; where maps are next to nothing as they
    are drawn nothing can be told, and nothing is trained.

    Writes `calibration.json` into the run folder, or `cannot_tell.json` where nothing can be told,
    `calibration_errors.csv` where images cannot be read, and its sentence into `MODEL_CARD.md`. Where nothing can be
    told a calibration of an earlier call is removed, unless there are held-out cases that cannot be read. A stopped
    call leaves the run as it was, and goes on where it stood when it is called again.

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
    seen = seen_in(source, held_out, workers)
    if little := little_told(seen.largest, seen.subjects):
        return _untold(source.run, little, seen)  # before anything is trained
    seed = _begun_with(source.run.folder / "permuted_1") if seed is None else seed
    others, changed = _trained(again, table, permuted, seed)
    errors: list[dict[str, Any]] = []
    found = measured(source, others, held_out, thresholds(seen.strength), workers, errors)
    asked = found.visible()
    real, nothing, subjects = found.of(1)
    held = smallest_that_holds(real[:, :asked], nothing[..., :asked], subjects, found.tried[:asked], allowed=allowed)
    calibration = Calibration(
        run=source.run.identity, threshold=held.threshold, moves=seen.moves, smoothing=SMOOTHING, allowed=allowed,
        ratio=held.ratio.value, ratio_high=_high(held.ratio), raw_ratio=held.raw.value, raw_ratio_high=_high(held.raw),
        permutations=permuted, seed=seed, changed=tuple(changed),
        interval=len(set(subjects)) >= FEWEST_SUBJECTS, cases=sizes_of(found, 1, held),
        controls=sizes_of(found, 0, held) if (found.labels == 0).any() else None,
        largest=float(found.largest[0, found.labels == 1, 0].max()),
        largest_nothing=float(found.largest[1:, found.labels == 1, 0].max()),
    )  # fmt: skip
    write_calibration(source.run.folder, calibration)
    (source.run.folder / UNTOLD).unlink(missing_ok=True)
    _write_card(source.run, calibration)
    return _left_behind(source.run, calibration, calibration.told(), errors)


def _untold(run: LearnedRun, little: str, seen: Seen) -> Calibrated:
    """What is left behind where nothing can be told: that verdict, with its figures, in place of a calibration.

    A calibration of an earlier call goes where all held-out cases were read; where some cannot be, these may be why
    nothing can be told now, so that it stays and counts.
    """
    earlier = run.calibration
    told = (
        f"CANNOT TELL: {little}, so that what labels without meaning give could not be told from it. Nothing was "
        "trained on permuted labels, and nothing is taken away of maps; train longer, or with less weight on small "
        "changes."
    )
    if earlier is not None and seen.errors:
        kept = (
            f" The calibration of an earlier call is left as it is, and counts on, since {len(seen.errors)} of the "
            "held-out cases cannot be read now."
        )
        _write_card(run, earlier)
        return _left_behind(run, None, told + kept, seen.errors)
    largest, subjects = seen.largest, seen.subjects
    changed = len(set(subjects[largest >= NOTHING]))
    found = Untold(run.identity, told, len(set(subjects)), changed, float(largest.max()), len(seen.errors))
    write_untold(run.folder, found)
    removed = " The calibration of an earlier call is removed." if (run.folder / FILE).is_file() else ""
    (run.folder / FILE).unlink(missing_ok=True)
    _write_card(run, None, told)
    return _left_behind(run, None, told + removed, seen.errors)


def _left_behind(
    run: LearnedRun, calibration: Calibration | None, sentence: str, errors: list[dict[str, Any]]
) -> Calibrated:
    unreadable = run.folder / ERRORS
    unreadable.unlink(missing_ok=True)
    if errors:
        write_whole(unreadable, pd.DataFrame(errors).to_csv(index=False))
    return Calibrated(run.folder / FILE, unreadable, calibration, sentence, len(errors))


def _write_card(run: LearnedRun, calibration: Calibration | None, untold: str = "") -> None:
    """What is known of its maps now, in plain words."""
    write_whole(run.folder / "MODEL_CARD.md", model_card(run.learned, run.facts, calibration, untold))


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


def _high(estimate: Estimate) -> float | None:
    """The upper end of an interval, where there is one."""
    return float(estimate.high) if np.isfinite(estimate.high) else None
