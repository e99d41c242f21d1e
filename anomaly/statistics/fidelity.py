"""How near one image comes to another that it should be: in decibels, in structure, in size of the error.

Numpy in, float out; images are (*space), two or three axes, of one range that the caller states.
"""

import numpy as np
from scipy import ndimage

from anomaly.errors import EvaluationError

SIGMA, TAPS = 1.5, 11
LEAST = 1e-12
"""Of a mean squared error, as a share of the range squared: equal images have 120 dB, not infinitely many."""


def psnr(truth: np.ndarray, image: np.ndarray, *, data_range: float, inside: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio in decibels, 10 log10(range^2 / mean squared error); at most 120.

    Args:
        truth: (*space).
        image: what should be the same.
        data_range: the largest value that there may be less the smallest.
        inside: (*space) bool, where it counts; None for everywhere.
    """
    squared = _error(truth, image, inside) ** 2 / data_range**2
    return float(-10 * np.log10(max(squared, LEAST)))


def rmse(truth: np.ndarray, image: np.ndarray, *, inside: np.ndarray | None = None) -> float:
    """Root of the mean squared error, in the units of the images; arguments as of `psnr`."""
    return _error(truth, image, inside)


def normalised_error(
    truth: np.ndarray, image: np.ndarray, *, black: float = 0.0, inside: np.ndarray | None = None
) -> float:
    """Squared error over the squared size of the truth above black, |image - truth|^2 / |truth - black|^2.

    That of fastMRI (Zbontar et al. 2018, eq. 10). NaN where the truth is black all over.

    Args:
        truth, image, inside: as of `psnr`.
        black: the value that no signal has.
    """
    _refuse(truth, image)
    error, size = np.square(image - truth, dtype=np.float64), np.square(truth - black, dtype=np.float64)
    if inside is not None:
        error, size = error[inside], size[inside]
    return float(error.sum() / size.sum()) if size.sum() > 0 else float("nan")


def ssim(truth: np.ndarray, image: np.ndarray, *, data_range: float) -> float:
    """Mean structural similarity, at most 1 (Wang et al. 2004, eq. 13), under a Gaussian of 1.5 pixels and 11 taps.

    Constants (0.01 L)^2 and (0.03 L)^2, L the range. Pixels whose window reaches over the edge are left out, as the
    authors do; of images with no others all pixels count, mirrored at their edges.

    Args:
        truth, image, data_range: as of `psnr`.
    """
    _refuse(truth, image)
    x, y = truth.astype(np.float64), image.astype(np.float64)
    mean_x, mean_y, xx, yy, xy = (_blurred(each) for each in (x, y, x * x, y * y, x * y))
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * (xy - mean_x * mean_y) + c2) / (xx - mean_x**2 + yy - mean_y**2 + c2)
    edge = TAPS // 2
    within = tuple(slice(edge, side - edge) if side > 2 * edge else slice(None) for side in x.shape)
    return float((luminance * structure)[within].mean())


def _blurred(values: np.ndarray) -> np.ndarray:
    blurred: np.ndarray = ndimage.gaussian_filter(values, SIGMA, radius=TAPS // 2, mode="reflect")
    return blurred


def _error(truth: np.ndarray, image: np.ndarray, inside: np.ndarray | None) -> float:
    _refuse(truth, image)
    squared = np.square(image - truth, dtype=np.float64)
    return float(np.sqrt((squared if inside is None else squared[inside]).mean()))


def _refuse(truth: np.ndarray, image: np.ndarray) -> None:
    if truth.shape != image.shape:
        raise EvaluationError(f"got images of the shapes {truth.shape} and {image.shape}; give two of one shape")
