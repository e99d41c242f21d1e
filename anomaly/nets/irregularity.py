"""How irregular each pixel of an image is among others of the same image: LOTS-IM, learned from nobody.

Rachmadi et al. 2020, Computerized Medical Imaging and Graphics 79:101685 (one-time sampling): patches of four sizes are
each compared with some hundreds of patches from elsewhere in the image, and what is far from the most unlike of them is
irregular.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import prod

import torch
from torch import Tensor
from torch.nn import functional as F

from anomaly.nets.losses import gaussian_blur

SIDES = (1, 2, 4, 8)
"""Pixels a side of the patches."""
BLEND = (0.65, 0.2, 0.1, 0.05)
"""What the map of each side counts."""
PENALTIES = ("bright", "dark", "none")
AT_ONCE = 2**24  # differences held at once
KEPT = 2**22  # places of a grid up to which their order is kept from image to image: 16 MiB; larger are drawn anew
LEAST = 1e-6


def irregularity(
    image: Tensor,
    inside: Tensor | None = None,
    *,
    sources: int = 128,
    largest: float = 0.125,
    penalty: str = "bright",
    smooth: float = 0.0,
) -> Tensor:
    """The irregularity of each pixel, between 0 and 1.

    Each patch on a grid is compared with patches of its size that lie within the mask whole. The distance of two is
    half the largest difference plus half the size of the mean difference; the irregularity of a patch is the mean of
    its largest distances. The maps of the four sizes, smoothed by half a side, are blended. Where a mask holds no whole
    patch of a size, the other sizes make the map. Of a patch that lies within the mask in part, that part counts.

    The places of the sources are drawn once for all images of one size, so a map depends on its image alone, and the
    visits of one person are compared with the same places.

    Args:
        image: (N, C, *space) in [0, 1], two or three axes of space.
        inside: what counts, (N, 1, *space) bool; None for all.
        sources: patches that each is compared with, at most.
        largest: share of the distances whose mean is taken.
        penalty: "bright" multiplies the map by the image, so that what is irregular and dark (fluid in FLAIR) fades;
            "dark" by 1 - image; "none" leaves it.
        smooth: of the map at last, over the mask alone, standard deviation in pixels.

    Returns:
        (N, 1, *space); 0 outside the mask, and all over an image that is the same everywhere.
    """
    if inside is None:
        inside = torch.ones_like(image[:, :1], dtype=torch.bool)
    maps = torch.stack([_blended(x, counts, sources, largest) for x, counts in zip(image, inside, strict=True)])
    grey = image.mean(1, keepdim=True)
    if penalty != "none":
        maps = maps * (grey if penalty == "bright" else 1 - grey)
    return smoothed(maps, inside, smooth)


def smoothed(maps: Tensor, inside: Tensor, sigma: float) -> Tensor:
    """Means of maps (N, 1, *space) under a Gaussian over the mask alone, so that its rim is not pulled to 0."""
    if sigma == 0:
        return maps * inside
    counts = inside.to(maps)
    return gaussian_blur(maps * counts, sigma) / gaussian_blur(counts, sigma).clamp_min(LEAST) * counts


def stretched(maps: Tensor, inside: Tensor | None = None) -> Tensor:
    """Each map (N, 1, *space) from 0, its least value within the mask, to 1, its largest; a flat one is 0."""
    if inside is None:
        inside = torch.ones_like(maps, dtype=torch.bool)
    low = torch.where(inside, maps, torch.inf).flatten(1).amin(1).view(-1, *[1] * (maps.ndim - 1))
    high = torch.where(inside, maps, -torch.inf).flatten(1).amax(1).view_as(low)
    return torch.where(inside & (high - low > LEAST), (maps - low) / (high - low).clamp_min(LEAST), 0)


def _blended(image: Tensor, inside: Tensor, sources: int, largest: float) -> Tensor:
    """The map (1, *space) of one image (C, *space), before the penalty."""
    total, weights = torch.zeros_like(image[:1]), 0.0
    for side, weight in zip(SIDES, BLEND, strict=True):
        sides = tuple(min(side, length) for length in image.shape[1:])
        places = _places(inside[0], sides, sources)
        if not len(places):
            continue
        cells = _cells(image, inside, sides, places, largest)
        for axis, times in enumerate(sides, start=1):
            cells = cells.repeat_interleave(times, axis).narrow(axis, 0, image.shape[axis])
        if side > 1:
            cells = smoothed(cells[None], inside[None], side / 2)[0]
        total, weights = total + weight * cells, weights + weight
    return total / max(weights, LEAST)


def _cells(image: Tensor, inside: Tensor, sides: tuple[int, ...], places: Tensor, largest: float) -> Tensor:
    """The irregularity of each patch of the grid, (1, *grid); 0 for those that hold no pixel of the mask."""
    targets, counts = _targets(image, sides), _targets(inside, sides).repeat(1, len(image))
    others = _taken(image, sides, places)
    count = max(1, round(largest * len(others)))
    found, held = torch.zeros(len(targets)).to(image), counts.sum(1)
    whole, part = held == counts.shape[1], (held > 0) & (held < counts.shape[1])
    if others.shape[1] == 1:
        found[whole] = _of_points(targets[whole, 0], others[:, 0], count)
    else:
        found[whole] = _of_whole(targets[whole], others, count)
    found[part] = _of_parts(targets[part], counts[part], others, count)
    return found.view(1, *(-(-length // side) for length, side in zip(image.shape[1:], sides, strict=True)))


def _of_points(targets: Tensor, others: Tensor, count: int) -> Tensor:
    """Mean distance (T,) of numbers from the farthest `count` of others (S,).

    These are the j lowest and the count - j highest, and of all j the right one gives the largest sum: so it is the
    largest of count + 1 lines, however many others there are.
    """
    rising = others.sort()[0]
    zero = rising.new_zeros(1)
    low = torch.cat([zero, rising[:count].cumsum(0)])  # of the j lowest
    high = torch.cat([zero, rising.flip(0)[:count].cumsum(0)])
    number = torch.arange(count + 1, device=others.device)
    slopes, heights = (2 * number - count).to(targets), high.flip(0) - low
    rows = max(1, AT_ONCE // (count + 1))
    found = [(part[:, None] * slopes + heights).amax(1) for part in targets.split(rows)]
    return (torch.cat(found) / count).clamp_min(0)


def _of_whole(targets: Tensor, others: Tensor, count: int) -> Tensor:
    """Mean of the largest distances (T,) of patches (T, K) from others (S, K)."""
    means = others.mean(1)
    found = [
        _mean_of_largest(torch.cdist(part, others, p=torch.inf), part.mean(1, keepdim=True) - means, count)
        for part in targets.split(max(1, AT_ONCE // len(others)))
    ]
    return torch.cat(found)


def _of_parts(targets: Tensor, counts: Tensor, others: Tensor, count: int) -> Tensor:
    """The same of patches of which those pixels count that are True in `counts` (T, K)."""
    rows = max(1, AT_ONCE // others.numel())
    found = [targets.new_zeros(0)]
    for part, held in zip(targets.split(rows), counts.split(rows), strict=True):
        apart = (part[:, None] - others) * held[:, None]
        found.append(_mean_of_largest(apart.abs().amax(2), apart.sum(2) / held.sum(1, keepdim=True), count))
    return torch.cat(found)


def _mean_of_largest(peak: Tensor, mean: Tensor, count: int) -> Tensor:
    """0.5 max |d| + 0.5 |mean d| of each target and source (T, S), and the mean of each target's largest."""
    distances = (peak + mean.abs()) / 2
    return distances.topk(count, dim=1, sorted=False)[0].mean(1)


def _targets(image: Tensor, sides: Sequence[int]) -> Tensor:
    """The patches of a grid, (T, C * pixels), of an image (C, *space); those at the end go on as False or 0."""
    short = [-length % side for length, side in zip(image.shape[1:], sides, strict=True)]
    padded = F.pad(image, [width for one in reversed(short) for width in (0, one)])
    cut = [each for length, side in zip(padded.shape[1:], sides, strict=True) for each in (length // side, side)]
    dims = len(sides)
    order = [*range(1, 2 * dims, 2), 0, *range(2, 2 * dims + 1, 2)]
    return padded.reshape(len(image), *cut).permute(order).reshape(-1, len(image) * prod(sides))


def _taken(image: Tensor, sides: Sequence[int], places: Tensor) -> Tensor:
    """The patches that begin at places (S, dims) of an image (C, *space): (S, C * pixels)."""
    steps = torch.cartesian_prod(*(torch.arange(side, device=image.device) for side in sides)).view(-1, len(sides))
    at = places[:, None] + steps
    return image.flatten(1)[:, _flat(at, image.shape[1:])].movedim(1, 0).flatten(1)


def _flat(at: Tensor, space: Sequence[int]) -> Tensor:
    """Places (..., dims) of a grid as numbers of its cells in their order."""
    found = torch.zeros_like(at[..., 0])
    for axis, side in enumerate(space):
        found = found * side + at[..., axis]
    return found


def _places(inside: Tensor, sides: tuple[int, ...], sources: int) -> Tensor:
    """Where up to so many patches begin that lie whole within a mask (*space), (S, dims)."""
    pool = F.max_pool2d if inside.ndim == 2 else F.max_pool3d
    outside = pool((~inside).float()[None, None], sides, stride=1)[0, 0]
    space = tuple(outside.shape)
    order = (_kept_order if prod(space) <= KEPT else _order)(space).to(inside.device)
    free = (outside == 0).flatten().index_select(0, order)
    return torch.stack(torch.unravel_index(order[free][:sources].long(), space), 1)


def _order(space: tuple[int, ...]) -> Tensor:
    """All places of a grid, as int32, in an order that is the same at each call."""
    return torch.randperm(prod(space), generator=torch.Generator().manual_seed(0)).int()


_kept_order = lru_cache(maxsize=4)(_order)  # one for each of `SIDES`
