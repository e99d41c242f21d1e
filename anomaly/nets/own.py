"""A small network that learns what to see of pictures from normal ones alone, and the game it learns by."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.nets.cells import averaged
from anomaly.nets.texture import overlapping

GROUPS = 8
FEATURES, EXPANDED = 64, 128
AT_ONCE = 2048  # cells of a batch that are compared; a covariance of 128 channels needs no more
ALIKE, SPREAD, APART = 25.0, 25.0, 1.0  # lambda, mu and nu of Bardes et al. 2022


class Encoder(nn.Module):
    """Four convolutions, two of them with stride 2, each with group norm.

    A cell sees 19 pixels, in units of the whole picture. Batch norm, which knows nothing of the rest, told less.

    Args:
        channels: of the pictures.
        width: channels after the first convolution, a multiple of 8; twice and four times as many follow.
        cells: along each axis, at most, before neighbours are joined.
    """

    def __init__(self, channels: int, width: int, cells: int) -> None:
        super().__init__()
        self.cells = cells
        self.layers = nn.Sequential(
            _step(channels, width, 2),
            _step(width, 2 * width, 1),
            _step(2 * width, 2 * width, 2),
            _step(2 * width, 4 * width, 1),
            nn.Conv2d(4 * width, FEATURES, 1),
        )

    def cells_of(self, x: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [-1, 1] -> (N, 64, h, w), h about H / 4 and at most `cells`."""
        return averaged(self.layers(x), self.cells)

    def forward(self, x: Tensor) -> Tensor:
        """The same, averaged over windows of 4 x 4 cells, two apart; small pictures, of few cells, keep them."""
        found = self.cells_of(x)
        return overlapping(found) if min(found.shape[2:]) > self.cells // 2 else found


class Expander(nn.Sequential):
    """Features (N, 64, h, w) -> (N, 128, h, w), where they are compared while the encoder learns; not used after."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(FEATURES, EXPANDED, 1),
            nn.GroupNorm(GROUPS, EXPANDED),
            nn.ReLU(),
            nn.Conv2d(EXPANDED, EXPANDED, 1),
        )


def varied(x: Tensor) -> Tensor:
    """The same pictures (N, C, H, W), taken by another machine: what of them should not matter is drawn anew.

    Contrast times 0.7 to 1.4, brightness by up to 0.2, a smooth field of standard deviation 0.15 that is added, noise
    of up to 0.1, all of a range of 2. Nothing moves, so that a cell remains the same cell.
    """
    one = (len(x), *[1] * (x.ndim - 1))
    contrast = 0.7 + 0.7 * torch.rand(one, device=x.device)
    brightness = 0.4 * torch.rand(one, device=x.device) - 0.2
    coarse = torch.randn(len(x), 1, 4, 4, device=x.device)
    field = F.interpolate(coarse, size=x.shape[2:], mode="bicubic", align_corners=False)
    noise = 0.1 * torch.rand(one, device=x.device) * torch.randn_like(x)
    return contrast * x + brightness + 0.15 * field + noise


def disagreement(a: Tensor, b: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """What keeps two views (n, K) of the same cells from being alike, varied and free of repetition; and its terms.

    Bardes, Ponce and LeCun 2022 (VICReg), eq. 1 to 6, with means over channels where eq. 5 has a sum.

    Args:
        a: one view of each cell.
        b: the other.
    """
    alike = F.mse_loss(a, b)
    spread = _spread(a) + _spread(b)
    apart = _repetition(a) + _repetition(b)
    terms = {"alike": alike.detach(), "spread": spread.detach(), "apart": apart.detach()}
    return ALIKE * alike + SPREAD * spread + APART * apart, terms


def some(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The same cells of two maps (N, K, h, w), at most 2,048 drawn at random, as rows (n, K)."""
    rows = [maps.movedim(1, 3).flatten(0, 2) for maps in (a, b)]
    drawn = torch.randperm(len(rows[0]), device=a.device)[:AT_ONCE]
    return rows[0][drawn], rows[1][drawn]


def _spread(z: Tensor) -> Tensor:
    """How far the channels' standard deviations fall short of 1."""
    return F.relu(1 - (z.var(0, correction=0) + 1e-4).sqrt()).mean()


def _repetition(z: Tensor) -> Tensor:
    """Squared covariances of different channels, summed, over the number of channels."""
    apart = z - z.mean(0)
    covariance = apart.T @ apart / max(len(z) - 1, 1)
    return (covariance - covariance.diag().diag()).square().sum() / z.shape[1]


def _step(inputs: int, outputs: int, stride: int) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, 1, padding_mode="replicate")
    return nn.Sequential(convolution, nn.GroupNorm(GROUPS, outputs), nn.LeakyReLU(0.1))
