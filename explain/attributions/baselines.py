"""What an image is compared with: black, the mean control, itself without details or disease, or images given."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from anomaly.errors import AnomalyError
from anomaly.nets.losses import gaussian_blur
from anomaly.training.batches import mean_of
from explain.attributions.base import Attribution
from explain.base import Explanation, Images

BLACK = -1.0
Drawn = Callable[[Tensor], Tensor]


@dataclass(kw_only=True)
class AgainstBaseline(Attribution):
    """Base of the attributions that say what an image has and its baseline has not.

    The diagnostics tell "target" f(x), "baseline" f(b), and, of methods whose map is meant to add up to their
    difference, "gap": the sum of the map less f(x) - f(b).

    Args:
        baseline: "zero" (no intensity: black, -1), "mean" (the mean control, from `fit`), "blur" (the image without
            its details) or "counterfactual" (the image as the detector that is explained draws it as normal).
            `explain` takes images instead, such as other counterfactuals.
        blur: width of the blur (standard deviation), as a share of the smallest side.
    """

    adds_up: ClassVar[bool] = True
    positive: ClassVar[tuple[str, ...]] = ("blur",)
    choices: ClassVar[Mapping[str, Iterable[str]]] = {"baseline": ("zero", "mean", "blur", "counterfactual")}
    from_counterfactual: ClassVar[bool] = False  # whether it begins there, unless told, where a detector draws one
    baseline: str = "zero"
    blur: float = 0.125
    drawn_: Drawn = dataclasses.field(init=False, repr=False, compare=False)
    mean_: Tensor = dataclasses.field(init=False, repr=False, compare=False)

    def share(self, image: Tensor, origin: Tensor) -> Tensor:
        """What each value of an image (1, C, *space) gets, of the same shape, against its baselines (m, C, *space)."""
        raise NotImplementedError(f"{type(self).__name__} writes share(image, origin)")

    def learn(self, controls: Images, cases: Images | None) -> None:
        """Average the controls."""
        self.mean_ = mean_of(controls)

    def begin_from_normal(self, mean: Tensor, drawn: Drawn | None = None, *, asked: bool, there: bool = True) -> None:
        """Take what a detector holds for normal for the baseline, unless another was `asked` for.

        To a detector black is more abnormal than most patients, so that a map from there tells little of these.

        Args:
            mean: of its normals (C, *space), the mean control.
            drawn: images (N, C, *space) -> the same as it draws them as normal; None where it draws none.
            asked: whether the baseline was.
            there: whether to begin from what it draws, unless asked otherwise.
        """
        self.mean_ = mean[None]
        if drawn is not None:
            self.drawn_ = drawn
        if not asked and self.baseline == "zero":
            near = drawn is not None and there and self.from_counterfactual
            self.baseline = "counterfactual" if near else "mean"

    def explain(self, x: Tensor, *, baseline: Tensor | None = None, seed: int = 0) -> Explanation:
        """As for every explainer; `baseline` gives the images to compare with, (N or 1, C, *space).

        Raises:
            AnomalyError: as for every explainer; or the baseline has another shape, or is learned from controls and
                `fit` was not called.
        """
        if baseline is not None and tuple(baseline.shape) not in (tuple(x.shape), (1, *x.shape[1:])):
            raise AnomalyError(
                f"the baseline has shape {tuple(baseline.shape)}, the images {tuple(x.shape)}; give one for each "
                f"image, or one for all, {(1, *x.shape[1:])}"
            )
        return self._explain(x, partial(self.evidence, baseline=baseline), seed)

    def evidence(self, x: Tensor, baseline: Tensor | None = None) -> Explanation:
        """The shares of every image, against its own baseline or the one given."""
        origins = self.origins(x) if baseline is None else baseline.detach().clone().to(x).expand_as(x).split(1)
        shares, ends = [], []
        last = None
        for image, origin in zip(x.split(1), origins, strict=True):
            with torch.no_grad():
                if origin is not last:
                    last, level = origin, self.level(origin)
                ends.append(torch.cat([level, self.ask(image)]))
            shares.append(self.share(image, origin))
        before, after = torch.stack(ends).unbind(1)
        map = torch.cat(shares).sum(1, keepdim=True)
        told = {"target": after, "baseline": before}
        return Explanation(
            map, diagnostics=told | ({"gap": map.flatten(1).sum(1) - (after - before)} if self.adds_up else {})
        )

    def origins(self, x: Tensor) -> Sequence[Tensor]:
        """The baselines of each image, (m, C, *space): one, or several to average over."""
        return BASELINES[self.baseline](self, x).to(x).expand_as(x).split(1)

    def level(self, origin: Tensor) -> Tensor:
        """The mean target (1,) of the baselines of an image."""
        return self.ask(origin)

    def mean_control(self) -> Tensor:
        """The mean control (1, C, *space), as `fit` found it."""
        if not hasattr(self, "mean_"):
            raise AnomalyError("baseline=mean is the mean control image; give --controls, or call fit(controls) first")
        return self.mean_

    def counterfactual(self, x: Tensor) -> Tensor:
        """Images (N, C, *space) as the detector draws them as normal."""
        if not hasattr(self, "drawn_"):
            raise AnomalyError(
                "baseline=counterfactual is the image as the detector draws it as normal, and what is explained draws "
                "none; give --baseline, a run of an explainer, or explain(x, baseline=images)"
            )
        with torch.no_grad():
            return self.drawn_(x)


BASELINES: Mapping[str, Callable[[AgainstBaseline, Tensor], Tensor]] = {
    "zero": lambda explainer, x: torch.full_like(x, BLACK),
    "mean": lambda explainer, x: explainer.mean_control(),
    "counterfactual": lambda explainer, x: explainer.counterfactual(x),
    "blur": lambda explainer, x: gaussian_blur(x, explainer.blur * min(x.shape[2:])),
}
