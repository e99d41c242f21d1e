"""A game of players: who they are, when they move, and what a person sees of it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class Source(Protocol):
    """Whatever gives batch number k: images, pairs of them, or (controls, cases)."""

    def __getitem__(self, k: int) -> Any: ...


RECENT = 0.05
Loss = Tensor | tuple[Tensor, Mapping[str, Tensor]]
"""A scalar, or with it further scalars by name, which go to the curves."""


@dataclass(kw_only=True)
class Player:
    """One side of a game: what it owns, the loss it moves by, and how often it moves.

    Args:
        name: stands in the curves and in error messages.
        owns: the modules whose parameters it moves; everything else stands still while it moves.
        loss: batch -> scalar, or (scalar, terms by name) where the curves are to show its terms; closes over whatever
            networks it needs. Randomness comes from torch.
        optimiser: parameters -> optimiser.
        turns: moves in one step, each with a batch of its own.
        every: it moves only in each `every`-th step.
        schedule: share of the stage done, 0 to 1 -> factor on the learning rate.
        ema: if positive, the stage ends with a running average of the weights, w <- ema w + (1 - ema) new; in step k of
            the first ones (1 + k) / (10 + k) in place of ema, if that is less, so that it forgets how they began.
        shares: name of an earlier player of the same modules whose optimiser moves this one as well. A penalty that is
            due only in every so manieth step wants that: an Adam of its own would divide its weight out again.
    """

    name: str
    owns: Sequence[nn.Module]
    loss: Callable[[Any], Loss]
    optimiser: Callable[[Iterable[nn.Parameter]], Optimizer] = partial(torch.optim.Adam, lr=1e-3)
    turns: int = 1
    every: int = 1
    schedule: Callable[[float], float] | None = None
    ema: float = 0.0
    shares: str = ""

    def parameters(self) -> list[nn.Parameter]:
        """The parameters it moves, each once, in a fixed order."""
        return list(nn.ModuleList(self.owns).parameters())


def lately(ema: float, steps: int) -> float:
    """A running average's share of what was before, `ema`, or less in a training of so few steps that half of the
    average would reach back more than a twentieth of them: it would remember how they began."""
    return min(ema, 0.5 ** (1 / (RECENT * steps)))


@dataclass(frozen=True, kw_only=True)
class Glance:
    """What a person may see of a training in progress.

    Args:
        pictures: rows of images (n, C, *space) in [-1, 1], by name.
        figures: numbers for the curves, by name.
        warnings: plain sentences by the kind of trouble that there is now; each kind is logged once.
    """

    pictures: Mapping[str, Tensor] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    warnings: Mapping[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Stage:
    """A named game of `steps` steps.

    Args:
        watch: a figure on held-out normals, lower is better; where given, the stage ends with the weights that
            had the lowest, and stops early once `patience` looks brought nothing lower. Of a player with `ema`,
            the averages are looked at and kept.
        look_every: steps between two looks; one more is taken after the last step.
        glance: how the training goes, for a person to see with the checkpoints, and at the end.
        batches: what it learns from, in place of what all stages do.
    """

    name: str
    players: Sequence[Player]
    steps: int
    watch: Callable[[], Tensor] | None = None
    look_every: int = 200
    patience: int = 10
    glance: Callable[[], Glance] | None = None
    batches: Source | None = None


@dataclass(frozen=True)
class Course:
    """The stages of a training, and which of them is played; to tell a person how far all of it has come.

    Args:
        stages: all of them, in order.
        number: of the one that is played, from 0.
    """

    stages: Sequence[Stage]
    number: int

    @property
    def last(self) -> bool:
        """Whether no stage follows."""
        return self.number == len(self.stages) - 1

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    @property
    def name(self) -> str:
        """Of the stage, with its number where there are several."""
        name, several = self.stages[self.number].name, len(self.stages) > 1
        return f"{name} ({self.number + 1} of {len(self.stages)})" if several else name

    def told(self, step: int) -> str:
        """What is about to be played from this step of it, in a line; "" where it is one stage from its start."""
        stage, several = self.stages[self.number], len(self.stages) > 1
        which = f"stage {self.number + 1} of {len(self.stages)}, {stage.name}" if several else stage.name
        if step:
            return f"{which}: goes on from step {step} of {stage.steps}"
        if not several:
            return ""
        all_of_them = " + ".join(str(each.steps) for each in self.stages)
        return f"{which}: {stage.steps} steps" + ("" if self.number else f" ({all_of_them} = {self.steps} in all)")
