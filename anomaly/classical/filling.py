"""Parts of an image that are not known, filled from those that are, without learning."""

import numpy as np


def nearest(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Each unknown pixel of an image (*space) has the value of a nearest known one."""
    from scipy.ndimage import distance_transform_edt

    places = distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.asarray(image[tuple(places)]) if known.any() else image


def harmonic(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The smoothest fill: each unknown pixel is the mean of its neighbours, of which an edge has fewer.

    The discrete equation of Laplace, solved by conjugate gradients to a millionth.
    """
    from scipy.sparse.linalg import LinearOperator, cg

    start = nearest(image, known)
    if known.all() or not known.any():
        return start
    hidden = ~known
    count = _sum_of_neighbours(np.ones_like(image))[hidden]

    def laplace(values: np.ndarray) -> np.ndarray:
        whole = np.zeros_like(image)
        whole[hidden] = values
        return count * values - _sum_of_neighbours(whole)[hidden]

    size = int(hidden.sum())
    right = _sum_of_neighbours(np.where(known, image, 0))[hidden]
    solved, _ = cg(
        LinearOperator((size, size), matvec=laplace, dtype=image.dtype),
        right,
        x0=start[hidden],
        rtol=1e-6,
        maxiter=5000,
    )
    filled = image.copy()
    filled[hidden] = solved
    return filled


def _sum_of_neighbours(image: np.ndarray) -> np.ndarray:
    """Of every pixel, those that share a face with it."""
    total = np.zeros_like(image)
    for axis in range(image.ndim):
        rows, sums = np.moveaxis(image, axis, 0), np.moveaxis(total, axis, 0)
        sums[1:] += rows[:-1]
        sums[:-1] += rows[1:]
    return total
