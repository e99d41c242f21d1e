"""How well two images that were laid on one another agree: one number an image, 0 or less the better it is not.

Images are (N, C, *space), 2D or 3D. What counts is told by (N, 1, *space) bool; None counts all. All is differentiable.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from anomaly.nets.losses import gaussian_blur
from anomaly.nets.within import mean_within

FLAT = 1e-5
"""The variance in a window below which it holds no structure; of images in [-1, 1] a deviation of 0.003."""
BINS = 32
GOLDEN = (5**0.5 - 1) / 2
MOST = 2**16
"""Pixels of an image of which mutual information is taken: evenly spread over it, where it has more."""


def difference(x: Tensor, y: Tensor, inside: Tensor | None = None) -> Tensor:
    """Mean squared difference, (N,): for images of one scanner and one contrast."""
    return mean_within((x - y).square(), inside)


def local_correlation(x: Tensor, y: Tensor, inside: Tensor | None = None, *, sigma: float = 2.5) -> Tensor:
    """Correlation in a Gaussian window around each pixel, signed, from -1 to 1: (N, C, *space).

    Means, variances and covariances are weighed by what counts, so nothing of what lies outside the mask has a part,
    and a window at the rim of the image is one of fewer pixels: brightness and contrast of either image make no
    difference there either. 0 where one of the images is flat, and where nothing of the window counts.

    Args:
        x, y: images.
        inside: what counts.
        sigma: of the window, in pixels; 2.5 is about as wide as a box of 9.
    """
    weight = torch.ones_like(x[:, :1]) if inside is None else inside.to(x.dtype)
    share = gaussian_blur(weight, sigma)

    def mean(values: Tensor) -> Tensor:
        return gaussian_blur(weight * values, sigma) / share.clamp_min(1e-6)

    # The middle of the values is taken away first: a variance as a difference of squares loses what is large.
    x, y = (each - mean_within(each, inside).view(-1, *[1] * (each.ndim - 1)).detach() for each in (x, y))
    of_x, of_y = mean(x), mean(y)
    spread_x, spread_y = mean(x * x) - of_x.square(), mean(y * y) - of_y.square()
    covariance = mean(x * y) - of_x * of_y
    correlation = covariance / (spread_x.clamp_min(FLAT) * spread_y.clamp_min(FLAT)).sqrt()
    return torch.where(share > 1e-6, correlation, 0).clamp(-1, 1)


def correlation(x: Tensor, y: Tensor, inside: Tensor | None = None, *, sigma: float = 2.5) -> Tensor:
    """1 - the mean local correlation, (N,), from 0 to 2: for images whose brightness differs and not its order."""
    return 1 - mean_within(local_correlation(x, y, inside, sigma=sigma), inside)


def either_way(x: Tensor, y: Tensor, inside: Tensor | None = None, *, sigma: float = 2.5) -> Tensor:
    """1 - the mean of the squared local correlation, (N,), from 0 to 1: bright may be dark in the other image."""
    return 1 - mean_within(local_correlation(x, y, inside, sigma=sigma).square(), inside)


def mutual_information(x: Tensor, y: Tensor, inside: Tensor | None = None, *, bins: int = BINS) -> Tensor:
    """What the brightness of one image tells of that of the other, in nats, (N,): whatever the contrasts are.

    Parzen windows: each value counts for its bins by a Gaussian as wide as a bin (Viola and Wells 1997; bins from -1 to
    1, so that turning a contrast round changes nothing). Channels are averaged before.
    """
    chosen = spread(x.shape[2:], x.device)
    one, other = (_bin_shares(each.mean(1).flatten(1)[:, chosen], bins) for each in (x, y))
    weight = torch.ones_like(one[..., :1]) if inside is None else inside.flatten(1)[:, chosen, None].to(one.dtype)
    joint = (one * weight).mT @ other / weight.sum(1, keepdim=True).clamp_min(1)
    apart = joint.sum(2, keepdim=True) * joint.sum(1, keepdim=True)
    tiny = torch.finfo(joint.dtype).tiny
    return (joint * (joint.clamp_min(tiny).log() - apart.clamp_min(tiny).log())).sum((1, 2))


def spread(space: Sequence[int], device: torch.device | None = None) -> Tensor:
    """Which pixels of an image are looked at, at most `MOST` of them, evenly spread along every axis; of its flat form.

    Number k is where the image is cut evenly, pushed along by k times the golden section within what lies between two
    cuts: steps of one length would meet the same places of the last axis again and again.
    """
    count = math.prod(space)
    if count <= MOST:
        return torch.arange(count, device=device)
    number = torch.arange(MOST, dtype=torch.float64)  # which not every device has
    return ((number + (number * GOLDEN) % 1) * (count / MOST)).long().to(device)


def information(x: Tensor, y: Tensor, inside: Tensor | None = None) -> Tensor:
    """Minus the mutual information, (N,): for images of two contrasts."""
    return -mutual_information(x, y, inside)


def _bin_shares(values: Tensor, bins: int) -> Tensor:
    """(N, pixels) -> (N, pixels, bins): how much each value counts for each bin; 1 in all."""
    centres = torch.linspace(-1, 1, bins, device=values.device, dtype=values.dtype)
    width = 2 / (bins - 1)
    shares: Tensor = (-0.5 * ((values.clamp(-1, 1)[..., None] - centres) / width).square()).softmax(-1)
    return shares


AGREEMENTS: Mapping[str, Callable[..., Tensor]] = {
    "difference": difference, "correlation": correlation, "either-way": either_way, "information": information,
}  # fmt: skip
WINDOWED = ("correlation", "either-way")
"""Those that look through a window."""
