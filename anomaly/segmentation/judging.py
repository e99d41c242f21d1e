"""One image: what was found of each class against what was drawn; overlap, surfaces, volumes, lesions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anomaly.images import Image
from anomaly.images.labels import Labels
from anomaly.segmentation.cards import dice_of
from anomaly.segmentation.floors import Floors
from anomaly.statistics import regions
from anomaly.statistics.surfaces import apart

OUTSIDE = "volume_outside"
BOTH, MISSED, ONLY_FOUND, NEITHER = "both", "missed", "only found", "neither"
"""Whether a class is in both label maps, in that drawn alone, in that found alone, or in none."""
DISTANCES = ("distance95", "distance")
LESIONS = ("lesions", "lesions_found", "lesions_found_well", "false_lesions", "lesions_merged", "marked")


@dataclass(frozen=True)
class Judge:
    """What is said of each image.

    Args:
        labels: the classes.
        lesions: names of those whose pieces are counted one by one.
        floors: beside what was found; None for none.
        masked: images have masks, and what lies outside does not count.
    """

    labels: Labels
    lesions: tuple[str, ...]
    floors: Floors | None
    masked: bool = False

    def columns(self, floors: Sequence[str]) -> list[str]:
        """Of the table, behind the usual ones."""
        names = [f"{name}:{figure}" for name in self.labels.names for figure in self._figures(name)]
        beside = [f"{name}:dice of {floor}" for name in self.labels.names for floor in floors]
        return [*names, *beside, "unit", "unit of distances"]

    def __call__(self, image: Image, truth: np.ndarray, found: np.ndarray) -> dict[str, Any]:
        """Figures of an image, from the places of classes (*space) drawn and found; what its mask leaves counts."""
        inside = np.ones(image.space, bool) if image.mask is None else image.mask
        outside, truth, found = np.where(inside, 0, truth), np.where(inside, truth, 0), np.where(inside, found, 0)
        told: dict[str, Any] = {"unit": image.unit, "unit of distances": "mm" if image.placed else "pixels"}
        for place, name in enumerate(self.labels.names, start=1):
            own = self._of(name, image, truth == place, found == place, inside)
            told |= {f"{name}:{key}": value for key, value in own.items()}
            if self.masked:
                told[f"{name}:{OUTSIDE}"] = float((outside == place).sum() * image.voxel)
        for floor, places in ({} if self.floors is None else self.floors.found(image)).items():
            for place, name in enumerate(self.labels.names, start=1):
                told[f"{name}:dice of {floor}"] = dice_of(truth == place, (places == place) & inside)
        return told

    def _figures(self, name: str) -> list[str]:
        lesions = LESIONS if name in self.lesions else ()
        return ["state", "dice", *DISTANCES, "volume", "volume_found", *lesions, *((OUTSIDE,) if self.masked else ())]

    def _of(self, name: str, image: Image, truth: np.ndarray, found: np.ndarray, inside: np.ndarray) -> dict[str, Any]:
        there, marked = bool(truth.any()), bool(found.any())
        state = {(True, True): BOTH, (True, False): MISSED, (False, True): ONLY_FOUND}.get((there, marked), NEITHER)
        between = apart(truth, found, image.edges or (1.0,) * image.ndim)
        told = {
            "state": state, "dice": dice_of(truth, found), "distance95": between.near, "distance": between.mean,
            "volume": float(truth.sum() * image.voxel), "volume_found": float(found.sum() * image.voxel),
        }  # fmt: skip
        return told | (lesions_of(truth, found, int(inside.sum())) if name in self.lesions else {})


def lesions_of(truth: np.ndarray, found: np.ndarray, pixels: int) -> dict[str, float]:
    """Lesions of a truth, those found in any part and in a tenth of it, and pieces found that hold nothing of one.

    Then lesions that share a piece of what was found with others, and how much of the image is marked, in per cent.

    Args:
        truth, found: of the class, bool (*space).
        pixels: of the image that count.
    """
    pieces, count = regions.labelled(truth)
    marks, marked = regions.labelled(found)
    shares = regions.shares(found, pieces, regions.sizes(pieces, count)) if count else np.zeros(0)
    met = np.unique(np.stack([marks[truth & found], pieces[truth & found]]), axis=1)  # each piece with each lesion
    several = np.flatnonzero(np.bincount(met[0], minlength=1) > 1)
    merged = np.unique(met[1][np.isin(met[0], several)]).size
    false = marked - np.unique(met[0]).size
    hits, well = int((shares > 0).sum()), int((shares >= regions.ENOUGH).sum())
    return dict(zip(LESIONS, (count, hits, well, false, merged, 100 * float(found.sum()) / pixels), strict=True))
