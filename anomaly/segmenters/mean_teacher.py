"""A student and its running average: on images without label maps the student has to say what its average says."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from anomaly.nets.within import kept, within
from anomaly.segmenters.base import Labelled, Segmenter
from anomaly.segmenters.losses import dice_and_entropy
from anomaly.training.games import Loss, Stage

MOST = 2.0
"""Standard deviations at which the teacher's noise is cut."""


@dataclass(kw_only=True)
class MeanTeacher(Segmenter):
    """Learns from label maps, and from images without by agreeing with the running average of its own weights.

    The average is what is kept.

    Args:
        consistency: weight, once all of it counts, of the mean squared difference of shares on images without labels.
        ramp: share of the steps over which that weight rises, by exp(-5 (1 - t)^2).
        noise: standard deviation of what is added to what the teacher sees, in [-1, 1].
    """

    name: ClassVar[str] = "mean-teacher"
    summary: ClassVar[str] = "agrees with the running average of its own weights where there are no label maps"
    cite: ClassVar[str] = "Tarvainen & Valpola 2017"
    unlabelled: ClassVar[bool] = True
    positive: ClassVar[tuple[str, ...]] = (*Segmenter.positive, "ramp")
    not_negative: ClassVar[tuple[str, ...]] = (*Segmenter.not_negative, "consistency", "noise")
    at_most_one: ClassVar[tuple[str, ...]] = ("ramp",)
    consistency: float = 0.1
    ramp: float = 1.0
    noise: float = 0.1

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """Student, teacher, which begins as its copy, and the steps that were made."""
        nets = super().build(shape)
        assert isinstance(nets, nn.ModuleDict)
        nets["teacher"] = self.network(shape)
        nets["teacher"].load_state_dict(nets["student"].state_dict())
        nets.register_buffer("moves", torch.tensor(0))
        return nets

    def stages(self) -> list[Stage]:
        """One stage; the teacher follows each step of the student, so that a checkpoint holds it as it is."""
        return [Stage(name="segment", players=[self.player(self.loss, 0.0)], steps=self.steps)]

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """AdamW, after each of whose steps the teacher follows."""
        adam = super().optimiser(parameters)
        adam.register_step_post_hook(lambda *_: self.follow())
        return adam

    @torch.no_grad()
    def follow(self) -> None:
        """teacher <- a teacher + (1 - a) student, a = min(1 - 1 / step, ema), so that its beginnings are forgotten."""
        self.net_.moves += 1
        share = (1 / self.net_.moves).clamp_min(1 - self.average)
        ours, theirs = (list(self.net_[name].parameters()) for name in ("teacher", "student"))
        for our, their in zip(ours, theirs, strict=True):
            our.lerp_(their, share.to(our))

    def loss(self, batch: tuple[Labelled, Tensor]) -> Loss:
        """Dice and cross-entropy + weight mean (student - teacher)^2 (Tarvainen and Valpola 2017, section 2)."""
        (x, places), u = batch
        x, places = self.augmenting(x, places)
        u = self.augmenting.moved(u)
        with torch.no_grad():
            told = self.net_["teacher"](self.noisy(u)).float().softmax(1)
        said, of_u = self.net_["student"](torch.cat([x, self.augmenting.shown(u)])).float().split([len(x), len(u)])
        labelled = dice_and_entropy(said, places, self.counted(x))
        apart = disagreement(of_u.softmax(1), told, self.counted(u))
        return labelled + self.weight() * apart, {"labelled": labelled.detach(), "apart": apart.detach()}

    def weight(self) -> Tensor:
        """Of the disagreement, at this step."""
        return self.consistency * rising(self.net_.moves / (self.ramp * self.steps))

    def noisy(self, u: Tensor) -> Tensor:
        """What the teacher sees of windows."""
        noise = (self.noise * torch.randn_like(u)).clamp(-MOST * self.noise, MOST * self.noise)
        return kept(u + noise, within(u) if self.masked_ else None)

    def settle(self) -> None:
        """The teacher takes the student's place."""
        self.net_["student"] = self.net_.pop("teacher")
        del self.net_.moves
        super().settle()

    def logits(self, x: Tensor) -> Tensor:
        """Of the teacher."""
        found: Tensor = self.net_["teacher" if "teacher" in self.net_ else "student"](x)
        return found


def rising(done: Tensor | float) -> Tensor:
    """exp(-5 (1 - t)^2) of the share t that is done, 1 from 1 on (Laine and Aila 2017): from 0.0067 to 1."""
    left = 1 - torch.as_tensor(done).clamp(0, 1)
    return torch.exp(-5 * left.square())


def disagreement(one: Tensor, other: Tensor, counted: Tensor | None) -> Tensor:
    """The mean squared difference of shares (N, K, *space), over classes and the pixels that count."""
    squares = (one - other).square().mean(1)
    return squares.mean() if counted is None else torch.where(counted, squares, 0).sum() / counted.sum().clamp_min(1)
