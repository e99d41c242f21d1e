"""DeScarGAN: any image drawn as a control and as a case by one generator, there and back (Wolleb et al. 2020)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.nets.classifiers import SidesCritic
from anomaly.nets.losses import gradient_penalty
from anomaly.nets.unet import NORMS, UNet
from anomaly.training.games import Player, Stage
from explain.base import Explanation
from explain.trained import TrainedExplainer, drawn

CONTROL, CASE = 0, 1
LEVELS = 4

Terms = tuple[Tensor, dict[str, Tensor]]


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
            for its averages are over images, translated images and both sides: up to twice as much on toy images.
            Instance norm knows the side in the last layer alone, for the constants do not pass it.
        width: channels of the generator at full size, doubled at each of three halvings.
        critic_width: channels of the critic's first layer.
    """

    positive: ClassVar[tuple[str, ...]] = (*TrainedExplainer.positive, "critic_turns", "width", "critic_width")
    not_negative: ClassVar[tuple[str, ...]] = (*TrainedExplainer.not_negative, "adversarial", "cycle", "identity")
    choices: ClassVar[Mapping[str, Iterable[str]]] = {"form": ("residual", "direct"), "norm": NORMS}
    critic_turns: int = 5
    adversarial: float = 1.0
    cycle: float = 10.0
    identity: float = 5.0
    form: str = "residual"
    norm: str = "none"
    width: int = 16
    critic_width: int = 16

    def generator(self, shape: tuple[int, ...]) -> nn.Module:
        """A U-Net whose only details at full size, if any, are those of the image it adds to."""
        channels, *space = shape
        widths = [self.width << level for level in range(LEVELS)]
        return UNet((channels + 2, *space), out=2 * channels, widths=widths, norm=self.norm, skips=1)

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

    Every image is drawn as both. The critic has a source head for each side and a class head, and lowers
    20 (D(drawn) - D(real)) + 10 penalty + 5 cross-entropy of the real, the penalty taken for each source head; the
    generator lowers -D(drawn) + 50 (x - back)^2 + 50 (x - drawn as what it is)^2 + cross-entropy of the wanted side,
    means over images and pixels. Weights and settings are those of the original, whose generator draws the image itself
    (`form`) with 64 channels and batch norm (`norm`), which adds noise to images, and whose class head is larger. It
    has no skip at full size; here only the image itself goes round the generator. Diagnostics: "before" and "after",
    the logit that the class head gives image and counterfactual.

    Args:
        source: weight of the source heads for the critic.
        penalty: weight of the gradient penalty.
        classes: weight of the class head for the critic.
        wanted: weight of the class head for the generator.
    """

    name: ClassVar[str] = "conditional"
    summary: ClassVar[str] = "DeScarGAN: each image drawn as control and as case, there and back; unpaired"
    cite: ClassVar[str] = "Wolleb et al. 2020 (DeScarGAN); Choi et al. 2018 (StarGAN)"
    not_negative: ClassVar[tuple[str, ...]] = (
        *TwoWayExplainer.not_negative,
        "source",
        "penalty",
        "classes",
        "wanted",
    )
    batch: int = 5  # of each side; the original's 10 are of both
    cycle: float = 50.0
    identity: float = 50.0
    source: float = 20.0
    penalty: float = 10.0
    classes: float = 5.0
    wanted: float = 1.0

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """Generator and critic."""
        return nn.ModuleDict(
            {"generator": self.generator(shape), "critic": SidesCritic(shape, width=self.critic_width)}
        )

    def critic_loss(self, batch: tuple[Tensor, Tensor]) -> Terms:
        """source (D(drawn) - D(real)) + penalty sum_sides (|grad D| - 1)^2 + classes CE(real)."""
        x, own = beside(batch)
        side = torch.cat([torch.full_like(own, each) for each in (CONTROL, CASE)])
        with torch.no_grad():
            fake = self.translate(torch.cat([x, x]), side)
        of_real, of_fake = self.net_["critic"](torch.cat([x, fake])).float().split([len(x), len(fake)])
        distance = picked(of_real, own).mean() - picked(of_fake, side).mean()
        controls, cases = batch
        real = torch.cat([controls, controls, cases, cases])
        steepness = gradient_penalty(lambda z: picked(self.net_["critic"](z).float(), side), real, fake)
        penalty = 2 * steepness.mean()
        classes = F.binary_cross_entropy_with_logits(of_real[:, 2], own.float())
        terms = {"distance": distance, "penalty": penalty, "classes": classes}
        return self.penalty * penalty + self.classes * classes - self.source * distance, terms

    def generator_loss(self, batch: tuple[Tensor, Tensor]) -> Terms:
        """-adversarial D(drawn) + cycle (x - back)^2 + identity (x - same)^2 + wanted CE(drawn)."""
        x, own = beside(batch)
        same, other = self.translate(torch.cat([x, x]), torch.cat([own, 1 - own])).chunk(2)
        back = self.translate(other, own)
        side = torch.cat([own, 1 - own])
        judged = self.net_["critic"](torch.cat([same, other])).float()
        terms = {
            "adversarial": -picked(judged, side).mean(),
            "cycle": F.mse_loss(back, x),
            "identity": F.mse_loss(same, x),
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
