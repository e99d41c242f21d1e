"""What segmenters find in one image, on its own grid: the class of each pixel, shares of classes, how sure they are."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch

from anomaly.errors import AnomalyError
from anomaly.images import Image
from anomaly.images.labels import Labels, restored_shares
from anomaly.images.prepared import Prepared
from anomaly.runs.settings import nearest
from anomaly.segmentation.cleaning import cleaned
from anomaly.segmentation.marking import uncertainty_of
from anomaly.segmenters import uncertainty as unsure
from anomaly.segmenters.base import Segmenter


@dataclass(frozen=True)
class Asked:
    """What is to be done with images, checked.

    Args:
        labels: names and numbers of the classes.
        probabilities, uncertainty: whether these are written.
        draws: with channels dropped by chance.
        largest: places of the classes of which the largest piece alone is kept.
        smallest: of a piece, in the unit of the volumes.
    """

    labels: Labels
    probabilities: bool
    uncertainty: bool
    draws: int
    largest: tuple[int, ...]
    smallest: float

    @classmethod
    def of(
        cls, labels: Labels, *, probabilities: bool, uncertainty: bool, draws: int, largest: Sequence[str],
        smallest: float,
    ) -> Self:  # fmt: skip
        """The same by names.

        Raises:
            AnomalyError: no such class, or a number below 0.
        """
        for name in largest:
            if name not in labels.names:
                raise AnomalyError(
                    f"there is no class {name!r}; {nearest(name, labels.names)}the classes are "
                    f"{', '.join(labels.names)}"
                )
        if smallest < 0 or draws < 0:
            raise AnomalyError(f"smallest and dropout_draws must be 0 or more, got {smallest} and {draws}")
        places = tuple(sorted({labels.names.index(name) + 1 for name in largest}))
        return cls(labels, probabilities, uncertainty, draws, places, smallest)

    def as_json(self) -> dict[str, Any]:
        """As plain values, but for the classes."""
        return {
            "probabilities": self.probabilities, "uncertainty_maps": self.uncertainty, "dropout_draws": self.draws,
            "largest": [self.labels.names[place - 1] for place in self.largest], "smallest": self.smallest,
        }  # fmt: skip


@dataclass(frozen=True)
class Found:
    """What was found in an image, on its grid.

    Args:
        places: of classes, uint8 (*space), after what is not wanted was taken away.
        shares: of classes (K, *space), before that; None where nobody asks for them.
        uncertainty: of these, (*space); None where nobody asks for it.
        disagreement: of several segmenters or draws, the part of the uncertainty that comes from their saying other
            things, (*space); None of one, or where nobody asks for it.
        mean_uncertainty: over what counts of the image.
        uncertainty_marked: the mean over what is marked; None where nothing is.
    """

    places: np.ndarray
    shares: np.ndarray | None
    uncertainty: np.ndarray | None
    disagreement: np.ndarray | None
    mean_uncertainty: float
    uncertainty_marked: float | None


def found_in(
    segmenters: Sequence[Segmenter], image: Image, prepared: Prepared, asked: Asked, *, told: str = ""
) -> Found:
    """Segment one image.

    Args:
        segmenters: of the same classes; their shares are averaged.
        image: as read.
        prepared: as they take it.
        asked: what is to be done.
        told: what the chance of draws follows from.
    """
    seed = int.from_bytes(hashlib.sha256(told.encode()).digest()[:6], "little")
    found = unsure.asked(segmenters, torch.from_numpy(prepared.pixels), draws=asked.draws, seed=seed).normalised()
    shares = restored_shares(found.shares.numpy(), prepared)
    several = asked.uncertainty and len(segmenters) * max(1, asked.draws) > 1
    uncertainty, places = uncertainty_of(shares), shares.argmax(0).astype(np.uint8)
    if asked.largest or asked.smallest:
        places = cleaned(places, largest=asked.largest, smallest=asked.smallest, voxel=image.voxel)
    counted = uncertainty if image.mask is None else uncertainty[image.mask]
    marked = uncertainty[places > 0]
    return Found(
        places, shares if asked.probabilities else None, uncertainty if asked.uncertainty else None,
        prepared.restore(found.information.numpy()) if several else None,
        float(counted.mean()), float(marked.mean()) if marked.size else None,
    )  # fmt: skip
