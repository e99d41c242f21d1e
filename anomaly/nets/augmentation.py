"""Adaptive augmentation of what a critic sees (Karras et al. 2020b), with changes that spare medical images.

Real and drawn images are varied alike, each change with one and the same chance p, which a training raises while the
critic is too sure of the real ones. As long as p is below 1, what is drawn does not take over the changes. Left out are
hue, saturation and inverted brightness, which grey images do not have or do not survive; mirroring is only for organs
whose left and right do not matter.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SCALE, TURN, SHIFT, LIGHT, CONTRAST = 0.2, math.pi, 0.125, 0.2, 0.5
"""Spreads of the changes, as published: of log2 of scale and contrast, of shift in sides, of brightness in [-1, 1]."""
EVERY = 4


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Varies images (N, C, *space) in [-1, 1] at random, each change with chance p an image; differentiable twice.

    Args:
        mirror: whether left and right may change places: the last axis of a picture, the first of a volume.
        turn: whether images may be turned by any angle; else by up to 9 degrees.
    """

    mirror: bool = False
    turn: bool = False

    def __call__(self, x: Tensor, p: Tensor) -> Tensor:
        """The varied images; p is a number from 0 to 1 as a tensor."""
        with torch.autocast(x.device.type, enabled=False):
            return self._lit(self._moved(x.float(), p), p)

    def _moved(self, x: Tensor, p: Tensor) -> Tensor:
        """Mirrored, scaled, turned and shifted in one resampling; beyond the edge the image is reflected."""
        count, dims = len(x), x.ndim - 2
        sides = torch.tensor(x.shape[2:][::-1], dtype=torch.float32, device=x.device)  # grids tell the last axis first
        matrix = torch.eye(dims, device=x.device).expand(count, dims, dims)
        if self.mirror:
            signs = torch.ones(count, dims, device=x.device)
            axis = 0 if dims == 2 else dims - 1
            signs[:, axis] = 1 - 2 * self._due(x, p) * torch.randint(0, 2, (count,), device=x.device)
            matrix = torch.diag_embed(signs) @ matrix
        alike = torch.exp2(self._drawn(x, p, lambda n: SCALE * torch.randn(n, 1, device=x.device)))
        apart = self._drawn(x, p, lambda n: SCALE * torch.randn(n, dims, device=x.device))
        # As much wider as it gets lower, each axis by that spread.
        apart = torch.exp2((apart - apart.mean(1, keepdim=True)) * math.sqrt(dims / (dims - 1)))
        widest = TURN if self.turn else TURN / 20
        for first in range(dims):
            for second in range(first + 1, dims):
                angle = self._drawn(x, p, lambda n: widest * (2 * torch.rand(n, 1, device=x.device) - 1))[:, 0]
                matrix = _rotation(angle, first, second, dims) @ matrix
        matrix = torch.diag_embed(alike.expand(-1, dims) * apart) @ matrix
        shift = self._drawn(x, p, lambda n: SHIFT * torch.randn(n, dims, device=x.device)) * 2
        # Grids run from -1 to 1 along every axis; angles are kept only if that is told in pixels.
        matrix = matrix * sides[None, None, :] / sides[None, :, None]
        grid = F.affine_grid(torch.cat([matrix, shift[..., None]], dim=2), list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)

    def _lit(self, x: Tensor, p: Tensor) -> Tensor:
        """Brighter or darker, and of more or less contrast."""
        ones = [1] * (x.ndim - 1)
        light = self._drawn(x, p, lambda n: LIGHT * torch.randn(n, 1, device=x.device)).view(-1, *ones)
        contrast = torch.exp2(self._drawn(x, p, lambda n: CONTRAST * torch.randn(n, 1, device=x.device))).view(
            -1, *ones
        )
        return x * contrast + light

    def _due(self, x: Tensor, p: Tensor) -> Tensor:
        return (torch.rand(len(x), device=x.device) < p).float()

    def _drawn(self, x: Tensor, p: Tensor, draw: Callable[[int], Tensor]) -> Tensor:
        """(N, k) numbers where the change is due, 0 elsewhere."""
        return draw(len(x)) * self._due(x, p)[:, None]


class Chance(nn.Module):
    """The chance p, and what it is steered by: how sure the critic is of the real images.

    Args:
        target: mean sign of D(x) of real images that p is steered to; 0 leaves p at 0.
        images: real images over which p may rise from 0 to 1.
    """

    p: Tensor
    signs: Tensor
    looks: Tensor

    def __init__(self, target: float, images: float) -> None:
        super().__init__()
        self.target, self.images = target, images
        for name in ("p", "signs", "looks"):
            self.register_buffer(name, torch.zeros(()))

    @torch.no_grad()
    def learn(self, of_real: Tensor, batch: int) -> None:
        """Note D(x) (N,) of real images; every fourth time p takes a step, after so many batches of `batch` images.

        Each of several processes steers by its own share, so that their p differ a little.
        """
        if not self.target:
            return
        self.signs += of_real.sign().mean()
        self.looks += 1
        due = self.looks >= EVERY
        step = (self.signs / self.looks - self.target).sign() * (EVERY * batch / self.images)
        self.p.copy_(torch.where(due, self.p + step, self.p).clamp(0, 1))
        for each in (self.signs, self.looks):
            each.mul_(~due)


def _rotation(angle: Tensor, first: int, second: int, dims: int) -> Tensor:
    """(N, dims, dims): by the angles (N,), in the plane of two axes."""
    matrix = torch.eye(dims, device=angle.device).repeat(len(angle), 1, 1)
    cos, sin = angle.cos(), angle.sin()
    matrix[:, first, first], matrix[:, second, second] = cos, cos
    matrix[:, first, second], matrix[:, second, first] = -sin, sin
    return matrix
