"""Image in, image out, from pairs: what a poorer scan left, and the image that a better one would have given."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.errors import AnomalyError
from anomaly.nets.critics import PatchCritic
from anomaly.nets.restoring import DiffusionRestorer, objective
from anomaly.nets.restoring import Restorer as Network
from anomaly.training.games import Glance, Loss, Player, Source, Stage, lately
from anomaly.training.journal import Journal
from anomaly.training.learned import Learned
from anomaly.training.loop import cosine
from anomaly.training.machine import Machine

SMALLEST = 8
JUDGED = 12
"""Pixels a side of the smallest window of which the critic sees a patch."""
PLENTY = 2**31
"""Windows of images, of which there are as many as are asked for."""
Pair = tuple[Tensor, ...]
"""What is left of images, the images, and where that is told which pixels are known, (N, 1, *space) bool."""


@dataclass(kw_only=True)
class Restorer(Learned):
    """Draws of poor images the good ones, learned from pairs of the two; `fit(batches of pairs, shape)`.

    The networks take images of any size. Adam, its rate falling by half a cosine to 0, which is worth tenths of a
    decibel at the end.

    Args:
        network: "unet", "redcnn" (convolutions of width 5 without halving) or "diffusion" (draws one of the images that
            may have been, out of noise, in a few steps; sharper, and farther off on average).
        width: channels at full size ("redcnn": everywhere).
        levels: sizes of "unet" and "diffusion", the full one and each of the halvings.
        ssim: weight of 1 - SSIM beside the mean absolute error; "diffusion" has neither.
        adversarial: weight of the cross-entropy with a patch critic that takes what is drawn for real. It sharpens, and
            draws what was never there: 0 leaves it out.
        critic_width: channels of that critic after its first convolution.
        steps: of the training.
        batch: windows in a batch.
        window: pixels a side of the windows that are learned from; 0 takes 64, of what has to be degraded whole 128, of
            volumes 32, or what the smallest image has.
        lr: learning rate at the beginning.
        ema: share of the running average of weights, which is what is kept, that each step leaves.
        inference_steps: of "diffusion", in which an image is drawn.
        draws: of "diffusion", whose mean is given: the more, the nearer, and the less sharp.
        flips: whether windows are mirrored by chance, along each axis.
    """

    name: ClassVar[str] = "restorer"
    summary: ClassVar[str] = "undoes what makes a scan poor: noise, large pixels, missing parts, fewer lines of k-space"
    cite: ClassVar[str] = "Ronneberger et al. 2015; Chen et al. 2017 (RED-CNN); Saharia et al. 2022 (SR3)"
    kind: ClassVar[str] = "restorer"
    positive: ClassVar[tuple[str, ...]] = (
        *("width", "levels", "critic_width", "steps", "batch", "lr", "inference_steps", "draws"),
    )
    not_negative: ClassVar[tuple[str, ...]] = ("ssim", "adversarial", "window", "ema")
    below_one: ClassVar[tuple[str, ...]] = ("ema",)
    choices: ClassVar[Mapping[str, Iterable[str]]] = {"network": ("unet", "redcnn", "diffusion")}
    amounts: ClassVar[Mapping[str, tuple[int, int]]] = {"steps": (3000, 1500), "batch": (16, 4)}
    network: str = "unet"
    width: int = 32
    levels: int = 4
    ssim: float = 0.0
    adversarial: float = 0.0
    critic_width: int = 32
    steps: int = 0
    batch: int = 0
    window: int = 0
    lr: float = 1e-3
    ema: float = 0.999
    inference_steps: int = 10
    draws: int = 1
    flips: bool = True
    tells_: bool = field(init=False, repr=False, compare=False, default=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if 0 < self.window < SMALLEST:
            raise AnomalyError(f"window is {self.window}; expected {SMALLEST} pixels a side or more, or 0 to choose")
        if self.network == "diffusion" and (self.ssim or self.adversarial):
            raise AnomalyError("network=diffusion learns by its own loss; leave ssim and adversarial at 0")
        if self.window:
            self._refuse_small((self.window,))

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """The network, and a critic where it is asked for; whether known pixels are told is kept beside."""
        self._refuse_small(shape[1:])
        nets = nn.ModuleDict({"restorer": self._network(shape)})
        if self.adversarial > 0:
            nets["critic"] = PatchCritic(2 * shape[0], len(shape) - 1, width=self.critic_width, halved=2)
        nets.register_buffer("tells", torch.tensor(self.tells_))
        return nets

    def _refuse_small(self, window: Sequence[int]) -> None:
        if self.adversarial > 0 and min(window) < JUDGED:
            raise AnomalyError(
                f"windows of {' x '.join(map(str, window))} pixels are too small for the critic; expected {JUDGED} or "
                "more a side: give a larger --set window, larger images, or adversarial=0"
            )

    def rebuild(self, shape: tuple[int, ...], tensors: Mapping[str, Tensor]) -> nn.Module:
        """As `build`, told by the file whether known pixels are."""
        self.tells_ = bool(tensors["tells"])
        return self.build(shape)

    def _network(self, shape: tuple[int, ...]) -> nn.Module:
        if self.network == "diffusion":
            return DiffusionRestorer(
                shape, width=self.width, levels=self.levels, tells=self.tells_, steps=self.inference_steps,
                draws=self.draws,
            )  # fmt: skip
        return Network(shape, network=self.network, width=self.width, levels=self.levels, tells=self.tells_)

    def stages(self) -> Sequence[Stage]:
        """One game: the network alone, or with its critic."""
        adam = partial(torch.optim.Adam, lr=self.lr)
        loss: Callable[[Pair], Loss] = self.noise_loss if self.network == "diffusion" else self.loss
        drawing = Player(
            name="restorer", owns=[self.net_["restorer"]], loss=loss, optimiser=adam, schedule=cosine,
            ema=lately(self.ema, self.steps) if self.ema else 0.0,
        )  # fmt: skip
        players = [drawing]
        if self.adversarial > 0:
            judging = partial(torch.optim.Adam, lr=self.lr / 2, betas=(0.5, 0.999))
            critic = [self.net_["critic"]]
            players.append(
                Player(name="critic", owns=critic, loss=self.critic_loss, optimiser=judging, schedule=cosine)
            )
        return [Stage(name="restore", players=players, steps=self.steps)]

    def loss(self, batch: Pair) -> Loss:
        """|drawn - x| + ssim (1 - SSIM) + adversarial CE(critic, real), where not all is known already."""
        y, x, known = _parts(batch)
        drawn = self.net_["restorer"](y, known)
        total, terms = objective(drawn, x, ssim=self.ssim, inside=None if known is None else ~known)
        if self.adversarial > 0:
            judged = self.net_["critic"](torch.cat([y, drawn], 1))
            terms["adversarial"] = F.softplus(-judged).mean()
            total = total + self.adversarial * terms["adversarial"]
        return total, terms if len(terms) > 1 else {}

    def noise_loss(self, batch: Pair) -> Loss:
        """Of "diffusion": the mean squared error of the noise found in the noisy difference of both images."""
        y, x, known = _parts(batch)
        network = self.net_["restorer"]
        assert isinstance(network, DiffusionRestorer)
        return network.loss(y, x, known)

    def critic_loss(self, batch: Pair) -> Loss:
        """Half the cross-entropy for real and for drawn images beside the poor ones (Isola et al. 2017, eq. 1)."""
        y, x, known = _parts(batch)
        with torch.no_grad():
            drawn = self.net_["restorer"](y, known)
        of_drawn, of_real = self.net_["critic"](torch.cat([torch.cat([y, each], 1) for each in (drawn, x)])).chunk(2)
        return (F.softplus(of_drawn).mean() + F.softplus(-of_real).mean()) / 2

    def fit(
        self,
        batches: Source,
        shape: Sequence[int],
        *,
        held_out: Pair | None = None,
        scale: float = 1.0,
        machine: Machine | None = None,
        seed: int = 0,
        journal: Journal | None = None,
    ) -> Self:
        """Learn to draw good images of poor ones.

        Args:
            batches: batch number k is (poor, good) or (poor, good, known), each (batch, C, *window) about in [-1, 1].
            shape: (C, *window).
            held_out: such a batch for a person to watch; None shows the first one.
            scale: how far poor and good are apart, at most (a high percentile); "diffusion" draws in units of it.
            machine: device, precision, processes.
            seed: of weights and noise.
            journal: where to keep curves and checkpoints, and whether to resume.
        """
        machine, shown = machine or Machine(), held_out or batches[0]
        self.fill_in(tuple(shape), PLENTY)
        self.tells_ = len(shown) > 2
        self.make(tuple(shape), machine, seed)
        if isinstance(network := self.net_["restorer"], DiffusionRestorer):
            network.scale.fill_(scale)
        stages = list(self.stages())
        stages[0].glance = partial(self.glance, tuple(each.to(machine.torch_device) for each in shown))
        self.play(stages, batches, machine=machine, seed=seed, journal=journal)
        self.net_.eval().requires_grad_(False)
        return self

    def glance(self, shown: Pair) -> Glance:
        """What a person sees of the training: poor, drawn and good images, and their peak signal-to-noise ratios."""
        y, x, known = _parts(shown)
        drawn = self.restored(y, known)
        figures = {"psnr": psnr(drawn, x), "psnr_before": psnr(y, x)}
        return Glance(pictures={"poor": y, "restored": drawn, "good": x}, figures=figures)

    @torch.no_grad()
    def restored(self, y: Tensor, known: Tensor | None = None, noise: Tensor | None = None) -> Tensor:
        """Images (N, C, *space) as they may have been before what was done to them, not clamped; sides may be any.

        Args:
            y: what is left of them, on their own grid.
            known: which pixels are theirs, (N, 1, *space) bool; these come back to the bit. Where it was learned which
                pixels are known, it has to be told.
            noise: of windows of a larger image, their part of its `noise`.

        Raises:
            AnomalyError: nothing has been learned, images have other channels or axes, or nobody says what is known.
        """
        self.ready()
        if y.ndim != len(self.shape_) + 1 or y.shape[1] != self.shape_[0]:
            raise AnomalyError(
                f"images have shape {tuple(y.shape[1:])}, the restorer was fitted on {self.shape_[0]} channels and "
                f"{len(self.shape_) - 1} axes; prepare them in the same way"
            )
        if self.tells_ and known is None:
            raise AnomalyError(
                "the restorer learned to draw what is not known, and nobody says what that is; give known, "
                f"{(len(y), 1, *y.shape[2:])} bool, False where pixels are to be drawn"
            )
        beside = () if noise is None else (noise,)
        drawn: Tensor = self.net_["restorer"](y, known if self.tells_ else None, *beside)
        return drawn

    def noise(self, y: Tensor) -> Tensor | None:
        """What "diffusion" draws images (N, C, *space) out of, one field for all of an image; None of the others."""
        network = self.net_["restorer"]
        return network.noise(y).expand(len(y), -1, *y.shape[2:]) if isinstance(network, DiffusionRestorer) else None


def psnr(drawn: Tensor, x: Tensor) -> float:
    """Mean over images of the peak signal-to-noise ratio in decibels, of a range of 2."""
    errors = (drawn.clamp(-1, 1) - x.clamp(-1, 1)).square().flatten(1).mean(1).clamp_min(1e-12)
    return float((10 * torch.log10(4 / errors)).mean())


def _parts(batch: Pair) -> tuple[Tensor, Tensor, Tensor | None]:
    return batch[0], batch[1], batch[2] if len(batch) > 2 else None
