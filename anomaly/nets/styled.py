"""The layers StyleGAN2 is made of (Karras et al. 2020a), in two or three dimensions, in plain PyTorch.

Three things are written otherwise than in the reference and give the same numbers inside the image. A convolution is
modulated by scaling what goes in and what comes out instead of its kernel, so that all images of a batch share one
convolution. The filter 1 3 3 1 beside a doubling or a halving is its two parts: 1 1, which the convolution takes with
it (`anomaly.nets.pyramid`), and 1 2 1. And the gain of the rectifier goes into what stands before it.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.nets.pyramid import CONVOLVE, CONVOLVE_TRANSPOSED, at_both_places

SLOPE, GAIN = 0.2, math.sqrt(2)
LIMIT = 256.0
"""What activations are held within where they are in half precision."""


def activated(x: Tensor, gain: float = 1.0) -> Tensor:
    """The leaky rectifier of gain x, held within bounds in half precision."""
    x = F.leaky_relu(x * gain if gain != 1.0 else x, SLOPE)
    return x.clamp(-LIMIT, LIMIT) if x.dtype == torch.float16 else x


def blurred(x: Tensor, factors: Sequence[int]) -> Tensor:
    """The filter 1 2 1 along the axes of factor 2; nothing lies beyond the edge."""
    kernel = torch.ones([], device=x.device)
    for factor in factors:
        taps = [0.25, 0.5, 0.25] if factor == 2 else [1.0]
        kernel = kernel[..., None] * torch.tensor(taps, device=x.device)
    padding = [side // 2 for side in kernel.shape]
    kernel = kernel.to(x.dtype).expand(x.shape[1], 1, *kernel.shape)
    return CONVOLVE[len(factors)](x, kernel, padding=padding, groups=x.shape[1])


def doubled(x: Tensor, factors: Sequence[int]) -> Tensor:
    """Twice as large along the axes of factor 2, by the filter 1 3 3 1."""
    return blurred(F.interpolate(x, scale_factor=[float(f) for f in factors]), factors)


def in_full(x: Tensor) -> Tensor:
    """The same in single precision, where it is in half."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def laid_out(x: Tensor) -> Tensor:
    """The same values with channels last in memory, which convolutions take in half the time on a CPU."""
    return x.contiguous(memory_format=torch.channels_last if x.ndim == 4 else torch.channels_last_3d)


class LaidOut(nn.Module):
    """A network whose kernels have their channels last in memory."""

    def lay_out(self) -> None:
        """Do so, once all layers are there; loading weights keeps it."""
        for parameter in self.parameters():
            if parameter.ndim >= 4:
                parameter.data = laid_out(parameter.data)


def normalised(x: Tensor) -> Tensor:
    """Each row (N, K) brought to a mean square of 1."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


class EqualLinear(nn.Module):
    """A linear layer whose weights begin as N(0, 1) and are scaled in use, so that all layers learn at one rate.

    Args:
        rate: learning rate in relation to that of other layers.
        bias: what the bias begins with.
    """

    def __init__(self, channels: int, out: int, *, rate: float = 1.0, bias: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, channels) / rate)
        self.bias = nn.Parameter(torch.full((out,), bias / rate))
        self.scale, self.rate = rate / math.sqrt(channels), rate

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels) -> (N, out), in single precision always: styles and logits bear no less, and cost little."""
        with torch.autocast(x.device.type, enabled=False):
            return F.linear(in_full(x), self.weight * self.scale, self.bias * self.rate)


class EqualConvolution(nn.Module):
    """A convolution with weights of that kind; with factors it halves the image behind it, blurred before.

    Args:
        size: of its kernel, 1 or 3.
        factors: by how much each axis shrinks; only with a kernel of 3.
    """

    def __init__(
        self, dims: int, channels: int, out: int, size: int, *, factors: Sequence[int] = (), bias: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, channels, *[size] * dims))
        self.bias = nn.Parameter(torch.zeros(out)) if bias else None
        self.scale, self.factors = 1 / math.sqrt(channels * size**dims), tuple(factors)

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """(N, channels, *space) -> (N, out, *space / factors), times the gain."""
        kernel, dims = self.weight * (self.scale * gain), self.weight.ndim - 2
        bias = None if self.bias is None else self.bias * gain
        if self.factors:
            kernel = at_both_places(kernel, self.factors) / math.prod(self.factors)
            return CONVOLVE[dims](blurred(x, self.factors), kernel, bias, stride=self.factors, padding=1)
        return CONVOLVE[dims](x, kernel, bias, padding=self.weight.shape[-1] // 2)


class Modulated(nn.Module):
    """A convolution whose kernel each image scales by its own style (Karras et al. 2020a, equations 1 to 3).

    Args:
        latent: length of w.
        size: of the kernel, 1 or 3.
        factors: by how much each axis grows; empty for not at all.
        demodulate: whether each output channel is divided by the norm of its scaled kernel.
    """

    def __init__(
        self,
        dims: int,
        channels: int,
        out: int,
        size: int,
        *,
        latent: int,
        factors: Sequence[int] = (),
        demodulate: bool = True,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, channels, *[size] * dims))
        self.style = EqualLinear(latent, channels, bias=1.0)
        self.factors, self.demodulate = tuple(factors), demodulate
        self.scale = 1 / math.sqrt(channels * size**dims)

    def forward(self, x: Tensor, w: Tensor, gain: float = 1.0) -> tuple[Tensor, Tensor | None]:
        """The convolution of x (N, channels, *space) scaled by the style, and the factor (N, out, 1...) still due."""
        dims, kernel, styles = self.weight.ndim - 2, self.weight * self.scale, self.style(w)
        ones = [1] * dims
        factor = None
        if self.demodulate:
            with torch.autocast(x.device.type, enabled=False):
                power = styles.square() @ kernel.square().flatten(2).sum(2).T
            factor = (gain * torch.rsqrt(power + 1e-8)).view(len(x), -1, *ones).to(x.dtype)
        x = x * styles.view(len(x), -1, *ones).to(x.dtype)
        if not self.factors:
            return CONVOLVE[dims](x, kernel, padding=self.weight.shape[-1] // 2), factor
        turned = at_both_places(kernel.flip(list(range(2, 2 + dims))).transpose(0, 1), self.factors)
        grown = CONVOLVE_TRANSPOSED[dims](x, turned, stride=self.factors, padding=1)
        return blurred(grown, self.factors), factor


class Layer(nn.Module):
    """A modulated convolution, noise of a strength that is learned, bias, leaky rectifier.

    Args:
        space: size of what comes out.
    """

    noise: Tensor

    def __init__(
        self, channels: int, out: int, space: tuple[int, ...], *, latent: int, factors: Sequence[int] = ()
    ) -> None:
        super().__init__()
        dims = len(space)
        self.convolution = Modulated(dims, channels, out, 3, latent=latent, factors=factors)
        self.strength, self.bias = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(out))
        self.register_buffer("noise", torch.randn(1, 1, *space))

    def forward(self, x: Tensor, w: Tensor, random: bool) -> Tensor:
        """(N, channels, *space before), (N, latent) -> (N, out, *space), with noise at random or the layer's own."""
        x, factor = self.convolution(x, w, GAIN)
        assert factor is not None
        noise = torch.randn(len(x), *self.noise.shape[1:], device=x.device) if random else self.noise
        bias = (self.bias * GAIN).to(x.dtype).view(1, -1, *[1] * (x.ndim - 2))
        return activated(torch.addcmul(bias, x, factor) + (noise * (self.strength * GAIN)).to(x.dtype))
