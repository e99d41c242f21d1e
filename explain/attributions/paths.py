"""The gradient of the target on the way from a baseline to the image."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from anomaly.errors import AnomalyError
from explain.attributions.base import draws, gradient, shaken
from explain.attributions.baselines import AgainstBaseline
from explain.base import Images

CONTROLS = "controls"
SHARE_OF_STEPS, FEWEST = 4, 4
"""First a quarter of the points is tried, where that is so many at least."""


@dataclass(kw_only=True)
class IntegratedGradients(AgainstBaseline):
    """The gradient of the target, averaged along the straight line from a baseline to the image.

    (x - b) times the integral of df/dx at b + a (x - b) over a from 0 to 1 (Sundararajan et al. 2017, eq. 1), by
    Gauss-Legendre quadrature. The map sums to f(x) - f(b) but for the "gap" of the diagnostics; raise `steps` where
    it is large. A pixel that equals its baseline gets nothing, so the baseline says what absence looks like.

    Args:
        steps: points on the line, in all.
        tolerance: a quarter of the points is enough where it leaves a gap of at most this share of |f(x) - f(b)|; where
            it is not, the integral is by the other three quarters, so that no image takes more than `steps`. 0 takes
            all of them at once, and so does "counterfactual", where a quarter was not enough for any of four images.
        batch: how many of them go through the target at once.
        baseline: "zero", "mean", "blur" or "counterfactual", as in `AgainstBaseline`. Of a detector's run that draws
            images as if they were normal, the image so drawn unless told otherwise.
        blur: width of the blur, as a share of the smallest side.
    """

    name: ClassVar[str] = "integrated-gradients"
    summary: ClassVar[str] = "shares of the target that add up to its rise above a baseline"
    cite: ClassVar[str] = "Sundararajan et al. 2017"
    positive: ClassVar[tuple[str, ...]] = ("steps", "batch", *AgainstBaseline.positive)
    not_negative: ClassVar[tuple[str, ...]] = ("tolerance",)
    from_counterfactual: ClassVar[bool] = True
    steps: int = 64
    tolerance: float = 0.005
    batch: int = 32

    def share(self, image: Tensor, origin: Tensor) -> Tensor:
        """The integral, by a quarter of the points where these add up; each image is asked for itself alone."""
        few = self.steps // SHARE_OF_STEPS
        if not self.tolerance or few < FEWEST or self.baseline == "counterfactual":
            return self._integral(image, origin, self.steps)
        shares = self._integral(image, origin, few)
        with torch.no_grad():
            rise = self.ask(image) - self.ask(origin)
        if (shares.sum() - rise).abs() <= self.tolerance * rise.abs():
            return shares
        return self._integral(image, origin, self.steps - few)

    def _integral(self, image: Tensor, origin: Tensor, steps: int) -> Tensor:
        from captum import attr

        method = attr.IntegratedGradients(self.ask)
        shares: Tensor = method.attribute(image, origin, n_steps=steps, internal_batch_size=self.batch)
        return shares


@dataclass(kw_only=True)
class GradientShap(AgainstBaseline):
    """Integrated gradients from many controls at once: the mean of (x - b) df/dx at a random place between them.

    b runs over controls kept at `fit`, a over [0, 1], both by chance (expected gradients: Erion et al. 2021, the
    GradientExplainer of Lundberg and Lee's shap). The map sums to f(x) less the mean of f(b), but for the "gap", which
    falls with `samples`. Where `x` varies as controls do, it tells little; that is its use over one baseline.

    Each b is used equally often and the places are one in each n-th part of the way, so less is left to chance. All
    images meet the same ones, so that an explanation does not depend on its batch. Not captum's, whose chance follows
    numpy's global state.

    Args:
        samples: gradients to average; best a multiple of `kept`.
        batch: how many of them go through the target at once.
        kept: controls to keep, chosen at random.
        noise: added to the image each time (standard deviation), as a share of its range; the map then explains
            the image on average over noise, and pixels that equal their baseline get something.
        baseline: "controls", or one: "zero", "mean", "blur" or "counterfactual", as in `AgainstBaseline`.
        blur: width of the blur, as a share of the smallest side.
    """

    name: ClassVar[str] = "gradient-shap"
    summary: ClassVar[str] = "shares of the target that add up to its rise above that of controls"
    cite: ClassVar[str] = "Lundberg and Lee 2017; Erion et al. 2021 (expected gradients)"
    positive: ClassVar[tuple[str, ...]] = ("samples", "batch", "kept", *AgainstBaseline.positive)
    not_negative: ClassVar[tuple[str, ...]] = ("noise",)
    choices: ClassVar[Mapping[str, Iterable[str]]] = {"baseline": (CONTROLS, "zero", "mean", "blur", "counterfactual")}
    samples: int = 64
    batch: int = 32
    kept: int = 16
    noise: float = 0.0
    baseline: str = CONTROLS
    controls_: Tensor = dataclasses.field(init=False, repr=False, compare=False)

    def learn(self, controls: Images, cases: Images | None) -> None:
        """Average the controls and keep some."""
        super().learn(controls, cases)
        chosen = np.sort(torch.randperm(len(controls))[: self.kept].numpy())
        self.controls_ = torch.as_tensor(controls[chosen]).detach().clone()

    def origins(self, x: Tensor) -> Sequence[Tensor]:
        """The controls, the same for each image, or its one baseline."""
        if self.baseline != CONTROLS:
            return super().origins(x)
        if not hasattr(self, "controls_"):
            raise AnomalyError(
                f"baseline={CONTROLS} takes controls for baselines; give --controls, or call fit(controls) first"
            )
        return [self.controls_.to(x)] * len(x)

    def level(self, origin: Tensor) -> Tensor:
        """The mean target (1,) of the controls."""
        return torch.cat([self.ask(part) for part in origin.split(self.batch)]).mean(0, keepdim=True)

    def share(self, image: Tensor, origin: Tensor) -> Tensor:
        """The mean over samples."""
        generator = draws()
        places = torch.randperm(self.samples, generator=generator) + torch.rand(self.samples, generator=generator)
        places = (places / self.samples).to(image).view(-1, *[1] * (image.ndim - 1))
        total, which = torch.zeros_like(image), torch.arange(self.samples) % len(origin)
        ends = shaken(image, self.noise, self.samples, self.batch)
        for end, place, chosen in zip(ends, places.split(self.batch), which.split(self.batch), strict=True):
            start = origin[chosen]
            between = torch.lerp(start, end, place).requires_grad_()
            total += ((end - start) * gradient(self.ask(between), between)).sum(0, keepdim=True)
        return total / self.samples
