"""Whole images of any size: shares of classes by windows that fade into one another, in the memory of a window."""

from collections.abc import Callable

from torch import Tensor

from anomaly.nets.whole import most_pixels, whole

Shares = Callable[[Tensor], Tensor]
"""(N, C, *space) -> (N, K, *space), shares of classes that add up to 1; on the device that images come from."""


def whole_shares(shares: Shares, x: Tensor, *, width: int, most: int | None = None) -> Tensor:
    """Shares of classes of whole images, (N, K, *space), on the device that they come from.

    What fits goes through at once, the rest by windows, whose weights add up to 1, and so do the shares.

    Args:
        shares: `Segmenter.probabilities`, or the mean of several.
        x: (N, C, *space).
        width: channels of the network at full size, or classes, if these are more: says how many pixels fit into
            about a gigabyte.
        most: pixels at once, in place of that.
    """
    return whole(shares, x, most=most or most_pixels(width))
