"""Whole images of any size: shares of classes by windows that fade into one another.

The network holds a few windows at a time, but the shares of all classes lie in memory at full size.
"""

from collections.abc import Callable, Sequence

from torch import Tensor

from anomaly.nets.whole import most_pixels, whole

Shares = Callable[[Tensor], Tensor]
"""(N, C, *space) -> (N, K, *space), shares of classes that add up to 1; on the device that images come from."""


def whole_shares(shares: Shares, x: Tensor, *, window: Sequence[int], width: int) -> Tensor:
    """Shares of classes of whole images, (N, K, *space), on the device that they come from.

    Images larger than a window go through by windows, whose weights add up to 1, and so do the shares. Windows are to
    be as large as those that were learned from, whatever memory would allow: a network with instance normalisation
    takes its means over what it sees at once.

    Args:
        shares: `Segmenter.probabilities`, or the mean of several.
        x: (N, C, *space); K times as many numbers are held, where it lies.
        window: sides of a window.
        width: channels of the network at full size, or classes, if these are more: says how many pixels fit into
            about a gigabyte, and so how many windows.
    """
    return whole(shares, x, most=most_pixels(width), window=window)
