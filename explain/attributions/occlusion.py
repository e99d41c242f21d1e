"""What the target loses when a part of the image is covered."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from anomaly.errors import AnomalyError
from explain.attributions.baselines import AgainstBaseline
from explain.attributions.masked import mask_of
from explain.attributions.superpixels import superpixels


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
        baseline: what the window shows instead: "zero", "mean", "blur" or "counterfactual", as in `AgainstBaseline`.
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


@dataclass(kw_only=True)
class SuperpixelOcclusion(AgainstBaseline):
    """By how much the target falls when a segment that follows the edges of the image is replaced by its baseline.

    f(x) - f(x with the segment at the baseline) for each segment of a partition of the image into superpixels (SLIC:
    Achanta et al. 2012), shared equally among its pixels; the map is the mean over partitions, each half as coarse as
    the one before. For a target that is a sum over pixels the map adds up to f(x) - f(b), and the pixels of a segment
    to what it contributes. All channels are covered together. No gradients are taken. Segments that equal their
    baseline are worth 0 and are not asked about.

    Args:
        size: side of the coarsest segments, as a share of the side of the image; about 1 / size^dims of them.
        scales: partitions; each further one has segments half as wide.
        compactness: the difference in intensity, of a range of 2, that weighs as much as one width of a segment: high
            for compact segments, low for such that follow every edge.
        batch: how many covered images go through the target at once.
        baseline: what a segment shows instead: "zero", "mean", "blur" or "counterfactual", as in `AgainstBaseline`.
        blur: width of the blur, as a share of the smallest side.
    """

    name: ClassVar[str] = "superpixel-occlusion"
    summary: ClassVar[str] = "fall of the target where a segment that follows edges is covered; no gradients"
    cite: ClassVar[str] = "Zeiler and Fergus 2014; Achanta et al. 2012 (SLIC)"
    adds_up: ClassVar[bool] = False
    positive: ClassVar[tuple[str, ...]] = ("size", "scales", "compactness", "batch", *AgainstBaseline.positive)
    at_most_one: ClassVar[tuple[str, ...]] = ("size",)
    size: float = 0.2
    scales: int = 2
    compactness: float = 0.1
    batch: int = 32

    def share(self, image: Tensor, origin: Tensor) -> Tensor:
        """The mean over partitions of each pixel's share of what its segment is worth."""
        inside = mask_of(self.target)
        counted, total = None if inside is None else inside[0, 0], torch.zeros_like(image)
        with torch.no_grad():
            whole = self.ask(image)
            for scale in range(self.scales):
                labels = superpixels(image[0], self.size / 2**scale, compactness=self.compactness, inside=counted)
                total += self._of_segments(image, origin, labels.to(image.device), whole)
        return total / (self.scales * image.shape[1])

    def _of_segments(self, image: Tensor, origin: Tensor, labels: Tensor, whole: Tensor) -> Tensor:
        """Each pixel's share of the fall of its segment, (1, 1, *space)."""
        flat, differs = labels.flatten(), (image != origin).any(1).flatten()
        asked = flat[differs & (flat >= 0)].unique()
        if not len(asked):  # it is its baseline wherever it counts
            return torch.zeros(1, 1, *labels.shape, dtype=image.dtype, device=image.device)
        shares = torch.zeros(int(flat.max()) + 1, dtype=image.dtype, device=image.device)
        for part in asked.split(self.batch):
            covered = labels == part.view(-1, 1, *[1] * labels.ndim)
            shares[part] = (whole - self.ask(torch.where(covered, origin, image))).to(shares.dtype)
        shares /= torch.bincount(flat[flat >= 0], minlength=len(shares)).to(shares)
        return torch.where(flat >= 0, shares[flat.clamp_min(0)], 0).view(1, 1, *labels.shape)
