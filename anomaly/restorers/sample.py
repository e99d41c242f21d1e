"""Whole held-out images, degraded and restored, for the figures and the picture that a training leaves."""

import numpy as np
import torch
from torch import Tensor

from anomaly.degradations.base import Degradation
from anomaly.nets.whole import most_pixels, whole
from anomaly.restorers.degrading import chance
from anomaly.restorers.keeping import KeptImages
from anomaly.restorers.scales import Scale
from anomaly.training.batches import evenly
from anomaly.translators.restorer import Restorer, psnr

JUDGED, SHOWN = 64, 8
Pictures = list[tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Poor, restored and good image, (C, *space) each, as they are scaled for a reader."""


def held_out(
    restorer: Restorer, degradation: Degradation | None, kept: KeptImages, part: str
) -> tuple[dict[str, float], Pictures]:
    """PSNR of up to 64 whole images that were not trained on, before and after, in the mean; and some of them."""
    items = kept.part(part)
    chosen = evenly(len(items), JUDGED)
    shown = set(chosen[evenly(len(chosen), SHOWN)].tolist())
    pictures: Pictures = []
    figures: list[tuple[float, float]] = []
    for place in chosen:
        poor, good, known = pair(kept, degradation, *items[place])
        scale = scale_of_row(kept, items[place][0])
        drawn = restored(restorer, poor, known, scale)
        figures.append((psnr(drawn, good), psnr(poor, good)))
        if int(place) in shown:
            pictures.append((poor[0].numpy(), drawn[0].numpy(), good[0].numpy()))
    after, before = np.mean(figures, axis=0)
    return {"psnr": float(after), "psnr_before": float(before)}, pictures


def pair(kept: KeptImages, degradation: Degradation | None, row: int, s: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """Poor and good image (1, C, *space) of a row, and which pixels are known; the same whenever it is asked for."""
    images = torch.from_numpy(np.array(kept.of(row)[:, s]))
    if degradation is None:
        return images[1:], images[:1], None
    left = degradation.degrade(images, chance("whole", row, s))
    return left.image, images, left.known


def scale_of_row(kept: KeptImages, row: int) -> Scale:
    """What a network is to see as -1 and 1 of the images of a row."""
    return Scale(*kept.scales[row])


def restored(restorer: Restorer, poor: Tensor, known: Tensor | None, scale: Scale) -> Tensor:
    """What is drawn of poor images (N, C, *space), in their own units, on the CPU."""
    y = torch.from_numpy(scale.scaled(poor.numpy())).to(restorer.device)
    there = None if known is None else known.expand(len(y), *known.shape[1:]).to(restorer.device)
    drawn = whole(restorer.restored, y, there, most=most_pixels(restorer.width)).cpu().numpy()
    return torch.from_numpy(scale.values(drawn))


def limits_of(kept: KeptImages, degradation: Degradation | None) -> tuple[float, float]:
    """The least and the largest value that poor images have as a network sees them, of some of all images."""
    low, high = -1.0, 1.0
    rows = evenly(len(kept.table), JUDGED)
    for row in map(int, rows):
        s = int(kept.table["slices"].iloc[row]) // 2
        seen = scale_of_row(kept, row).scaled(pair(kept, degradation, row, s)[0].numpy())
        low, high = min(low, float(seen.min())), max(high, float(seen.max()))
    return low, high
