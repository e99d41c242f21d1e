"""What autoencoders share: one reconstruction, read through several residual heads.

How an image is scored matters more than what was trained, so the value of an image and the map of where it
departs may come from different heads of the same network.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from anomaly.detectors.base import Score
from anomaly.detectors.committee import scales as moderated
from anomaly.detectors.moments import Moments
from anomaly.detectors.trained import TrainedDetector
from anomaly.errors import AnomalyError
from anomaly.nets.filters import eroded, median
from anomaly.nets.losses import WIDE, dissimilarity, gaussian_blur, in_pixels, l1, l2
from anomaly.nets.within import mean_within, pasted
from anomaly.training.batches import chunks
from anomaly.training.learned import Images
from anomaly.training.machine import Machine


class Drawing(NamedTuple):
    """An image drawn again by the network: its mean in [-1, 1], and where the network gives them, others.

    Args:
        mean: (N, C, *space).
        log_variance: of each pixel, as `mean`.
        code: (N, latent) that it was drawn from.
    """

    mean: Tensor
    log_variance: Tensor | None = None
    code: Tensor | None = None


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
FEW = 5  # images
EXCESS, COMBINED = "_excess", "combined"


class Scales(nn.Module):
    """How each head varies over held-out normals: pixel by pixel, and its excess as a whole."""

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
        value_from: what ranks images. A head, "l1", "l2", "ssim" (wide structural dissimilarity) or whatever a
            method adds, is the mean of its residual. With "_excess" behind, as in "ssim_excess", it is the mean
            over pixels of max(0, z), z the residual in units of the held-out normals' variation at that pixel.
            "combined" is the mean over all "_excess" values, each in units of the held-out normals'. Or a value of
            the method's own.
        map_from: the head that draws where.
        sigma: width of the structural window, in 64ths of the smallest side.
        smooth: width of the Gaussian that the map is smoothed with, in 64ths of the smallest side; 0 for none.
        median: side of the window whose median the map takes before that, in 64ths of the smallest side; 0 for none.
        erode: how far from the edge of the mask the map is 0, in 64ths of the smallest side; 0 for nowhere. Without
            masks nothing is told apart, and it must be 0.
    """

    value_from: str = "ssim_excess"
    map_from: str = "l1"
    sigma: float = WIDE
    smooth: float = 2.0
    median: float = 0.0
    erode: float = 0.0
    heads: ClassVar[tuple[str, ...]] = ("l1", "l2", "ssim")
    own_values: ClassVar[tuple[str, ...]] = ()  # what `further_values` gives
    not_negative: ClassVar[tuple[str, ...]] = (*TrainedDetector.not_negative, "smooth", "median", "erode")
    positive: ClassVar[tuple[str, ...]] = (*TrainedDetector.positive, "sigma")

    def __post_init__(self) -> None:
        super().__post_init__()
        heads = self.offered()
        values = (*self.own_values, *heads, *(head + EXCESS for head in heads), COMBINED)
        for setting, known in (("value_from", values), ("map_from", heads)):
            got = getattr(self, setting)
            if got not in known:
                raise AnomalyError(
                    f"{setting}={got} is not offered by {self.name} with these settings; take one of {', '.join(known)}"
                )

    def plan(self, normals: Images, machine: Machine) -> None:
        """As every detector's; refuses to take the rim of masks that are not there."""
        if self.erode and not self.masked_:
            raise AnomalyError(
                f"erode={self.erode:g} is of masks, and these images have none; give masks or leave it out"
            )
        super().plan(normals, machine)

    def offered(self) -> tuple[str, ...]:
        """The heads that can be read from this detector with its settings."""
        return self.heads

    def draw(self, x: Tensor) -> Drawing:
        """The image drawn again."""
        raise NotImplementedError

    def reconstruct(self, x: Tensor) -> Tensor:
        """The image as it would look if it were normal, in [-1, 1]."""
        return self._drawn_within(x).mean

    def _drawn_within(self, x: Tensor) -> Drawing:
        """The image drawn again within its mask."""
        drawing = self.draw(x)
        return drawing._replace(mean=pasted(drawing.mean, self.own(x), self.within(x)))

    def further_values(self, x: Tensor, drawing: Drawing) -> dict[str, Tensor]:
        """Values (N,) that are no residual of pixels, by the names in `own_values`."""
        return {}

    def residuals(self, x: Tensor, drawing: Drawing | None = None) -> dict[str, Tensor]:
        """Every head's residual (N, 1, *space), from one reconstruction: the one given, or a new one."""
        drawing = drawing or self._drawn_within(x)
        sigma = in_pixels(self.sigma, x.shape[2:])
        shared = [name for name in self.offered() if name in HEADS]
        return {name: HEADS[name](self.own(x), drawing, sigma).mean(1, keepdim=True) for name in shared}

    def error(self, x: Tensor) -> Tensor:
        """The residual of the head `map_from`, smoothed."""
        return self._mapped(self.residuals(x)[self.map_from], x)

    def judge(self, x: Tensor) -> Score:
        """Map, value and all values that could have been chosen, from one reconstruction."""
        drawing = self._drawn_within(x)
        residuals = self.residuals(x, drawing)
        values = {**self.further_values(x, drawing), **self._values(residuals, self.within(x))}
        return Score(self._mapped(residuals[self.map_from], x), values[self.value_from], values)

    def tune(self, held_out: Images) -> None:
        """Learn how each head varies over held-out normals, pixel by pixel and as a whole."""
        scales, moments = self.net_.scales, [Moments() for _ in self.offered()]
        for x in chunks(held_out, self.device):
            inside = self.within(x)
            counted = None if inside is None else inside.cpu().numpy()
            for of_head, residual in zip(moments, self.residuals(x).values(), strict=True):
                of_head.add(residual.cpu().numpy(), counted)
        for i, of_head in enumerate(moments):
            scales.mean[i].copy_(torch.from_numpy(of_head.mean()))
            scales.sd[i].copy_(torch.from_numpy(of_head.sd()))
        told = ((self.residuals(x), self.within(x)) for x in chunks(held_out, self.device))
        values = torch.cat([self._excesses(*each) for each in told])
        scales.centre.copy_(values.mean(0))
        if len(values) < FEW:  # one tells no spread, and a few a bad one
            scales.spread.copy_(moderated(values)[1])
        else:
            scales.spread.copy_(values.std(0, correction=0).clamp_min(1e-6))

    def _mapped(self, residual: Tensor, x: Tensor) -> Tensor:
        """The map of a residual: its median, smoothed, without the rim of the mask."""
        space = residual.shape[2:]
        residual = median(residual, 2 * round((in_pixels(self.median, space) - 1) / 2) + 1)
        drawn = gaussian_blur(residual, in_pixels(self.smooth, space))
        inside = self.within(x) if self.erode else None
        return drawn if inside is None else drawn * eroded(inside, round(in_pixels(self.erode, space)))

    def _excesses(self, residuals: dict[str, Tensor], inside: Tensor | None) -> Tensor:
        scales = zip(residuals.values(), self.net_.scales.mean, self.net_.scales.sd, strict=True)
        return torch.stack([mean_within(((r - mean) / sd).clamp_min(0), inside) for r, mean, sd in scales], dim=1)

    def _values(self, residuals: dict[str, Tensor], inside: Tensor | None) -> dict[str, Tensor]:
        values = {name: mean_within(residual, inside) for name, residual in residuals.items()}
        excesses, scales = self._excesses(residuals, inside), self.net_.scales
        values |= {name + EXCESS: column for name, column in zip(residuals, excesses.unbind(1), strict=True)}
        return {**values, COMBINED: ((excesses - scales.centre) / scales.spread).mean(1)}
