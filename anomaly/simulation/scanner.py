"""What a scanner makes of a knee: contrast, resolution, the field of its coil, and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

FIELD_OF_VIEW = 144.0  # mm from edge to edge of a picture
_BLUR_PIXEL = FIELD_OF_VIEW / 96  # mm, the pixel that a site's blur is counted in
_GAIN = 0.10  # how much the receiver's gain differs from scan to scan, SD of its logarithm


@dataclass(frozen=True, kw_only=True)
class Site:
    """One scanner with its protocol.

    gamma: exponent of the contrast; below 1 lifts the dark tissues.
    fat: signal of fat and marrow, 1 as usual; lower where fat is suppressed better.
    fluid: signal of fluid and cartilage, 1 as usual.
    blur: resolution in the slice, SD of the point spread in pixels of a picture of 96.
    noise: SD of the noise of each receiver channel, as a share of the range.
    bias: how much the coil's field varies over the picture, as a share.
    """

    name: str
    gamma: float = 1.0
    fat: float = 1.0
    fluid: float = 1.0
    blur: float = 0.4
    noise: float = 0.02
    bias: float = 0.2


SITES = (
    Site(name="A", gamma=1.0, fat=1.0, fluid=1.0, blur=0.40, noise=0.020, bias=0.18),
    Site(name="B", gamma=0.90, fat=0.82, fluid=0.93, blur=0.50, noise=0.024, bias=0.26),
    Site(name="C", gamma=1.08, fat=1.15, fluid=1.04, blur=0.35, noise=0.030, bias=0.14),
    Site(name="D", gamma=0.96, fat=1.05, fluid=0.96, blur=0.58, noise=0.016, bias=0.32),
)


def scanned(signal: np.ndarray, site: Site, rng: np.random.Generator, *, pixel: float) -> np.ndarray:
    """The picture of a slice or volume: float32, of the shape of `signal`, whose last two axes lie in the slice.

    A pixel depends on the tissue within four SD of the blur and on `rng`, and on nothing else in the
    picture, so that two knees that differ in a lesion give the same pixels away from it.
    """
    sigma = site.blur * _BLUR_PIXEL / pixel
    widths = [0.3] * (signal.ndim - 2) + [sigma, sigma]
    seen = ndimage.gaussian_filter(np.maximum(signal, 0) ** np.float32(site.gamma), widths, output=np.float32)
    seen *= _coil(signal.shape, site.bias, rng)
    noise = rng.normal(0, 1, size=(2, *signal.shape)).astype(np.float32) * np.float32(site.noise)
    # The magnitude of a complex signal with noise in both channels: Rice's distribution.
    return np.hypot(seen + noise[0], noise[1]).astype(np.float32)


def _coil(shape: tuple[int, ...], bias: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth sensitivity of the coil about 1, with the receiver's gain: a random quadratic in the position."""
    axes = np.meshgrid(*[np.linspace(-1, 1, n, dtype=np.float32) for n in shape], indexing="ij", sparse=True)
    field = np.float32(rng.normal(0, _GAIN))
    for axis in axes:
        tilt, bend = rng.normal(0, 0.5, size=2).astype(np.float32)
        field = field + np.float32(bias) * (tilt * axis + (bend - np.float32(0.3)) * (axis * axis - np.float32(1 / 3)))
    return np.exp(field)
