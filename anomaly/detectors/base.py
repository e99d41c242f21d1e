"""What every detector is: a dataclass of hyperparameters that fits normal images and scores any others.

A method writes the mathematics (`build`, `loss`, `error`); everything that is the same for all stands here.
All images are (N, C, *space) in [-1, 1] with two or three spatial axes. Higher is more anomalous.
"""

from abc import abstractmethod
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from anomaly.errors import AnomalyError
from anomaly.nets.within import mean_within, within
from anomaly.training.forecast import Forecast, resident
from anomaly.training.journal import Journal
from anomaly.training.learned import Images, Learned
from anomaly.training.machine import Machine


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


class ToCome(NamedTuple):
    """Images to come, of normal and of ill, without labels.

    Args:
        images: (m, C, *space), as the normals.
        whose: the person (or the volume) of each, (m,); None where each is another's.
        held_out: the same of the held-out normals.
    """

    images: Images
    whose: np.ndarray | None = None
    held_out: np.ndarray | None = None


@dataclass(kw_only=True)
class Detector(Learned):
    """Learns what normal images look like and says how far any image departs.

    Fields are hyperparameters. After `fit`, `net_` holds everything learned and `shape_` the (C, *space) of one
    image.
    """

    kind: ClassVar[str] = "detector"
    generates: ClassVar[bool] = False  # whether `decode(mapped(noise))` draws new images
    sees_context: ClassVar[bool] = False  # whether it tells an image's own channels from its context
    looks: ClassVar[bool] = False  # whether it makes something of unlabelled images; then it has `look`
    conditional: ClassVar[bool] = False  # whether it can learn to draw classes apart; then it has the field `classes`
    value_from_drawing: ClassVar[bool] = True  # whether an image as it draws it, where it draws any, is normal to it

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "loss" in vars(cls) and cls.practise is Detector.practise:
            raise AnomalyError(
                f"{cls.__name__} writes loss() but extends Detector, which trains nothing; extend TrainedDetector"
            )

    @abstractmethod
    def error(self, x: Tensor) -> Tensor:
        """The anomaly map (N, 1, *space) >= 0 of images (N, C, *space)."""

    def judge(self, x: Tensor) -> Score:
        """Map and value together; a method overrides it where the value is not the mean of the map.

        What it says of pixels outside a mask (`within`) is for it to leave out of the value; maps are cut by `score`.
        """
        error = self.error(x)
        return Score(error, mean_within(error, self.within(x)))

    def within(self, x: Tensor) -> Tensor | None:
        """Where images (N, C, *space) lie within their masks, (N, 1, *space) bool; None where there are no masks."""
        return within(self.own(x)) if self.masked_ else None

    def own(self, x: Tensor) -> Tensor:
        """The channels of images (N, C, *space) that are the image, without its context behind."""
        return x[:, : x.shape[1] - self.context_] if self.context_ else x

    @property
    def has_codes(self) -> bool:
        """Whether it finds the code of an image, and draws images from codes."""
        return type(self).encode is not Detector.encode and type(self).decode is not Detector.decode

    @property
    def values_know_classes(self) -> bool:
        """Whether values rest on what was told the classes, so that they may tell these for that reason alone."""
        return False

    @property
    def differentiable(self) -> bool:
        """Whether values have a gradient in the image."""
        return True

    def value(self, x: Tensor) -> Tensor:
        """The anomaly value (N,) of images, differentiable in them: what an explainer explains.

        Raises:
            AnomalyError: a gradient is asked of a method whose values have none; else as `score`.
        """
        self.check(x)
        if x.requires_grad and not self.differentiable:
            raise AnomalyError(
                f"values of {self.name} have no gradient; explain it by occlusion, or explain another detector"
            )
        return self.judge(x.to(self.device)).value

    def score(self, x: Images) -> Score:
        """Map and value of images (N, C, *space), without gradients; outside a mask the map is 0.

        Raises:
            AnomalyError: the detector has not been fitted, or the images have another shape than those it was
                fitted on.
        """
        x = torch.as_tensor(x, dtype=torch.float32)
        self.check(x)
        with torch.no_grad():
            x = x.to(self.device)
            score, inside = self.judge(x), self.within(x)
        return score if inside is None else replace(score, map=score.map * inside)

    def reconstruct(self, x: Tensor) -> Tensor | None:
        """The image as the method would draw it if it were normal, or None where it draws none."""
        return None

    def story(self) -> str:
        """How it came to be what it is, Markdown for the model card; "" where its settings say all."""
        return ""

    def encode(self, x: Tensor) -> Tensor:
        """The code (N, latent) that the method has of images (N, C, *space).

        Raises:
            AnomalyError: the method has none.
        """
        raise AnomalyError(f"{self.name} has no code of an image")

    def decode(self, code: Tensor) -> Tensor:
        """Images (N, C, *space) in [-1, 1] drawn from codes (N, latent).

        Raises:
            AnomalyError: the method draws nothing from a code.
        """
        raise AnomalyError(f"{self.name} draws no images from codes")

    def mapped(self, noise: Tensor, classes: Tensor | None = None) -> Tensor:
        """Codes of new images from noise (N, latent), N(0, I): the noise itself, unless a method maps it elsewhere.

        Args:
            noise: (N, latent).
            classes: (N,) int64, for a method that was taught classes.
        """
        return noise

    def plan(self, normals: Images, machine: Machine) -> None:
        """Fill in, before anything is built, the settings that follow from the normals and the machine."""

    def foresee(self, normals: Images, machine: Machine) -> Forecast:
        """What learning will take, told before it begins and after `plan`; next to nothing for a closed form."""
        return Forecast(memory=resident(machine))

    def copied(self, normals: Images, machine: Machine) -> Self:
        """A detector of the same settings with networks of its own, to see what they take."""
        twin = copy(self)
        twin.make(normals.shape[1:], machine, seed=0)
        return twin

    def settle(self, normals: Images) -> None:
        """Learn, before any game, what has a closed form (a mean image, principal components)."""

    def look(self, unlabelled: ToCome) -> None:
        """Look, after training and before `tune`, at images to come of which nobody says who is ill.

        Raises:
            AnomalyError: the method makes nothing of them.
        """
        raise AnomalyError(f"{self.name} makes nothing of unlabelled images; leave them out, or take auto")

    def tune(self, held_out: Images) -> None:
        """Learn, after training, what must come from normals not trained on (the scale of each residual)."""

    def fit(
        self,
        normals: Images,
        held_out: Images | None = None,
        *,
        unlabelled: ToCome | Images | None = None,
        classes: np.ndarray | None = None,
        masked: bool = False,
        context: int = 0,
        machine: Machine | None = None,
        seed: int = 0,
        journal: Journal | None = None,
    ) -> Self:
        """Learn from normal images.

        Args:
            normals: (n, C, *space) float32 in [-1, 1]; a memory map is read batch by batch.
            held_out: further normals of other subjects, to stop by and to scale by; None takes `normals`.
            unlabelled: images to come, of normal and of ill, for a method that looks at such; `ToCome` where a person
                has several.
            classes: the class of each image of `normals`, int64 (n,), for a method that learns `classes` apart.
            masked: images have masks: pixels outside are exactly -1, none inside is, and only what is inside counts.
            context: how many of the channels, the last, are context: neighbouring slices, and a plane of the height.
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
        to_come = unlabelled if isinstance(unlabelled, ToCome | None) else ToCome(unlabelled)
        if to_come and (to_come.images.shape[1:] != normals.shape[1:] or not len(to_come.images)):
            raise AnomalyError(
                f"unlabelled images have shape {tuple(to_come.images.shape)}, expected one or more of the shape of the "
                f"normals, {tuple(normals.shape)}"
            )
        if context and not self.sees_context:
            raise AnomalyError(f"{self.name} makes nothing of context; leave it out, or take auto or autoencoder")
        machine, self.masked_, self.context_ = machine or Machine(), masked, context
        self._refuse_other_classes(classes, len(normals))
        self.plan(normals, machine)
        self.fill_in(tuple(normals.shape[1:]), len(normals), machine.processes * machine.nodes)  # also for own plans
        self.make(normals.shape[1:], machine, seed)
        self.settle(normals)
        self.practise(normals, held_out, machine=machine, seed=seed, journal=journal, classes=classes)
        self.net_.eval().requires_grad_(False)
        with torch.no_grad():
            if to_come is not None:
                self.look(to_come)
            self.tune(held_out)
        return self

    def _refuse_other_classes(self, classes: np.ndarray | None, images: int) -> None:
        """Say plainly when classes are missing, not asked for, or not those that were announced."""
        expected = getattr(self, "classes", 0)
        if classes is None:
            if expected:
                raise AnomalyError(f"{self.name} has classes={expected}; give fit(..., classes=) one of each image")
        elif not self.conditional or not expected:
            raise AnomalyError(f"{self.name} learns no classes with these settings; leave classes out")
        elif classes.shape != (images,) or not (0 <= classes.min() and classes.max() < expected):
            raise AnomalyError(
                f"got classes {classes.shape} from {classes.min()} to {classes.max()}, expected one of each of the "
                f"{images} images, 0 to {expected - 1}"
            )

    def practise(
        self,
        normals: Images,
        held_out: Images,
        *,
        machine: Machine,
        seed: int,
        journal: Journal | None,
        classes: np.ndarray | None = None,
    ) -> None:
        """Play the stages; nothing to do for a method in closed form."""
