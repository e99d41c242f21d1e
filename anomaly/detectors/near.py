"""A density for few normals: the nearest cell that some of them show around the same place."""

from itertools import product
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from anomaly.detectors.densities import LEAST, Density, Passes
from anomaly.training.batches import evenly


class Near(Density):
    """Some normals as a whole: the distance of a cell to the nearest that lies within a ball around the same place.

    Anatomy that is off by less than the ball's radius is found again, and a finding is not, since nowhere near is
    anything like it; so a handful of normals is enough, without registration (after Coupe et al. 2011, NeuroImage 54,
    whose labels are looked up in a neighbourhood). Channels are divided by their standard deviation over normals and
    cells.

    Where images have masks, only cells that count are found, in normals too. Where no normal that is kept shows
    anything within reach, what is normal there is unknown: each goes on as at the nearest place that it shows, however
    far, so that distances are finite, of what is normal nearest by.

    Args:
        channels: K.
        cells: of one image.
        most: normals kept, evenly spread over all.
        reach: radius of the ball, in cells.
    """

    looks: ClassVar[int] = 1
    scale: Tensor
    kept: Tensor  # infinite where a cell does not count, and so never the nearest
    filled: Tensor

    def __init__(self, channels: int, cells: tuple[int, ...], most: int, reach: int) -> None:
        super().__init__()
        self.reach = reach
        self.register_buffer("scale", torch.ones(channels))
        self.register_buffer("kept", torch.zeros(most, channels, *cells, dtype=torch.float16))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))

    def learn(self, passes: Passes, count: int) -> None:
        """One pass: scales, and the normals that are kept."""
        chosen = set(evenly(count, len(self.kept)).tolist())
        total, squares, weight, seen, filled = 0.0, 0.0, 0.0, 0, 0  # type: Tensor | float, Tensor | float, float, int, int
        masked = False
        for features, counted in passes():
            masked = masked or counted is not None
            weights = torch.ones_like(features[:, :1]) if counted is None else counted.to(features)
            axes = [0, *range(2, features.ndim)]
            total = total + (features * weights).sum(axes).double().cpu()
            squares = squares + (features.square() * weights).sum(axes).double().cpu()
            weight += float(weights.sum())
            shown = features if counted is None else torch.where(counted, features, torch.inf)
            for each in shown:
                if seen in chosen:
                    self.kept[filled] = each.half()
                    filled += 1
                seen += 1
        variance = torch.as_tensor(squares / weight - (total / weight) ** 2)
        self.scale.copy_(torch.where(variance > LEAST**2, variance, torch.inf).sqrt())
        self.filled.fill_(filled)
        if masked:
            self._fill_beyond_reach()

    def _fill_beyond_reach(self) -> None:
        """Where no normal shows anything within reach, each goes on as at the nearest place it shows."""
        from scipy.ndimage import distance_transform_edt

        kept = self.kept[: int(self.filled)]
        hidden = (kept == torch.inf).all(1).cpu().numpy()
        beyond = torch.from_numpy(distance_transform_edt(hidden.all(0)) > self.reach).to(kept.device)
        for one, absent in zip(kept, hidden, strict=True):
            if absent.all():
                continue
            places = distance_transform_edt(absent, return_distances=False, return_indices=True)
            one[:, beyond] = one[:, *torch.from_numpy(places).long().to(kept.device)][:, beyond]

    def forward(self, features: Tensor, counted: Tensor | None = None) -> Tensor:
        """The root of the mean squared difference from the nearest, over channels."""
        scaled = self._scaled(features)
        with torch.no_grad():
            nearest = torch.cat([self._nearest(one[None]) for one in scaled.detach()])
        found = ((scaled - nearest).square().mean(1, keepdim=True) + LEAST).sqrt()
        return found if counted is None else torch.where(counted, found, 0)

    def _scaled(self, features: Tensor) -> Tensor:
        return features / self.scale.view(1, -1, *[1] * (features.ndim - 2))

    def _nearest(self, scaled: Tensor) -> Tensor:
        """The features (1, K, *cells) that come nearest, each taken whole from one cell of one normal."""
        space, reach = scaled.shape[2:], self.reach
        best = torch.full_like(scaled[:, :1], torch.inf)
        nearest = torch.zeros_like(scaled)
        for one in self._scaled(self.kept[: int(self.filled)].float()):
            padded = F.pad(one[None], [reach] * 2 * len(space), mode="replicate")
            for shift in ball(reach, len(space)):
                window: tuple[Any, ...] = tuple(slice(s, s + side) for s, side in zip(shift, space, strict=True))
                moved = padded[..., *window]
                apart = (scaled - moved).square().mean(1, keepdim=True)
                closer = apart < best
                nearest = torch.where(closer, moved, nearest)
                best = torch.where(closer, apart, best)
        return nearest


def ball(radius: int, dims: int) -> list[tuple[int, ...]]:
    """The steps within a ball, each counted from its lower corner: (radius, radius) is none."""
    steps = product(range(2 * radius + 1), repeat=dims)
    return [step for step in steps if sum((s - radius) ** 2 for s in step) <= radius**2]
