"""Attributions: what each pixel contributes to a target, from the target's gradients; captum underneath.

They draw no counterfactual. Channels are summed, so a map has one. Images go through the target a few at a time
and never beside one another, so that an explanation does not depend on its batch.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from anomaly.errors import AnomalyError
from anomaly.losses import gaussian_blur
from explain.base import Explainer, Explanation, Images

BLACK = -1.0
CHUNK = 64


@dataclass(kw_only=True)
class Saliency(Explainer):
    """The gradient of the target, signed: positive where more intensity would raise it."""

    name: ClassVar[str] = "saliency"
    summary: ClassVar[str] = "gradient of the target at the image"
    cite: ClassVar[str] = "Simonyan et al. 2014"

    def evidence(self, x: Tensor) -> Explanation:
        """df/dx of every image."""
        from captum import attr

        method = attr.Saliency(self.ask)
        slopes = [method.attribute(image.requires_grad_(), abs=False) for image in x.split(1)]
        return Explanation(torch.cat(slopes).sum(1, keepdim=True))


@dataclass(kw_only=True)
class IntegratedGradients(Explainer):
    """The gradient of the target, averaged along the straight line from a baseline to the image.

    (x - b) times the integral of df/dx at b + a (x - b) over a from 0 to 1 (Sundararajan et al. 2017, eq. 1), by
    Gauss-Legendre quadrature. The map sums to f(x) - f(b), which the diagnostics tell: "target" f(x), "baseline"
    f(b), and "gap", the sum of the map less their difference; raise `steps` where the gap is large. A pixel that
    equals its baseline gets nothing, so the baseline says what absence looks like.

    Args:
        steps: points on the line.
        batch: how many of them go through the target at once.
        baseline: "zero" (no intensity: black, -1), "mean" (the mean control, from `fit`) or "blur" (the image
            without its details). `explain` takes images instead, such as counterfactuals.
        blur: width of the blur (standard deviation), as a share of the smallest side.
    """

    name: ClassVar[str] = "integrated-gradients"
    summary: ClassVar[str] = "shares of the target that add up to its rise above a baseline"
    cite: ClassVar[str] = "Sundararajan et al. 2017"
    steps: int = 64
    batch: int = 32
    baseline: str = "zero"
    blur: float = 0.125
    mean_: Tensor = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for setting in ("steps", "batch", "blur"):
            if getattr(self, setting) <= 0:
                raise AnomalyError(f"{setting} must be positive, got {getattr(self, setting)}")
        if self.baseline not in BASELINES:
            raise AnomalyError(f"baseline={self.baseline} is unknown; take one of {', '.join(BASELINES)}")

    def learn(self, controls: Images, cases: Images | None) -> None:
        """Average the controls."""
        total = np.zeros(controls.shape[1:])
        for start in range(0, len(controls), CHUNK):
            part = controls[start : start + CHUNK]
            total += (part.numpy(force=True) if isinstance(part, Tensor) else part).sum(0, dtype=np.float64)
        self.mean_ = torch.from_numpy(total / len(controls))[None]

    def explain(self, x: Tensor, *, baseline: Tensor | None = None, seed: int = 0) -> Explanation:
        """As for every explainer; `baseline` gives the images to compare with, (N or 1, C, *space).

        Raises:
            AnomalyError: as for every explainer; or the baseline has another shape, or is the mean control before
                `fit`.
        """
        if baseline is not None and tuple(baseline.shape) not in (tuple(x.shape), (1, *x.shape[1:])):
            raise AnomalyError(
                f"the baseline has shape {tuple(baseline.shape)}, the images {tuple(x.shape)}; give one for each "
                f"image, or one for all, {(1, *x.shape[1:])}"
            )
        return self._explain(x, partial(self.evidence, baseline=baseline), seed)

    def evidence(self, x: Tensor, baseline: Tensor | None = None) -> Explanation:
        """The integral for every image, from its own baseline or the one given."""
        from captum import attr

        method = attr.IntegratedGradients(self.ask)
        origins = BASELINES[self.baseline](self, x) if baseline is None else baseline.detach().clone()
        shares, ends = [], []
        for image, origin in zip(x.split(1), origins.to(x).expand_as(x).split(1), strict=True):
            with torch.no_grad():
                ends.append(torch.cat([self.ask(origin), self.ask(image)]))
            shares.append(method.attribute(image, origin, n_steps=self.steps, internal_batch_size=self.batch))
        before, after = torch.stack(ends).unbind(1)
        map = torch.cat(shares).sum(1, keepdim=True)
        gap = map.flatten(1).sum(1) - (after - before)
        return Explanation(map, diagnostics={"target": after, "baseline": before, "gap": gap})

    def mean_control(self) -> Tensor:
        """The mean control (1, C, *space), as `fit` found it."""
        if not hasattr(self, "mean_"):
            raise AnomalyError("baseline=mean is the mean control image; call fit(controls) first")
        return self.mean_


BASELINES: dict[str, Callable[[IntegratedGradients, Tensor], Tensor]] = {
    "zero": lambda explainer, x: torch.full_like(x, BLACK),
    "mean": lambda explainer, x: explainer.mean_control(),
    "blur": lambda explainer, x: gaussian_blur(x, explainer.blur * min(x.shape[2:])),
}
