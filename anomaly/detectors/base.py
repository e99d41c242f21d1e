"""What every detector is: a dataclass of hyperparameters that fits normal images and scores any others.

A method writes the mathematics (`build`, `loss`, `error`); everything that is the same for all stands here.
All images are (N, C, *space) in [-1, 1] with two or three spatial axes. Higher is more anomalous.
"""

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from anomaly.checkpoints import save_tensors
from anomaly.errors import AnomalyError, RunError
from anomaly.journal import Journal
from anomaly.machine import Machine
from anomaly.training import Stage

Images = Tensor | np.ndarray
CHUNK, MOST_VALUES = 64, 2**20


@dataclass(frozen=True)
class Score:
    """What a detector says of a batch.

    Args:
        map: how far each pixel departs from normal, (N, 1, *space), >= 0.
        value: how far each image does, (N,).
        parts: other values the method offers, each (N,), by name.
    """

    map: Tensor
    value: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)


@dataclass(kw_only=True)
class Detector(ABC):
    """Learns what normal images look like and says how far any image departs.

    Fields are hyperparameters. After `fit`, `net_` holds everything learned and `shape_` the (C, *space) of one
    image.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    cite: ClassVar[str]
    generates: ClassVar[bool] = False  # whether `decode` draws new images from codes that are N(0, I)
    net_: Any = field(init=False, repr=False, compare=False)  # a module; what it holds is the method's own affair
    shape_: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "loss" in vars(cls) and cls.practise is Detector.practise:
            raise AnomalyError(
                f"{cls.__name__} writes loss() but extends Detector, which trains nothing; extend TrainedDetector"
            )

    @abstractmethod
    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """The networks (or buffers) for images of shape (C, *space), untrained."""

    @abstractmethod
    def error(self, x: Tensor) -> Tensor:
        """The anomaly map (N, 1, *space) >= 0 of images (N, C, *space)."""

    def judge(self, x: Tensor) -> Score:
        """Map and value together; a method overrides it where the value is not the mean of the map."""
        error = self.error(x)
        return Score(error, error.flatten(1).mean(1))

    def value(self, x: Tensor) -> Tensor:
        """The anomaly value (N,) of images, differentiable in them: what an explainer explains."""
        self.check(x)
        return self.judge(x.to(self.device)).value

    def score(self, x: Tensor) -> Score:
        """Map and value of images (N, C, *space), without gradients.

        Raises:
            AnomalyError: the detector has not been fitted, or the images have another shape than those it was
                fitted on.
        """
        self.check(x)
        with torch.no_grad():
            return self.judge(x.to(self.device))

    def reconstruct(self, x: Tensor) -> Tensor | None:
        """The image as the method would draw it if it were normal, or None where it draws none."""
        return None

    def encode(self, x: Tensor) -> Tensor:
        """The code (N, latent) that the method has of images (N, C, *space).

        Raises:
            AnomalyError: the method has none.
        """
        raise AnomalyError(f"{self.name} has no code of an image")

    def decode(self, code: Tensor) -> Tensor:
        """Images (N, C, *space) in [-1, 1] drawn from codes (N, latent); new ones from N(0, I) if it `generates`.

        Raises:
            AnomalyError: the method draws nothing from a code.
        """
        raise AnomalyError(f"{self.name} draws no images from codes")

    def stages(self) -> Sequence[Stage]:
        """The games that train the networks; none by default."""
        return ()

    def settle(self, normals: Images) -> None:
        """Learn, before any game, what has a closed form (a mean image, principal components)."""

    def tune(self, held_out: Images) -> None:
        """Learn, after training, what must come from normals not trained on (the scale of each residual)."""

    def fit(
        self,
        normals: Images,
        held_out: Images | None = None,
        *,
        machine: Machine | None = None,
        seed: int = 0,
        journal: Journal | None = None,
    ) -> Self:
        """Learn from normal images.

        Args:
            normals: (n, C, *space) float32 in [-1, 1]; a memory map is read batch by batch.
            held_out: further normals of other subjects, to stop by and to scale by; None takes `normals`.
            machine: device, precision, processes.
            seed: of weights, batches and noise.
            journal: where to keep curves and checkpoints, and whether to resume.

        Raises:
            AnomalyError: the images are not (n, C, *space) with 2 or 3 spatial axes, or there are none.
        """
        if normals.ndim not in (4, 5) or not len(normals):
            raise AnomalyError(
                f"expected normal images of shape (n, C, *space), 2D or 3D, at least one; got {tuple(normals.shape)}"
            )
        held_out = normals if held_out is None else held_out
        if held_out.shape[1:] != normals.shape[1:] or not len(held_out):
            raise AnomalyError(
                f"held-out normals have shape {tuple(held_out.shape)}, expected one or more of the shape of those "
                f"to train on, {tuple(normals.shape)}"
            )
        self.shape_ = tuple(int(side) for side in normals.shape[1:])
        machine = machine or Machine()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            built = self.build(self.shape_)
            if not isinstance(built, nn.Module):
                raise AnomalyError(f"{type(self).__name__}.build returned {built!r}; return the nn.Module it makes")
            self.net_ = built.to(machine.torch_device)
        self.settle(normals)
        self.practise(normals, held_out, machine=machine, seed=seed, journal=journal)
        self.net_.eval().requires_grad_(False)
        with torch.no_grad():
            self.tune(held_out)
        return self

    def practise(
        self, normals: Images, held_out: Images, *, machine: Machine, seed: int, journal: Journal | None
    ) -> None:
        """Play the stages; nothing to do for a method in closed form."""

    def check(self, x: Tensor) -> None:
        """Say plainly when the detector is not fitted or the images do not fit it."""
        if not hasattr(self, "net_"):
            raise AnomalyError(f"this {self.name} detector has learned nothing yet; call fit(normals) first")
        if tuple(x.shape[1:]) != self.shape_:
            raise AnomalyError(
                f"images have shape {tuple(x.shape[1:])}, the detector was fitted on {self.shape_} (C, *space); "
                "prepare them in the same way"
            )

    def to(self, device: torch.device | str) -> Self:
        """Move what was learned to a device."""
        self.net_.to(device)
        return self

    def settings(self) -> dict[str, Any]:
        """The hyperparameters as plain values."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init}

    def save(self, path: Path) -> None:
        """Write what was learned, with method, settings and shape, as one safetensors file."""
        self.check(torch.empty(0, *getattr(self, "shape_", ())))
        facts = {"method": self.name, "settings": json.dumps(self.settings()), "shape": json.dumps(self.shape_)}
        save_tensors(path, self.net_.state_dict(), facts)

    @classmethod
    def load(cls, path: Path, device: torch.device | str = "cpu") -> Self:
        """Read what `save` wrote; runs no code from the file.

        Raises:
            RunError: the file is damaged or was written by another method.
        """
        try:
            with safe_open(path, framework="pt") as stream:
                facts = stream.metadata() or {}
            if facts.get("method") != cls.name:
                raise RunError(f"{path} holds the method {facts.get('method')!r}, expected {cls.name!r}")
            detector = cls(**json.loads(facts["settings"]))
            detector.shape_ = tuple(json.loads(facts["shape"]))
            with torch.random.fork_rng(devices=[]):
                detector.net_ = detector.build(detector.shape_)
            detector.net_.load_state_dict(load_file(path))
        except RunError:
            raise
        except Exception as error:
            raise RunError(f"{path} cannot be read as a trained {cls.name}: {error}; train it again") from error
        detector.net_.eval().requires_grad_(False)
        return detector.to(device)

    @property
    def device(self) -> torch.device:
        """Where the learned tensors are."""
        return next(iter(self.net_.state_dict().values())).device


def passes(shape: tuple[int, ...] | torch.Size) -> int:
    """How many images of shape (C, *space) go through a network at once: 64, of volumes fewer, so that they fit."""
    return max(1, min(CHUNK, MOST_VALUES // prod(shape)))


def chunks(images: Images, device: torch.device | str = "cpu", size: int | None = None) -> Iterator[Tensor]:
    """The images in order, a few at a time (`passes`, unless told), as tensors on a device."""
    size = size or passes(images.shape[1:])
    for start in range(0, len(images), size):
        part = images[start : start + size]
        yield (part if isinstance(part, Tensor) else torch.from_numpy(np.array(part))).to(device, torch.float32)


def mean_of(images: Images) -> Tensor:
    """The mean image (1, C, *space), summed in double precision, which not every accelerator has."""
    total = torch.zeros(1, *images.shape[1:], dtype=torch.float64)
    for part in chunks(images):
        total += part.double().sum(0, keepdim=True)
    return (total / len(images)).float()
