"""Cuts an image into segments of pixels that lie close together and look alike."""

from itertools import product

import torch
from torch import Tensor


def superpixels(
    image: Tensor, size: float, *, compactness: float, inside: Tensor | None = None, rounds: int = 6
) -> Tensor:
    """The segment of each pixel of one image, 2D or 3D.

    k-means in intensity and place, begun from a regular grid (SLIC: Achanta et al. 2012, eq. 1 to 3), where a pixel may
    join the segments of its own cell of the grid and of the cells around it. The squared distance is that of the
    intensities, over channels, plus `compactness` squared times that of the places in cells. So a constant image is cut
    into the cells themselves. A segment need not be connected. Nothing is drawn at random.

    Args:
        image: (C, *space); its intensities are taken as they are.
        size: side of a cell, as a share of each side of the image; a cell is at least a pixel wide.
        compactness: the difference in intensity that weighs as much as one cell of distance.
        inside: (*space) bool, what is cut; None for all.
        rounds: how often segments and their centres take turns.

    Returns:
        int64 (*space) on the CPU, 0, 1, ... with none left out; -1 outside.
    """
    space = image.shape[1:]
    cells = [max(1, min(side, round(1 / size))) for side in space]
    place = torch.stack(
        torch.meshgrid(*(_in_cells(side, n) for side, n in zip(space, cells, strict=True)), indexing="ij")
    )
    told = torch.cat([image.detach().cpu().double() / compactness, place]).flatten(1)
    counted = torch.ones(space, dtype=torch.bool) if inside is None else inside.cpu()
    told, home = told[:, counted.flatten()], place.flatten(1)[:, counted.flatten()].floor().long()
    own = _number(home, cells)
    centres = _means(told, own, torch.zeros(len(told), torch.Size(cells).numel(), dtype=torch.float64))
    for _ in range(rounds):
        own = _nearest(told, home, centres, own, cells)
        centres = _means(told, own, centres)
    labels = torch.full(counted.shape, -1)
    labels[counted] = own.unique(return_inverse=True)[1]
    return labels


def _in_cells(side: int, cells: int) -> Tensor:
    """Where the centres of pixels lie along an axis, in cells."""
    return (torch.arange(side, dtype=torch.float64) + 0.5) * cells / side


def _number(place: Tensor, cells: list[int]) -> Tensor:
    """The numbers (n,) of cells at places (dims, n)."""
    number = torch.zeros_like(place[0])
    for along, n in zip(place, cells, strict=True):
        number = number * n + along
    return number


def _means(told: Tensor, own: Tensor, before: Tensor) -> Tensor:
    """The mean (K, segments) of what is told of each segment's pixels; as before where it has lost all."""
    count = torch.bincount(own, minlength=before.shape[1])
    total = torch.stack([torch.bincount(own, weights=row, minlength=before.shape[1]) for row in told])
    return torch.where(count > 0, total / count.clamp_min(1), before)


def _nearest(told: Tensor, home: Tensor, centres: Tensor, own: Tensor, cells: list[int]) -> Tensor:
    """For each pixel the nearest of the segments that began in its cell or beside it; of equals its own."""
    best, least = own, (told - centres[:, own]).square().sum(0)
    bounds = torch.tensor(cells).view(-1, 1)
    for step in product((-1, 0, 1), repeat=len(cells)):
        place = home + torch.tensor(step).view(-1, 1)
        there = ((place >= 0) & (place < bounds)).all(0)
        number = _number(place.clamp_min(0).minimum(bounds - 1), cells)
        away = (told - centres[:, number]).square().sum(0)
        nearer = there & (away < least)
        best, least = torch.where(nearer, number, best), torch.where(nearer, away, least)
    return best
