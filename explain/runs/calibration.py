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
from anomaly.pictures.scales import NOTHING, percent_of_range
from explain.base import Explanation
from explain.runs.shrinking import shrunk

FILE = "calibration.json"
ERRORS = "calibration_errors.csv"
TOO_FEW = "too few for an interval"
NOT_MEASURED = (
    "How much would be drawn if labels meant nothing is not measured: `anomaly explain calibrate RUN --permuted 1` "
    "measures it, and takes it away."
)
SO_MUCH = "With labels that mean nothing, so much would be drawn"
SO_LITTLE = "With labels that mean nothing, next to nothing would be drawn"
NO_SHARE = "Nothing is left of this map once what would be drawn if labels meant nothing is taken away."


@dataclass(frozen=True)
class Sizes:
    """Mean |image - counterfactual| over the held-out persons of one side, each the mean of its images.

    Args:
        images: how many; a volume is one.
        subjects: persons.
        real, nothing: of the run, and of trainings on permuted labels, as they are.
        real_left, nothing_left: what is left of them at the threshold.
    """

    images: int
    subjects: int
    real: float
    nothing: float
    real_left: float
    nothing_left: float


@dataclass(frozen=True)
class Calibration:
    """What trainings on permuted labels say of the maps of a run.

    Args:
        run: identity of its weights.
        threshold: t of the factor (1 - t / a)+ of every change, see `explain.runs.shrinking`; None where none leaves
            maps that hold.
        moves: it is a displacement, in pixels, else an intensity, of a range of 2.
        smoothing: a standard deviation in pixels: how far around a pixel it is asked how much is changed.
        allowed: share of the real maps that was to be left of maps of nothing, at most.
        ratio, ratio_high: what is left of maps of nothing over what is left of the real ones, each person at the
            threshold that was chosen without that person, and the upper end of its 95 % interval; None where there is
            none.
        raw_ratio, raw_ratio_high: the same of the maps as they are.
        permutations, seed: how many trainings, on which labels.
        changed: how many labels were changed in each, in words.
        interval: there are persons enough for intervals; else those who chose the threshold are those it is told of.
        cases, controls: how much is drawn; None where no control is held out.
        largest, largest_nothing: the largest change of any held-out case, of the run and of trainings on permuted
            labels, as they are, 0 to 2; None in files of older versions.
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
    interval: bool
    cases: Sizes
    controls: Sizes | None
    largest: float | None = None
    largest_nothing: float | None = None

    @property
    def holds(self) -> bool:
        """Whether anything is left."""
        return self.threshold is not None

    def applied(self, explanation: Explanation, x: Tensor) -> Explanation:
        """An explanation of images (N, C, *space) without what would be drawn if labels meant nothing."""
        return shrunk(explanation, x, self.threshold, self.smoothing)

    def nothing(self, raw: bool) -> float:
        """The mean change of held-out cases if labels meant nothing, as it is drawn or what is left of it."""
        return self.cases.nothing if raw else self.cases.nothing_left

    def told(self, raw: bool = False) -> str:
        """What it says of all maps, in plain words."""
        before, measured = f"{_percent(self.raw_ratio)}{self._up_to(self.raw_ratio_high)}", self._measured()
        if raw:
            none = f"at no threshold is that {_percent(self.allowed)} or less"
            left = "the calibration is left out" if self.holds else none
            return f"{SO_MUCH}: {before} of these maps ({measured}; {left})."
        if self.threshold is None:
            return (
                f"NOTHING HOLDS: {SO_MUCH[0].lower()}{SO_MUCH[1:]}: {before} of these maps, and at no threshold "
                f"{_percent(self.allowed)} or less ({measured}). So nothing is drawn here; --raw draws maps as they "
                "are, whose size is no evidence."
            )
        little = self.largest_nothing is not None and self.largest_nothing < NOTHING
        now = f"{SO_LITTLE if little else SO_MUCH}: {_percent(self.ratio)}{self._up_to(self.ratio_high)} of these maps"
        if self.threshold == 0:
            return f"{now} ({measured}). That is {_percent(self.allowed)} or less, so nothing is taken away of them."
        chosen = "each half at what the other half chose" if self.interval else "who chose the threshold themselves"
        return f"{now}, {before} of them as they were ({measured}, {chosen}). For that {self._taken()}."

    def told_of(self, change: float, raw: bool = False, largest: float = float("inf")) -> str:
        """What it says of one map with so large a mean, and so large a largest |image - counterfactual|."""
        if not self.holds and not raw:
            return "NOTHING HOLDS, so nothing is drawn: " + self.told().partition(": ")[2]
        if not change > 0:
            return NO_SHARE
        if largest < NOTHING:
            return (
                "CANNOT TELL how much of this map would be drawn if labels meant nothing: it is next to nothing, "
                f"its largest change {percent_of_range(largest)} of the range of grey values."
            )
        nothing = self.nothing(raw)
        few = "" if self.interval else f" ({_people(self.cases)}, {TOO_FEW})"
        return (
            f"With labels that mean nothing, a mean change of {nothing:.2g} would be drawn on the mean of held-out "
            f"cases{few}; here it is {change:.2g}, {_beside(nothing / change)}."
        )

    def _measured(self) -> str:
        few = "" if self.interval else f", {TOO_FEW}"
        return (
            f"measured by {_times(self.permutations)} on permuted labels, {_people(self.cases)}{few}{self._at_most()}"
        )

    def _at_most(self) -> str:
        if self.largest is None or self.largest_nothing is None:
            return ""
        return (
            f", largest change {percent_of_range(self.largest_nothing)} of the range of grey values, here "
            f"{percent_of_range(self.largest)}"
        )

    def _taken(self) -> str:
        """What becomes smaller, and what is left of it on both sides."""
        what, unit = ("move", "pixels") if self.moves else ("change", "of a range of 2")
        left = f"{_percent(_left(self.cases))} of the change in cases"
        if self.controls is not None and self.controls.real > 0:
            left += f" and {_percent(_left(self.controls))} of that in controls"
        return (
            f"nothing is left where a pixel and those next to it {what} by less than {self.threshold:.3g} {unit}, and "
            f"elsewhere less than was drawn; that leaves {left}"
        )

    def _up_to(self, high: float | None) -> str:
        if high is None:
            return " (no upper end)" if self.interval else ""
        return f" (at most {_percent(high)})"


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
    numbers += [each for each in (made.threshold, made.largest, made.largest_nothing) if each is not None]
    if not all(isinstance(each, int | float) and np.isfinite(each) and each >= 0 for each in numbers):
        raise ValueError("it holds what is no size")
    return made


def _times(count: int) -> str:
    return "1 training" if count == 1 else f"the worst of {count} trainings"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.0f} %"


def _people(sizes: Sizes) -> str:
    cases, people = ("case" if sizes.images == 1 else "cases"), ("person" if sizes.subjects == 1 else "persons")
    return f"{sizes.images} held-out {cases} of {sizes.subjects} {people}"


def _left(sizes: Sizes) -> float:
    return sizes.real_left / sizes.real


def _beside(share: float) -> str:
    """How the change of nothing compares with that of one image."""
    return f"so that it would be {_percent(share)} of this" if share < 1 else "so that it would be this or more"
