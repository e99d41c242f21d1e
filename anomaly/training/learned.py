"""What learns from images and is kept as one file: its fields are hyperparameters, `net_` holds the networks."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from anomaly.errors import AnomalyError, MissingPackage, RunError
from anomaly.training.amounts import Amounts
from anomaly.training.checkpoints import facts_of, save_tensors
from anomaly.training.journal import Journal
from anomaly.training.limits import Limited
from anomaly.training.loop import Source, Stage, train_stages
from anomaly.training.machine import Machine

Images = Tensor | np.ndarray


@dataclass(kw_only=True)
class Learned(Amounts, Limited, ABC):
    """A dataclass whose fields are hyperparameters; after it has learned, `net_` holds all of what it learned.

    `shape_` is then the (C, *space) of one image, and `masked_` says whether images have masks: what lies outside is
    exactly -1, and does not count (`anomaly.nets.within`). A field that is no setting (a callable) says repr=False.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    cite: ClassVar[str]
    kind: ClassVar[str]  # detector, explainer or classifier, for messages
    net_: Any = field(init=False, repr=False, compare=False)  # a module; what it holds is the method's own affair
    shape_: tuple[int, ...] = field(init=False, repr=False, compare=False)
    masked_: bool = field(init=False, repr=False, compare=False, default=False)
    context_: int = field(init=False, repr=False, compare=False, default=0)

    @abstractmethod
    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """The networks (or buffers) for images of shape (C, *space), untrained."""

    def rebuild(self, shape: tuple[int, ...], tensors: Mapping[str, Tensor]) -> nn.Module:
        """The networks to be filled with the tensors of a file; as `build`, unless their form follows from these."""
        return self.build(shape)

    def stages(self) -> Sequence[Stage]:
        """The games that train the networks; none by default."""
        return ()

    def make(self, shape: Sequence[int], machine: Machine, seed: int) -> None:
        """Build the networks for images of shape (C, *space), their weights drawn from the seed, where they train."""
        self.shape_ = tuple(int(side) for side in shape)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            built = self.build(self.shape_)
            if not isinstance(built, nn.Module):
                raise AnomalyError(f"{type(self).__name__}.build returned {built!r}; return the nn.Module it makes")
            self.net_ = built.to(machine.torch_device)

    def play(
        self, stages: Sequence[Stage], batches: Source, *, machine: Machine, seed: int, journal: Journal | None
    ) -> None:
        """Train the networks by playing the stages."""
        train_stages(self.net_, stages, batches, machine=machine, seed=seed, journal=journal)

    def ready(self) -> None:
        """Say plainly when nothing has been learned."""
        if not hasattr(self, "net_"):
            raise AnomalyError(f"this {self.name} {self.kind} has learned nothing yet; call fit first")

    def check(self, x: Tensor) -> None:
        """Say plainly when nothing has been learned or the images do not fit what was."""
        self.ready()
        if tuple(x.shape[1:]) != self.shape_:
            raise AnomalyError(
                f"images have shape {tuple(x.shape[1:])}, the {self.kind} was fitted on {self.shape_} (C, *space); "
                "prepare them in the same way"
            )

    def to(self, device: torch.device | str) -> Self:
        """Move what was learned to a device."""
        self.net_.to(device)
        return self

    def settings(self) -> dict[str, Any]:
        """The hyperparameters as plain values."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init and f.repr}

    def save(self, path: Path) -> None:
        """Write what was learned, with method, settings and shape, as one safetensors file."""
        self.ready()
        facts: dict[str, Any] = {"method": self.name, "settings": self.settings(), "shape": self.shape_}
        facts |= {"masked": True} if self.masked_ else {}
        facts |= {"context": self.context_} if self.context_ else {}
        save_tensors(path, self.net_.state_dict(), facts)

    @classmethod
    def completed(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings as a file has them, with those that a method got only since, as it learned before it had them."""
        return dict(settings)

    @classmethod
    def load(cls, path: Path, device: torch.device | str = "cpu") -> Self:
        """Read what `save` wrote; runs no code from the file.

        Raises:
            RunError: the file is damaged or was written by another method.
            MissingPackage: it needs an extra that is not installed.
        """
        try:
            facts = facts_of(path)
            if facts.get("method") != cls.name:
                raise RunError(f"{path} holds the method {facts.get('method')!r}, expected {cls.name!r}")
            learned = cls(**cls.completed(facts["settings"]))
            learned.shape_, learned.masked_ = tuple(facts["shape"]), facts.get("masked") is True
            learned.context_ = int(facts.get("context", 0))
            tensors = load_file(path)
            with torch.random.fork_rng(devices=[]):
                learned.net_ = learned.rebuild(learned.shape_, tensors)
            learned.net_.load_state_dict(tensors)
        except (RunError, MissingPackage):
            raise
        except Exception as error:
            raise RunError(f"{path} cannot be read as a trained {cls.name}: {error}; train it again") from error
        learned.net_.eval().requires_grad_(False)
        return learned.to(device)

    @property
    def device(self) -> torch.device:
        """Where the learned tensors are."""
        return next(chain(self.net_.parameters(), self.net_.buffers())).device


def share_of(batch: int, machine: Machine) -> tuple[int, int]:
    """Which of how many processes this one is, once the batch is known to be shared by them alike."""
    which, processes = machine.share
    if batch % processes:
        raise AnomalyError(f"batch={batch} cannot be shared by {processes} processes alike; take a multiple")
    return which, processes
