"""Networks that judge images without a code: the critic of VA-GAN, one that learns faster, pix2pix's; 2D or 3D."""

from collections.abc import Sequence

from torch import Tensor, nn

from anomaly.nets.layers import CONVOLUTION
from anomaly.nets.pyramid import DEEPEST, INSTANCE_NORM, ConvolutionThenHalve, initialise
from anomaly.nets.unet import halvings, pad_to

GROUPS = (1, 1, 2, 2, 3)
"""Convolutions at each size, from the full one down."""


class MeanCritic(nn.Module):
    """Image -> one number: the mean over the image of what convolutions say, so that place plays no part.

    w | 2w | 4w, 4w | 8w, 8w | 16w, 16w, 16w, halved at each bar, then 1 x 1 and the mean (Baumgartner et al. 2018). No
    norm, which a penalty that holds for each image forbids; halved by means before the rectifier, where the original
    takes the largest after it, since a convolution takes the mean with it.

    Args:
        shape: (C, *space) of one image.
        width: w, 16 in the original.
    """

    def __init__(self, shape: Sequence[int], *, width: int = 16) -> None:
        super().__init__()
        channels, *space = shape
        convolution = CONVOLUTION[len(space)]
        factors = halvings(tuple(space), len(GROUPS) - 1)
        self.multiples = tuple(1 << sum(f == 2 for f in along) for along in zip(*factors, strict=True))
        layers: list[nn.Module] = []
        for level, group in enumerate(GROUPS):
            for k in range(group):
                out = width << level
                halve = k == group - 1 and level < len(factors)
                layers.append(
                    ConvolutionThenHalve(factors[level], channels, out)
                    if halve
                    else convolution(channels, out, 3, padding=1)
                )
                layers.append(nn.ReLU(inplace=True))
                channels = out
        self.trunk = nn.Sequential(*layers)
        self.head = convolution(width << len(factors), 1, 1)
        initialise(self)

    def features(self, x: Tensor) -> Tensor:
        """(N, 16 w), the mean over the image of the last layer but one."""
        seen: Tensor = self.trunk(pad_to(x, self.multiples))
        return seen.flatten(2).mean(2)

    def forward(self, x: Tensor) -> Tensor:
        """D(x) (N,)."""
        judged: Tensor = self.head(self.trunk(pad_to(x, self.multiples)))
        return judged.flatten(1).mean(1)


class LeanCritic(nn.Module):
    """Image -> one number, the mean of a map of numbers: less is asked of each layer than in `MeanCritic`.

    At each size a convolution and one that halves, then one more and 1 x 1; leaky rectifiers, no norm. The channels
    double at most three times, so that the deep layers, which see few pixels, do not cost what all others do.

    Args:
        shape: (C, *space) of one image.
        width: channels at full size.
    """

    def __init__(self, shape: Sequence[int], *, width: int = 12) -> None:
        super().__init__()
        channels, *space = shape
        convolution = CONVOLUTION[len(space)]
        factors = halvings(tuple(space), len(GROUPS) - 1)
        self.multiples = tuple(1 << sum(f == 2 for f in along) for along in zip(*factors, strict=True))
        layers: list[nn.Module] = []
        for level, each in enumerate(factors):
            out = width * min(1 << level, DEEPEST)
            for layer in (convolution(channels, out, 3, padding=1), ConvolutionThenHalve(each, out, out)):
                layers += [layer, nn.LeakyReLU(0.2)]
            channels = out
        layers += [convolution(channels, width * DEEPEST, 3, padding=1), nn.LeakyReLU(0.2)]
        self.trunk, self.head = nn.Sequential(*layers), convolution(width * DEEPEST, 1, 1)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """D(x) (N,)."""
        judged: Tensor = self.head(self.trunk(pad_to(x, self.multiples)))
        return judged.flatten(1).mean(1)


class PatchCritic(nn.Module):
    """Image -> a map of logits, one for each of its overlapping patches: is this patch real? (Isola et al. 2017).

    Convolutions of width 4: `halved` times with stride 2, then twice with stride 1; instance norm but in the first and
    last, leaky rectifier. Three halvings see patches of 70 pixels, two of 34, one of 16.

    Args:
        channels: of what is judged: of the image, or of the image and what it was drawn from.
        dims: 2 or 3.
        width: channels after the first convolution, doubled at each of the next, at most 8 times as many.
        halved: how often.
    """

    def __init__(self, channels: int, dims: int, *, width: int = 64, halved: int = 3) -> None:
        super().__init__()
        convolution, norm = CONVOLUTION[dims], INSTANCE_NORM[dims]
        self.stages = nn.ModuleList()
        for k in range(halved + 1):
            out, stride = width * min(8, 1 << k), 2 if k < halved else 1
            layers = [convolution(channels, out, 4, stride=stride, padding=1), nn.LeakyReLU(0.2)]
            self.stages.append(nn.Sequential(*(layers if k == 0 else [layers[0], norm(out, affine=True), layers[1]])))
            channels = out
        self.head = convolution(channels, 1, 4, padding=1)
        initialise(self)

    def features(self, x: Tensor) -> list[Tensor]:
        """What each layer but the last sees, (N, width_k, *space_k) each."""
        seen = []
        for stage in self.stages:
            x = stage(x)
            seen.append(x)
        return seen

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, *space) -> (N, 1, *fewer)."""
        logits: Tensor = self.head(self.features(x)[-1])
        return logits
