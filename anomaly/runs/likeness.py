"""What kind of images the normals of a training were, and how unlike them an image is; learned in closed form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import permutations, product
from pathlib import Path
from typing import Self

import numpy as np
from safetensors.numpy import load_file, save_file
from scipy import stats

from anomaly.errors import RunError
from anomaly.files import whole
from anomaly.images.likeness import CELLS, parts
from anomaly.runs.calibration import conformal_p
from anomaly.runs.spreads import Spread

FAMILIES = ("size", "voxels", "range", "histogram", "sharpness", "orientation", "outline")
TOLERANCES = {
    "size": 0.7, "voxels": 0.3, "range": 2.0, "histogram": 1.0, "sharpness": 0.3, "outline": 0.65,
}  # fmt: skip
"""What no family makes much of, whatever normals are like: of logarithms to 2, a range of 2, shares of an outline."""
GAIN, NEAR = 0.3, 0.1  # how much better another turn has to fit; what is added to distances before logarithms
LEAST_SPREAD = 0.1
BLACK_COUNTS = 16
TOLD_AT = 0.05
"""An image is called unlike where its p-value is at most this: of normals held out, one in twenty."""
FOLDS, FEWEST_FOLDED = 5, 20
FEWEST_TOLD = 5  # subjects; fewer tell no spread of distances by which an image could be called unlike
FEWEST_RANKED = 59
"""Normal subjects below which the p-value is Student's: with 59, two strange ones among them leave it at 0.05."""


@dataclass(frozen=True)
class Unlike:
    """How unlike an image is: a p-value, and by which families, the first of them most; () where it is like."""

    p_value: float
    families: tuple[str, ...]


@dataclass(frozen=True)
class Likeness:
    """What normals are like, family by family, and how far from that normals themselves lie that were held out.

    Args:
        spreads: of all families but the orientation, which is seen from the outline.
        unit: of the values as stored: the distance from 1st to 99th percentile of a typical normal.
        centre, spread: mean and standard deviation of the logarithm of each family's distances (F,), over normals,
            each seen by what the others taught.
        values: the largest of a normal's standardised distances, (n,). subjects: whose they are, as numbers, (n,).
        varied: families in which normals differ at all, (F,) of 0 and 1.
    """

    spreads: dict[str, Spread]
    unit: float
    centre: np.ndarray
    spread: np.ndarray
    values: np.ndarray
    subjects: np.ndarray
    varied: np.ndarray

    @classmethod
    def learn(cls, rows: np.ndarray, subjects: np.ndarray, dims: int) -> Self:
        """Learn from descriptions of normals (n, D), see `anomaly.images.likeness`, and whose they are (n,).

        Each normal is held out in its turn, with all images of its subject: in one of five folds, or alone where there
        are fewer than twenty subjects.
        """
        _, whose = np.unique(subjects, return_inverse=True)
        weights = 1 / np.bincount(whose)[whose]
        people = int(whose.max()) + 1
        folds = people if people < FEWEST_FOLDED else FOLDS
        fold = np.random.default_rng(0).permutation(people)[whose] % folds
        distances = np.zeros((len(rows), len(FAMILIES)))
        for each in range(folds if people > 1 else 0):
            rest = fold != each
            taught = _taught(rows[rest], weights[rest], dims)
            distances[~rest] = _distances(rows[~rest], *taught)
        near = np.log1p(distances)
        centre: np.ndarray = np.average(near, axis=0, weights=weights)
        spread: np.ndarray = np.sqrt(np.average(np.square(near - centre), axis=0, weights=weights) + LEAST_SPREAD**2)
        values = ((near - centre) / spread).max(axis=1)
        varied = np.asarray((distances > 0).any(axis=0))
        taught = _taught(rows, weights, dims)
        return cls(*taught, centre, spread, values, whose.astype(np.int64), varied.astype(np.float64))

    @property
    def people(self) -> int:
        """How many normal subjects taught it."""
        return int(self.subjects.max()) + 1

    @property
    def ranked(self) -> bool:
        """Whether p-values are ranks among normals; where these are too few they are Student's."""
        return self.people >= FEWEST_RANKED

    def told(self, rows: np.ndarray) -> list[Unlike]:
        """How unlike each of these descriptions (N, D) is."""
        near = np.log1p(_distances(rows, self.spreads, self.unit))
        far = np.round((near - self.centre) / self.spread, 9)  # rounding makes no image more unlike than its equal
        found = []
        for order, each in zip(np.argsort(-far, axis=1), self._p(far), strict=True):
            names = tuple(FAMILIES[family] for family in order if each[family] <= TOLD_AT)
            found.append(Unlike(float(each.min()), names))
        return found

    def _p(self, far: np.ndarray) -> np.ndarray:
        """Of the largest standardised distances: conformal, or that of a prediction interval times the families."""
        if self.ranked:
            weights = 1 / np.bincount(self.subjects)[self.subjects]
            return conformal_p(np.round(self.values, 9), far, weights)
        if self.people < FEWEST_TOLD:
            return np.ones(far.shape)
        step = np.sqrt(1 + 1 / self.people)
        return np.minimum(1, max(1, self.varied.sum()) * stats.t.sf(far / step, self.people - 1))

    def save(self, path: Path) -> None:
        """Write as safetensors."""
        arrays = {name: np.asarray(getattr(self, name)) for name in _PLAIN}
        for family, spread in self.spreads.items():
            arrays |= {f"{family}.{each.name}": getattr(spread, each.name) for each in fields(spread)}
        with whole(path) as part:
            save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, part)

    @classmethod
    def load(cls, path: Path, dims: int) -> Self:
        """Read what `save` wrote, for pictures (2) or volumes (3).

        Raises:
            RunError: it cannot be read, or holds what was not learned from such images.
        """
        try:
            arrays = load_file(path)
            spreads = {
                family: Spread(**{each.name: arrays[f"{family}.{each.name}"] for each in fields(Spread)})
                for family in TOLERANCES
            }
            plain = {name: arrays[name] for name in _PLAIN}
            found = cls(spreads, **{**plain, "unit": plain["unit"].item()})
            found._check(dims)
        except Exception as error:  # a damaged file makes the library raise what it has
            raise RunError(
                f"{path} cannot be read as what normals are like ({error}); copy the run again, or train again"
            ) from error
        return found

    def _check(self, dims: int) -> None:
        """Whether the arrays fit each other; ValueError where not."""
        for family, place in parts(dims).items():
            spread, length = self.spreads[family], 2 if family == "range" else place.stop - place.start
            kept = len(spread.precision)
            shapes = (spread.mean.shape, spread.directions.shape, spread.precision.shape, spread.rest.shape)
            if shapes != ((length,), (kept, length), (kept,), (1,)):
                raise ValueError(f"{family} has arrays of the shapes {shapes}")
            if np.isinf(spread.mean).any() or not (np.isfinite(spread.directions).all() and spread.rest[0] > 0):
                raise ValueError(f"{family} has numbers that cannot be")
        one = (len(FAMILIES),)
        if not (self.centre.shape == self.spread.shape == self.varied.shape == one and (self.spread > 0).all()):
            raise ValueError("its families are not those of this version")
        alike = self.values.shape == self.subjects.shape and self.values.ndim == 1 and len(self.values)
        if not (alike and self.subjects.dtype.kind == "i" and self.subjects.min() >= 0 and self.unit > 0):
            raise ValueError("its normals are not told one by one")
        if not np.bincount(self.subjects, minlength=1).all():
            raise ValueError("its normals are not told one by one")


_PLAIN = ("unit", "centre", "spread", "values", "subjects", "varied")


def in_words(told: Mapping[str, int], of: int) -> str:
    """How many of so many images are unlike, and most often by what; `told` counts those with the same reasons."""
    if not told:
        return ""
    first: Counter[str] = Counter()
    for reasons, count in told.items():
        first[reasons.partition(", ")[0]] += count
    (most, count), *_ = first.most_common()
    total = sum(told.values())
    images = f"{total} of {of} images " + ("is" if total == 1 else "are")
    return f"{images} unlike what was learned, most often by their {most} ({count}); of normals one in twenty is"


def _taught(rows: np.ndarray, weights: np.ndarray, dims: int) -> tuple[dict[str, Spread], float]:
    stored = rows[:, parts(dims)["range"]].astype(np.float64)
    unit = float(2 ** np.average(_width(stored), weights=weights))
    spreads = {
        family: Spread.of(_numbers(rows, family, dims, unit), weights, tolerance)
        for family, tolerance in TOLERANCES.items()
    }
    return spreads, unit


def _distances(rows: np.ndarray, spreads: dict[str, Spread], unit: float) -> np.ndarray:
    """How far each description (N, D) lies from normals, by family (N, F), 0 or more."""
    dims = 2 if rows.shape[1] == parts(2)["outline"].stop else 3
    found = {family: each.distance(_numbers(rows, family, dims, unit)) for family, each in spreads.items()}
    outlines = _numbers(rows, "outline", dims, unit).reshape(len(rows), 1 + dims, *(CELLS,) * dims)
    near = np.log(found["outline"] + NEAR)
    others = [np.log(spreads["outline"].distance(each.reshape(len(rows), -1)) + NEAR) for each in _otherwise(outlines)]
    found["orientation"] = np.maximum(near - np.min(others, axis=0), 0) / GAIN
    return np.stack([found[family] for family in FAMILIES], axis=1)


def _numbers(rows: np.ndarray, family: str, dims: int, unit: float) -> np.ndarray:
    """What is compared of a family: as described; of the range log2 of its width, and where it lies, in units.

    How much is black counts as many times as `BLACK_COUNTS` says, being one number beside sixteen quantiles.
    """
    numbers = rows[:, parts(dims)[family]].astype(np.float64)
    if family == "range":
        return np.column_stack([_width(numbers), np.arcsinh(numbers[:, :1] / unit)])
    if family == "histogram":
        numbers[:, -1] *= BLACK_COUNTS
    return numbers


def _width(stored: np.ndarray) -> np.ndarray:
    """log2 of the distance between the outer two of three percentiles (N, 3)."""
    least = 1e-6 * np.abs(stored).max(axis=1) + 1e-30
    return np.log2(np.maximum(stored[:, 2] - stored[:, 0], least))


def _otherwise(outlines: np.ndarray) -> Iterator[np.ndarray]:
    """Outlines (N, 1 + dims, *cells) as they would be of the image turned and mirrored in all other ways."""
    dims = outlines.shape[1] - 1
    for order in permutations(range(dims)):
        moved = outlines[:, [0, *(1 + axis for axis in order)]].transpose(0, 1, *(2 + axis for axis in order))
        for signs in product((1, -1), repeat=dims):
            if order != tuple(range(dims)) or -1 in signs:
                turned = tuple(axis for axis, sign in enumerate(signs, 2) if sign < 0)
                yield np.flip(moved, axis=turned)
