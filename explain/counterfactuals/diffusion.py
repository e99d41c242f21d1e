"""Counterfactuals by diffusion: an image followed into the noise, and led out of it again as a control."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.errors import AnomalyError
from anomaly.nets.diffusion import UNTOLD, Denoiser, TimedTrunk
from anomaly.nets.noising import SCHEDULES, Guide, Noising, without_classifier
from anomaly.training.games import Glance, Player, Stage, lately
from anomaly.training.learned import Images
from explain.base import Explanation
from explain.counterfactuals.conditional import CONTROL, beside
from explain.trained import TrainedExplainer, drawn, some

PUBLISHED = {"free": (3.0, 0.75), "classifier": (100.0, 0.5)}
"""Scale and ratio of Sanchez et al. 2022 and of Wolleb et al. 2022."""
GLIMPSE = 10
"""Steps each way while it trains, where a person looks often; of every second of the images shown otherwise."""


@dataclass(kw_only=True)
class DiffusionCounterfactual(TrainedExplainer):
    """Follows an image into the noise without being told what it is, and out again as a control.

    One network learns to find the noise in noisy images of both sides (Ho et al. 2020, eq. 14). DDIM leads the image
    into the noise, up to a share `ratio` of the times, step by step and without chance, and back; on the way back it is
    guided: "free" of a classifier by the network itself, which is told the side of most images (Ho and Salimans 2022;
    Sanchez et al. 2022), or by a "classifier" (Dhariwal and Nichol 2021; Wolleb et al. 2022). That one is trained here
    on noisy images of all times: half way in hardly an image is left, and what a classifier of clean images says there,
    or in which direction it would change it, means nothing.

    What the way there and back changes without any guidance is no evidence. Diagnostics: "reconstruction", its mean
    absolute value; where that is not far below the `change` of an image, the map shows what the method cannot draw. It
    is the larger, the fewer the steps, and the more unusual the image is, such as in a lesion; `corrections` lower it.

    The original (Sanchez et al. 2022) has 64 channels, two blocks at each size, attention at all but the full one,
    linear noise, 100 steps each way, an average of 0.9999, and 50,000 steps of 64 images; the defaults here are sized
    for a CPU.

    Args:
        width: channels at full size; k + 1 times as many after k halvings.
        levels: sizes at which the network looks, the full one and each of the halvings.
        blocks: residual blocks at each size.
        attention: at so many of the smallest sizes each place looks at all others.
        schedule: how noise is added: "linear", "scaled-linear" or "cosine".
        guidance: "free" or "classifier".
        scale: how strongly it is guided; 0 takes the published 3 (free) or 100 (classifier).
        ratio: how far the image goes into the noise, up to 1; 0 takes the published 0.75 (free) or 0.5 (classifier).
        dropout: share of the images whose side the network is not told, guided without a classifier.
        inference_steps: each way.
        corrections: how often each step into the noise is corrected, at the cost of a step each.
        clamp: quantile to which the image predicted in each step on the way back is clamped; 0 for none.
        against: what the map holds the guided image against: the "image", as published, or its "reconstruction", led
            back without guidance. Then only what guidance changes is evidence, and taken from the image itself.
        ema: the network at the end is a running average of its weights: w <- ema w + (1 - ema) new; of a short training
            less, see `lately`.
        classifier_steps: of the classifier, if there is one.
    """

    name: ClassVar[str] = "diffusion-counterfactual"
    summary: ClassVar[str] = "diffusion: into the noise, and out again guided to look like a control; unpaired"
    cite: ClassVar[str] = "Sanchez et al. 2022; Wolleb et al. 2022; Ho et al. 2020 (DDPM); Song et al. 2021 (DDIM)"
    positive: ClassVar[tuple[str, ...]] = (
        *TrainedExplainer.positive, "width", "levels", "blocks", "inference_steps", "classifier_steps",
    )  # fmt: skip
    not_negative: ClassVar[tuple[str, ...]] = (
        *TrainedExplainer.not_negative, "attention", "scale", "ratio", "dropout", "corrections", "clamp", "ema",
    )  # fmt: skip
    below_one: ClassVar[tuple[str, ...]] = (*TrainedExplainer.below_one, "ema")
    at_most_one: ClassVar[tuple[str, ...]] = ("ratio", "dropout", "clamp")
    choices: ClassVar[Mapping[str, Iterable[str]]] = {
        "guidance": PUBLISHED, "against": ("image", "reconstruction"), "schedule": SCHEDULES,
    }  # fmt: skip
    steps: int = 10_000
    batch: int = 16
    width: int = 32
    levels: int = 4
    blocks: int = 1
    attention: int = 2
    schedule: str = "linear"
    guidance: str = "free"
    scale: float = 0.0
    ratio: float = 0.0
    dropout: float = 0.35
    inference_steps: int = 50
    corrections: int = 0
    clamp: float = 0.99
    against: str = "image"
    ema: float = 0.999
    classifier_steps: int = 2000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.guidance == "free" and self.dropout in (0, 1):
            raise AnomalyError(
                f"dropout must lie between 0 and 1, for without a classifier the network has to be told some sides and "
                f"not others; got {self.dropout:g}"
            )

    @cached_property
    def noising(self) -> Noising:
        """How noise is added and taken away."""
        return Noising(self.schedule)

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """The network that finds the noise, and the classifier that guides it, if any."""
        sizes = {"width": self.width, "levels": self.levels, "blocks": self.blocks, "attention": self.attention}
        if self.guidance == "free":
            return nn.ModuleDict({"denoiser": Denoiser(shape, **sizes, classes=2)})
        return nn.ModuleDict({"denoiser": Denoiser(shape, **sizes), "classifier": NoisyClassifier(shape, **sizes)})

    def stages(self) -> Sequence[Stage]:
        """The network that finds the noise; then the classifier, if any."""
        denoiser = Player(
            name="denoiser", owns=[self.net_["denoiser"]], loss=self.denoiser_loss, optimiser=self.optimiser,
            schedule=self.falling, ema=lately(self.ema, self.steps),
        )  # fmt: skip
        stages = [Stage(name="diffusion", players=[denoiser], steps=self.steps)]
        if self.guidance == "classifier":
            classifier = Player(
                name="classifier", owns=[self.net_["classifier"]], loss=self.classifier_loss, optimiser=self.optimiser,
                schedule=self.falling,
            )  # fmt: skip
            stages.append(Stage(name="classifier", players=[classifier], steps=self.classifier_steps))
        return stages

    def optimiser(self, parameters: Any) -> torch.optim.Optimizer:
        """Adam with its usual momenta."""
        return self.adam(parameters, betas=(0.9, 0.999))

    def denoiser_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """(eps - predicted)^2 at random times; some images' sides are told, others' not."""
        x, own = beside(batch)
        if self.guidance == "free":
            own = own.masked_fill(torch.rand(len(x), device=x.device) < self.dropout, UNTOLD)
            return self.noising.loss(partial(self._noise, classes=own), x)
        return self.noising.loss(self._noise, x)

    def classifier_loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of the sides of noisy images at random times; beside it the share told right."""
        x, own = beside(batch)
        logit = self.net_["classifier"](*self.noising.drawn(x)[:2]).float()
        right = ((logit > 0) == (own > 0)).float().mean()
        return F.binary_cross_entropy_with_logits(logit, own.to(logit.dtype)), {"right": right}

    def counterfactual(self, x: Tensor) -> Explanation:
        """The image led out of the noise as a control, within [-1, 1], or where it lies beyond that, its own range."""
        there: dict[str, Any] = {"ratio": self.ratio or PUBLISHED[self.guidance][1], "steps": self.inference_steps}
        hidden = self.noising.encode(x, self._noise, **there, corrections=self.corrections)
        back = partial(self.noising.decode, hidden, self._noise, **there, clamp=self.clamp)
        guided, plain = back(guide=self._guide()), back()
        if self.against == "reconstruction":
            guided = x + guided - plain
        low, high = (end.view(-1, *[1] * (x.ndim - 1)) for end in x.flatten(1).aminmax(dim=1))
        guided = guided.clamp(low.clamp(max=-1), high.clamp(min=1))
        return drawn(x, guided, reconstruction=(x - plain).flatten(1).abs().mean(1))

    def onlooker(self, controls: Images, cases: Images) -> Callable[[str], Glance]:
        """The same with fewer images and steps, for it takes some hundred passes; what these few lose is left out."""
        quick = replace(self, inference_steps=min(GLIMPSE, self.inference_steps), against="reconstruction")
        quick.net_ = self.net_
        few = (some(images, self.device)[::2] for images in (controls, cases))
        return TrainedExplainer.onlooker(quick, *few)

    def _noise(self, x: Tensor, t: Tensor, classes: Tensor | None = None) -> Tensor:
        predicted: Tensor = self.net_["denoiser"](x, t, classes)
        return predicted.float()

    def _as_control(self, x: Tensor, t: Tensor) -> Tensor:
        return self._noise(x, t, torch.full_like(t, CONTROL))

    def _log_control(self, x: Tensor, t: Tensor) -> Tensor:
        return F.logsigmoid(-self.net_["classifier"](x, t).float())

    def _guide(self) -> Guide:
        scale = self.scale or PUBLISHED[self.guidance][0]
        if self.guidance == "free":
            return without_classifier(self._as_control, scale)
        return self.noising.by_classifier(self._log_control, scale)


class NoisyClassifier(TimedTrunk):
    """Noisy images (N, C, *space) and their times -> the logit (N,) of being cases; 0 until it has learned.

    What the network that finds noise has on its way down, and the mean over the image; arguments as for `TimedTrunk`.
    """

    def __init__(self, shape: Sequence[int], **settings: int) -> None:
        super().__init__(shape, **settings)
        self.head = nn.Linear(self.widths[-1], 1)
        nn.init.zeros_(self.head.weight)  # so that it leads nowhere while the other network is watched
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """x_t (N, C, *space), t (N,) int64 -> (N,)."""
        deepest = self.seen(x, self.told(t))[-1]
        logit: Tensor = self.head(F.silu(deepest).flatten(2).mean(2))
        return logit.squeeze(1)
