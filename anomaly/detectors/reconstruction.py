"""What autoencoders share: one reconstruction, read through several residual heads.

How an image is scored matters more than what was trained, so the value of an image and the map of where it
departs may come from different heads of the same network.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from anomaly.detectors.base import Images, Score, TrainedDetector, chunks
from anomaly.errors import AnomalyError
from anomaly.losses import dissimilarity, gaussian_blur, l1, l2, wide_sigma
from anomaly.moments import Moments


class Drawing(NamedTuple):
    """An image drawn again by the network: its mean in [-1, 1] and, where the network gives one, the log variance."""

    mean: Tensor
    log_variance: Tensor | None = None


Head = Callable[[Tensor, Drawing, float], Tensor]
"""(x, drawing, sigma of the wide window) -> residual (N, C, *space) >= 0."""


def _uncertainty(x: Tensor, drawing: Drawing, sigma: float) -> Tensor:
    assert drawing.log_variance is not None
    return torch.exp(-drawing.log_variance) * l2(x, drawing.mean)


HEADS: dict[str, Head] = {
    "l1": lambda x, drawing, sigma: l1(x, drawing.mean),
    "l2": lambda x, drawing, sigma: l2(x, drawing.mean),
    "ssim": lambda x, drawing, sigma: dissimilarity(x, drawing.mean, sigma),
    "uncertainty": _uncertainty,
}
COMBINED = "combined"


class Scales(nn.Module):
    """How each head varies over held-out normals: pixel by pixel, and the log of its value."""

    def __init__(self, heads: int, space: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(heads, 1, *space))
        self.register_buffer("sd", torch.ones(heads, 1, *space))
        self.register_buffer("centre", torch.zeros(heads))
        self.register_buffer("spread", torch.ones(heads))


@dataclass(kw_only=True)
class ReconstructionDetector(TrainedDetector):
    """Base of the methods that draw the image as if it were normal and score what differs.

    Args:
        value_from: the head that ranks images: "l1", "l2", "ssim" (wide structural dissimilarity), whatever a
            method adds, or "combined", the mean over heads of the log value in units of held-out normals.
        map_from: the head that draws where.
        pixelwise: a value is the mean over pixels of max(0, z), z the residual in units of the held-out normals'
            variation at that pixel; without it the mean of the residual itself.
        sigma: width of the structural window in pixels; 0 takes 3 * H / 64.
        smooth: width in pixels of the Gaussian that the map is smoothed with; 0 leaves it as it is.
    """

    value_from: str = "ssim"
    map_from: str = "ssim"
    pixelwise: bool = True
    sigma: float = 0.0
    smooth: float = 0.0
    heads: ClassVar[tuple[str, ...]] = ("l1", "l2", "ssim")
    not_negative: ClassVar[tuple[str, ...]] = (*TrainedDetector.not_negative, "sigma", "smooth")

    def __post_init__(self) -> None:
        super().__post_init__()
        offered = self.offered()
        for setting, also in (("value_from", (COMBINED,)), ("map_from", ())):
            got, known = getattr(self, setting), (*offered, *also)
            if got not in known:
                raise AnomalyError(f"{setting}={got} is not offered by {self}; take one of {', '.join(known)}")

    def offered(self) -> tuple[str, ...]:
        """The heads that can be read from this detector with its settings."""
        return self.heads

    def draw(self, x: Tensor) -> Drawing:
        """The image drawn again."""
        raise NotImplementedError

    def reconstruct(self, x: Tensor) -> Tensor:
        """The image as it would look if it were normal, in [-1, 1]."""
        return self.draw(x).mean

    def residuals(self, x: Tensor) -> dict[str, Tensor]:
        """Every head's residual (N, 1, *space), from one reconstruction."""
        drawing = self.draw(x)
        sigma = self.sigma or wide_sigma(x.shape[2:])
        shared = [name for name in self.offered() if name in HEADS]
        return {name: HEADS[name](x, drawing, sigma).mean(1, keepdim=True) for name in shared}

    def error(self, x: Tensor) -> Tensor:
        """The residual of the head `map_from`, smoothed."""
        return gaussian_blur(self.residuals(x)[self.map_from], self.smooth)

    def value(self, x: Tensor) -> Tensor:
        """The mean residual of the head `value_from`, or the combination of all heads."""
        return self._choose(self._values(self.residuals(x)))

    def judge(self, x: Tensor) -> Score:
        """Map, value and the value of every head, from one reconstruction."""
        residuals = self.residuals(x)
        values = self._values(residuals)
        return Score(gaussian_blur(residuals[self.map_from], self.smooth), self._choose(values), values)

    def tune(self, held_out: Images) -> None:
        """Learn how each head varies over held-out normals, pixel by pixel and as a whole."""
        scales, moments = self.net_.scales, [Moments() for _ in self.offered()]
        for x in chunks(held_out, self.device):
            for of_head, residual in zip(moments, self.residuals(x).values(), strict=True):
                of_head.add(residual.cpu().numpy())
        for i, of_head in enumerate(moments):
            scales.mean[i].copy_(torch.from_numpy(of_head.mean()))
            scales.sd[i].copy_(torch.from_numpy(of_head.sd()))
        logs = torch.cat([self._logs(self._values(self.residuals(x))) for x in chunks(held_out, self.device)])
        scales.centre.copy_(logs.mean(0))
        scales.spread.copy_(logs.std(0, correction=0).clamp_min(1e-6))

    def _values(self, residuals: dict[str, Tensor]) -> dict[str, Tensor]:
        if self.pixelwise:
            scales = zip(self.net_.scales.mean, self.net_.scales.sd, strict=True)
            weighed = zip(residuals.items(), scales, strict=True)
            residuals = {name: ((r - mean) / sd).clamp_min(0) for (name, r), (mean, sd) in weighed}
        return {name: residual.flatten(1).mean(1) for name, residual in residuals.items()}

    @staticmethod
    def _logs(values: dict[str, Tensor]) -> Tensor:
        return torch.stack([value.clamp_min(1e-12).log() for value in values.values()], dim=1)

    def _choose(self, values: dict[str, Tensor]) -> Tensor:
        if self.value_from != COMBINED:
            return values[self.value_from]
        scales = self.net_.scales
        return ((self._logs(values) - scales.centre) / scales.spread).mean(1)
