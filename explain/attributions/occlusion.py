"""What the target loses when a part of the image is covered."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from anomaly.errors import AnomalyError
from explain.attributions.baselines import AgainstBaseline


@dataclass(kw_only=True)
class Occlusion(AgainstBaseline):
    """By how much the target falls when a window of the image is replaced by its baseline, window after window.

    f(x) - f(x with the window at the baseline), given to every pixel of the window; a pixel gets the mean over the
    windows that hold it (Zeiler and Fergus 2014, section 4.2). All channels are covered together. The map does not
    add up to f(x) - f(b), and shows nothing finer than the window. It takes no gradients, so that it also explains
    what has none: thresholds, trees, measurements. It costs one evaluation a window, 1 / stride^dims of them.

    Args:
        window: side of the window, as a share of the side of the image, at least one pixel.
        stride: from one window to the next, as a share of the side; at most `window`, that no pixel is left out.
        batch: how many covered images go through the target at once.
        baseline: what the window shows instead: "zero", "mean" or "blur", as in `AgainstBaseline`.
        blur: width of the blur, as a share of the smallest side.
    """

    name: ClassVar[str] = "occlusion"
    summary: ClassVar[str] = "fall of the target where a window covers the image; no gradients"
    cite: ClassVar[str] = "Zeiler and Fergus 2014"
    adds_up: ClassVar[bool] = False
    positive: ClassVar[tuple[str, ...]] = ("window", "stride", "batch", *AgainstBaseline.positive)
    window: float = 0.2
    stride: float = 0.1
    batch: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.stride <= self.window <= 1:
            raise AnomalyError(
                f"window={self.window} and stride={self.stride} are shares of the side; take stride <= window <= 1"
            )

    def share(self, image: Tensor, origin: Tensor) -> Tensor:
        """The falls; captum gives each channel the fall of all, here each gets an equal part."""
        from captum import attr

        channels, *space = image.shape[1:]
        window, stride = ([max(1, round(part * side)) for side in space] for part in (self.window, self.stride))
        falls: Tensor = attr.Occlusion(self.ask).attribute(
            image,
            (channels, *window),
            strides=(channels, *stride),
            baselines=origin,
            perturbations_per_eval=self.batch,
        )
        return falls / channels
