"""Networks that undo a degradation, and what they are trained by; 2D or 3D, any sides.

A restorer sees what a degradation left (N, C, *space), and where that tells which pixels are known, that as one more
channel. It says what to add: known pixels are those of the image, to the bit.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from anomaly.nets.diffusion import Denoiser
from anomaly.nets.losses import dissimilarity, l1, l2
from anomaly.nets.noising import Noising, thresholded
from anomaly.nets.translators import ResidualEncoderDecoder
from anomaly.nets.unet import UNet
from anomaly.nets.within import mean_of_batch

NETWORKS: Mapping[str, Callable[[Sequence[int], int, int, int, str], nn.Module]] = {
    "unet": lambda shape, out, width, levels, norm: UNet(
        shape, out=out, widths=[width << level for level in range(levels)], norm=norm
    ),
    "redcnn": lambda shape, out, width, levels, norm: ResidualEncoderDecoder(shape, width=width, out=out),
}
"""(shape of what comes in, channels out, width, levels, norm) -> a network that gives 0 until it has learned."""


class Restorer(nn.Module):
    """What is left of images -> the images.

    Args:
        shape: (C, *space) of one image, or of a window of it.
        network: of `NETWORKS`.
        width: channels at full size ("redcnn": everywhere).
        levels: sizes of "unet", the full one and each of the halvings.
        tells: whether it is told which pixels are known.
        norm: of "unet"; none is worth half a decibel to a restored image, detectors take "group", as published.
    """

    def __init__(
        self, shape: Sequence[int], *, network: str, width: int, levels: int, tells: bool = False, norm: str = "none"
    ) -> None:
        super().__init__()
        channels, *space = shape
        self.tells = tells
        self.net = NETWORKS[network]((channels + tells, *space), channels, width, levels, norm)
        if len(space) == 2:  # a fifth faster on processors, and on accelerators in half precision
            self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, y: Tensor, known: Tensor | None = None) -> Tensor:
        """What is left (N, C, *space) and which pixels are known (N, 1, *space) bool -> (N, C, *space), unbounded."""
        drawn = y + self.net(_told(y, known) if self.tells else y).to(y.dtype)
        return drawn if known is None else torch.where(known, y, drawn)


class DiffusionRestorer(nn.Module):
    """What is left of images -> one of the images that may have been, drawn out of noise (Saharia et al. 2022, SR3).

    What is drawn is the difference from what is left, in units of `scale`, by a denoiser that sees what is left beside
    it. Noise is the same for all images of a size, so that none depends on its batch. While more noise than
    difference is seen, errors of what is predicted are up to a thousandfold, and it is brought within `scale`
    (`thresholded`); later it is not, so that an image that differs more than others did gets all of that.

    Args:
        shape: (C, *space) of one image, or of a window of it.
        width, levels: of the denoiser.
        tells: whether it is told which pixels are known.
        steps: in which the noise is gone (Song et al. 2021, DDIM).
        draws: whose mean is given.
    """

    scale: Tensor

    def __init__(
        self, shape: Sequence[int], *, width: int, levels: int, tells: bool = False, steps: int = 10, draws: int = 1
    ) -> None:
        super().__init__()
        channels, *space = shape
        self.tells, self.steps, self.draws, self.noising = tells, steps, draws, Noising("cosine")
        seen = (2 * channels + tells, *space)
        self.net = Denoiser(seen, out=channels, width=width, levels=levels, blocks=1, attention=0)
        self.register_buffer("scale", torch.ones(()))

    def loss(self, y: Tensor, x: Tensor, known: Tensor | None = None) -> Tensor:
        """Mean squared error of the noise found in the noisy difference (Ho et al. 2020, eq. 14)."""
        beside = _told(y, known) if self.tells else y
        return self.noising.loss(lambda x_t, t: self.net(torch.cat([x_t, beside], 1), t), (x - y) / self.scale)

    def noise(self, y: Tensor) -> Tensor:
        """What images (N, C, *space) are drawn out of: all draws' fields behind one another, (1, draws C, *space)."""
        random = torch.Generator().manual_seed(0)
        return torch.cat([torch.randn((1, *y.shape[1:]), generator=random) for _ in range(self.draws)], 1).to(y)

    def forward(self, y: Tensor, known: Tensor | None = None, noise: Tensor | None = None) -> Tensor:
        """As of `Restorer`; the mean of the draws. For windows `noise` is cut out of that of the whole image."""
        beside = _told(y, known) if self.tells else y

        def predict(x_t: Tensor, t: Tensor) -> Tensor:
            found = self.net(torch.cat([x_t, beside], 1), t).float()
            signal, rest = self.noising.weights(t, x_t)
            held = thresholded((x_t - rest * found) / signal, CLAMPED)
            return torch.where(signal < rest, (x_t - signal * held) / rest, found)

        drawn = torch.zeros_like(y)
        for field in (self.noise(y) if noise is None else noise).chunk(self.draws, 1):
            drawn += self.noising.decode(field.expand_as(y), predict, ratio=1.0, steps=self.steps)
        drawn = y + self.scale * drawn / self.draws
        return drawn if known is None else torch.where(known, y, drawn)


CLAMPED = 0.999
"""Quantile of the differences to which those predicted at first are clamped, see `noising.thresholded`."""
DIFFERENCES = {"l1": l1, "l2": l2}


def _told(y: Tensor, known: Tensor | None) -> Tensor:
    """What is left, and as one more channel which of it is known; all where nobody says it."""
    return torch.cat([y, torch.ones_like(y[:, :1]) if known is None else known.to(y)], 1)


def objective(
    drawn: Tensor, x: Tensor, *, by: str = "l1", ssim: float = 0.0, inside: Tensor | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean of |drawn - x| + `ssim` (1 - SSIM), SSIM under a narrow window (1.5 pixels); with it its terms by name.

    Args:
        drawn: (N, C, *space).
        x: what it should be.
        by: of `DIFFERENCES`, "l2" for (drawn - x)^2 instead.
        ssim: weight of the structural dissimilarity.
        inside: where it counts, (N, 1, *space) bool; None for everywhere.
    """
    terms = {by: mean_of_batch(DIFFERENCES[by](drawn, x), inside)}
    if ssim > 0:
        terms["ssim"] = mean_of_batch(dissimilarity(x, drawn, 1.5), inside)
        return terms[by] + ssim * terms["ssim"], terms
    return terms[by], terms
