"""A target of images with masks, of which each method knows what counts."""

from torch import Tensor

from anomaly.nets.within import kept
from explain.attributions.networks import network_behind
from explain.base import Target


class WithinMask:
    """A target that is asked of variants of one image, each of which counts within the mask of that image.

    The network behind the target is its own, `net_`, so that methods which look inside find it.

    Args:
        value: the target, (N, C, *space) -> (N,).
        inside: the mask, (1, 1, *space) bool; None for all.
    """

    def __init__(self, value: Target, inside: Tensor | None = None) -> None:
        self.value, self.inside, self.net_ = value, inside, network_behind(value)

    def __call__(self, x: Tensor) -> Tensor:
        """The target of variants (N, C, *space) of the image whose mask is `inside`."""
        return self.value(kept(x, self.inside))


def mask_of(target: Target | None) -> Tensor | None:
    """Where the image counts that a target is asked about, (1, 1, *space) bool; None for everywhere."""
    return target.inside if isinstance(target, WithinMask) else None
