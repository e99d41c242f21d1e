"""Windows varied by chance: moved with their label maps, and shown as another scanner would; 2D and 3D, by torch.

All chance comes from torch's generators, so that a training that goes on from a checkpoint sees the same. Masks stay
masks: what lies outside is exactly -1 afterwards, and nothing inside is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional as F

from anomaly.nets.within import kept, within
from anomaly.segmenters import scanners

STRENGTHS = ("none", "weak", "strong")
TURN, SCALE, SHIFT, BEND = 0.26, 0.2, 0.06, 0.02
"""Spreads: radians, of the logarithm of sizes, and in sides of the window; the last one bends."""
KNOTS = 5
"""Of the grid that bends a window, along each axis."""
THIN = 3
"""Times as many pixels along one of two axes, or times as long: nothing is turned between these, as in thick slices."""
LINEAR = {2: "bilinear", 3: "trilinear"}


@dataclass(frozen=True, kw_only=True)
class Augmenting:
    """Varies windows (N, C, *space) in [-1, 1], each in its own way.

    Args:
        strength: "none", "weak" (turned, scaled, moved) or "strong" (bent as well, and with other intensities).
        flips: whether windows are mirrored by chance, along each axis.
        masked: whether what is exactly -1 lies outside a mask.
        spacing: lengths of a pixel along the axes, in any unit, so that angles are those of the body; none takes
            them all as equal.
    """

    strength: str = "strong"
    flips: bool = False
    masked: bool = False
    spacing: tuple[float, ...] = ()

    @torch.no_grad()
    def __call__(self, x: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Windows and the places of their classes (N, *space), varied alike; intensities of windows alone."""
        x, places = self.placed(x, places)
        return self.shown(x), places

    @torch.no_grad()
    def placed(self, x: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Windows and places of their classes as they lie otherwise, with intensities as they were."""
        if self.flips:
            x, places = mirrored(x, places)
        if self.strength == "none":
            return x, places
        with torch.autocast(x.device.type, enabled=False):
            grid = fetched(x, bend=BEND if self.strength == "strong" else 0.0, spacing=self.spacing)
            marks = F.grid_sample(places[:, None].float(), grid, "nearest", "reflection", align_corners=False)
            return self._laid(x.float(), grid), marks[:, 0].to(places.dtype)

    def moved(self, x: Tensor) -> Tensor:
        """The same of windows without label maps."""
        return self.placed(x, x.new_zeros(len(x), *x.shape[2:], dtype=torch.int64))[0]

    def shown(self, x: Tensor) -> Tensor:
        """Windows in their places with other intensities, where the strength is "strong"."""
        return strongly(x, masked=self.masked) if self.strength == "strong" else x

    def _laid(self, x: Tensor, grid: Tensor) -> Tensor:
        """Images fetched from a grid; at the rim of a mask from what lies inside alone."""
        if not self.masked:
            return F.grid_sample(x, grid, "bilinear", "reflection", align_corners=False)
        inside = within(x).float()
        both = F.grid_sample(torch.cat([x * inside, inside], 1), grid, "bilinear", "reflection", align_corners=False)
        share = both[:, -1:]
        return kept(both[:, :-1] / share.clamp_min(scanners.LEAST), share >= 0.5)


@torch.no_grad()
def strongly(x: Tensor, *, masked: bool = False) -> Tensor:
    """Windows (N, C, *space) with intensities as another scanner might show them, within [-1, 1]."""
    with torch.autocast(x.device.type, enabled=False):
        inside = within(x) if masked else None
        return kept(scanners.other(x.float(), inside).clamp(-1, 1), inside)


def mirrored(x: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Both mirrored by chance, along each axis."""
    for axis in range(1, places.ndim):
        chosen = torch.rand(len(x), device=x.device) < 0.5
        x = torch.where(chosen.view(-1, *[1] * (x.ndim - 1)), x.flip(axis + 1), x)
        places = torch.where(chosen.view(-1, *[1] * (places.ndim - 1)), places.flip(axis), places)
    return x, places


def fetched(x: Tensor, bend: float = 0.0, spacing: Sequence[float] = ()) -> Tensor:
    """Where each pixel of windows (N, C, *space) is fetched from, (N, *space, dims), as `grid_sample` asks.

    Turned in each plane, by angles of the lengths in `spacing`, scaled, moved; and with `bend`, a spread in sides,
    bent by a coarse random field.
    """
    count, dims, space = len(x), x.ndim - 2, x.shape[2:]
    lengths = [float(each) for each in (spacing or (1.0,) * dims)][::-1]  # grids tell the last axis first
    sides = torch.tensor(space[::-1], device=x.device) * torch.tensor(lengths, device=x.device)
    matrix = torch.diag_embed(torch.exp(SCALE * drawn(x, 1)).expand(-1, dims))
    for first, second in combinations(range(dims), 2):
        pair = sorted((space[dims - 1 - first], space[dims - 1 - second]))
        long = sorted((lengths[first], lengths[second]))
        if pair[1] < THIN * pair[0] and long[1] < THIN * long[0]:
            matrix = turned(TURN * drawn(x, 1)[:, 0], first, second, dims) @ matrix
    # Grids run from -1 to 1 along every axis; angles are kept only if that is told in lengths.
    matrix = matrix * sides[None, None, :] / sides[None, :, None]
    grid = F.affine_grid(torch.cat([matrix, 2 * SHIFT * drawn(x, dims)[..., None]], 2), [count, 1, *space], False)
    if bend:
        knots = torch.randn(count, dims, *[KNOTS] * dims, device=x.device)
        field = F.interpolate(knots, size=tuple(space), mode=LINEAR[dims], align_corners=True)
        grid = grid + 2 * bend * field.movedim(1, -1)
    return grid


def drawn(x: Tensor, count: int) -> Tensor:
    """Numbers (N, count) from -1 to 1."""
    return 2 * torch.rand(len(x), count, device=x.device) - 1


def turned(angle: Tensor, first: int, second: int, dims: int) -> Tensor:
    """(N, dims, dims): turned by the angles (N,) in the plane of two axes."""
    matrix = torch.eye(dims, device=angle.device).repeat(len(angle), 1, 1)
    matrix[:, first, first] = matrix[:, second, second] = angle.cos()
    matrix[:, first, second], matrix[:, second, first] = -angle.sin(), angle.sin()
    return matrix


def cut_boxes(x: Tensor) -> Tensor:
    """For CutMix (Yun et al. 2019): boxes that another image fills, (N, *space) bool, none in half of the images.

    As UniMatch draws them: 2 to 40 % of the pixels, the last two sides in a ratio of 0.3 to 1 / 0.3 in units of the
    image's own.
    """
    dims, device = x.ndim - 2, x.device
    due = torch.rand(len(x), device=device) < 0.5
    share = (0.02 + 0.38 * torch.rand(len(x), device=device)) ** (1 / dims)
    ratio = 0.3 + (1 / 0.3 - 0.3) * torch.rand(len(x), device=device)
    boxes = due.view(-1, *[1] * dims)
    for axis, side in enumerate(x.shape[2:]):
        longer = {dims - 2: ratio.sqrt(), dims - 1: ratio.rsqrt()}.get(axis, 1.0)
        length = (share * longer * side).clamp(1, side)
        start = torch.rand(len(x), device=device) * (side - length)
        place = torch.arange(side, device=device) + 0.5
        along = (place >= start[:, None]) & (place < (start + length)[:, None])
        boxes = boxes & along.view(len(x), *[side if axis == each else 1 for each in range(dims)])
    return boxes
