"""How members of a committee are brought to one scale, by held-out normals alone, and joined."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from anomaly.detectors.moments import Moments

BENT = 6.0  # standard deviations: beyond, one member no longer outvotes all others
PRIOR = 5.0  # normals' worth of what the members' relative spreads have in common
LEAST = 1e-6
LOWEST = -5.0  # standard deviations below the mean of normals, which nothing passes


class Committee(nn.Module):
    """Scales and weights: values of members, and their maps, in standard deviations of held-out normals.

    Args:
        heads: values that are joined.
        maps: members that draw.
        space: of a map.
    """

    centre: Tensor
    spread: Tensor
    weights: Tensor
    map_mean: Tensor
    map_sd: Tensor
    map_weights: Tensor

    def __init__(self, heads: int, maps: int, space: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(heads))
        self.register_buffer("spread", torch.ones(heads))
        self.register_buffer("weights", torch.ones(heads))
        self.register_buffer("map_mean", torch.zeros(maps, 1, *space))
        self.register_buffer("map_sd", torch.ones(maps, 1, *space))
        self.register_buffer("map_weights", torch.ones(maps))

    def learn(self, batches: Iterable[tuple[Tensor, Sequence[Tensor], Tensor | None]]) -> Tensor:
        """Learn the scales from held-out normals; gives their values (n, heads).

        Args:
            batches: of their values (N, heads), a map (N, 1, *space) of each member, and which pixels count, bool.
        """
        values: list[Tensor] = []
        moments = [Moments() for _ in self.map_weights]
        for of_heads, maps, inside in batches:
            values.append(of_heads)
            counted = None if inside is None else inside.cpu().numpy()
            for of_member, map_ in zip(moments, maps, strict=True):
                of_member.add(map_.cpu().numpy(), counted)
        found = torch.cat(values)
        centre, spread = scales(found)
        self.centre.copy_(centre)
        self.spread.copy_(spread)
        for k, of_member in enumerate(moments):
            self.map_mean[k].copy_(torch.from_numpy(of_member.mean()))
            self.map_sd[k].copy_(torch.from_numpy(of_member.sd()))
        return found

    def z(self, values: Tensor) -> Tensor:
        """Values (N, heads) in standard deviations of normals, bent beyond six."""
        return bent((values - self.centre) / self.spread)

    def joined(self, values: Tensor) -> Tensor:
        """Values (N, heads) -> the weighted mean (N,) of their z, bent beyond six."""
        return (self.z(values) * self.weights).sum(1) / self.weights.sum()

    def drawn(self, maps: Sequence[Tensor | None]) -> Tensor:
        """Maps (N, 1, *space) of the members that draw -> their mean in z, from `LOWEST` on; None where unasked.

        It is counted from there: cut at what normals show it would vary less among them, and all else seem more.
        """
        z = [w * (m - mean) / sd for w, m, mean, sd in self._scaled(maps) if m is not None]
        return (torch.stack(z).sum(0) / self.map_weights.sum() - LOWEST).clamp_min(0)

    def _scaled(self, maps: Sequence[Tensor | None]) -> Iterable[tuple[Tensor, Tensor | None, Tensor, Tensor]]:
        return zip(self.map_weights, maps, self.map_mean, self.map_sd, strict=True)


def scales(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (heads,) of values (n, heads) of normals.

    A few normals tell a spread badly: relative to the mean it is mixed with what all heads have on average, which
    counts as five normals.
    """
    count, centre = len(values), values.mean(0)
    level = centre.abs().clamp_min(LEAST)
    freedom = max(count - 1, 0)
    own = values.var(0, correction=0) * (count / max(freedom, 1)) / level.square()
    common = own.median() if freedom else torch.tensor(0.04, device=values.device)  # a fifth of the mean
    relative = (freedom * own + PRIOR * common) / (freedom + PRIOR)
    return centre, (level * relative.sqrt()).clamp_min(LEAST)


def bent(z: Tensor) -> Tensor:
    """The same up to six standard deviations, beyond it growing like a logarithm: order is kept, no one shouts."""
    return torch.where(z.abs() <= BENT, z, z.sign() * (BENT + torch.log1p((z.abs() - BENT).clamp_min(0))))


def alignment(total: Mapping[str, np.ndarray | float], count: int) -> float:
    """Share of the variance of cells' brightness, over normals and cells, that the place explains; 0 to 1.

    Args:
        total: over `count` normals, `sum` (cells,) of each cell and `squares` of all.
    """
    mean = np.asarray(total["sum"]) / count
    everything = float(total["squares"]) / (count * mean.size) - float(mean.mean()) ** 2
    return float(np.clip(mean.var() / everything, 0, 1)) if everything > 0 else 1.0
