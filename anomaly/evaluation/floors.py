"""Maps that take no method, which any map has to beat: the image itself, its negative, how far it is from its mean.

Images differ in their units, so each is first brought between its own 0.5 and 99.5 percentiles (`standing`).
"""

from collections.abc import Iterator

import numpy as np

MAP = "map"
RAW, DARK, FAR, ALIKE = "raw image", "raw image, dark", "distance from its mean", "all alike"
FLOORS = (RAW, DARK, FAR, ALIKE)


def floors(values: np.ndarray | None, size: int) -> Iterator[tuple[str, np.ndarray]]:
    """Each floor by name, (n,) float32, one at a time: they are as large as the image.

    The distance is |x - mean| from the mean of this very image, over the pixels that count. That of the normals would
    need them on one grid; a detector that does just that, with its maps, is `--method mean-image`.

    Args:
        values: the image's pixels that count, (n,); None where the image cannot be had.
        size: n.
    """
    if values is not None:
        grey = standing(values)
        yield RAW, grey
        yield DARK, -grey
        yield FAR, np.abs(grey - grey.mean(dtype=np.float64).astype(np.float32))
    yield ALIKE, np.ones(size, np.float32)


def standing(image: np.ndarray) -> np.ndarray:
    """An image between its 0.5 and 99.5 percentiles, since scanners differ in their units and no one is to rule.

    Where these meet, as in an image that is nearly all background, between its extremes; a flat one is 0.
    """
    low, high = np.percentile(image, (0.5, 99.5))
    if low == high:
        low, high = image.min(), image.max()
    found: np.ndarray = (image - low) / ((high - low) or 1.0)
    return found.astype(image.dtype, copy=False)
