"""Networks written as published code writes them: a convolution, then pooling; doubled, then a convolution.

`unfolded` puts such layers, of the same weights, in the place of those that take a halving or a doubling with them
(`anomaly.nets.pyramid`), and `filtered` the reference's filters of StyleGAN2 in the place of ours. So both sides of a
comparison have the same channels, and but for what lies beyond the edge the same numbers.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.nets.layers import CONVOLUTION
from anomaly.nets.pyramid import CONVOLVE, CONVOLVE_TRANSPOSED, MEAN_POOL, ConvolutionThenHalve, Folded
from anomaly.nets.styled import GAIN, EqualConvolution, Modulated, activated, in_full
from anomaly.nets.stylegan import Halving, StyleCritic, Synthesis

TAPS = (0.125, 0.375, 0.375, 0.125)


class ThenPool(nn.Module):
    """A convolution of width 3, then the mean of neighbouring pixels."""

    def __init__(self, folded: Folded) -> None:
        super().__init__()
        self.convolution, self.factors = plain_convolution(folded), folded.factors

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, *space) -> (N, out, *space / factors)."""
        return MEAN_POOL[len(self.factors)](self.convolution(x), self.factors)


class Strided(nn.Module):
    """A convolution of width 3 that goes by steps of 2, as networks for diffusion halve."""

    def __init__(self, folded: Folded) -> None:
        super().__init__()
        self.convolution = plain_convolution(folded, stride=folded.factors)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, *space) -> (N, out, *space / factors)."""
        halved: Tensor = self.convolution(x)
        return halved


class DoubledBefore(nn.Module):
    """Each pixel repeated, then a convolution of width 3."""

    def __init__(self, folded: Folded) -> None:
        super().__init__()
        self.convolution, self.factors = plain_convolution(folded), folded.factors

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, *space) -> (N, out, *factors * space)."""
        doubled: Tensor = self.convolution(F.interpolate(x, scale_factor=[float(each) for each in self.factors]))
        return doubled


def plain_convolution(folded: Folded, stride: tuple[int, ...] = ()) -> nn.Module:
    """The convolution of width 3 alone, with the weights of the layer."""
    out, channels = folded.weight.shape[:2]
    dims = len(folded.factors)
    convolution = CONVOLUTION[dims](
        channels, out, 3, padding=1, stride=stride or (1,) * dims, bias=folded.bias is not None
    )
    with torch.no_grad():
        convolution.weight.copy_(folded.weight)  # type: ignore[operator]
        if folded.bias is not None:
            convolution.bias.copy_(folded.bias)  # type: ignore[operator]
    return convolution


def unfolded(net: nn.Module, halving: type[nn.Module] = ThenPool) -> nn.Module:
    """The same network, changed in place: every layer that halves or doubles in two steps, of the same weights."""
    for name, part in list(net.named_children()):
        if isinstance(part, Folded):
            kind = halving if isinstance(part, ConvolutionThenHalve) else DoubledBefore
            setattr(net, name, kind(part))
        else:
            unfolded(part, halving)
    return net


def smoothed(x: Tensor, padding: int, gain: float = 1.0) -> Tensor:
    """The filter 1 3 3 1 along both axes of images, behind so many zeros at each edge."""
    taps = torch.tensor(TAPS, device=x.device)
    kernel = (gain * taps[:, None] * taps).to(x.dtype).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(x, kernel, padding=padding, groups=x.shape[1])


def doubled_by_filter(x: Tensor) -> Tensor:
    """Images with zeros between their pixels, through the filter."""
    n, c, height, width = x.shape
    spread = F.pad(x.reshape(n, c, height, 1, width, 1), [0, 1, 0, 0, 0, 1]).reshape(n, c, 2 * height, 2 * width)
    return smoothed(F.pad(spread, [2, 1, 2, 1]), 0, gain=4.0)


class FilteredConvolution(EqualConvolution):
    """A convolution that halves: the filter, then width 3 by steps of 2."""

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """(N, channels, *space) -> (N, out, *space / factors), times the gain."""
        kernel, bias = self.weight * (self.scale * gain), None if self.bias is None else self.bias * gain
        if self.factors:
            return F.conv2d(smoothed(x, 2), kernel, bias, stride=2)
        return CONVOLVE[2](x, kernel, bias, padding=self.weight.shape[-1] // 2)


class FilteredModulated(Modulated):
    """A modulated convolution that doubles: transposed of width 3, then the filter."""

    def forward(self, x: Tensor, w: Tensor, gain: float = 1.0) -> tuple[Tensor, Tensor | None]:
        """As of `Modulated`."""
        if not self.factors:
            return super().forward(x, w, gain)
        kernel, styles = self.weight * self.scale, self.style(w)
        power = styles.square() @ kernel.square().flatten(2).sum(2).T
        factor = (gain * torch.rsqrt(power + 1e-8)).view(len(x), -1, 1, 1)
        turned = kernel.flip(2, 3).transpose(0, 1)
        grown = CONVOLVE_TRANSPOSED[2](x * styles.view(len(x), -1, 1, 1), turned, stride=2)
        return smoothed(grown, 1, gain=4.0), factor


class FilteredHalving(Halving):
    """The block of the critic, whose shortcut is filtered at the full size."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, *space) -> (N, out, *space / factors)."""
        aside = self.shortcut(smoothed(F.pad(x, [1, 1, 1, 1]), 0)[:, :, ::2, ::2], gain=1 / GAIN)
        return activated(self.second(activated(self.first(x, GAIN)))) + aside


class FilteredSynthesis(Synthesis):
    """The synthesis, whose images are doubled by the filter, pixels last in memory."""

    def forward(
        self, w: Tensor, *, random: bool = False, level: int | None = None, fade: float | Tensor = 1.0
    ) -> Tensor:
        """Images (N, C, *padded); always at the full size."""
        w = w if w.ndim == 3 else w[:, None].expand(-1, self.styles, -1)
        x, image = self.constant.expand(len(w), *self.constant.shape).contiguous(), None
        for k in range(len(self.sizes)):
            if k:
                x = self.grow[k - 1](x, w[:, 2 * k - 1], random)
            x = self.keep[k](x, w[:, 2 * k], random)
            added = in_full(self.draw[k](x, w[:, 2 * k + 1])[0]) + self.bias[k].view(1, -1, 1, 1)
            image = added if image is None else doubled_by_filter(image) + added
        assert image is not None
        return image


class FilteredCritic(StyleCritic):
    """The critic, pixels last in memory."""

    def features(self, x: Tensor, level: int | None = None, fade: float | Tensor = 1.0) -> Tensor:
        """(N, F); always of the full size."""
        seen = activated(self.read[str(len(self.factors))](x, GAIN))
        for block in reversed(self.halve):
            seen = block(seen)
        return seen


FILTERED: dict[type[nn.Module], type[nn.Module]] = {
    EqualConvolution: FilteredConvolution, Modulated: FilteredModulated, Halving: FilteredHalving,
    Synthesis: FilteredSynthesis, StyleCritic: FilteredCritic,
}  # fmt: skip


def filtered(net: nn.Module) -> nn.Module:
    """Networks of StyleGAN2 for square 2D images, changed in place: the reference's filters, pixels last in memory."""
    for part in net.modules():
        part.__class__ = FILTERED.get(type(part), type(part))
    for parameter in net.parameters():
        parameter.data = parameter.data.contiguous()
    return net
