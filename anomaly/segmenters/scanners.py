"""An image as another scanner might show it: shading, contrast, brightness, sharpness, resolution and noise.

Each change is due by its own chance an image. Means, blurs and coarser pixels know what lies inside a mask alone.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from anomaly.nets.losses import gaussian_blur

LEAST = 1e-6
OFTEN, SELDOM = 0.5, 0.25
"""Chances: of what changes brightness; and of blur, coarser pixels and noise, each."""
GAMMA, CONTRAST, LIGHT, SHADE, NOISE = 0.5, 0.35, 0.2, 0.3, 0.1
"""Spreads: of logarithms of gamma, contrast and shading; of brightness in [-1, 1]; the most noise."""
SIGMAS, COARSER = (0.5, 0.75, 1.0, 1.5), (1.5, 2.0, 3.0)
"""One of them a batch: blurs in pixels, and how many pixels become one along each axis."""
KNOTS = 3
LINEAR = {2: "bilinear", 3: "trilinear"}
Inside = Tensor | None


def other(x: Tensor, inside: Inside = None) -> Tensor:
    """Images (N, C, *space) about in [-1, 1], seen otherwise; `inside` (N, 1, *space) bool says what counts."""
    for change, chance in (
        (shaded, SELDOM), (bent, OFTEN), (contrasted, OFTEN), (blurred, SELDOM), (coarser, SELDOM), (noisy, SELDOM),
    ):  # fmt: skip
        due = torch.rand(len(x), device=x.device) < chance
        x = torch.where(spread(due, x), change(x, inside), x)
    return x


def shaded(x: Tensor, inside: Inside) -> Tensor:
    """Brighter here and darker there by a smooth factor, as by the coils of a scanner; black stays black."""
    knots = SHADE * torch.randn(len(x), 1, *[KNOTS] * (x.ndim - 2), device=x.device)
    field = F.interpolate(knots, size=tuple(x.shape[2:]), mode=LINEAR[x.ndim - 2], align_corners=True)
    return (x + 1) * field.exp() - 1


def bent(x: Tensor, inside: Inside) -> Tensor:
    """Of another gamma, between the least and the largest value."""
    low, high = (spread(each, x) for each in ends(x, inside))
    power = spread(torch.exp(GAMMA * uniform(x)), x)
    span = (high - low).clamp_min(LEAST)
    return ((x - low) / span).clamp(0, 1) ** power * span + low


def contrasted(x: Tensor, inside: Inside) -> Tensor:
    """Of more or less contrast about the mean, and brighter or darker."""
    counts = torch.ones_like(x[:, :1]) if inside is None else inside.float()
    mean = spread((x * counts).flatten(1).sum(1) / (counts.flatten(1).sum(1) * x.shape[1]).clamp_min(1), x)
    contrast = spread(torch.exp(CONTRAST * uniform(x)), x)
    return (x - mean) * contrast + mean + spread(LIGHT * uniform(x), x)


def blurred(x: Tensor, inside: Inside) -> Tensor:
    """Less sharp."""
    sigma = SIGMAS[int(torch.randint(len(SIGMAS), ()))]
    return smoothed(x, inside, lambda each: gaussian_blur(each, sigma))


def coarser(x: Tensor, inside: Inside) -> Tensor:
    """Of larger pixels, which are laid back on the grid; an axis of few pixels keeps them."""
    factor, space = COARSER[int(torch.randint(len(COARSER), ()))], tuple(x.shape[2:])
    few = tuple(max(1, round(side / factor)) if 2 * side >= max(space) else side for side in space)

    def there_and_back(each: Tensor) -> Tensor:
        coarse = F.interpolate(each, size=few, mode="area")
        return F.interpolate(coarse, size=space, mode=LINEAR[len(space)], align_corners=False)

    return smoothed(x, inside, there_and_back)


def noisy(x: Tensor, inside: Inside) -> Tensor:
    """With noise of any strength up to the most."""
    return x + spread(NOISE * torch.rand(len(x), device=x.device), x) * torch.randn_like(x)


def smoothed(x: Tensor, inside: Inside, smoother: Callable[[Tensor], Tensor]) -> Tensor:
    """What a smoother makes of images, from what lies inside alone."""
    if inside is None:
        return smoother(x)
    share = smoother(inside.float())
    return torch.where(share > LEAST, smoother(torch.where(inside, x, 0)) / share.clamp_min(LEAST), x)


def ends(x: Tensor, inside: Inside) -> tuple[Tensor, Tensor]:
    """The least and the largest value of each image, (N,) each."""
    if inside is None:
        return x.flatten(1).amin(1), x.flatten(1).amax(1)
    low = torch.where(inside, x, torch.inf).flatten(1).amin(1)
    high = torch.where(inside, x, -torch.inf).flatten(1).amax(1)
    nothing = ~inside.flatten(1).any(1)
    return torch.where(nothing, -1.0, low), torch.where(nothing, 1.0, high)


def uniform(x: Tensor) -> Tensor:
    """Numbers (N,) from -1 to 1."""
    return 2 * torch.rand(len(x), device=x.device) - 1


def spread(numbers: Tensor, x: Tensor) -> Tensor:
    """One number an image (N,), ready to broadcast."""
    return numbers.view(-1, *[1] * (x.ndim - 1))
