"""Diffusion: an image is put half way into the noise, and drawn again by who has seen only normal ones."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from typing import ClassVar, cast

import torch
from torch import Generator, Tensor, nn

from anomaly.degradations.noise import grains, spread
from anomaly.detectors.reconstruction import Drawing, ReconstructionDetector, Scales
from anomaly.errors import AnomalyError
from anomaly.nets.diffusion import Denoiser
from anomaly.nets.losses import l2
from anomaly.nets.noising import SCHEDULES, TIMES, Noising, times
from anomaly.nets.simplex import simplex
from anomaly.nets.within import mean_of_batch, pasted
from anomaly.training.games import Player, Stage, lately
from anomaly.training.loop import cosine

NOISES: dict[str, Callable[[Tensor, int, Generator | None], Tensor]] = {
    "coarse": lambda x, coarse, random: grains(x, coarse, random) / sqrt(spread(x.shape[2:], coarse)),
    "simplex": lambda x, coarse, random: simplex(x, coarse, random),
    "gaussian": lambda x, coarse, random: torch.randn(x.shape, generator=random, device=x.device, dtype=x.dtype),
}
"""(images, pixels of a grain or of the longest wave, where chance comes from) -> noise of mean 0 and variance 1."""
GRAIN = {"coarse": 16, "simplex": 4, "gaussian": 0}
"""Grains, or longest waves, along the smallest side."""
SEED = 20240
"""Of the noise that images are judged with: the same for all of them, whenever it is asked."""


@dataclass(kw_only=True)
class Diffusion(ReconstructionDetector):
    """Partial diffusion: noise is put upon the image as it has at `time`, and taken away again step by step.

    Each image is judged with the same `draws` of noise, and what is drawn from these is averaged. The original (Wyatt
    et al. 2022) has noise=simplex, learned=0.8, draws=5 and a step for each time (inference_steps is 1,000 times
    `time`), in which new noise comes in by chance; here none does.

    Args:
        noise: what is put upon images: "coarse" Gaussian, "simplex" or white "gaussian".
        coarse: pixels between two independent values of coarse noise, or of the longest wave of simplex noise; 0
            takes a 16th and a quarter of the smallest side (64 of 256 pixels).
        time: how far an image goes into the noise, as a share of the 1,000 times.
        inference_steps: in which the noise is taken away; 1 takes it away at once.
        draws: of noise, for each image.
        learned: share of the times that the network learns to find noise of, `time` or more; 0 for those that it will
            be asked at, up to `time`.
        width: channels at full size; k + 1 times as many after k halvings.
        levels: sizes at which the network looks, the full one and each of the halvings.
        blocks: residual blocks at each size.
        attention: at so many of the smallest sizes each place looks at all others.
        schedule: how noise is added: "linear", "scaled-linear" or "cosine".
        ema: the network at the end is a running average of its weights: w <- ema w + (1 - ema) new; of a short training
            less.
    """

    name: ClassVar[str] = "diffusion"
    summary: ClassVar[str] = "noise put upon the image and taken away step by step; heads l1, l2, ssim, combined"
    cite: ClassVar[str] = "Wyatt et al. 2022 (AnoDDPM); Ho et al. 2020 (DDPM); Song et al. 2021 (DDIM)"
    amounts: ClassVar[Mapping[str, tuple[int, int]]] = {"steps": (600, 300), "batch": (16, 2), "width": (16, 8)}
    positive: ClassVar[tuple[str, ...]] = (
        *ReconstructionDetector.positive, "width", "levels", "blocks", "time", "inference_steps", "draws",
    )  # fmt: skip
    not_negative: ClassVar[tuple[str, ...]] = (
        *ReconstructionDetector.not_negative, "coarse", "attention", "ema", "learned",
    )  # fmt: skip
    below_one: ClassVar[tuple[str, ...]] = (*ReconstructionDetector.below_one, "ema")
    at_most_one: ClassVar[tuple[str, ...]] = (*ReconstructionDetector.at_most_one, "time", "learned")
    choices: ClassVar[Mapping[str, Iterable[str]]] = {"noise": NOISES, "schedule": SCHEDULES}
    noise: str = "coarse"
    coarse: int = 0
    time: float = 0.25
    inference_steps: int = 2
    draws: int = 2
    learned: float = 0.0
    width: int = 0
    levels: int = 3
    blocks: int = 1
    attention: int = 1
    schedule: str = "linear"
    ema: float = 0.999

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.coarse and self.noise == "gaussian":
            raise AnomalyError(f"coarse={self.coarse} is no setting of noise=gaussian, which is white")
        if 0 < self.learned < self.time:
            raise AnomalyError(
                f"learned={self.learned:g} is less than time={self.time:g}, at which the network will be asked; give "
                "as much or more, or 0"
            )

    @cached_property
    def noising(self) -> Noising:
        """How noise is added and taken away."""
        return Noising(self.schedule)

    @property
    def passes(self) -> int:
        """How often an image goes through the network to be judged."""
        return self.draws * (len(times(self.time, self.inference_steps)) - 1)

    def fill_in(self, shape: tuple[int, ...], count: int, processes: int = 1) -> None:
        """Fill in what nobody set; grains and waves grow with the images."""
        super().fill_in(shape, count, processes)
        if GRAIN[self.noise]:
            self.coarse = self.coarse or max(1, round(min(shape[1:]) / GRAIN[self.noise]))

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """The network that finds noise, the noise that images are judged with, and the scales of the heads."""
        sizes = {"width": self.width, "levels": self.levels, "blocks": self.blocks, "attention": self.attention}
        like, random = torch.zeros(self.draws, *shape), Generator().manual_seed(SEED)
        return nn.ModuleDict(
            {
                "denoiser": Denoiser(shape, **sizes),
                "drawn": Drawn(NOISES[self.noise](like, self.coarse, random)),
                "scales": Scales(len(self.offered()), shape[1:]),
            }
        )

    def stages(self) -> Sequence[Stage]:
        """One player, whose weights are averaged."""
        player = Player(
            name=self.name, owns=[self.net_["denoiser"]], loss=self.loss, optimiser=self.adam, schedule=cosine,
            ema=lately(self.ema, self.steps),
        )  # fmt: skip
        return [Stage(name="train", players=[player], steps=self.steps)]

    def loss(self, x: Tensor) -> Tensor:
        """(eps - predicted)^2 at random times of those learned (Ho et al. 2020, eq. 14), within the mask."""
        inside, last = self.within(x), times(self.learned or self.time, 1)[-1]
        t = torch.randint(last + 1, (len(x),), device=x.device)
        noise = NOISES[self.noise](x, self.coarse, None)
        x_t = pasted(self.noising.noisy(x, t, noise), x, inside)
        return mean_of_batch(l2(self.net_["denoiser"](x_t, t).to(noise.dtype), noise), inside)

    def draw(self, x: Tensor) -> Drawing:
        """The mean over all draws of noise of what is left when it has been taken away."""
        inside, last = self.within(x), times(self.time, 1)[-1]
        t, total = torch.full((len(x),), last, device=x.device), torch.zeros_like(x)

        def found(x_t: Tensor, t: Tensor) -> Tensor:
            return cast(Tensor, self.net_["denoiser"](pasted(x_t, x, inside), t).to(x.dtype))

        for noise in self.net_["drawn"].noise:
            x_t = self.noising.noisy(x, t, noise.expand_as(x))
            total = total + self.noising.decode(x_t, found, ratio=self.time, steps=self.inference_steps).clamp(-1, 1)
        return Drawing(total / self.draws)

    def story(self) -> str:
        """What it costs to judge an image, Markdown for the model card."""
        return (
            f"Each image goes through the network {self.passes} times: {self.draws} draws of {self.noise} noise as it "
            f"is at time {times(self.time, 1)[-1] + 1} of {TIMES:,}, taken away in {self.passes // self.draws} steps "
            "each. The noise is the same for all images."
        )


class Drawn(nn.Module):
    """Noise (draws, C, *space) that is kept with the weights."""

    def __init__(self, noise: Tensor) -> None:
        super().__init__()
        self.register_buffer("noise", noise)
