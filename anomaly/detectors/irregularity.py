"""Irregularity: how far each patch lies from others of the same image. It needs neither training nor healthy people."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from anomaly.detectors.base import Detector, Score
from anomaly.detectors.baselines import Buffers
from anomaly.detectors.local import POOLS, pooled
from anomaly.errors import AnomalyError
from anomaly.nets.irregularity import PENALTIES, irregularity, stretched

PERCENTILES = (0.5, 99.5)


@dataclass(kw_only=True)
class Irregularity(Detector):
    """Distance of the patches of an image from other patches of the same image, LOTS-IM. Learns nothing.

    Normals serve to calibrate alone.

    Args:
        sources: patches of the same image that each is compared with, at most.
        largest: share of the distances, the largest, whose mean is taken.
        penalty: "bright" multiplies the map by the image, for findings that are bright; "dark" by its negative; "none"
            leaves what is irregular either way.
        smooth: of the map at last, standard deviation in pixels; 0 as published.
        pool: what ranks images: "top", the mean of the highest twentieth of the map, its "max" or its "mean".
        stretch: each map from 0 to 1 by itself, as published; then maps of two images are on two scales, and values
            say little.
    """

    name: ClassVar[str] = "irregularity"
    summary: ClassVar[str] = "patches unlike the rest of the same image (LOTS-IM); learns from nobody"
    cite: ClassVar[str] = "Rachmadi et al. 2020, Comput Med Imaging Graph"
    positive: ClassVar[tuple[str, ...]] = ("sources", "largest")
    not_negative: ClassVar[tuple[str, ...]] = ("smooth",)
    at_most_one: ClassVar[tuple[str, ...]] = ("largest",)
    choices: ClassVar[Mapping[str, Iterable[str]]] = {"penalty": PENALTIES, "pool": POOLS}
    sources: int = 128
    largest: float = 0.125
    penalty: str = "bright"
    smooth: float = 1.0
    pool: str = "top"
    stretch: bool = False

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """An empty module but for the place it is on."""
        return Buffers(nothing=torch.zeros(1))

    def error(self, x: Tensor) -> Tensor:
        """Irregularity, between 0 and 1; what lies beyond the range of the normals counts as its end."""
        inside = self.within(x)
        if not (torch.is_grad_enabled() and x.requires_grad):
            maps = self._of(x, inside)
        else:  # the distances of all patches are too many to be kept for the way back
            alone = [None] * len(x) if inside is None else inside.split(1)
            each = zip(x.split(1), alone, strict=True)
            maps = torch.cat([checkpoint(self._of, one, counts, use_reentrant=False) for one, counts in each])
        return stretched(maps, inside) if self.stretch else maps

    def judge(self, x: Tensor) -> Score:
        """Map, value, and what the other pools would have said."""
        error = self.error(x)
        values = pooled(error, self.within(x))
        return Score(error, values[self.pool], values)

    def _of(self, x: Tensor, inside: Tensor | None) -> Tensor:
        asked: dict[str, Any] = {"largest": self.largest, "penalty": self.penalty, "smooth": self.smooth}
        return irregularity(((x + 1) / 2).clamp(0, 1), inside, sources=self.sources, **asked)


def irregularity_map(
    image: np.ndarray,
    inside: np.ndarray | None = None,
    *,
    sources: int = 128,
    largest: float = 0.125,
    penalty: str = "bright",
    smooth: float = 1.0,
    stretch: bool = True,
    limits: tuple[float, float] | None = None,
) -> np.ndarray:
    """The irregularity of each pixel of one image in its own intensities, from no other image than this.

    Its values are brought to [0, 1] by their percentiles 0.5 and 99.5 within the mask, or by `limits`.

    Args:
        image: (*space), 2D or 3D.
        inside: what counts, such as the brain, bool (*space); None for all. Without a mask the background is what
            most is compared with.
        sources, largest, penalty, smooth: see `Irregularity`.
        stretch: from 0 to 1, as published; else as the distances are.
        limits: intensities that count as 0 and 1, such as those of another visit; what lies beyond is cut.

    Returns:
        (*space) float32 in [0, 1], 0 outside the mask.

    Raises:
        AnomalyError: no picture or volume, values that are no numbers, or a mask of another shape.
    """
    asked: dict[str, Any] = {"sources": sources, "largest": largest, "penalty": penalty, "smooth": smooth}
    Irregularity(**asked)  # refuses what may not be
    image = np.asarray(image, dtype=np.float32)
    counts = np.ones(image.shape, bool) if inside is None else np.asarray(inside).astype(bool)
    if image.ndim not in (2, 3) or counts.shape != image.shape:
        raise AnomalyError(
            f"got an image of shape {image.shape} and a mask of shape {counts.shape}; expected a picture or a volume, "
            "and a mask on its grid"
        )
    if not np.isfinite(image[counts]).all():
        raise AnomalyError("the image holds values that are NaN or infinite within its mask; replace them")
    if not counts.any():
        return np.zeros_like(image)
    low, high = np.percentile(image[counts], PERCENTILES) if limits is None else limits
    if not (np.isfinite(low) and np.isfinite(high) and low <= high):
        raise AnomalyError(f"limits are {limits}; expected the intensities that count as 0 and 1, the lower first")
    scaled = np.where(counts, (image - low) / max(high - low, np.finfo(np.float32).tiny), 0).clip(0, 1)
    x, within = (torch.as_tensor(each)[None, None] for each in (scaled.astype(np.float32), counts))
    with torch.no_grad():
        maps = irregularity(x, within, **asked)
        maps = stretched(maps, within) if stretch else maps
    return maps[0, 0].numpy()
