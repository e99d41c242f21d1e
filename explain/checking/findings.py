"""What a check finds: how large and how alike maps are beside the real ones, and what unrelated maps would give."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from anomaly.errors import AnomalyError
from anomaly.pictures.scales import NOTHING, percent_of_range
from anomaly.statistics import Estimate, bootstrap
from explain.measures.metrics import similarity

OTHERS = 8
"""Maps of so many other images are held beside each one, to see how alike unrelated maps are."""
PERCENTILE = 95
FEWEST_SUBJECTS = 5
"""For an interval."""
COLUMNS = (
    "check", "number", "layer", "changed", "images", "subjects", "ratio", "ratio_low", "ratio_high", "ratio_as_drawn",
    "signed", "signed_low", "signed_high", "signed_floor", "signed_bound", "absolute", "absolute_low", "absolute_high",
    "absolute_floor", "absolute_bound", "passed", "note",
)  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """A few images and their maps, for the picture.

    Args:
        images: (n, C, *space), prepared.
        maps: by what made them, each (n, 1, *space); the real ones first.
        limit: where the colours of all maps end; None gives each row of maps its own end.
        turned: the images are slices of volumes, to be turned as a volume's are.
        unit: of the maps, in words.
    """

    images: np.ndarray
    maps: dict[str, np.ndarray]
    limit: float | None
    turned: bool
    unit: str


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Args:
        check: its name.
        passed: whether maps behave as they should; None where that cannot be told.
        sentence: that, in plain words, with the figures it rests on.
        rows: of the table, by column of `COLUMNS`.
        shown: for the picture.
        errors: id, path and error of images that cannot be read.
    """

    check: str
    passed: bool | None
    sentence: str
    rows: list[dict[str, Any]]
    shown: Shown
    errors: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Floor:
    """How alike the maps of different images are, by rank: what maps reach that have nothing to do with each other.

    Means and percentiles are over pairs of images of different persons, so that a person of more images counts more.

    Args:
        signed, absolute: mean similarity of the maps, and of their sizes; NaN where all are of one subject.
        signed_bound, absolute_bound: below it lie 95 % of the pairs.
    """

    signed: float
    signed_bound: float
    absolute: float
    absolute_bound: float

    @property
    def columns(self) -> dict[str, float]:
        """For the table."""
        return {
            "signed_floor": self.signed,
            "signed_bound": self.signed_bound,
            "absolute_floor": self.absolute,
            "absolute_bound": self.absolute_bound,
        }


def floor_of(maps: np.ndarray, subjects: np.ndarray) -> Floor:
    """Hold the map of each image beside those of up to eight images of other subjects.

    Args:
        maps: (n, 1, *space).
        subjects: (n,).
    """
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    for shift in range(1, min(OTHERS, len(maps) - 1) + 1):
        apart = subjects != np.roll(subjects, shift)
        if apart.any():
            pairs.append(similarity(maps[apart], np.roll(maps, shift, axis=0)[apart]))
    if not pairs:
        return Floor(*[float("nan")] * 4)
    signed, absolute = (np.concatenate(each) for each in zip(*pairs, strict=True))
    return Floor(
        float(signed.mean()),
        float(np.percentile(signed, PERCENTILE)),
        float(absolute.mean()),
        float(np.percentile(absolute, PERCENTILE)),
    )


def ratio(changed: np.ndarray, real: np.ndarray, subjects: np.ndarray) -> Estimate:
    """Mean of one size of maps over the mean of another, (n,) each, with an interval by drawing whole subjects.

    A draw of subjects whose real maps are all 0 counts as infinite, or as 0 where both are. The interval is NaN for
    fewer than 5 subjects alone, among whom drawing anew says little.
    """

    def over_real(weights: np.ndarray) -> np.ndarray:
        above, below = weights @ changed, weights @ real
        return np.where(below > 0, above / np.where(below > 0, below, 1), np.where(above > 0, np.inf, 0))

    with np.errstate(invalid="ignore"):  # between two draws that are infinite
        found = bootstrap(over_real, subjects, np.ones(len(real)))
    if len(set(subjects)) < FEWEST_SUBJECTS:
        return replace(found, low=float("nan"), high=float("nan"), method="too few subjects")
    low, high = (float("inf") if np.isnan(end) else end for end in (found.low, found.high))
    return replace(found, low=low, high=high)


def at_most(changed: np.ndarray, real: np.ndarray, subjects: np.ndarray, share: float) -> bool:
    """Whether one size of maps, (n,), is at most so large a share of another, by the upper end of a 95 % interval.

    Asked is whether the sum of changed - share real is at most 0, whose interval is one also where persons are drawn
    whose maps are all 0. With fewer than 5 subjects there is none, and the sum itself decides.
    """
    beyond = changed - share * real
    if beyond.sum() > 0 or len(set(subjects)) < FEWEST_SUBJECTS:
        return bool(beyond.sum() <= 0)
    return bootstrap(lambda weights: weights @ beyond, subjects, np.ones(len(real))).high <= 0


def little_told(largest: np.ndarray, subjects: np.ndarray) -> str:
    """That real maps are next to nothing in more than half of the persons, in words and figures; "" where they are not.

    Nothing can be told of what would be drawn beside such maps: the share would be one of two noises.

    Args:
        largest: the largest change of each image, 0 to 2, (n,).
        subjects: (n,).

    Raises:
        AnomalyError: a change is not a number.
    """
    if not np.isfinite(largest).all():
        raise AnomalyError("the maps hold what is not a number: the explainer drew it, so train it anew")
    some, everyone = len(set(subjects[largest >= NOTHING])), len(set(subjects))
    if 2 * some >= everyone:
        return ""
    return (
        f"the real maps are next to nothing themselves: {percent_of_range(NOTHING)} of the range of grey values or "
        f"more is changed in {some} of {everyone} held-out persons, and the largest change is "
        f"{percent_of_range(float(largest.max()))} of the range"
    )


def mean(values: np.ndarray, subjects: np.ndarray) -> Estimate:
    """The mean (n,), with the same interval."""
    return ratio(values, np.ones(len(values)), subjects)


def columns(name: str, found: Estimate) -> dict[str, float]:
    """An estimate and its interval, for the table."""
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def counts(subjects: Sequence[str] | np.ndarray) -> dict[str, int]:
    """Images and subjects, for the table."""
    return {"images": len(subjects), "subjects": len(set(subjects))}


def over(subjects: Sequence[str] | np.ndarray, what: str) -> str:
    """ "over 24 held-out cases of 12 subjects"."""
    told = counts(subjects)
    return f"over {told['images']} {what} of {told['subjects']} subjects"
