"""The autoencoder: squeeze normal images through a short code; what does not survive is abnormal."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, cast

from torch import Tensor, nn

from anomaly.detectors.bottleneck import BottleneckDetector
from anomaly.detectors.reconstruction import Drawing, Scales
from anomaly.nets.autoencoder import Autoencoder as Network
from anomaly.nets.losses import dissimilarity, gaussian_nll, in_pixels, l1, l2
from anomaly.nets.within import mean_of_batch, pasted

OBJECTIVES: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "l1": lambda x, y, sigma: l1(x, y),
    "l2": lambda x, y, sigma: l2(x, y),
    "ssim": dissimilarity,
    "ssim+l1": lambda x, y, sigma: dissimilarity(x, y, sigma) + l1(x, y),
}
UNCERTAINTY = "uncertainty"
LOG_VARIANCES = (-12.0, 10.0)
"""No pixel is surer than the rounding of 8-bit images, variance (2 / 255)^2 / 12; none can overflow."""


@dataclass(kw_only=True)
class Autoencoder(BottleneckDetector):
    """Encoder to a code of a few numbers, mirrored decoder, any of four residual heads.

    Args:
        objective: what training lowers: "l1", "l2", "ssim" (wide structural dissimilarity), "ssim+l1" (their sum:
            nearly as good a ranking as "ssim" alone, and far better l1 maps), or "uncertainty"
            (AE-U: the network also says how sure it is of each pixel; loss mean(exp(-s) r^2 + s)), which adds
            the head "uncertainty", exp(-s) r^2.
    """

    name: ClassVar[str] = "autoencoder"
    summary: ClassVar[str] = "bottleneck autoencoder; heads l1, l2, wide ssim, uncertainty (AE-U), combined"
    cite: ClassVar[str] = "Mao et al. 2020 (AE-U); Bergmann et al. 2019 (SSIM residual); Wang et al. 2004 (SSIM)"
    choices: ClassVar[Mapping[str, Iterable[str]]] = {"objective": (*OBJECTIVES, UNCERTAINTY)}
    objective: str = "ssim+l1"

    def offered(self) -> tuple[str, ...]:
        """The shared heads, and the uncertainty where the network gives one."""
        return (*self.heads, UNCERTAINTY) if self.objective == UNCERTAINTY else self.heads

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """The network and the scales of its heads."""
        return nn.ModuleDict({"autoencoder": self.network(shape), "scales": Scales(len(self.offered()), shape[1:])})

    def network(self, shape: tuple[int, ...], *, alike: bool = False) -> Network:
        """With a second map where it is to say how sure it is."""
        maps = 2 if self.objective == UNCERTAINTY else 1
        return Network(
            shape,
            latent=self.latent,
            width=self.width,
            hidden=self.hidden,
            maps=maps,
            alike=alike,
            context=self.context_,
        )

    def encode(self, x: Tensor) -> Tensor:
        """The bottleneck."""
        return cast(Tensor, self.net_["autoencoder"].encode(x)[0])

    def decode(self, code: Tensor) -> Tensor:
        """What the decoder draws of a bottleneck."""
        return cast(Tensor, self.net_["autoencoder"].decode(code)[0].clamp(-1, 1))

    def draw(self, x: Tensor) -> Drawing:
        """Mean clamped to the image range, and the log variance where there is one."""
        mean, *log_variance = self._drawn(x)
        return Drawing(mean.clamp(-1, 1), *log_variance)

    def loss(self, x: Tensor) -> Tensor:
        """The objective, on the reconstruction before it is clamped."""
        mean, *log_variance = self._drawn(x)
        inside, x = self.within(x), self.own(x)
        mean = pasted(mean, x, inside)
        if log_variance:
            return mean_of_batch(gaussian_nll(x - mean, log_variance[0]), inside)
        return mean_of_batch(OBJECTIVES[self.objective](x, mean, in_pixels(self.sigma, x.shape[2:])), inside)

    def _drawn(self, x: Tensor) -> tuple[Tensor, ...]:
        mean, *log_variance = self.net_["autoencoder"](x)
        return mean, *(s.clamp(*LOG_VARIANCES) for s in log_variance)
