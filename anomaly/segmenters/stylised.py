"""Windows with label maps are drawn in the style of those without, and a segmenter learns from the drawings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from anomaly.nets.critics import PatchCritic
from anomaly.segmenters.base import Labelled, Segmenter
from anomaly.segmenters.losses import dice_and_entropy
from anomaly.segmenters.styling import Styling
from anomaly.training.games import Loss, Player, Source, Stage
from anomaly.translators.cycle import patch

Batch = tuple[Labelled, Tensor]
ADAM = (0.5, 0.999)


@dataclass(kw_only=True)
class Stylised(Segmenter):
    """Learns from label maps on windows that are drawn as another scanner's, of whose images there are no label maps.

    Three stages: a segmenter of the labelled windows; a CycleGAN between both, whose drawings that segmenter has
    to read like what they were drawn from; and the segmenter again, on labelled windows of which a share is drawn.

    Args:
        before: steps of the first stage.
        drawing: steps of the second, of the generators.
        pairs: windows of each side in a batch of the second.
        task: weight, in the second, of Dice and cross-entropy of what the segmenter finds in drawings.
        cycle: weight of |x - back|, there and back.
        identity: weight of |x - drawn as what it is|.
        generator: channels of a generator at full size.
        blocks: residual blocks of a generator.
        critic_width: channels after the critics' first convolution.
        halved: how often a critic halves the image at most: 2 judges patches of 34 pixels, 1 of 16, 0 of 7.
        drawing_lr: learning rate of Adam (0.5, 0.999) in the second stage, and of the critic of features.
        drawn: chance of a labelled window to be drawn in the third.
        features: weight of fooling a critic of the segmenter's last features in the third; 0 for none.
    """

    name: ClassVar[str] = "stylised"
    summary: ClassVar[str] = "learns on labelled images drawn in the style of those without label maps"
    cite: ClassVar[str] = "Hoffman et al. 2018 (CyCADA); Zhu et al. 2017"
    unlabelled: ClassVar[bool] = True
    positive: ClassVar[tuple[str, ...]] = (
        *Segmenter.positive, "before", "drawing", "pairs", "generator", "blocks", "critic_width", "drawing_lr",
    )  # fmt: skip
    not_negative: ClassVar[tuple[str, ...]] = (
        *Segmenter.not_negative, "task", "cycle", "identity", "halved", "drawn", "features",
    )  # fmt: skip
    at_most_one: ClassVar[tuple[str, ...]] = ("drawn",)
    amounts: ClassVar[Mapping[str, tuple[int, int]]] = {
        **Segmenter.amounts, "before": (500, 200), "drawing": (1000, 300),
    }  # fmt: skip
    before: int = 0
    drawing: int = 0
    pairs: int = 2
    task: float = 0.1
    cycle: float = 1.0
    identity: float = 0.0
    generator: int = 8
    blocks: int = 2
    critic_width: int = 16
    halved: int = 2
    drawing_lr: float = 2e-3
    drawn: float = 0.5
    features: float = 0.0

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """The segmenter, the networks of the CycleGAN and, where features are aligned, their critic."""
        nets = super().build(shape)
        assert isinstance(nets, nn.ModuleDict)
        fitting = [k for k in range(self.halved + 1) if patch(k) <= min(shape[1:])]
        self.styling = Styling(
            said=self.logits, task=self.task, steps=self.drawing, batch=self.pairs, lr=self.drawing_lr,
            width=self.generator, blocks=self.blocks, cycle=self.cycle, identity=self.identity,
            critic_width=self.critic_width, halved=max(fitting, default=0),
        )  # fmt: skip
        self.styling.masked_, self.styling.shape_ = self.masked_, shape
        nets["styling"] = self.styling.net_ = self.styling.build(shape)
        if self.features > 0:
            nets["critic"] = PatchCritic(self.width, len(shape) - 1, width=self.critic_width, halved=max(fitting))
        return nets

    def stages(self) -> list[Stage]:
        """Segment, draw, segment what is drawn."""
        (drawing,) = self.styling.stages()
        for player in drawing.players:
            player.loss = partial(self.few, player.loss)
        drawing.name = "draw"
        players = [self.player(self.loss, self.average)]
        if self.features > 0:
            adam = partial(torch.optim.Adam, lr=self.drawing_lr, betas=ADAM)
            players += [Player(name="critic", owns=[self.net_["critic"]], loss=self.critic_loss, optimiser=adam)]
        return [
            Stage(name="before", players=[self.player(self.plain_loss, self.average)], steps=self.before),
            drawing,
            Stage(name="segment", players=players, steps=self.steps),
        ]

    def feed(self, stages: Sequence[Stage], anywhere: Source) -> None:
        """Drawings are learned from windows cut alike: a side with more lesions would have them painted over."""
        stages[1].batches = anywhere

    def few(self, loss: Callable[[Any], Loss], batch: Batch) -> Loss:
        """A loss of the CycleGAN, of the first windows of a batch, which lie otherwise and look as they did."""
        (x, places), u = batch
        varied = self.augmenting.placed(x[: self.pairs], places[: self.pairs])
        return loss((varied, self.augmenting.moved(u[: self.pairs])))

    def plain_loss(self, batch: Batch) -> Tensor:
        """Dice and cross-entropy of varied windows."""
        x, places = self.augmenting(*batch[0])
        return dice_and_entropy(self.net_["student"](x), places, self.counted(x))

    def restyled(self, x: Tensor) -> Tensor:
        """Windows, each of which is by the chance `drawn` drawn in the other style."""
        due = torch.rand(len(x), device=x.device) < self.drawn
        if not due.any():
            return x
        with torch.no_grad():
            restyled = x.clone()
            restyled[due] = self.styling.drawn(x[due]).clamp(-1, 1).to(x)
        return restyled

    def loss(self, batch: Batch) -> Loss:
        """Dice and cross-entropy of windows and drawings; of features of the others (D(f) - 1)^2."""
        (x, places), u = batch
        x, places = self.augmenting.placed(x, places)
        x = self.augmenting.shown(self.restyled(x))
        network = self.net_["student"]
        if not self.features:
            return dice_and_entropy(network(x), places, self.counted(x))
        seen = network.features(torch.cat([x, self.augmenting.moved(u)]))
        labelled = dice_and_entropy(network.leave(seen[: len(x)]), places, self.counted(x))
        fooled = (self.net_["critic"](seen[len(x) :]).float() - 1).square().mean()
        return labelled + self.features * fooled, {"labelled": labelled.detach(), "fooled": fooled.detach()}

    def critic_loss(self, batch: Batch) -> Tensor:
        """((D(f of drawings) - 1)^2 + D(f of the others)^2) / 2."""
        (x, places), u = batch
        x = self.augmenting.shown(self.restyled(self.augmenting.placed(x, places)[0]))
        with torch.no_grad():
            seen = self.net_["student"].features(torch.cat([x, self.augmenting.moved(u)]))
        of_drawn, of_others = self.net_["critic"](seen).float().split([len(x), len(u)])
        return ((of_drawn - 1).square().mean() + of_others.square().mean()) / 2

    def settle(self) -> None:
        """What drew, and who judged, is left out."""
        del self.net_["styling"]
        if "critic" in self.net_:
            del self.net_["critic"]
        super().settle()
