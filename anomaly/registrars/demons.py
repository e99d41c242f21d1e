"""Deformation by demons, coarse to fine: between scanners by correlation, between contrasts by mutual information.

Each voxel is pulled towards where the images agree better; the pulls are smoothed and composed, so that nothing folds.
Between images of one contrast the pull is that of diffeomorphic demons (SimpleITK; Vercauteren et al. 2009) on images
each of whose voxels has its neighbourhood's mean taken out and its spread divided by, so that neither a coil's shading
nor another scanner's scale pulls. Between contrasts the pull is the slope of the mutual information (Hermosillo et al.
2002).

Nothing is taken from voxels that do not count: each gets the value of the nearest one that does, and neighbourhoods are
told by those within them that do (normalised convolution; Knutsson and Westin 1993).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from scipy import ndimage

from anomaly.errors import AnomalyError
from anomaly.registrars.base import alike
from anomaly.registrars.grids import one_thread, plain, simpleitk, vectors, voxels
from anomaly.registrars.information import binned, pull
from anomaly.registrars.pyramid import coarser, drawn, filled, levels, to_grid

METRICS = ("correlation", "mutual-information")
REFRESH = 20
"""Steps after which what does not count is filled in again, so that it goes on to pull at nothing."""
NOISE = 0.3
"""Of an image's spread, what is added to that of a neighbourhood, so that noise is not taken for anatomy."""
SMALLEST = 1e-6
"""Of the share of a neighbourhood that counts; there is no voxel that counts where it is as small."""
SMOOTH, CELLS = (1.5, 2.5), 24
"""Least and greatest deviation in voxels of what smooths the field of correlation, between them a share of the side."""
LEAST_STEP = 0.1
SLOWER = 0.5
Step = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Demons:
    """Demons, diffeomorphic.

    Args:
        metric: "correlation" where both images are of one contrast, whatever the scanner; "mutual-information" between
            contrasts.
        rounds: steps at each level, from the coarsest to the finest; as many levels as the image has room for.
        smooth: standard deviation in voxels of what smooths the whole field after each step; more is stiffer. 0 takes
            what was measured best: for correlation, at each level and along each axis, a 24th of the side, from 1.5 to
            2.5; for mutual information 0.7.
        locality: standard deviation in voxels of a neighbourhood, of correlation.
        fluid: standard deviation in voxels of what smooths each step, of mutual information.
    """

    name: ClassVar[str] = "demons"
    metric: str = METRICS[0]
    rounds: tuple[int, ...] = (60, 60, 40)
    smooth: float = 0.0
    locality: float = 4.0
    fluid: float = 3.0

    def __post_init__(self) -> None:
        refuse_metric(self.metric)

    def field(
        self, moving: np.ndarray, fixed: np.ndarray, *, spacing: Sequence[float], inside: np.ndarray | None = None,
        affine: np.ndarray | None = None,
    ) -> np.ndarray:  # fmt: skip
        """See `anomaly.registrars.base.Registrar`. Several channels are looked at as their mean."""
        alike(moving, fixed, inside)
        source, target = moving.mean(0), fixed.mean(0)
        counts = np.ones(target.shape, dtype=bool) if inside is None else inside
        found = np.zeros((target.ndim, *target.shape), dtype=np.float32)
        if not counts.any() or np.ptp(source[counts]) == 0 or np.ptp(target[counts]) == 0:
            return found  # nothing says where anything lies
        source, target = (filled(each, counts) for each in (source, target))
        step: Step = self._by_correlation if self.metric == METRICS[0] else self._by_information
        for level, factors in levels(target.shape, spacing, len(self.rounds)):
            inner = coarser(counts.astype(np.float32), factors) > 0.5
            if inner.any():
                still, first = coarser(target, factors), coarser(source, factors)
                rounds = self.rounds[len(self.rounds) - 1 - level]
                found = to_grid(step(first, still, inner, to_grid(found, still.shape), rounds), target.shape)
        return found

    def _by_correlation(
        self, source: np.ndarray, target: np.ndarray, inside: np.ndarray, field: np.ndarray, rounds: int
    ) -> np.ndarray:
        smooth = [self.smooth or float(np.clip(side / CELLS, *SMOOTH)) for side in target.shape]
        first, still = (local(each, self.locality, inside) for each in (source, target))
        ones, weight = [1.0] * target.ndim, inside.astype(np.float32)
        for start in range(0, rounds, REFRESH):
            seen = inside & (drawn(weight, field) > 0.5)
            quiet = still if inside.all() else np.where(seen, still, drawn(first, field))
            demons: Any = simpleitk().DiffeomorphicDemonsRegistrationFilter()
            demons.SetNumberOfIterations(min(REFRESH, rounds - start))
            demons.SetStandardDeviations(smooth)
            demons.SetMaximumUpdateStepLength(2.0)
            with one_thread():
                done = demons.Execute(plain(quiet, ones), plain(first, ones), vectors(field, ones))
            field = voxels(done, ones)
        return field

    def _by_information(
        self, source: np.ndarray, target: np.ndarray, inside: np.ndarray, field: np.ndarray, rounds: int
    ) -> np.ndarray:
        smooth = partial(ndimage.gaussian_filter, sigma=self.smooth or 0.7)
        fluid = partial(ndimage.gaussian_filter, sigma=self.fluid)
        still, step, best, kept, update = binned(target, inside), 1.0, -np.inf, field, field
        for _ in range(rounds):
            towards, told = pull(drawn(source, field), still, inside)
            if told > best:
                update = np.stack([fluid(part) for part in towards])
                longest = float(np.sqrt((update**2).sum(0)).max())
                best, kept, update = told, field, update / (longest or 1.0)
            else:
                step *= SLOWER
            if step < LEAST_STEP:
                break
            moves = step * update
            parts = [smooth(one + drawn(part, moves)) for one, part in zip(moves, kept, strict=True)]
            field = np.stack(parts).astype(np.float32)
        return kept


def local(values: np.ndarray, sigma: float, inside: np.ndarray) -> np.ndarray:
    """An image whose neighbourhoods have the mean 0 and about the spread 1, (*space), by what lies inside alone."""
    smooth = partial(ndimage.gaussian_filter, sigma=sigma)
    weight = inside.astype(np.float32)
    share = np.maximum(smooth(weight), SMALLEST)
    apart = values - smooth(weight * values) / share
    variance = np.maximum(smooth(weight * apart**2) / share, 0)
    found: np.ndarray = apart / np.sqrt(variance + (NOISE * values[inside].std()) ** 2)
    return filled(found.astype(np.float32), inside)


def refuse_metric(metric: str) -> None:
    """Refuse a metric that is not there.

    Raises:
        AnomalyError: naming those that are.
    """
    if metric not in METRICS:
        raise AnomalyError(f"the metric is {metric!r}; expected one of {', '.join(METRICS)}")
