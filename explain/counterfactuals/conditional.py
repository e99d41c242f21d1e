"""DeScarGAN: any image drawn as a control and as a case by one generator, there and back (Wolleb et al. 2020)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.errors import AnomalyError
from anomaly.nets.classifiers import SidesCritic
from anomaly.nets.losses import gradient_penalty
from anomaly.nets.unet import NORMS, UNet
from anomaly.training.games import Player, Stage
from explain.base import Explanation
from explain.counterfactuals.criticised import (
    CRITICS,
    LAZY,
    LOGISTIC,
    WASSERSTEIN,
    Terms,
    half_as_fast,
    steepness,
    telling,
    ways,
)
from explain.trained import TrainedExplainer, drawn

CONTROL, CASE = 0, 1
LEVELS = 4
LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {"absolute": F.l1_loss, "squared": F.mse_loss}


@dataclass(kw_only=True)
class TwoWayExplainer(TrainedExplainer):
    """Base of the explainers with one generator for both ways: each image is drawn as a control and as a case.

    The generator is told the side it is to draw, by two further constant channels, and has an output for each.

    Args:
        critic_turns: moves of the critic in each step of the generator.
        adversarial: weight of what the critic says of what is drawn.
        cycle: weight of what is lost there and back.
        identity: weight of what changes in an image drawn as what it is.
        form: what the generator draws: "residual", what is to be added to the image, 0 at first, the sum kept within
            [-1, 1]; or "direct", the image itself, by tanh.
        norm: of the generator: "none", "instance" or "batch". Batch norm draws otherwise at test time than in training,
            for its averages are over images, translated images and both sides: without a running average of weights
            (`ema`) up to twice as much on toy images. Instance norm knows the side in the last layer alone, for the
            constants do not pass it.
        skips: from which size on the generator hands details across: 0 from the full one, 1 from half of it, so that
            at full size only the image itself goes round it; 3 hands nothing across.
        width: channels of the generator at full size, doubled at each of three halvings.
        critic_width: channels of the critic's first layer.
    """

    positive: ClassVar[tuple[str, ...]] = (*TrainedExplainer.positive, "critic_turns", "width", "critic_width")
    not_negative: ClassVar[tuple[str, ...]] = (
        *TrainedExplainer.not_negative,
        "adversarial",
        "cycle",
        "identity",
        "skips",
    )
    choices: ClassVar[Mapping[str, Iterable[str]]] = {"form": ("residual", "direct"), "norm": NORMS}
    critic_turns: int = 5
    adversarial: float = 1.0
    cycle: float = 10.0
    identity: float = 5.0
    form: str = "residual"
    norm: str = "none"
    skips: int = 1
    width: int = 16
    critic_width: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.skips >= LEVELS:
            raise AnomalyError(f"skips must be 0 to {LEVELS - 1}, one for each size, got {self.skips}")

    @classmethod
    def completed(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Before it could be asked for, nothing was handed across at full size."""
        return {"skips": 1, **settings}

    def generator(self, shape: tuple[int, ...]) -> nn.Module:
        """A U-Net that is told the side, of four sizes."""
        channels, *space = shape
        widths = [self.width << level for level in range(LEVELS)]
        return UNet((channels + 2, *space), out=2 * channels, widths=widths, norm=self.norm, skips=self.skips)

    def stages(self) -> Sequence[Stage]:
        """The critic's turns, then the generator."""
        critic = Player(
            name="critic",
            owns=[self.net_["critic"]],
            loss=self.critic_loss,
            optimiser=self.optimiser,
            turns=self.critic_turns,
            schedule=self.falling,
        )
        generator = Player(
            name="generator",
            owns=[self.net_["generator"]],
            loss=self.generator_loss,
            optimiser=self.optimiser,
            schedule=self.falling,
        )
        return [Stage(name="game", players=[critic, generator], steps=self.steps)]

    def optimiser(self, parameters: Any) -> torch.optim.Optimizer:
        """Adam with the momenta of the original."""
        return self.adam(parameters, betas=(0.5, 0.999))

    def critic_loss(self, batch: tuple[Tensor, Tensor]) -> Terms:
        """What the critic lowers, with its terms."""
        raise NotImplementedError(f"{type(self).__name__} writes critic_loss(batch)")

    def generator_loss(self, batch: tuple[Tensor, Tensor]) -> Terms:
        """What the generator lowers, with its terms."""
        raise NotImplementedError(f"{type(self).__name__} writes generator_loss(batch)")

    def translate(self, x: Tensor, side: Tensor) -> Tensor:
        """Images (N, C, *space) drawn as controls where `side` (N,) is 0 and as cases where it is 1."""
        told = F.one_hot(side, 2).to(x.dtype).view(-1, 2, *[1] * (x.ndim - 2)).expand(-1, -1, *x.shape[2:])
        heads = self.net_["generator"](torch.cat([x, told], 1)).float().unflatten(1, (2, x.shape[1]))
        head = heads[torch.arange(len(x), device=x.device), side]
        return torch.tanh(head) if self.form == "direct" else (x + head).clamp(-1, 1)

    def as_controls(self, x: Tensor) -> Tensor:
        """Images (N, C, *space) drawn as controls."""
        return self.translate(x, torch.full((len(x),), CONTROL, device=x.device))


@dataclass(kw_only=True)
class Conditional(TwoWayExplainer):
    """Translates between controls and cases so that the way back leads home (Wolleb et al. 2020, DeScarGAN).

    Every image is drawn as both. The critic has a source head for each side and a class head. In the game "logistic" it
    lowers source (softplus(D(drawn)) + softplus(-D(real))) + classes cross-entropy of the real, and its slope at real
    images; before the first step of the generator it learns for a while, by images of the other side, what each side
    looks like. The generator lowers adversarial softplus(-D(drawn)) + cycle |x - back| + identity |x - drawn as what it
    is| + wanted cross-entropy of the wanted side, means over images and pixels.

    The game "wasserstein" is the published one: the critic lowers 20 (D(drawn) - D(real)) + 10 penalty + 5
    cross-entropy, the penalty taken for each source head, and the generator -D(drawn) in place of the softplus; the
    settings for it were `source=20 classes=5 cycle=50 identity=50 lost=squared critic_turns=5 lr=1e-4 steps=1000
    batch=5 decay=0 ema=0 norm=none skips=1 width=16 critic_width=16`. The original's generator draws
    the image itself (`form`) with 64 channels and batch norm, which adds noise to images, and its class head is larger.
    It hands nothing across at full size (`skips=1`), as suits images of 256 pixels: at 64 it draws outlines that no
    critic takes for real. Diagnostics: "before" and "after", the logit that the class head gives image and
    counterfactual.

    Args:
        game: "logistic" or "wasserstein".
        warm_up: moves of a logistic critic before the first step of the generator.
        source: weight of the source heads for the critic.
        slope: weight of the squared slope of a logistic critic, for each value of an image.
        penalty: weight of the gradient penalty of a Wasserstein critic.
        classes: weight of the class head for the critic.
        wanted: weight of the class head for the generator.
        lost: what is lost there and back, and in an image drawn as what it is: the mean of "absolute" or of "squared"
            differences.
        ema: if positive, the generator at the end is a running average of its weights: w <- ema w + (1 - ema) new.
    """

    name: ClassVar[str] = "conditional"
    summary: ClassVar[str] = "DeScarGAN: each image drawn as control and as case, there and back; unpaired"
    cite: ClassVar[str] = "Wolleb et al. 2020 (DeScarGAN); Choi et al. 2018 (StarGAN)"
    not_negative: ClassVar[tuple[str, ...]] = (
        *TwoWayExplainer.not_negative, "source", "slope", "penalty", "classes", "wanted", "warm_up", "ema",
    )  # fmt: skip
    below_one: ClassVar[tuple[str, ...]] = (*TwoWayExplainer.below_one, "ema")
    choices: ClassVar[Mapping[str, Iterable[str]]] = {**TwoWayExplainer.choices, "game": CRITICS, "lost": LOSSES}
    amounts: ClassVar[Mapping[str, tuple[int, int]]] = {"steps": (1000, 500), "batch": (8, 2)}
    steps: int = 0
    batch: int = 0
    lr: float = 2e-3
    decay: float = 0.4
    norm: str = "batch"
    skips: int = 0
    width: int = 8
    game: str = LOGISTIC
    warm_up: int = 300
    critic_turns: int = 1
    critic_width: int = 12
    cycle: float = 1.0
    identity: float = 10.0
    source: float = 1.0
    slope: float = 1e-5
    penalty: float = 10.0
    classes: float = 1.0
    wanted: float = 1.0
    lost: str = "absolute"
    ema: float = 0.99

    @classmethod
    def completed(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Before there were two games there was the Wasserstein one, which began at once and averaged no weights.

        And what is lost was squared.
        """
        games = {} if "game" in settings else {"game": WASSERSTEIN, "warm_up": 0, "ema": 0.0}
        return super().completed({"lost": "squared", **games, **settings})

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """Generator and critic."""
        critic = SidesCritic(shape, width=self.critic_width, lean=self.game == LOGISTIC)
        return nn.ModuleDict({"generator": self.generator(shape), "critic": critic})

    def stages(self) -> Sequence[Stage]:
        """As of all that translate; a logistic critic begins by itself."""
        (game,) = super().stages()
        critic, generator = game.players
        generator = replace(generator, ema=self.ema)
        if self.game == WASSERSTEIN:
            return [replace(game, players=[critic, generator])]
        critic = replace(critic, optimiser=lambda own: half_as_fast(self.adam(own, betas=(0.5, 0.99))))
        beginner = replace(
            critic, turns=1, loss=self.telling_loss, optimiser=lambda own: self.adam(own, betas=(0.9, 0.99))
        )
        players, beginners = (
            [first, replace(critic, name="slope", loss=partial(self.slope_loss, moves=moves), turns=1, every=LAZY,
                            shares="critic")]
            for first, moves in ((critic, LAZY * self.critic_turns), (beginner, LAZY))
        )  # fmt: skip
        if not self.slope:
            players, beginners = players[:1], beginners[:1]
        beginners = [replace(player, schedule=None) for player in beginners]
        stages = [replace(game, players=[*players, generator])]
        return [Stage(name="critic", players=beginners, steps=self.warm_up), *stages] if self.warm_up else stages

    def telling_loss(self, batch: tuple[Tensor, Tensor]) -> Terms:
        """Each source head tells its own side from the other, and the class head both."""
        x, own = beside(batch)
        judged = self.net_["critic"](x).float()
        classes = F.binary_cross_entropy_with_logits(judged[:, 2], own.float())
        told = telling(picked(judged, 1 - own), picked(judged, own))
        return self.source * told + self.classes * classes, {"classes": classes}

    def slope_loss(self, batch: tuple[Tensor, Tensor], *, moves: int) -> Tensor:
        """How steep each source head is at images of its side, counted for so many moves."""
        x, own = beside(batch)

        def of_own(z: Tensor) -> Tensor:
            return picked(self.net_["critic"](z).float(), own)

        return moves * self.source * steepness(of_own, x, self.slope)

    def critic_loss(self, batch: tuple[Tensor, Tensor]) -> Terms:
        """What the source heads lower, by the game, and classes CE(real)."""
        x, own = beside(batch)
        if self.game == LOGISTIC:  # what an image drawn as what it is would teach is little beside identity
            side = 1 - own
            with torch.no_grad():
                fake = x + ways(x) * (self.translate(x, side) - x)
        else:
            side = torch.cat([torch.full_like(own, each) for each in (CONTROL, CASE)])
            with torch.no_grad():
                fake = self.translate(torch.cat([x, x]), side)
        of_real, of_fake = self.net_["critic"](torch.cat([x, fake])).float().split([len(x), len(fake)])
        classes = F.binary_cross_entropy_with_logits(of_real[:, 2], own.float())
        of_own, of_side = picked(of_real, own), picked(of_fake, side)
        terms = {"distance": of_own.mean() - of_side.mean(), "classes": classes}
        if self.game == LOGISTIC:
            return self.source * telling(of_side, of_own) + self.classes * classes, terms
        controls, cases = batch
        real = torch.cat([controls, controls, cases, cases])
        steep = gradient_penalty(lambda z: picked(self.net_["critic"](z).float(), side), real, fake)
        terms["penalty"] = 2 * steep.mean()
        loss = self.penalty * terms["penalty"] + self.classes * classes - self.source * terms["distance"]
        return loss, terms

    def generator_loss(self, batch: tuple[Tensor, Tensor]) -> Terms:
        """What the critic says of what is drawn, + cycle and identity, what is lost, + wanted CE."""
        lost = LOSSES[self.lost]
        x, own = beside(batch)
        same, other = self.translate(torch.cat([x, x]), torch.cat([own, 1 - own])).chunk(2)
        back = self.translate(other, own)
        side = torch.cat([own, 1 - own])
        judged = self.net_["critic"](torch.cat([same, other])).float()
        of_drawn = picked(judged, side)
        terms = {
            "adversarial": F.softplus(-of_drawn).mean() if self.game == LOGISTIC else -of_drawn.mean(),
            "cycle": lost(back, x),
            "identity": lost(same, x),
            "wanted": F.binary_cross_entropy_with_logits(judged[:, 2], side.float()),
        }
        return torch.stack([getattr(self, name) * term for name, term in terms.items()]).sum(), terms

    def counterfactual(self, x: Tensor) -> Explanation:
        """The image drawn as a control."""
        moved = self.as_controls(x)
        before, after = (self.net_["critic"](each).float()[:, 2] for each in (x, moved))
        return drawn(x, moved, before=before, after=after)


def beside(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Controls and cases as one batch, and the side (2 N,) of each: 0, then 1."""
    sides = [torch.full((len(images),), side, device=images.device) for side, images in enumerate(batch)]
    return torch.cat(batch), torch.cat(sides)


def picked(judged: Tensor, side: Tensor) -> Tensor:
    """Of what a critic says (N, 2 or more) what concerns each image's side, (N,)."""
    return judged.gather(1, side[:, None]).squeeze(1)
