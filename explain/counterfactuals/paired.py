"""Generators that learn from pairs: a painful knee and its painless twin, or any case and its own counterpart."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from anomaly.errors import AnomalyError
from anomaly.nets import losses
from anomaly.nets.critics import PatchCritic
from anomaly.nets.translators import (
    CasNet,
    ResidualEncoderDecoder,
    StridedUNet,
    UNetTranslator,
    dropouts,
    same_dropout,
)
from anomaly.training.games import Player, Stage
from explain.base import Explanation
from explain.counterfactuals.paired_losses import PatchContrast, feature_distance, judgement, style_distance
from explain.trained import TrainedExplainer, difference

OPEN = 2.0
"""Added to a mask's logit. The mask is 1 where the network says 0, so what fits already asks for no more. Of a plain
sigmoid it asks for ever higher logits, which rise until their slope is gone and lesions can no longer be dimmed."""
CONTRASTED = 4
"""So many layers of the generator, from the full size down, are compared by the patch-contrastive loss."""
AIMS = ("l1", "l2", "adversarial", "feature", "style")
WEIGHTS = (*AIMS, "identity", "contrastive")


def masked(x: Tensor, m: Tensor) -> Tensor:
    """A mask times the intensity above black, (x + 1) / 2: sigmoid(m + 2) / sigmoid(2), from 0 to 1.14, 1 at m = 0."""
    mask = torch.sigmoid(m + OPEN) * (1 + math.exp(-OPEN))
    return mask * (x + 1) - 1


MODES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mask": masked,
    "residual": lambda x, m: x + m,
    "direct": lambda x, m: torch.tanh(m),
}
NETWORKS: dict[str, Callable[["Paired", tuple[int, ...]], nn.Module]] = {
    "unet": lambda p, shape: UNetTranslator(shape, width=p.width, dropout=p.dropout),
    "pix2pix": lambda p, shape: StridedUNet(shape, width=p.width, dropout=p.dropout),
    "medgan": lambda p, shape: CasNet(shape, width=p.width, blocks=p.blocks, dropout=p.dropout),
    "redcnn": lambda p, shape: ResidualEncoderDecoder(shape, width=p.width),
}


@dataclass(kw_only=True)
class Paired(TrainedExplainer):
    """Draws a case as its counterpart, learned from pairs of the two; `fit(counterparts, cases)`, row beside row.

    The generator's loss is the sum of the terms below, each times its weight, as means over pixels and images; a weight
    of 0 leaves a term out. A critic takes part where `adversarial`, `feature` or `style` is above 0. Adam (0.5, 0.999),
    its rate falling linearly to 0 in the second half. Diagnostics: "spread", the mean of the map of the same name.

    Args:
        network: "unet", "pix2pix" (U-Net down to one pixel), "medgan" (a cascade of those) or "redcnn" (convolutions
            without padding).
        mode: "mask", the intensity above black, (x + 1) / 2, times sigmoid(m + 2) / sigmoid(2), which may dim it to
            nothing but hardly raises it; "residual", x + m; "direct", tanh(m). The first two begin as the image itself;
            what is shown is clamped to [-1, 1].
        width: channels of the generator at full size ("redcnn": everywhere).
        blocks: U-Nets in the cascade of "medgan".
        dropout: chance of being dropped in the deep layers of the generator; "redcnn" has none.
        draws: counterfactuals drawn with dropout, whose mean and standard deviation are given; 1 draws without. What is
            dropped is the same for all images and follows the seed of `explain`.
        l1: weight of |G(x) - y|, y the counterpart.
        l2: weight of (G(x) - y)^2.
        identity: weight of |G(y) - y|: what is a counterpart already stays.
        adversarial: weight of the cross-entropy with a patch critic that takes G(x) for real.
        feature: weight of the distance of the critic's features of G(x) and y, summed over its layers.
        style: weight of the distance of their Gram matrices.
        contrastive: weight of the patch-contrastive loss between G(x) and x: 256 patches, 4 layers of the generator.
        conditional: whether the critic sees x beside what it judges.
        critic_width: channels of the critic after its first convolution.
        halved: how often the critic halves: it judges patches of 70 pixels for 3, 34 for 2, 16 for 1; less often in
            images so small that nothing would be left.
    """

    name: ClassVar[str] = "paired"
    summary: ClassVar[str] = "what to dim in a case to make it its counterpart; learned from pairs"
    cite: ClassVar[str] = "Isola et al. 2017; Armanious et al. 2020; Park et al. 2020; Gal and Ghahramani 2016"
    paired: ClassVar[bool] = True
    positive: ClassVar[tuple[str, ...]] = (
        *TrainedExplainer.positive, "width", "blocks", "draws", "critic_width",
    )  # fmt: skip
    not_negative: ClassVar[tuple[str, ...]] = (*TrainedExplainer.not_negative, *WEIGHTS, "halved", "dropout")
    below_one: ClassVar[tuple[str, ...]] = (*TrainedExplainer.below_one, "dropout")
    choices: ClassVar[Mapping[str, Iterable[str]]] = {"network": NETWORKS, "mode": MODES}
    steps: int = 2000
    batch: int = 16
    lr: float = 2e-4
    decay: float = 0.5
    network: str = "unet"
    mode: str = "mask"
    width: int = 16
    blocks: int = 6
    dropout: float = 0.5
    draws: int = 16
    l1: float = 100.0
    l2: float = 0.0
    identity: float = 50.0
    adversarial: float = 1.0
    feature: float = 0.0
    style: float = 0.0
    contrastive: float = 0.0
    conditional: bool = False
    critic_width: int = 32
    halved: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not any(getattr(self, weight) for weight in AIMS):
            raise AnomalyError(f"{self.name} has nothing to learn by; give one of {', '.join(AIMS)} a weight above 0")

    @property
    def contested(self) -> bool:
        """Whether a critic takes part."""
        return max(self.adversarial, self.feature, self.style) > 0

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """The generator, and the critic and the heads of the contrastive loss where they are needed."""
        channels, *space = shape
        generator = NETWORKS[self.network](self, shape)
        nets = nn.ModuleDict({"generator": generator})
        if self.contested:
            nets["critic"] = PatchCritic(
                channels * (2 if self.conditional else 1),
                len(space),
                width=self.critic_width,
                halved=min(self.halved, possible_halvings(space)),
            )
        if self.contrastive > 0:
            nets["contrast"] = PatchContrast(cast(list[int], generator.seen)[:CONTRASTED])
        return nets

    def stages(self) -> Sequence[Stage]:
        """Critic and generator in turn, or the generator alone."""
        adam = partial(self.adam, betas=(0.5, 0.999))
        owned = [self.net_[name] for name in ("generator", "contrast") if name in self.net_]
        moves = {"critic": self.critic_loss, "generator": self.generator_loss}
        owns = {"critic": [self.net_["critic"]]} if self.contested else {}
        players = [
            Player(name=name, owns=nets, loss=moves[name], optimiser=adam, schedule=self.falling)
            for name, nets in {**owns, "generator": owned}.items()
        ]
        return [Stage(name="game", players=players, steps=self.steps)]

    def translate(self, x: Tensor) -> Tensor:
        """G(x), not clamped."""
        return MODES[self.mode](x, self.net_["generator"](x).float())

    def before(self, x: Tensor, y: Tensor) -> Tensor:
        """What the critic sees of y, a counterpart of x, real or drawn."""
        return torch.cat([x, y], 1) if self.conditional else y

    def critic_loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Half the cross-entropy for real and for drawn counterparts (Isola et al. 2017, section 3.3)."""
        counterparts, cases = batch
        with torch.no_grad():
            fake = self.translate(cases)
        judged = self.net_["critic"](torch.cat([self.before(cases, fake), self.before(cases, counterparts)]))
        of_fake, of_real = judged.chunk(2)
        terms = {"real": judgement(of_real, True).mean(), "drawn": judgement(of_fake, False).mean()}
        return (terms["real"] + terms["drawn"]) / 2, terms

    def generator_loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of the terms."""
        counterparts, cases = batch
        if self.identity > 0:
            fake, same = self.translate(torch.cat([cases, counterparts])).chunk(2)
            terms = {"identity": losses.l1(same, counterparts).mean()}
        else:
            fake, terms = self.translate(cases), {}
        terms |= {"l1": losses.l1(fake, counterparts).mean(), "l2": losses.l2(fake, counterparts).mean()}
        if self.contested:
            terms |= self._before_the_critic(cases, fake, counterparts)
        if self.contrastive > 0:
            seen = [self.net_["generator"].encoded(each)[:CONTRASTED] for each in (fake, cases)]
            terms["contrastive"] = self.net_["contrast"](*seen).mean()
        weighed = {name: term for name, term in terms.items() if getattr(self, name) > 0}
        return torch.stack([getattr(self, name) * term for name, term in weighed.items()]).sum(), weighed

    def _before_the_critic(self, cases: Tensor, fake: Tensor, counterparts: Tensor) -> dict[str, Tensor]:
        critic = self.net_["critic"]
        of_fake = critic.features(self.before(cases, fake))
        terms = {"adversarial": judgement(critic.head(of_fake[-1]), True).mean()}
        if self.feature > 0 or self.style > 0:
            with torch.no_grad():
                of_real = critic.features(self.before(cases, counterparts))
            terms["feature"] = feature_distance(of_fake, of_real).mean()
            terms["style"] = style_distance(of_fake, of_real).mean()
        return terms

    def counterfactual(self, x: Tensor) -> Explanation:
        """The mean of the draws, and how they spread."""
        generator = self.net_["generator"]
        if self.draws == 1 or not dropouts(generator):
            once = self.translate(x).clamp(-1, 1)
            return Explanation(difference(x, once), once)
        random = torch.Generator().manual_seed(torch.initial_seed())
        mean, squares = torch.zeros_like(x), torch.zeros_like(x)
        with same_dropout(generator, random):
            for k in range(self.draws):  # Welford's way, which cannot give a negative variance
                drawn = self.translate(x).clamp(-1, 1)
                apart = drawn - mean
                mean = mean + apart / (k + 1)
                squares = squares + apart * (drawn - mean)
        spread = (squares / (self.draws - 1)).sqrt().mean(1, keepdim=True)
        return Explanation(difference(x, mean), mean, spread=spread, diagnostics={"spread": spread.flatten(1).mean(1)})


def possible_halvings(space: Sequence[int]) -> int:
    """How often a patch critic can halve an image so that two convolutions of width 4 still fit.

    Raises:
        AnomalyError: they do not fit even the whole image.
    """
    if min(space) < 3:
        raise AnomalyError(
            f"images of {tuple(space)} pixels are too thin for a critic of patches, which takes 3 along every axis; "
            "give adversarial, feature and style a weight of 0"
        )
    return max(k for k in range(16) if min(space) >> k >= 3)
