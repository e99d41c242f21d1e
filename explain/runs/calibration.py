"""How much a run would draw if labels meant nothing, as measured: kept beside its weights, told with every map."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from anomaly.errors import RunError
from anomaly.files import write_whole
from explain.base import Explanation
from explain.runs.shrinking import shrunk

FILE = "calibration.json"
NOT_MEASURED = (
    "How much would be drawn if labels meant nothing is not measured: `anomaly explain calibrate RUN --permuted 1` "
    "measures it, and takes it away."
)
NO_SHARE = "Nothing is left of this map once what would be drawn if labels meant nothing is taken away."


@dataclass(frozen=True)
class Sizes:
    """Mean |map| over the held-out images of one side.

    Args:
        images: how many.
        real, nothing: of the run, and of trainings on permuted labels, as they are.
        real_left, nothing_left: what is left of them at the threshold.
    """

    images: int
    real: float
    nothing: float
    real_left: float
    nothing_left: float


@dataclass(frozen=True)
class Calibration:
    """What trainings on permuted labels say of the maps of a run.

    Args:
        run: identity of its weights.
        threshold: taken away of every change, see `explain.runs.shrinking`; None where none leaves maps that hold.
        moves: it is a displacement, in pixels, else an intensity, of a range of 2.
        smoothing: a standard deviation in pixels: how far around a pixel it is asked how much is changed.
        allowed: share of the real maps that was to be left of maps of nothing, at most.
        ratio, ratio_high: what is left of maps of nothing over what is left of the real ones, and the upper end of its
            95 % interval; None with too few persons for one.
        raw_ratio, raw_ratio_high: the same of the maps as they are.
        permutations, seed: how many trainings, on which labels.
        changed: how many labels were changed in each, in words.
        subjects: persons it was measured on.
        cases, controls: how much is drawn; None where no control is held out.
    """

    run: str
    threshold: float | None
    moves: bool
    smoothing: float
    allowed: float
    ratio: float
    ratio_high: float | None
    raw_ratio: float
    raw_ratio_high: float | None
    permutations: int
    seed: int
    changed: tuple[str, ...]
    subjects: int
    cases: Sizes
    controls: Sizes | None

    @property
    def holds(self) -> bool:
        """Whether anything is left."""
        return self.threshold is not None

    def applied(self, explanation: Explanation, x: Tensor) -> Explanation:
        """An explanation of images (N, C, *space) without what would be drawn if labels meant nothing."""
        return shrunk(explanation, x, self.threshold, self.smoothing)

    def nothing(self, raw: bool) -> float:
        """Mean |map| of a held-out case if labels meant nothing, of maps as they are or of what is left of them."""
        return self.cases.nothing if raw else self.cases.nothing_left

    def told(self, raw: bool = False) -> str:
        """What it says of all maps, in plain words."""
        measured = (
            f"measured by {_times(self.permutations)} on permuted labels, {self.cases.images} held-out cases of "
            f"{self.subjects} subjects"
        )
        before = f"{_percent(self.raw_ratio)}{_up_to(self.raw_ratio_high)}"
        if raw:
            none = f"at no threshold is that {_percent(self.allowed)} or less"
            left = "the calibration is left out" if self.holds else none
            return (
                f"With labels that mean nothing, so much would be drawn: {before} of these maps ({measured}; {left})."
            )
        if not self.holds:
            return (
                f"NOTHING HOLDS: with labels that mean nothing, so much would be drawn: {before} of these maps, and at "
                f"no threshold {_percent(self.allowed)} or less ({measured}). So nothing is drawn here; --raw draws "
                "maps as they are, whose size is no evidence."
            )
        kept = self.cases.real_left / self.cases.real if self.cases.real else float("nan")
        taken = (
            f"{self.threshold:.3g} pixels are taken off every displacement"
            if self.moves
            else f"{self.threshold:.3g} of a range of 2 is taken off every change"
        )
        return (
            "With labels that mean nothing, so much would be drawn: "
            f"{_percent(self.ratio)}{_up_to(self.ratio_high)} of these maps, {before} of them as they were "
            f"({measured}). For that {taken}, which leaves {_percent(kept)} of the change in cases."
        )

    def told_of(self, change: float, raw: bool = False) -> str:
        """What it says of one map with so large a mean |map|."""
        if not self.holds and not raw:
            return "NOTHING HOLDS, so nothing is drawn: " + self.told().partition(": ")[2]
        if not change > 0:
            return NO_SHARE
        share = self.nothing(raw) / change
        how = f"{_percent(share)} of this map" if share < 1 else "as much as this map or more"
        return f"With labels that mean nothing, so much would be drawn: {how}."


def write_calibration(folder: Path, calibration: Calibration) -> None:
    """Write it beside the weights."""
    write_whole(folder / FILE, json.dumps(asdict(calibration), indent=1, allow_nan=False) + "\n")


def read_calibration(folder: Path, identity: str) -> Calibration | None:
    """What was measured of the weights that are there; None where nothing was, or of other weights.

    Raises:
        RunError: the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        found = _made(facts)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunError(f"{path} cannot be read ({error}); remove it, and calibrate again") from error
    return found if found.run == identity else None


def _made(facts: Mapping[str, Any]) -> Calibration:
    sides = {side: facts[side] and Sizes(**facts[side]) for side in ("cases", "controls")}
    made = Calibration(**{**facts, **sides, "changed": tuple(facts["changed"])})
    numbers = [made.ratio, made.raw_ratio, made.smoothing, made.cases.real, made.cases.nothing, made.cases.nothing_left]
    numbers += [] if made.threshold is None else [made.threshold]
    if not all(isinstance(each, int | float) and np.isfinite(each) and each >= 0 for each in numbers):
        raise ValueError("it holds what is no size")
    return made


def _times(count: int) -> str:
    return "1 training" if count == 1 else f"the worst of {count} trainings"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.0f} %"


def _up_to(high: float | None) -> str:
    return "" if high is None else f" (at most {_percent(high)})"
