"""The code of an image, brought closer to it than the encoder's by going down the slope of what is lacking."""

from math import cos, pi

import torch
from torch import Tensor

from explain.latent.generator import Generator

LR, RISE, FALL = 0.1, 0.05, 0.25
"""Learning rate of Adam, and the shares of the steps over which it rises at first and falls at the end."""


def projected(generator: Generator, x: Tensor, code: Tensor, steps: int) -> Tensor:
    """Codes (N, K) whose images are closer to x (N, C, *space) than those of `code`, or these where none is found.

    Adam on the mean squared difference of the images and, where the generator offers `features` (N, F), theirs,
    relative to their mean square. Schedule and learning rate are those of Karras et al. 2020 (StyleGAN2, section 5),
    whose noise stays as it is here. No image has a say in another's code.
    """
    features = getattr(generator, "features", None)
    with torch.no_grad():
        wanted = features(x).flatten(1) if features else None

    def lacking(code: Tensor) -> Tensor:
        drawn = generator.decode(code)
        image = (x - drawn).square().flatten(1).mean(1)
        if features is None or wanted is None:
            return image
        apart = (wanted - features(drawn).flatten(1)).square().mean(1)
        return image + apart / wanted.square().mean(1).clamp_min(1e-12)

    moving = code.detach().clone().requires_grad_()
    adam = torch.optim.Adam([moving], lr=LR)
    with torch.enable_grad():
        for step in range(steps):
            adam.param_groups[0]["lr"] = LR * _schedule((step + 0.5) / steps)
            (moving.grad,) = torch.autograd.grad(lacking(moving).sum(), moving)
            adam.step()
    with torch.no_grad():
        closer = lacking(moving) < lacking(code)
        return torch.where(closer[:, None], moving.detach(), code)


def _schedule(done: float) -> float:
    """Factor on the learning rate when a share of the steps is done."""
    return min(1.0, done / RISE) * (0.5 - 0.5 * cos(pi * min(1.0, (1 - done) / FALL)))
