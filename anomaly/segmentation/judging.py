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

BOTH, MISSED, ONLY_FOUND, NEITHER = "both", "missed", "only found", "neither"
"""Whether a class is in both label maps, in that drawn alone, in that found alone, or in none."""
DISTANCES = ("distance95", "distance")
LESIONS = ("lesions", "lesions_found", "lesions_found_well", "false_lesions")


@dataclass(frozen=True)
class Judge:
    """What is said of each image.

    Args:
        labels: the classes.
        lesions: names of those whose pieces are counted one by one.
        floors: beside what was found; None for none.
    """

    labels: Labels
    lesions: tuple[str, ...]
    floors: Floors | None

    def columns(self, floors: Sequence[str]) -> list[str]:
        """Of the table, behind the usual ones."""
        names = [f"{name}:{figure}" for name in self.labels.names for figure in self._figures(name)]
        beside = [f"{name}:dice of {floor}" for name in self.labels.names for floor in floors]
        return [*names, *beside, "unit", "unit of distances"]

    def __call__(self, image: Image, truth: np.ndarray, found: np.ndarray) -> dict[str, Any]:
        """Figures of an image, from the places of classes (*space) drawn and found."""
        told: dict[str, Any] = {"unit": image.unit, "unit of distances": "mm" if image.placed else "pixels"}
        for place, name in enumerate(self.labels.names, start=1):
            told |= {
                f"{name}:{key}": value for key, value in self._of(name, image, truth == place, found == place).items()
            }
        for floor, places in ({} if self.floors is None else self.floors.found(image)).items():
            for place, name in enumerate(self.labels.names, start=1):
                told[f"{name}:dice of {floor}"] = dice_of(truth == place, places == place)
        return told

    def _figures(self, name: str) -> list[str]:
        return ["state", "dice", *DISTANCES, "volume", "volume_found", *(LESIONS if name in self.lesions else ())]

    def _of(self, name: str, image: Image, truth: np.ndarray, found: np.ndarray) -> dict[str, Any]:
        there, marked = bool(truth.any()), bool(found.any())
        state = {(True, True): BOTH, (True, False): MISSED, (False, True): ONLY_FOUND}.get((there, marked), NEITHER)
        between = apart(truth, found, image.edges or (1.0,) * image.ndim)
        told = {
            "state": state, "dice": dice_of(truth, found), "distance95": between.near, "distance": between.mean,
            "volume": float(truth.sum() * image.voxel), "volume_found": float(found.sum() * image.voxel),
        }  # fmt: skip
        return told | (lesions_of(truth, found) if name in self.lesions else {})


def lesions_of(truth: np.ndarray, found: np.ndarray) -> dict[str, int]:
    """Lesions of a truth, those found in any part and in a tenth of it, and pieces found that hold nothing of one."""
    pieces, count = regions.labelled(truth)
    shares = regions.shares(found, pieces, regions.sizes(pieces, count)) if count else np.zeros(0)
    well = int((shares >= regions.ENOUGH).sum())
    return dict(zip(LESIONS, (count, int((shares > 0).sum()), well, regions.beside(found, pieces)), strict=True))
