"""Findings drawn into normal images, so that maps can be compared without a label."""

from collections.abc import Callable

import torch
from torch import Tensor

from anomaly.nets.losses import gaussian_blur

RADII = {2: (0.06, 0.14), 3: (0.025, 0.1)}
"""Of the smallest side, in pictures and in volumes, where findings are millimetres in a whole body part."""
FEWEST = 0.02  # of the range: darker places are background, where nobody looks


def planted(x: Tensor, seed: int = 0, *, first: int = 0) -> tuple[Tensor, Tensor]:
    """Images (N, C, *space) with a soft ball of something else in each, and where it lies, bool (N, 1, *space).

    In turn brighter, darker, blurred, roughened, and taken from elsewhere in the image: none of them is any disease,
    so that no method is chosen for one kind alone. `first` is the number of the first image, where they come in parts.
    """
    images, places = [], []
    for number, image in enumerate(x.cpu(), first):
        rng = torch.Generator().manual_seed(seed + number)
        soft = _ball(image, rng)
        changed = KINDS[number % len(KINDS)](image, rng)
        images.append(image + soft * (changed - image))
        places.append(soft > 0.5)
    return torch.stack(images).clamp(-1, 1).to(x.device), torch.stack(places).to(x.device)


def _ball(image: Tensor, rng: torch.Generator) -> Tensor:
    """A ball with soft edges, (1, *space) in [0, 1], somewhere in the foreground."""
    grey = image.mean(0)
    inside = (grey > grey.min() + FEWEST * (grey.max() - grey.min())).flatten().nonzero()[:, 0]
    chosen = int(inside[torch.randint(len(inside), (1,), generator=rng)]) if len(inside) else grey.numel() // 2
    centre = torch.unravel_index(torch.tensor(chosen), grey.shape)
    low, high = (share * min(grey.shape) for share in RADII[grey.ndim])
    radius = low + (high - low) * float(torch.rand(1, generator=rng))
    axes = [torch.arange(side) - place for side, place in zip(grey.shape, centre, strict=True)]
    apart = torch.stack(torch.meshgrid(*axes, indexing="ij")).float().square().sum(0).sqrt()
    return ((radius - apart) / max(1.0, 0.3 * radius) + 0.5).clamp(0, 1)[None]


def _roughened(image: Tensor, rng: torch.Generator) -> Tensor:
    return image + 0.25 * torch.randn(image.shape, generator=rng)


def _moved(image: Tensor, rng: torch.Generator) -> Tensor:
    steps = [int(torch.randint(side // 4, side // 2 + 2, (1,), generator=rng)) for side in image.shape[1:]]
    return image.roll(steps, dims=list(range(1, image.ndim)))


KINDS: tuple[Callable[[Tensor, torch.Generator], Tensor], ...] = (
    lambda image, rng: image + 0.35,
    lambda image, rng: image - 0.35,
    lambda image, rng: gaussian_blur(image[None], min(image.shape[1:]) / 24)[0],
    _roughened,
    _moved,
)
