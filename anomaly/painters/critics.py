"""What judges drawn images beside their label maps: patch critics at several scales, and the games they play."""

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.errors import AnomalyError
from anomaly.nets.critics import PatchCritic

Seen = tuple[Tensor, list[Tensor]]
"""The logits of one scale, and what its layers see."""


class CriticsAtScales(nn.Module):
    """A critic each for the image, its half, its quarter, ...: fine patches and coarse ones (Wang et al. 2018).

    Args:
        channels: of what is judged.
        space: sides of the images; scales that are too small for a critic are left out.
        width: channels after the first convolution of each.
        halved: how often each halves what it sees.
        scales: how many, at most.

    Raises:
        AnomalyError: the images are too small for any.
    """

    def __init__(self, channels: int, space: Sequence[int], *, width: int, halved: int, scales: int) -> None:
        super().__init__()
        least, side = 3 << halved, min(space)
        if side < least:
            raise AnomalyError(
                f"images of {' x '.join(map(str, space))} pixels are too small for a critic with halved={halved}, "
                f"which wants {least} a side; give a smaller --set halved, or a larger --size"
            )
        fitting = [k for k in range(scales) if side >> k >= least]
        self.scales = nn.ModuleList(PatchCritic(channels, len(space), width=width, halved=halved) for _ in fitting)

    def forward(self, x: Tensor) -> list[Seen]:
        """Images (N, channels, *space) -> what each scale says and sees."""
        found = []
        for k, scale in enumerate(self.scales):
            critic = cast(PatchCritic, scale)
            if k:
                x = F.avg_pool2d(x, 2) if x.ndim == 4 else F.avg_pool3d(x, 2)
            seen = critic.features(x)
            found.append((critic.head(seen[-1]).float(), seen))
        return found


def hinge(real: Tensor, drawn: Tensor) -> Tensor:
    """max(0, 1 - D(real)) + max(0, 1 + D(drawn)), means over patches (Lim and Ye 2017; Miyato et al. 2018, eq. 16)."""
    return F.relu(1 - real).mean() + F.relu(1 + drawn).mean()


def entropy(real: Tensor, drawn: Tensor) -> Tensor:
    """-log D(real) - log(1 - D(drawn)), D the logistic of the logits (Goodfellow et al. 2014, eq. 1)."""
    return F.softplus(-real).mean() + F.softplus(drawn).mean()


def of_hinge(drawn: Tensor) -> Tensor:
    """-D(drawn): what the one that draws pays against `hinge` (Miyato et al. 2018, eq. 17)."""
    return -drawn.mean()


def of_entropy(drawn: Tensor) -> Tensor:
    """-log D(drawn), which does not saturate (Goodfellow et al. 2014, section 3)."""
    return F.softplus(-drawn).mean()


GAMES: Mapping[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "hinge": (hinge, of_hinge),
    "entropy": (entropy, of_entropy),
}
"""What the critics pay and what the one that draws pays, by the name of the game."""


def judged(game: str, real: Sequence[Seen], drawn: Sequence[Seen]) -> Tensor:
    """What the critics pay, the mean over scales."""
    pays = GAMES[game][0]
    return torch.stack([pays(a[0], b[0]) for a, b in zip(real, drawn, strict=True)]).mean()


def fooled(game: str, drawn: Sequence[Seen]) -> Tensor:
    """What the one that draws pays to the critics, the mean over scales."""
    pays = GAMES[game][1]
    return torch.stack([pays(each[0]) for each in drawn]).mean()


def features_apart(real: Sequence[Seen], drawn: Sequence[Seen]) -> Tensor:
    """Mean |difference| of what the critics' layers see of both, over layers and scales (Wang et al. 2018, eq. 4)."""
    pairs = [pair for a, b in zip(real, drawn, strict=True) for pair in zip(a[1], b[1], strict=True)]
    return torch.stack([(one.detach().float() - other.float()).abs().mean() for one, other in pairs]).mean()
