"""What the explainers share that walk through codes: the generator, the frames of a walk, and what is told of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from anomaly.errors import AnomalyError
from anomaly.training.batches import passes
from explain.attributions.base import gradient
from explain.base import Explainer, Explanation, Walk
from explain.latent.generator import Generator
from explain.trained import difference

Road = Callable[[Tensor, Tensor], Tensor]
"""(rows (n,) of the batch, a position of each (n,)) -> codes (n, K); at 0 the code of the image itself."""


@dataclass(kw_only=True)
class Latent(Explainer):
    """Base of the explainers that change an image by its code, G(E(x) + ...), E and G of a generator.

    The map is what changes in the image as drawn again, G(E(x)) less the end of the walk, never what x and its
    reconstruction differ by: what a generator cannot draw is no evidence.

    Args:
        generator: draws images from codes and knows the code of an image; see `Generator`. It is no setting.
        frames: of a walk, an odd number: as many towards health as beyond the image.
        keep: whether the counterfactual is the image less what changes, x - (G(E(x)) - end), so that it keeps what
            the generator cannot draw, and with that perhaps some of the disease; else the end as it is drawn.
    """

    takes_target: ClassVar[bool] = True
    takes_generator: ClassVar[bool] = True
    generator: Generator | None = field(default=None, repr=False, compare=False)
    frames: int = 9
    keep: bool = True

    def _check_frames(self) -> None:
        if self.frames < 3 or self.frames % 2 == 0:
            raise AnomalyError(f"frames must be odd and 3 or more, the image in the middle; got {self.frames}")

    def given(self, shape: tuple[int, ...] | torch.Size) -> Generator:
        """The generator, made sure to draw images of shape (C, *space)."""
        if self.generator is None:
            raise AnomalyError(
                f"{self.name} walks through the codes of a generator and has none; make it with generator=..., such as "
                "a fitted detector that has encode and decode"
            )
        drawn = getattr(self.generator, "shape_", None)
        if drawn is None or tuple(drawn) != tuple(shape):
            raise AnomalyError(
                f"images have shape {tuple(shape)}, the generator draws {drawn} (C, *space); train it on images that "
                "are prepared in the same way"
            )
        return self.generator

    def decode(self, code: Tensor) -> Tensor:
        """Images (N, C, *space) of codes (N, K)."""
        assert self.generator is not None
        return self.generator.decode(code)

    def slopes(self, code: Tensor) -> Tensor:
        """df(G(w)) / dw at codes (N, K).

        Raises:
            AnomalyError: the target or the generator cannot be differentiated, or not there.
        """
        with torch.enable_grad():
            code = code.detach().requires_grad_()
            drawn = self.decode(code)
            if not drawn.requires_grad:
                raise AnomalyError("the generator cannot be differentiated: its images do not depend on codes in torch")
            slope = gradient(self.ask(drawn), code, "codes")
        if not slope.isfinite().all():
            raise AnomalyError(
                "the target has no finite gradient at or near these images; look for square roots, logarithms and "
                "divisions at zero"
            )
        return slope.detach()

    def shown(self, x: Tensor, road: Road, end: Tensor, reach: Tensor, unit: Tensor | float = 1.0) -> Explanation:
        """The explanation of images (N, C, *space) by a walk; without gradients.

        Args:
            x: the images.
            road: where codes lie.
            end: position of the counterfactual (N,), at most 0.
            reach: how far the frames go to both sides, (N,), above 0.
            unit: of positions, in which the steps of the walk are told.
        """
        rows = torch.arange(len(x), device=x.device)
        drawn, moved = (self.decode(road(rows, position)) for position in (torch.zeros_like(end), end))
        change = drawn - moved
        counterfactual = _within(x - change, x) if self.keep else moved
        steps = torch.linspace(-1, 1, self.frames, device=x.device) * reach[:, None]
        codes = road(rows.repeat_interleave(self.frames), steps.flatten())
        frames = [self.decode(part) for part in codes.split(passes(x.shape[1:]))]
        values = torch.cat([self.ask(part) for part in frames]).view_as(steps)
        walk = Walk(steps * unit, values, torch.cat(frames).unflatten(0, steps.shape))
        before, again, last, after = (self.ask(each) for each in (x, drawn, moved, counterfactual))
        diagnostics = {
            "before": before,
            "drawn": again,
            "end": last,
            "after": after,
            "gap": (before - again).abs(),
            "reconstruction": (x - drawn).abs().flatten(1).mean(1),
            "monotone": spearman(steps, values),
        }
        return Explanation(difference(drawn, moved), counterfactual, diagnostics=diagnostics, walk=walk)


def spearman(a: Tensor, b: Tensor) -> Tensor:
    """Rank correlation of each row of a with that of b, (N, T) -> (N,), ties at their mean rank; 0 for a constant."""
    a, b = (_ranks(each) - (each.shape[1] - 1) / 2 for each in (a, b))
    product, lengths = (a * b).sum(1), (a.square().sum(1) * b.square().sum(1)).sqrt()
    return torch.where(lengths > 0, product / lengths.clamp_min(1e-12), torch.zeros_like(product))


def _ranks(a: Tensor) -> Tensor:
    """From 0, those that tie at their mean."""
    below, same = (compare(a[:, None, :], a[:, :, None]).float().sum(2) for compare in (torch.lt, torch.eq))
    return below + (same - 1) / 2


def _within(moved: Tensor, x: Tensor) -> Tensor:
    """Images kept in [-1, 1], or where an image lies beyond that, within its own range."""
    ends = x.flatten(1).aminmax(dim=1)
    low, high = (end.view(-1, *[1] * (x.ndim - 1)) for end in (ends.min.clamp(max=-1), ends.max.clamp(min=1)))
    return moved.clamp(low, high)
