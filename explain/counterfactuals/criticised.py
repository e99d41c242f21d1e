"""A generator of case minus disease against a critic of controls: what `additive` and `deformation` have in common."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.nets.critics import LeanCritic, MeanCritic
from anomaly.nets.losses import gradient_penalty
from anomaly.nets.unet import UNet
from anomaly.training.games import Player, Stage
from explain.trained import TrainedExplainer

LOGISTIC, WASSERSTEIN = "logistic", "wasserstein"
CRITICS: Mapping[str, type[nn.Module]] = {LOGISTIC: LeanCritic, WASSERSTEIN: MeanCritic}
LAZY = 8
"""The slope of a logistic critic is looked at in every so manieth step, and counts as much more."""
ON_THE_WAY = 0.5
"""Share of what the critic is shown that lies on the first half of the way from case to counterfactual: what lies on
the second may look like a control rightly, and a critic that is told otherwise drives the generator too far."""

Terms = tuple[Tensor, dict[str, Tensor]]


def telling(of_fake: Tensor, of_real: Tensor) -> Tensor:
    """What a logistic critic lowers, softplus(D(fake)) + softplus(-D(real)), of what it says of both (N,)."""
    return F.softplus(of_fake).mean() + F.softplus(-of_real).mean()


def steepness(critic: Callable[[Tensor], Tensor], real: Tensor, slope: float) -> Tensor:
    """How steep a critic is at real images: slope values / 2 |grad D(x)|^2, the mean (R1 of Mescheder et al. 2018).

    Args:
        critic: (N, C, *space) -> (N,).
        real: x.
        slope: weight for each of the values of an image, so that it holds for images of any size: of twice as many
            pixels each has half the slope.
    """
    real = real.clone().requires_grad_(True)
    (steep,) = torch.autograd.grad(critic(real).sum(), real, create_graph=True)
    return slope * prod(real.shape[1:]) / 2 * steep.float().flatten(1).square().sum(1).mean()


def ways(like: Tensor) -> Tensor:
    """For images (N, C, *space) how far each is to be shown on its way, (N, 1, ...): up to half, or all."""
    ones = torch.ones(len(like), *[1] * (like.ndim - 1), device=like.device)
    return torch.where(torch.rand_like(ones) < ON_THE_WAY, torch.rand_like(ones) / 2, ones)


def jittered(x: Tensor, amount: float) -> Tensor:
    """Images (N, C, *space), each with a contrast and a brightness of its own."""
    like = x.new_empty(len(x), *[1] * (x.ndim - 1))
    return x * torch.empty_like(like).uniform_(-amount, amount).exp() + like.uniform_(-amount, amount)


def half_as_fast(optimiser: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The same optimiser at half the rate."""
    for group in optimiser.param_groups:
        group["lr"] *= 0.5
    return optimiser


@dataclass(kw_only=True)
class CriticisedExplainer(TrainedExplainer):
    """Base of the explainers that play a generator of case minus disease against a critic of controls.

    x0 is a control, x1 a case, x1' its counterfactual. The game is one of two:

    - "logistic" (Goodfellow et al. 2014, the loss that does not saturate): the critic lowers softplus(D(x_u)) +
      softplus(-D(x0)) and, for its slope, slope values / 2 |grad D(x0)|^2 (R1 of Mescheder et al. 2018), values being
      how many an image has; the generator softplus(-D(x1')) and what the method adds. x_u is the counterfactual or, in
      half of the images, somewhere on the first half of the way from the case to it, so that the critic never forgets
      what a case looks like. A critic that first learns to tell cases from controls (`warm_up`) shows the generator the
      way from its first step.
    - "wasserstein", as published (Gulrajani et al. 2017): D(x1') - D(x0) + penalty (|grad D| - 1)^2 for the critic,
      one penalty an image, and -D(x1') and what the method adds for the generator. Takes many more moves: its settings
      were `steps=1000 batch=32 lr=1e-4 decay=0 critic_turns=5 warm_up=500 identity=0 width=16 critic_width=16 ema=0`.

    Args:
        game: "logistic" or "wasserstein".
        critic_turns: moves of the critic in each step of the generator.
        warm_up: moves of the critic before the first step of the generator, in which it learns to tell cases.
        slope: weight of the squared slope of a logistic critic, for each value of an image.
        penalty: weight of the gradient penalty of a Wasserstein critic.
        identity: weight of the mean |x0' - x0|, what is changed in controls; 0 never shows the generator any.
        jitter: what the critic is shown, whether control or counterfactual, is x exp(u) + v, of each image another u
            and v, uniform in [-jitter, jitter] (differentiable augmentation, Zhao et al. 2020): for cohorts in which
            brightness and contrast give cases away without being what is ill. All values move, those outside a mask as
            well, some beyond [-1, 1]. While a logistic critic learns to tell cases it is shown them as they are.
        width: channels of the generator at full size, doubled at each halving.
        levels: sizes at which the generator looks, the full one and each of the halvings.
        critic_width: channels of the critic at full size; the deepest have eight times as many (Wasserstein: sixteen).
        ema: if positive, the generator at the end is a running average of its weights: w <- ema w + (1 - ema) new.
    """

    positive: ClassVar[tuple[str, ...]] = (
        *TrainedExplainer.positive,
        "critic_turns",
        "width",
        "levels",
        "critic_width",
    )
    not_negative: ClassVar[tuple[str, ...]] = (
        *TrainedExplainer.not_negative, "warm_up", "slope", "penalty", "identity", "jitter", "ema",
    )  # fmt: skip
    below_one: ClassVar[tuple[str, ...]] = (*TrainedExplainer.below_one, "ema")
    choices: ClassVar[Mapping[str, Iterable[str]]] = {"game": CRITICS}
    amounts: ClassVar[Mapping[str, tuple[int, int]]] = {"steps": (600, 400), "batch": (16, 4)}
    steps: int = 0
    batch: int = 0
    lr: float = 2e-3
    decay: float = 0.4
    game: str = LOGISTIC
    critic_turns: int = 1
    warm_up: int = 200
    slope: float = 1e-5
    penalty: float = 10.0
    identity: float = 50.0
    jitter: float = 0.0
    width: int = 8
    levels: int = 4
    critic_width: int = 12
    ema: float = 0.99

    @classmethod
    def completed(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Before there were two games there was the Wasserstein one, and controls were not shown to the generator.

        And the critic was shown images as they are.
        """
        games = {} if "game" in settings else {"game": WASSERSTEIN, "identity": 0.0}
        return {"jitter": 0.0, **games, **settings}

    def networks(self, shape: tuple[int, ...], *, out: int) -> nn.Module:
        """A generator of `out` channels, a U-Net with batch norm, and a critic without norm."""
        widths = [self.width << level for level in range(self.levels)]
        critic = CRITICS[self.game](shape, width=self.critic_width)
        return nn.ModuleDict({"generator": UNet(shape, out=out, widths=widths), "critic": critic})

    def moves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The counterfactual of cases (N, C, *space), and what it costs: (N,), 0 or more, weighted."""
        raise NotImplementedError(f"{type(self).__name__} writes moves(x)")

    def on_the_way(self, x: Tensor, share: Tensor) -> Tensor:
        """What lies a share (N, 1, ...) of the way from cases (N, C, *space) to their counterfactuals."""
        return x + share * (self.moves(x)[0] - x)

    def stages(self) -> Sequence[Stage]:
        """The critic alone for a while, then both."""
        critic = Player(
            name="critic", owns=[self.net_["critic"]], loss=self.critic_loss, optimiser=self.critics_adam,
            turns=self.critic_turns, schedule=self.falling,
        )  # fmt: skip
        players = [critic]
        if self.game == LOGISTIC and self.slope:
            slope = partial(self.slope_loss, moves=LAZY * self.critic_turns)
            players.append(replace(critic, name="slope", loss=slope, turns=1, every=LAZY, shares="critic"))
        beginners = [replace(player, turns=1, schedule=None) for player in players]
        if self.game == LOGISTIC:
            beginners[0] = replace(beginners[0], loss=self.telling_loss, optimiser=self.beginners_adam)
            beginners[1:] = [
                replace(each, loss=partial(self.slope_loss, moves=LAZY, begun=False)) for each in beginners[1:]
            ]
        generator = Player(
            name="generator", owns=[self.net_["generator"]], loss=self.generator_loss, optimiser=self.adam,
            schedule=self.falling, ema=self.ema,
        )  # fmt: skip
        stages = [Stage(name="game", players=[*players, generator], steps=self.steps)]
        return [Stage(name="critic", players=beginners, steps=self.warm_up), *stages] if self.warm_up else stages

    def adam(self, parameters: Any, betas: tuple[float, float] | None = None) -> torch.optim.Optimizer:
        """Adam without a first moment, as games want it."""
        return super().adam(parameters, betas or (0.0, 0.99 if self.game == LOGISTIC else 0.9))

    def critics_adam(self, parameters: Any) -> torch.optim.Optimizer:
        """The same, half as fast for a logistic critic."""
        optimiser = self.adam(parameters)
        return half_as_fast(optimiser) if self.game == LOGISTIC else optimiser

    def beginners_adam(self, parameters: Any) -> torch.optim.Optimizer:
        """Adam with a first moment, without which a critic of small findings stays at chance for long."""
        return self.adam(parameters, betas=(0.9, 0.99))

    def telling_loss(self, batch: tuple[Tensor, Tensor]) -> Terms:
        """softplus(D(x1)) + softplus(-D(x0)): cases are to be told from controls, both as they are."""
        return _told(self.judge, *batch)

    def critic_loss(self, batch: tuple[Tensor, Tensor]) -> Terms:
        """What the critic lowers, without the slope of a logistic one."""
        controls, cases = batch
        with torch.no_grad():
            fake = self.on_the_way(cases, ways(cases)) if self.game == LOGISTIC else self.moves(cases)[0]
        if self.game == LOGISTIC:
            return _told(self.criticise, controls, fake)
        of_fake, of_real = self.criticise(torch.cat([fake, controls])).chunk(2)
        distance = of_real.mean() - of_fake.mean()
        penalty = gradient_penalty(self.criticise, controls, fake).mean()
        return self.penalty * penalty - distance, {"distance": distance, "penalty": penalty}

    def slope_loss(self, batch: tuple[Tensor, Tensor], *, moves: int, begun: bool = True) -> Tensor:
        """How steep a logistic critic is at controls, counted for so many of its moves as it is looked at once in."""
        return moves * steepness(self.criticise if begun else self.judge, batch[0], self.slope)

    def generator_loss(self, batch: tuple[Tensor, Tensor]) -> Terms:
        """How far the critic is from taking cases for controls, what the change costs, and what changes in controls."""
        controls, cases = batch
        shown = torch.cat([cases, controls]) if self.identity else cases
        moved, cost = self.moves(shown)
        of_fake = self.criticise(moved[: len(cases)])
        against = F.softplus(-of_fake) if self.game == LOGISTIC else -of_fake
        terms = {"cost": cost[: len(cases)].mean()}
        if self.identity:
            terms["identity"] = self.identity * (moved - shown)[len(cases) :].abs().mean()
        return against.mean() + torch.stack(list(terms.values())).sum(), terms

    def criticise(self, x: Tensor) -> Tensor:
        """D of images as the critic is shown them in the game, (N,)."""
        return self.judge(jittered(x, self.jitter) if self.jitter else x)

    def judge(self, x: Tensor) -> Tensor:
        """D(x) (N,)."""
        judged: Tensor = self.net_["critic"](x).float()
        return judged


def _told(critic: Callable[[Tensor], Tensor], controls: Tensor, fake: Tensor) -> Terms:
    of_fake, of_real = critic(torch.cat([fake, controls])).chunk(2)
    return telling(of_fake, of_real), {"distance": (of_real - of_fake).mean()}
