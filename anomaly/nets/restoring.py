"""Networks that undo a degradation, and what they are trained by; 2D or 3D, any sides.

A restorer sees what a degradation left (N, C, *space), and where that tells which pixels are known, that as one more
channel. It says what to add: known pixels are those of the image, to the bit.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from anomaly.nets.losses import dissimilarity, l1
from anomaly.nets.translators import ResidualEncoderDecoder
from anomaly.nets.unet import UNet
from anomaly.nets.within import mean_of_batch

NETWORKS: Mapping[str, Callable[[Sequence[int], int, int, int], nn.Module]] = {
    "unet": lambda shape, out, width, levels: UNet(
        shape, out=out, widths=[width << level for level in range(levels)], norm="group"
    ),
    "redcnn": lambda shape, out, width, levels: ResidualEncoderDecoder(shape, width=width, out=out),
}
"""(shape of what comes in, channels out, width, levels) -> a network that gives exactly 0 until it has learned."""


class Restorer(nn.Module):
    """What is left of images -> the images.

    Args:
        shape: (C, *space) of one image, or of a window of it.
        network: of `NETWORKS`.
        width: channels at full size ("redcnn": everywhere).
        levels: sizes of "unet", the full one and each of the halvings.
        tells: whether it is told which pixels are known.
    """

    def __init__(self, shape: Sequence[int], *, network: str, width: int, levels: int, tells: bool = False) -> None:
        super().__init__()
        channels, *space = shape
        self.tells = tells
        self.net = NETWORKS[network]((channels + tells, *space), channels, width, levels)

    def forward(self, y: Tensor, known: Tensor | None = None) -> Tensor:
        """What is left (N, C, *space) and which pixels are known (N, 1, *space) bool -> (N, C, *space), unbounded."""
        seen = (
            y if not self.tells else torch.cat([y, known.to(y) if known is not None else torch.ones_like(y[:, :1])], 1)
        )
        drawn = y + self.net(seen).to(y.dtype)
        return drawn if known is None else torch.where(known, y, drawn)


def objective(
    drawn: Tensor, x: Tensor, *, ssim: float = 0.0, inside: Tensor | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean of |drawn - x| + `ssim` (1 - SSIM), SSIM under a narrow window (1.5 pixels); with it its terms by name.

    Args:
        drawn: (N, C, *space).
        x: what it should be.
        ssim: weight of the structural dissimilarity.
        inside: where it counts, (N, 1, *space) bool; None for everywhere.
    """
    terms = {"l1": mean_of_batch(l1(drawn, x), inside)}
    if ssim > 0:
        terms["ssim"] = mean_of_batch(dissimilarity(x, drawn, 1.5), inside)
        return terms["l1"] + ssim * terms["ssim"], terms
    return terms["l1"], terms
