"""The variational autoencoder: residual of the posterior mean, evidence lower bound, gradient of the divergence."""

from dataclasses import dataclass
from math import prod
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from anomaly.detectors.bottleneck import BottleneckDetector
from anomaly.detectors.reconstruction import Drawing, Scales
from anomaly.nets.autoencoder import Autoencoder as Network
from anomaly.nets.losses import gaussian_blur, in_pixels, kl_to_standard_normal, l2
from anomaly.nets.within import mean_of_batch


@dataclass(kw_only=True)
class VAE(BottleneckDetector):
    """Autoencoder with a Gaussian code; scored at the posterior mean, so a score never depends on chance.

    Heads beside l1, l2 and ssim: "elbo", the negative evidence lower bound per pixel, and "gradient",
    |d KL / d x| times the absolute residual, smoothed (Zimmerer et al. 2019, eq. 4).

    Args:
        beta: weight of the divergence against the sum of squared residuals.
    """

    name: ClassVar[str] = "vae"
    summary: ClassVar[str] = "variational autoencoder; heads l1, l2, ssim, elbo, gradient, combined"
    cite: ClassVar[str] = "Kingma and Welling 2014; Zimmerer et al. 2019 (gradient head)"
    heads: ClassVar[tuple[str, ...]] = ("l1", "l2", "ssim", "elbo", "gradient")
    not_negative: ClassVar[tuple[str, ...]] = (*BottleneckDetector.not_negative, "beta")
    generates: ClassVar[bool] = True
    beta: float = 1.0

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """The network, two codes wide (mean and log variance), and the scales of its heads."""
        return nn.ModuleDict({"autoencoder": self.network(shape), "scales": Scales(len(self.heads), shape[1:])})

    def network(self, shape: tuple[int, ...], *, alike: bool = False) -> Network:
        """Two codes wide."""
        return Network(
            shape, latent=self.latent, width=self.width, hidden=self.hidden, codes=2, alike=alike, context=self.context_
        )

    def _posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.net_["autoencoder"].encode(x)
        return mean, log_variance.clamp(-20, 10)

    def encode(self, x: Tensor) -> Tensor:
        """The posterior mean."""
        return self._posterior(x)[0]

    def decode(self, code: Tensor) -> Tensor:
        """The mean image of a code."""
        return cast(Tensor, self.net_["autoencoder"].decode(code)[0].clamp(-1, 1))

    def draw(self, x: Tensor) -> Drawing:
        """The image decoded from the posterior mean."""
        return Drawing(self.decode(self.encode(x)))

    def loss(self, x: Tensor) -> Tensor:
        """(sum of squared residuals + beta KL) / values that count; the likelihood has variance 1/2."""
        mean, log_variance = self._posterior(x)
        code = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        drawn = self.net_["autoencoder"].decode(code)[0]
        inside, x = self.within(x), self.own(x)
        counted = prod(x.shape[1:]) if inside is None else inside.sum() * x.shape[1] / len(x)
        divergence = kl_to_standard_normal(mean, log_variance).mean()
        return mean_of_batch(l2(x, drawn), inside) + self.beta * divergence / counted

    def residuals(self, x: Tensor, drawing: Drawing | None = None) -> dict[str, Tensor]:
        """The shared heads, with the two that need the posterior."""
        explained = x.requires_grad and torch.is_grad_enabled()
        with torch.enable_grad():
            x_ = x if explained else x.detach().requires_grad_(True)
            divergence = kl_to_standard_normal(*self._posterior(x_))
            (slope,) = torch.autograd.grad(divergence.sum(), x_, create_graph=explained)
        shared = super().residuals(x, drawing)
        elbo = shared["l2"] + self.beta * self._per_pixel(divergence if explained else divergence.detach(), x)
        gradient = self.own(slope).abs().mean(1, keepdim=True) * shared["l1"]
        return {**shared, "elbo": elbo, "gradient": gaussian_blur(gradient, in_pixels(1, x.shape[2:]))}

    def _per_pixel(self, value: Tensor, x: Tensor) -> Tensor:
        """A number of each image (N,) as its share of each of the image's own values that count, (N, 1, ...)."""
        own, inside = self.own(x), self.within(x)
        counted = prod(own.shape[1:]) if inside is None else inside.flatten(1).sum(1) * own.shape[1]
        return (value / counted).view(-1, *[1] * (x.ndim - 1))
