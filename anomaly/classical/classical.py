"""What restores without learning: interpolation, filters and smooth fills, the floors that a network has to pass.

Each image and channel by itself. A filter has a strength; `tuned` finds the best on images that are not reported on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anomaly.classical.filling import harmonic, nearest
from anomaly.degradations.base import Degradation, Degraded
from anomaly.errors import AnomalyError, MissingPackage

DENOISING = ("median", "gaussian", "nl-means")
FLOORS: Mapping[str, tuple[str, ...]] = {
    "noise": DENOISING,
    "downsample": ("linear", "cubic"),
    "slices": ("linear", "cubic"),
    "mask": ("nearest", "harmonic"),
    "border": ("nearest", "harmonic"),
    "kspace": ("zero-filled",),
    "lowdose": DENOISING,
}
"""Which of them belong to a degradation, the simplest first."""
AS_GIVEN = ("linear", "zero-filled")
"""Those that are what a network is given."""


@dataclass(frozen=True)
class Filter:
    """What takes noise from an image (*space), and how strongly it may: the first strength serves untuned."""

    apply: Callable[[np.ndarray, float], np.ndarray]
    strengths: tuple[float, ...]


def classical(name: str, degradation: Degradation, left: Degraded, strength: float | None = None) -> Tensor:
    """Restore what a degradation left of images, without learning.

    Args:
        name: of `FLOORS`, one that belongs to the degradation.
        degradation: what was done to the images.
        left: what is left of them, (N, C, *space); known pixels stay as they are.
        strength: of a filter, in the units of its own; None for its usual one.

    Returns:
        (N, C, *space), not clipped.

    Raises:
        AnomalyError: it does not belong to the degradation.
        MissingPackage: non-local means need scikit-image.
    """
    if name not in (own := FLOORS.get(degradation.name, ())):
        raise AnomalyError(f"{name} is no floor of {degradation.name}; take one of {', '.join(own)}")
    if name in AS_GIVEN:
        return left.image
    x = left.image.detach().cpu().double().numpy()
    if name == "cubic":
        made = _cubic(degradation, left)
    elif name in FILTERS:
        chosen = FILTERS[name]
        made = _each(x, lambda image, _: chosen.apply(image, strength or chosen.strengths[0]))
    else:
        if left.known is None:
            raise AnomalyError(f"{name} fills what is not known, and nobody says what is")
        fill = {"nearest": nearest, "harmonic": harmonic}[name]
        known = left.known.cpu().numpy()
        made = _each(x, lambda image, row: fill(image, known[row, 0]))
    restored = torch.from_numpy(made).to(left.image)
    return restored if left.known is None else torch.where(left.known, left.image, restored)


def tuned(name: str, degradation: Degradation, good: Tensor, left: Degraded) -> float | None:
    """The strength of a filter that comes nearest to good images, by the mean square; None for what has no strength.

    Args:
        name: as of `classical`.
        degradation: what was done to the images.
        good: (N, C, *space), images that are not reported on.
        left: what is left of them.
    """
    if name not in FILTERS:
        return None
    losses = {
        strength: float((classical(name, degradation, left, strength) - good).square().mean())
        for strength in FILTERS[name].strengths
    }
    return min(losses, key=losses.__getitem__)


def noise_level(image: np.ndarray) -> float:
    """Standard deviation of white noise in an image (*space): median of |diagonal differences| / 0.6745.

    Donoho and Johnstone 1994, with the finest wavelets of Haar. Differences of exactly 0 are left out, as where
    everything is black. Noise of large grains looks like structure to it.
    """
    detail = image
    for axis in range(image.ndim):
        if image.shape[axis] > 1:
            detail = np.diff(detail, axis=axis) / np.sqrt(2)
    detail = np.abs(detail[detail != 0])
    return float(np.median(detail) / 0.6745) if detail.size else 0.0


def _median(image: np.ndarray, side: float) -> np.ndarray:
    from scipy.ndimage import median_filter

    return np.asarray(median_filter(image, int(side), mode="nearest"))


def _gaussian(image: np.ndarray, sigma: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(image, sigma, mode="nearest"))


def _means(image: np.ndarray, strength: float) -> np.ndarray:
    """Non-local means (Buades et al. 2005), its h so many times the noise that is found in the image."""
    try:
        from skimage.restoration import denoise_nl_means
    except ImportError:
        raise MissingPackage("nl-means needs scikit-image; pip install 'anomaly-explain[restore]'") from None
    sigma = noise_level(image)
    patch, reach = (5, 6) if image.ndim == 2 else (3, 3)
    if sigma == 0:
        return image
    done: Any = denoise_nl_means(
        image, patch_size=patch, patch_distance=reach, h=strength * sigma, sigma=sigma, fast_mode=True
    )
    return np.asarray(done)


FILTERS: Mapping[str, Filter] = {
    "median": Filter(_median, (3, 5, 7, 9)),  # side in pixels
    "gaussian": Filter(_gaussian, (1.0, 0.5, 0.7, 1.5, 2.0, 3.0)),  # standard deviation in pixels
    "nl-means": Filter(_means, (0.8, 0.4, 0.6, 1.2, 2.0, 4.0)),  # h, in standard deviations of the noise
}


def _each(x: np.ndarray, restore: Callable[[np.ndarray, int], np.ndarray]) -> np.ndarray:
    """Done to each channel of each image (N, C, *space), whose row is told as well."""
    return np.stack([np.stack([restore(channel, row) for channel in image]) for row, image in enumerate(x)])


def _cubic(degradation: Degradation, left: Degraded) -> np.ndarray:
    """A cubic spline through what was measured, at the centres where it was; beyond the outermost, as these are."""
    from scipy.ndimage import affine_transform

    space = tuple(left.image.shape[2:])
    steps, starts = (np.array(each(len(space)), float) for each in (degradation.steps, degradation.starts))
    y = _measured(degradation, left.image.detach().cpu().double(), [int(step) for step in steps])
    return _each(
        y.numpy(),
        lambda image, _: affine_transform(image, 1 / steps, -starts / steps, space, order=3, mode="nearest"),
    )


def _measured(degradation: Degradation, lifted: Tensor, steps: Sequence[int]) -> Tensor:
    """What was measured, from its linear interpolation, which can be undone axis by axis."""
    y = lifted
    for axis, step in enumerate(steps):
        if step == 1:
            continue
        few, side = y.shape[axis + 2] // step, y.shape[axis + 2]
        units = torch.eye(few, dtype=y.dtype).view(few, 1, *[few if each == axis else 1 for each in range(len(steps))])
        matrix = degradation.lifted(units, tuple(side if each == axis else 1 for each in range(len(steps))))
        undo = torch.linalg.pinv(matrix.view(few, side).T)
        y = torch.movedim(torch.tensordot(y, undo, dims=([axis + 2], [1])), -1, axis + 2)
    return y
