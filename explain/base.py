"""What every explainer is: a dataclass of hyperparameters that shows what in an image speaks for a target.

Images are (N, C, *space) in [-1, 1] with two or three spatial axes. A target is any callable from images to one
number an image, (N, C, *space) -> (N,): a classifier's logit, a regression, a detector's value.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from anomaly.errors import AnomalyError

Images = Tensor | np.ndarray
Target = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Walk:
    """The way to the counterfactual and, beyond the image, as far on the other side; each image has its own.

    Args:
        steps: how far along each frame lies, rising from the counterfactual's side, 0 the image as drawn again, (N, T).
        values: the target of each frame, (N, T).
        frames: (N, T, C, *space) in [-1, 1].
    """

    steps: Tensor
    values: Tensor
    frames: Tensor


@dataclass(frozen=True)
class Explanation:
    """What speaks for the target in a batch of images.

    A map is signed. A method that draws counterfactuals gives case minus counterfactual, in units of intensity,
    positive where the case is brighter. An attribution gives each pixel's share of the target, in units of the
    target, positive where the pixel raises it. A dark lesion that raises the target is therefore negative in the
    first and positive in the second.

    Args:
        map: the evidence, signed, (N, 1, *space).
        counterfactual: the image as it would look on the other side, (N, C, *space); None where none is drawn.
        field: the displacement that leads there, in pixels, (N, dims, *space); None where nothing moves.
        spread: how much the counterfactual varies from draw to draw, a standard deviation in units of intensity,
            (N, 1, *space); None where there is one draw.
        diagnostics: how far the explanation can be trusted, each (N,), by name.
        walk: the way there, frame by frame; None where the method takes none.
    """

    map: Tensor
    counterfactual: Tensor | None = None
    field: Tensor | None = None
    spread: Tensor | None = None
    diagnostics: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    walk: Walk | None = None


@dataclass(kw_only=True)
class Explainer(ABC):
    """Explains one target, by what it learned from controls and cases or by nothing but the target itself.

    Fields are hyperparameters, but for the target, which is no setting that a run could keep. It is given when
    the explainer is made, not to `explain`: an attribution needs it only there, but a generator is trained
    against it in `fit` and searches along it again in `explain`, and both times it must be the same one. A method
    that learns from controls and cases alone takes None.

    Args:
        target: differentiable, (N, C, *space) -> (N,), each image judged by itself. Put networks in evaluation
            mode first: dropout would make the target random, batch normalisation would mix its images.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    cite: ClassVar[str]
    target: Target | None = dataclasses.field(default=None, repr=False, compare=False)
    shape_: tuple[int, ...] = dataclasses.field(init=False, repr=False, compare=False)

    @abstractmethod
    def evidence(self, x: Tensor) -> Explanation:
        """The explanation of images (N, C, *space), a copy that may be changed; gradients are on."""

    def learn(self, controls: Images, cases: Images | None) -> None:
        """Learn what the method needs; nothing by default. Random numbers follow the seed given to `fit`."""

    def fit(self, controls: Images, cases: Images | None = None, *, seed: int = 0) -> Self:
        """Learn from images without and with what is to be explained.

        Args:
            controls: class 0, (n, C, *space) in [-1, 1].
            cases: class 1, (m, C, *space), where the method needs them.
            seed: of all that is random; the caller's random state stays as it was.

        Raises:
            AnomalyError: the images are not (n, C, *space), there are none, or the cases have another shape.
        """
        self.admit(controls, cases)
        with apart(seed, torch.device("cpu")):
            self.learn(controls, cases)
        return self

    def admit(self, controls: Images, cases: Images | None) -> None:
        """Say plainly when images cannot be learned from; else note their shape."""
        for images in (controls, cases):
            if images is not None and (images.ndim not in (4, 5) or not len(images)):
                raise AnomalyError(f"expected images (n, C, *space), 2D or 3D, at least one; got {tuple(images.shape)}")
        self.shape_ = tuple(int(side) for side in controls.shape[1:])
        if cases is not None and tuple(cases.shape[1:]) != self.shape_:
            raise AnomalyError(
                f"cases have shape {tuple(cases.shape[1:])}, controls {self.shape_} (C, *space); prepare them alike"
            )

    def explain(self, x: Tensor, *, seed: int = 0) -> Explanation:
        """The explanation of images (N, C, *space), whatever gradient mode the caller is in.

        The images, all gradients and the caller's random state are left as they were, also after an exception.

        Raises:
            AnomalyError: the images are of the wrong shape or type; the target is missing, does not give one
                finite number an image, or cannot be differentiated.
        """
        return self._explain(x, self.evidence, seed)

    def _explain(self, x: Tensor, evidence: Callable[[Tensor], Explanation], seed: int) -> Explanation:
        self.check(x)
        with apart(seed, x.device):
            explanation = evidence(x.detach().clone())
        if not explanation.map.isfinite().all():
            raise AnomalyError(
                f"the map of {self.name} is not finite, so the target has no finite gradient at or near these images; "
                "look for square roots, logarithms and divisions at zero"
            )
        return explanation

    def ask(self, x: Tensor) -> Tensor:
        """The target of images (N, C, *space), checked to be (N,), finite, and differentiable where x asks for it."""
        if self.target is None:
            raise AnomalyError(
                f"{self.name} explains a target and has none; make it with target=f, (N, C, *space) -> (N,)"
            )
        value = self.target(x)
        got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        if got != (len(x),):
            raise AnomalyError(
                f"the target gave {got} for images {tuple(x.shape)}, expected ({len(x)},); return one number an "
                "image, such as lambda x: net(x)[:, 1]"
            )
        if not value.isfinite().all():
            bad = int((~value.isfinite()).sum())
            raise AnomalyError(
                f"the target is not finite for {bad} of {len(x)} images; explain a logit, not a log probability"
            )
        if x.requires_grad and not value.requires_grad:
            raise AnomalyError(
                "the target cannot be differentiated: it does not depend on the image, or leaves torch or its "
                "gradients (no_grad, detach, numpy) on the way"
            )
        return value

    def check(self, x: Tensor) -> None:
        """Say plainly when the images cannot be explained."""
        if x.ndim not in (4, 5) or not len(x) or not x.is_floating_point():
            raise AnomalyError(
                f"expected floating-point images (N, C, *space), 2D or 3D, at least one; got {tuple(x.shape)} {x.dtype}"
            )
        if tuple(x.shape[1:]) != getattr(self, "shape_", tuple(x.shape[1:])):
            raise AnomalyError(
                f"images have shape {tuple(x.shape[1:])}, the explainer was fitted on {self.shape_} (C, *space); "
                "prepare them in the same way"
            )

    def settings(self) -> dict[str, Any]:
        """The hyperparameters as plain values, without the target."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init and f.repr}


@contextmanager
def apart(seed: int, device: torch.device) -> Iterator[None]:
    """Gradients on and random numbers from the seed; both are the caller's again afterwards."""
    cuda = [device] if device.type == "cuda" else []
    with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(cuda):
        torch.default_generator.manual_seed(seed)
        for each in cuda:
            with torch.cuda.device(each):
                torch.cuda.manual_seed(seed)
        yield
