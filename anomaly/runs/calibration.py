"""What the held-out normals say a score means: units for maps, z and p for values."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from safetensors.numpy import load_file, save_file
from scipy import stats

from anomaly.detectors.moments import Moments
from anomaly.errors import RunError
from anomaly.files import whole

MOST_SAMPLED, MOST_GROUPS = 2**22, 20
EXCEEDING = (0.05, 0.01)
"""Shares of the normals' pixels that `map_limits` are exceeded by."""


@dataclass(frozen=True)
class Calibration:
    """Scores of normal images that were neither trained on nor chosen by.

    Args:
        values: anomaly value of each held-out case, (n,).
        subjects: whose they are, (n,).
        map_mean: mean of the anomaly map, (1, *space).
        map_sd: standard deviation of each pixel over normals, moderated towards the pooled one, (1, *space).
        mean_image: mean normal image (C, *space), for the baseline that is printed beside every score.
        map_limits: the map in its unit that 5 % and 1 % of a normal's pixels exceed at most, (2,), by leaving each
            subject out in turn; None with a single subject, and in runs made before there were such.
    """

    values: np.ndarray
    subjects: np.ndarray
    map_mean: np.ndarray
    map_sd: np.ndarray
    mean_image: np.ndarray
    map_limits: np.ndarray | None = None

    def p_value(self, values: np.ndarray) -> np.ndarray:
        """Share of held-out normal subjects at least as abnormal; see `conformal_p`."""
        return conformal_p(self.values, values, self.weights)

    def z(self, values: np.ndarray) -> np.ndarray:
        """Values on the scale of a standard normal among normals, as far as these reach; see `capped`."""
        return capped(self.values, values, self.weights)

    def departure(self, values: np.ndarray) -> np.ndarray:
        """The same without an end, so that the order of what lies beyond all normals is kept; see `normal_score`."""
        return normal_score(self.values, values, self.weights)

    def bound(self, alpha: float) -> float:
        """The highest value among the held-out normals that is not flagged at alpha."""
        values = np.unique(self.values)
        return float(values[self.p_value(values) > alpha].max(initial=values[0]))

    @cached_property
    def weights(self) -> np.ndarray:
        """One over the number of images of each case's subject, so that every subject counts once."""
        _, whose, images = np.unique(self.subjects, return_inverse=True, return_counts=True)
        return 1 / images[whose]

    @property
    def spread(self) -> float:
        """Standard deviation of the values, every subject counted once; 1 where all are the same."""
        mean = np.average(self.values, weights=self.weights)
        spread = float(np.sqrt(np.average(np.square(self.values - mean), weights=self.weights)))
        return spread if spread > 0 else 1.0

    @property
    def people(self) -> int:
        """How many subjects the held-out cases are of."""
        return round(self.weights.sum())

    def map_z(self, maps: np.ndarray) -> np.ndarray:
        """Anomaly maps (N, 1, *space) in standard deviations of normal variation at each pixel."""
        return (maps - self.map_mean) / self.map_sd

    def save(self, path: Path) -> None:
        """Write as safetensors."""
        subjects = np.frombuffer("\n".join(self.subjects).encode(), dtype=np.uint8)
        arrays = {"values": self.values, "subjects": subjects, "map_mean": self.map_mean, "map_sd": self.map_sd}
        arrays |= {"mean_image": self.mean_image}
        arrays |= {} if self.map_limits is None else {"map_limits": self.map_limits}
        with whole(path) as part:
            save_file(arrays, part)

    @classmethod
    def load(cls, path: Path, shape: tuple[int, ...] | None = None) -> Self:
        """Read what `save` wrote, for images of the shape (C, *space); None takes that of its mean image.

        Raises:
            RunError: it cannot be read, is of another shape, or holds what is no calibration.
        """
        try:
            arrays = load_file(path)
            subjects = np.array(arrays.pop("subjects").tobytes().decode().split("\n"))
            found = cls(subjects=subjects, **arrays)
        except Exception as error:  # a damaged file makes the library raise what it has
            raise RunError(
                f"{path} cannot be read as a calibration ({error}); copy it again, or train again"
            ) from error
        if wrong := found._wrong(found.mean_image.shape if shape is None else shape):
            raise RunError(f"{path} {wrong}; copy the run again, or train again")
        return found

    def _wrong(self, shape: tuple[int, ...]) -> str:
        """Why it does not serve images of a shape, in words; "" where it does."""
        map_shape = (1, *shape[1:])
        shapes = {"map_mean": map_shape, "map_sd": map_shape, "mean_image": shape, "values": (len(self.subjects),)}
        shapes |= {} if self.map_limits is None else {"map_limits": (len(EXCEEDING),)}
        for name, expected in shapes.items():
            array = getattr(self, name)
            if array.shape != expected:
                return f"has {name} of the shape {array.shape}, expected {expected}"
            if array.dtype.kind != "f" or not np.isfinite(array).all():
                return f"has {name} that are not all numbers"
        return "" if (self.map_sd > 0).all() else "has map_sd that are not all above 0"


class MapSample:
    """Pixels of the held-out normals' maps, evenly drawn so that they fit into memory, to say what few of them exceed.

    Args:
        shape: (n, C, *space), of all images that will be added.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        pixels = math.prod(shape[2:])
        step = max(1, round(pixels / max(1, MOST_SAMPLED // shape[0])))
        self._places = np.random.default_rng(0).permutation(pixels)[::step]
        self._values: list[np.ndarray] = []
        self._counted: list[np.ndarray] = []

    def add(self, maps: np.ndarray, inside: np.ndarray | None = None) -> None:
        """Take in maps (N, 1, *space), and which of their pixels count, bool."""
        flat = maps.reshape(len(maps), -1)[:, self._places]
        self._values.append(flat)
        self._counted.append(
            np.ones(flat.shape, dtype=bool) if inside is None else inside.reshape(len(maps), -1)[:, self._places]
        )

    def limits(self, whose: np.ndarray) -> np.ndarray | None:
        """What at most 5 % and 1 % of a normal's pixels exceed, in standard deviations of other normals, (2,) float32.

        Each subject's maps are held against mean and spread of the others' (as `Moments` gives them), as those of a new
        person are against all of them; of many subjects a twentieth is left out at once. With one subject there are no
        others, and None is given. Every subject counts the same.

        Args:
            whose: the subject of each map, (n,).
        """
        people, whose = np.unique(whose, return_inverse=True)
        if len(people) < 2:
            return None
        values, counted = np.concatenate(self._values), np.concatenate(self._counted)
        found, weights = [], []
        images = np.bincount(whose)
        for group in range(min(len(people), MOST_GROUPS)):
            own = whose % MOST_GROUPS == group
            others = Moments()
            others.add(values[~own][:, None], counted[~own][:, None])
            departed = (values[own] - others.mean()[0]) / others.sd()[0]
            pixels = np.maximum(counted[own].sum(1), 1) * images[whose[own]]
            found.append(departed[counted[own]])
            weights.append(np.broadcast_to((1 / pixels)[:, None], departed.shape)[counted[own]])
        z, weight = np.concatenate(found), np.concatenate(weights)
        order = np.argsort(z)
        share = np.cumsum(weight[order]) / weight.sum()
        places = np.minimum(np.searchsorted(share, [1 - each for each in EXCEEDING]), z.size - 1)
        return z[order[places]].astype(np.float32)


def mean_of_slices(values: np.ndarray, whose: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """The value of each image from those of its slices, each weighing as many pixels as count in it.

    Args:
        values: of the slices, (S,).
        whose: the number of the image that each is of, (S,), from 0.
        areas: pixels that count, (S,); or ones.
    """
    return np.bincount(whose, values * areas) / np.bincount(whose, areas)


def conformal_p(calibration: np.ndarray, values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """(1 + number of calibration values >= s) / (n + 1) for each value s; NaN where s is NaN.

    For a normal image exchangeable with the held-out ones, P(p <= alpha) <= alpha whatever the distribution of
    the scores (Vovk et al. 2005). Images of one subject are not exchangeable with those of a new one, subjects
    are: with `weights` that sum to 1 over each subject's images, the number becomes the sum of each subject's
    share of images >= s, and n the number of subjects.

    Args:
        calibration: values of held-out normals, (n,).
        values: to be judged, any shape.
        weights: of the calibration values, (n,); None weighs each image 1.
    """
    weights = np.ones(len(calibration)) if weights is None else weights
    order = np.argsort(calibration)
    above = np.append(np.cumsum(weights[order][::-1])[::-1], 0.0)
    at_least = above[np.searchsorted(calibration[order], values, side="left")]
    return np.where(np.isnan(values), np.nan, (1 + at_least) / (weights.sum() + 1))


def normal_score(calibration: np.ndarray, values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Where each value stands among the calibration values, as a quantile of the standard normal.

    Between calibration values the normal quantiles of i / (n + 1) are joined by straight lines; beyond the
    outermost ones the line goes on with one unit a standard deviation, so abnormal images keep their order
    (with slope 1 where all calibration values are the same). Arguments as for `conformal_p`.
    """
    weights = np.ones(len(calibration)) if weights is None else weights
    ordered, place = np.unique(calibration, return_inverse=True)
    mass = np.bincount(place, weights)
    ranks = np.cumsum(mass) - mass + (mass + 1) / 2
    quantiles = stats.norm.ppf(ranks / (mass.sum() + 1))
    spread = float(np.std(calibration)) if len(ordered) > 1 else 1.0
    z = np.interp(values, ordered, quantiles)
    z = z + np.maximum(values - ordered[-1], 0) / spread
    return z - np.maximum(ordered[0] - values, 0) / spread


def capped(calibration: np.ndarray, values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """The normal score of each value, but no further from 0 than the quantile of n / (n + 1).

    n normals (the sum of the weights) tell no quantile beyond, as they tell no p-value below 1 / (n + 1): what has the
    utmost is beyond all of them. NaN stays NaN. Arguments as for `conformal_p`.
    """
    people = len(calibration) if weights is None else weights.sum()
    end = stats.norm.ppf(people / (people + 1))
    return np.clip(normal_score(calibration, values, weights), -end, end)


def joint_p(calibrations: np.ndarray, new: np.ndarray, weights: np.ndarray) -> float:
    """Conformal p-value of the mean normal score of several detectors.

    The new image is ranked together with the calibration images under each detector, so that all n + 1 are
    treated alike and the p-value keeps its promise; scores that a calibration image got without the new one
    among them would be too low beside it.

    Args:
        calibrations: (K, n) values of the same n held-out images under K detectors.
        new: (K,) values of the image to be judged.
        weights: (n,), see `conformal_p`.
    """
    if not np.isfinite(new).all():
        return float("nan")
    together, each = np.column_stack([calibrations, new]), np.append(weights, 1.0)
    means = np.mean([normal_score(values, values, each) for values in together], axis=0)
    # Rounding must not make equal ranks unequal.
    return float(conformal_p(np.round(means[:-1], 12), np.round(means[-1:], 12), weights)[0])
