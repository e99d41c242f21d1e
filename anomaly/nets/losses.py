"""Residuals and penalties as plain functions of tensors, in any number of dimensions.

Shapes are (N, C, *space) with two or three spatial axes; images lie in [-1, 1]. A residual keeps the shape
of its input; a penalty is one number an image, shape (N,).
"""

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

WIDE = 3.0
"""Width of the structural-similarity window in 64ths of the smallest side."""


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Absolute difference, pixel by pixel."""
    return (x - y).abs()


def l2(x: Tensor, y: Tensor) -> Tensor:
    """Squared difference, pixel by pixel."""
    return (x - y).square()


def in_pixels(width: float, space: tuple[int, ...] | torch.Size) -> float:
    """A width in 64ths of the smallest side, in pixels: what fits 64 pixels grows with the image."""
    return width * min(space) / 64


def gaussian_blur(x: Tensor, sigma: float) -> Tensor:
    """Smooth each channel with a Gaussian of `sigma` pixels, repeating the edge values outside the image.

    Each axis is one product with a small matrix that holds the window and the edges; with the wide windows used
    here that is many times faster than a convolution of one channel.

    Args:
        x: images (N, C, *space).
        sigma: standard deviation in pixels; 0 leaves the images as they are.
    """
    if sigma <= 0:
        return x
    # In half precision the variances of `dissimilarity`, differences of two such averages, would be rounding only.
    with torch.autocast(x.device.type, enabled=False):
        for axis in range(2, x.ndim):
            smoother = _smoother(x.shape[axis], sigma).to(x)
            x = (x.movedim(axis, -1) @ smoother).movedim(-1, axis)
    return x


@lru_cache(maxsize=64)
def _smoother(length: int, sigma: float) -> Tensor:
    """(length, length): column j holds the weights of the pixels that make the smoothed pixel j."""
    with torch.inference_mode(False):  # a tensor kept from inference mode could not be differentiated through
        return _window_matrix(length, sigma)


def _window_matrix(length: int, sigma: float) -> Tensor:
    radius = max(1, round(3 * sigma))
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (offsets / sigma).square())
    weights = weights / weights.sum()
    sources = (torch.arange(length)[:, None] + torch.arange(-radius, radius + 1)).clamp(0, length - 1)
    matrix = torch.zeros(length, length, dtype=torch.float64)
    return matrix.scatter_add_(1, sources, weights.expand(length, -1)).T.contiguous()


def dissimilarity(x: Tensor, y: Tensor, sigma: float | None = None) -> Tensor:
    """One minus the structural similarity of two images, pixel by pixel, in [0, 2].

    Local means, variances and the covariance are taken under a Gaussian window (Wang et al. 2004, eq. 13,
    with the constants (0.01 L)^2 and (0.03 L)^2, L the range of the images). Edges are padded with their own
    values, so the result has the shape of its input.

    Args:
        x: images (N, C, *space) in [-1, 1].
        y: images of the same shape.
        sigma: width of the window in pixels; None takes the wide one, 3 * H / 64.
    """
    sigma = in_pixels(WIDE, x.shape[2:]) if sigma is None else sigma
    return structural_difference((x + 1) / 2, (y + 1) / 2, sigma)


def structural_difference(x: Tensor, y: Tensor, sigma: float) -> Tensor:
    """1 - SSIM of maps whose values lie about in [0, 1], place by place, in [0, 2].

    Args:
        x: maps (N, C, *space).
        y: maps of the same shape.
        sigma: width of the window in pixels.
    """
    channels = x.shape[1]
    moments = gaussian_blur(torch.cat([x, y, x * x, y * y, x * y], dim=1), sigma).split(channels, dim=1)
    mean_x, mean_y, xx, yy, xy = moments
    variance_x = (xx - mean_x.square()).clamp_min(0)
    variance_y = (yy - mean_y.square()).clamp_min(0)
    bound = (variance_x + variance_y) / 2  # of any covariance; rounding would break it where an image is flat
    covariance = torch.maximum(torch.minimum(xy - mean_x * mean_y, bound), -bound)
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return (1 - luminance * structure).clamp_min(0)


def gaussian_nll(residual: Tensor, log_variance: Tensor) -> Tensor:
    """Gaussian negative log likelihood up to constants: exp(-s) r^2 + s (Mao et al. 2020, eq. 2).

    Args:
        residual: r = x - reconstruction, (N, C, *space).
        log_variance: s, predicted by the network, broadcastable to r.
    """
    return torch.exp(-log_variance) * residual.square() + log_variance


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Divergence of N(mean, exp(log_variance)) from N(0, I), summed over the latent axes; shape (N,).

    Kingma and Welling 2014, appendix B: -1/2 sum(1 + log s^2 - m^2 - s^2).
    """
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).flatten(1).sum(1)


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, target: float = 1.0) -> Tensor:
    """How far the critic's slope is from `target` between real and fake images, one number an image.

    (|grad D(x^)|_2 - target)^2 at x^ = u x + (1 - u) y with u uniform for each image, the norm taken over
    all of the image's values (Gulrajani et al. 2017, eq. 3).

    Args:
        critic: (N, ...) -> (N,) or (N, 1).
        real: x, (N, ...).
        fake: y, of the same shape.
        target: the slope asked for.
    """
    mix = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device, dtype=real.dtype)
    between = (mix * real + (1 - mix) * fake).detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - target).square()
