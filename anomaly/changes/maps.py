"""A map of change between two visits, in units of the change that noise makes where nothing happened.

What differs between two scans of one person is seldom disease: brightness is scaled anew at each visit, and along every
edge a registration that is off by a tenth of a voxel draws a line. Both are taken out by what the two images tell of
themselves, so no further person is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from anomaly.changes.matching import MATCHES, matched, spread
from anomaly.errors import AnomalyError

EDGE = 1.0
"""Blur, in pixels of the finest axis, of the images whose edges and levels tell how much noise to expect."""
LEVELS = (12.5, 25, 37.5, 50, 62.5, 75, 87.5)
STEEPNESS = (20, 40, 60, 80, 90, 95, 98)
"""Percentiles between which voxels count as alike; finer where it is steep, since strong edges are thin."""
FEWEST = 30  # voxels of which a spread is told
AGAINST = -0.2  # correlation below which two images are not of one contrast
FLOOR = 0.25  # of the whole's spread: no voxel is less noisy
ROUNDED = 1e-6  # of the range of the first image: what files in single precision differ by
EMPTY = 0.2
"""Share of an image that has one value in both visits, from which on that is background and does not count."""
BLANK, FILLED = 0.99, 0.9
"""Share of one value from which on an image is blank beside one that has less than the second share of any."""
FURTHER = 0.4
"""What a further contrast adds where it agrees with the first."""


@dataclass(frozen=True)
class ChangeMap:
    """Change from the first visit to the second.

    Args:
        z: signed, (*space) float32: 1 is the robust standard deviation of the change where nothing happened; positive
            where the second visit is brighter; 0 outside the mask.
        least: change of intensity, in those of the first visit, that makes z = 1 over a region at the middle of the
            noise; times a threshold of z it is the least change that can be told there.
        inside: what counted, bool (*space): the mask, or without one all but a background of one value.
        correlation: of the two images within the mask.
        matched: the second image in the intensities of the first, (*space) float32.
    """

    z: np.ndarray
    least: float
    correlation: float
    matched: np.ndarray
    inside: np.ndarray


def change_map(
    before: np.ndarray,
    after: np.ndarray,
    *,
    inside: np.ndarray | None = None,
    spacing: Sequence[float] | None = None,
    smooth: float = 1.2,
    match: str = "quantiles",
) -> ChangeMap:
    """The change from one visit to the next, in units of the change that noise makes.

    The second image is brought to the intensities of the first. Of the difference, the spread is estimated apart for
    voxels of like brightness and like steepness, since noise grows with brightness, and what is left of a
    misregistration with the steepness of an edge. Both are those of the visit that looks more like the rest, so that
    a large lesion is not told what to expect by itself. The difference over that spread is smoothed and divided by its
    own robust spread.

    Args:
        before: image (*space) of the first visit, 2D or 3D.
        after: image of the second visit, of the same contrast, registered to the first.
        inside: what counts, such as the brain, bool (*space); None for all but a background that has one value in
            both visits, as where the skull was taken off: it has no noise.
        spacing: millimetres between voxels along each axis; None for 1.
        smooth: standard deviation of the smoothing, in millimetres; 0 for none.
        match: "quantiles" brings the percentiles 10 to 90 of what did not change in the second image onto those of the
            first, and goes on along the line; "line" scales and shifts it by what most voxels say (for change of much
            of the organ), "none" leaves it.

    Raises:
        AnomalyError: other grids, values that are no numbers, an empty mask, a blank image, or images that do not go
            together.
    """
    first, second, counts = _checked(before, after, inside)
    _refuse_blank(first[counts], second[counts])
    if match not in MATCHES:
        raise AnomalyError(f"match is {match!r}; expected one of {', '.join(MATCHES)}")
    if not (np.isfinite(smooth) and smooth >= 0):
        raise AnomalyError(f"smooth is {smooth}; expected millimetres, 0 or more")
    size = _spacing(spacing, first.ndim)
    correlation = _correlation(first[counts], second[counts])
    if correlation < AGAINST:
        raise AnomalyError(
            f"the two images go against one another (correlation {correlation:.2f}); give two visits of one contrast"
        )
    alike = second if match == "none" else matched(first, second, counts, match)
    difference = np.where(counts, alike - first, 0)
    difference[np.abs(difference) <= ROUNDED * np.ptp(first[counts])] = 0
    noise = _noise(
        difference, [_smoothed(each, counts, EDGE * size.min() / size) for each in (first, alike)], counts, size
    )
    z = _smoothed(difference / noise, counts, smooth / size)
    unit = spread(z[counts]) or 1.0
    least = float(unit * np.median(noise[counts]))
    return ChangeMap((z / unit).astype(np.float32), least, correlation, alike.astype(np.float32), counts)


def joined(maps: Sequence[np.ndarray], signs: Sequence[int], inside: np.ndarray | None = None) -> np.ndarray:
    """Maps of several contrasts as one, in the sign and the units of the first.

    Each further contrast adds where it agrees with the first, and takes nothing away where it does not: few lesions
    show in all contrasts, but noise seldom agrees.

    Args:
        maps: z (*space) of each contrast, the leading one first.
        signs: 1 where worse is brighter (FLAIR, T2, PD), -1 where worse is darker (T1).
        inside: what counts, bool (*space); None for all.
    """
    if len(signs) != len(maps) or not {*signs} <= {-1, 1}:
        raise AnomalyError(f"got {len(maps)} maps and the signs {list(signs)}; expected 1 or -1 for each map")
    if len({each.shape for each in maps}) > 1:
        raise AnomalyError(f"the contrasts lie on grids {[each.shape for each in maps]}; bring them onto one")
    if len(maps) == 1:
        return maps[0]
    total = maps[0].astype(np.float64)
    for each, sign in zip(maps[1:], signs[1:], strict=True):
        alike = each * (sign * signs[0])
        total = total + FURTHER * np.where(alike * maps[0] > 0, alike, 0)
    counts = np.ones(total.shape, bool) if inside is None else inside
    return (total / (spread(total[counts]) or 1.0)).astype(np.float32)


def _checked(
    before: np.ndarray, after: np.ndarray, inside: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    first, second = (np.asarray(each, dtype=np.float64) for each in (before, after))
    counts = np.ones(first.shape, bool) if inside is None else np.asarray(inside).astype(bool)
    if first.ndim not in (2, 3):
        raise AnomalyError(f"the first image has shape {first.shape}; expected a picture or a volume")
    for each, name in ((second, "second image"), (counts, "mask")):
        if each.shape != first.shape:
            raise AnomalyError(
                f"the {name} has shape {each.shape}, the first image {first.shape}; register them first: "
                "anomaly register visits"
            )
    if not counts.any():
        raise AnomalyError("the mask marks nothing; give one that marks what counts, or none")
    for each, name in ((first, "first"), (second, "second")):
        if not np.isfinite(each[counts]).all():
            raise AnomalyError(f"the {name} image holds NaN or infinite values where it counts; mask or mend them")
    if inside is None:
        counts = ~_background(first, second)
    return np.where(counts, first, 0), np.where(counts, second, 0), counts


def _background(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Where both images have their commonest value, if that is much of them and there is more than it."""
    empty = np.ones(first.shape, bool)
    for each in (first, second):
        values, times = np.unique(each, return_counts=True)
        empty &= each == values[times.argmax()]
    return empty if EMPTY <= empty.mean() < 1 else np.zeros_like(empty)


def _refuse_blank(first: np.ndarray, second: np.ndarray) -> None:
    """Refuse an image that shows nothing where it counts: matched to the other, it would have nothing changed."""
    shares = [float((each == np.median(each)).mean()) for each in (first, second)]
    for name, share, other in (("first", shares[0], shares[1]), ("second", shares[1], shares[0])):
        if share == 1:
            raise AnomalyError(f"the {name} image has one value wherever it counts; it shows nothing: leave it out")
        if share >= BLANK and other < FILLED:
            raise AnomalyError(
                f"the {name} image has one value in {share:.1%} of what counts; it shows next to nothing: leave it out"
            )


def _spacing(spacing: Sequence[float] | None, dims: int) -> np.ndarray:
    size = np.ones(dims) if spacing is None else np.asarray(spacing, dtype=np.float64)
    if size.shape != (dims,) or not (np.isfinite(size) & (size > 0)).all():
        raise AnomalyError(f"spacing is {spacing}; expected {dims} millimetres above 0")
    return size


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Of the values that count, of which there are several in both."""
    return float(np.corrcoef(first, second)[0, 1])


def _smoothed(values: np.ndarray, counts: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """Means under a Gaussian (its sigmas in pixels) over what counts, 0 elsewhere."""
    if not sigmas.any():
        return np.where(counts, values, 0)
    share = ndimage.gaussian_filter(counts.astype(np.float64), sigmas)
    blurred = ndimage.gaussian_filter(np.where(counts, values, 0), sigmas)
    return np.divide(blurred, share, out=np.zeros_like(blurred), where=counts & (share > 0))


def _noise(difference: np.ndarray, visits: Sequence[np.ndarray], counts: np.ndarray, size: np.ndarray) -> np.ndarray:
    """The spread of the difference to be expected of each voxel, by its brightness and the steepness around it.

    Of both visits, blurred, the one counts that is nearer to the middle of the image and less steep: a lesion that came
    or grew is bright and has an edge in one of them only, and would else be most of those that are like it.
    """
    middle = np.median(visits[0][counts])
    nearer = np.abs(visits[0] - middle) < np.abs(visits[1] - middle)
    level = np.where(nearer, *visits)
    steep = np.minimum(*(_steepness(each, size) for each in visits))
    found, apart = np.ones_like(difference), difference[counts]
    whole = spread(apart) or 1.0
    edge = _ranked(steep[counts], STEEPNESS)
    both = edge * (len(LEVELS) + 1) + _ranked(level[counts], LEVELS)
    spreads = np.full(apart.shape, whole)
    for which in (edge, both):  # where too few are alike in both, those that are as steep tell
        for each in range(int(which.max()) + 1):
            here = which == each
            if here.sum() >= FEWEST:
                spreads[here] = max(spread(apart[here], around=0.0), FLOOR * whole)
    found[counts] = spreads
    return found


def _steepness(image: np.ndarray, size: np.ndarray) -> np.ndarray:
    """The squared slope, of whatever unit."""
    steep = np.zeros_like(image)
    for axis, step in enumerate(size / size.min()):
        if image.shape[axis] > 1:
            steep += np.square(np.gradient(image, axis=axis) / np.sqrt(step))
    return steep


def _ranked(values: np.ndarray, percentiles: Sequence[float]) -> np.ndarray:
    """Between which of their percentiles values lie, from 0."""
    return np.digitize(values, np.percentile(values, percentiles))
