"""Runs that restore: of a restorer, on the grid of each image, and of a detector, on the grid of its training."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from anomaly.degradations.base import Degradation
from anomaly.degradations.covering import covered
from anomaly.errors import RunError, UnreadableImage
from anomaly.images import Image
from anomaly.images.prepared import Prepared, scaled
from anomaly.images.redrawn import changed as redrawn
from anomaly.restoration.drawing import UNTOLD, Drawn, OwnGrid, holes_of, refuse_extent
from anomaly.restorers.run import RestorerRun
from anomaly.runs.facts import DETECTOR, kind_of, read_facts
from anomaly.runs.run import Run

TOUCHED = 0.01
"""Share of a hole in a pixel of the detector's grid from which on that is drawn: what is in a hole may not leak."""


@dataclass(frozen=True)
class OnGrid:
    """A run of a detector that restores, on the grid of its training; what it changes is brought to the source's.

    Where intensities follow from the image ("percentile", "zscore"), the detector learned from images that were scaled
    before they were made poor. Here there is the poor image alone to scale by.
    """

    run: Run
    degradation: Degradation | None = None  # none that is done to images here

    @property
    def undoes(self) -> str:
        """In words."""
        return str(getattr(self.run.detector, "made", self.run.facts["method"]))

    @property
    def trained(self) -> frozenset[str]:
        """Subjects of the training."""
        table = self.run.normals
        return frozenset(table.loc[table["split"] == "train", "subject"])

    @property
    def fills(self) -> bool:
        """Whether it has to be told what is known and what is to be drawn; of thick slices, no slice is known."""
        degradation: Degradation = self.run.detector.made  # type: ignore[attr-defined]
        return degradation.tells and not getattr(degradation, "thick", False)

    def prepare(self, image: Image) -> tuple[Prepared, ...]:
        """The image as the detector takes it; what lies in holes has no say in its scale, nor in its pixels."""
        if self.fills and image.mask is None:
            raise UnreadableImage(f"{image.path}: {UNTOLD}")
        if image.mask is not None and not self.fills:
            raise UnreadableImage(f"{image.path}: has a hole, of which this run makes nothing; leave --holes out")
        prepared = scaled(self.run.preprocessing.apply(_filled(image)), image.path)
        if (known := self._known(image)) is not None:
            refuse_extent(image, known & prepared.foreground, known)
        return (prepared,)

    def draw(self, image: Image, prepared: Prepared, *, told: str | None) -> Drawn:
        """See `Brush`; outside holes an image keeps its values to the bit."""
        if told is not None:
            raise RunError(f"{self.run.folder} is a run of a detector; leave --degrade out")
        x = torch.from_numpy(prepared.pixels)
        known = (
            None if image.mask is None else torch.from_numpy(~holes_of(image, self.run.preprocessing, least=TOUCHED))
        )
        seen = x if known is None else covered(x, known).image
        detector: Any = self.run.detector
        drawn = detector.restored(seen.to(detector.device), known).cpu()
        change = (drawn - x if known is None else torch.where(known, 0, drawn - x)).numpy()
        values = redrawn(_filled(image), prepared, -change)
        if image.mask is not None:
            if not prepared.restore(np.ones(prepared.foreground.shape, dtype=np.float32))[image.mask].all():
                raise UnreadableImage(f"{image.path}: a part of its hole lies beyond what the run looks at")
            values = np.where(image.mask, values, image.pixels)
        return Drawn(values, image.frame, float(np.abs(change).mean()), float(np.abs(change).max()))

    def _known(self, image: Image) -> np.ndarray | None:
        """Which pixels (S, 1, *size) a hole does not touch; None for all, where there is no hole."""
        return None if image.mask is None else ~holes_of(image, self.run.preprocessing, least=TOUCHED)


def _filled(image: Image) -> Image:
    """An image whose holes have what is known nearest to them."""
    if image.mask is None:
        return image
    if image.mask.all():
        refuse_extent(image, ~image.mask[None], ~image.mask[None])
    nearest = ndimage.distance_transform_edt(image.mask, return_distances=False, return_indices=True)
    return replace(image, pixels=image.pixels[(slice(None), *nearest)], mask=None)


def open_brush(folder: Path | str, *, device: str = "auto") -> OwnGrid | OnGrid:
    """A run that restores images: of `anomaly restore train`, or of a detector that has `restored`.

    Raises:
        RunError: it is another run, or damaged.
    """
    if kind_of(facts := read_facts(Path(folder))) != DETECTOR:
        return OwnGrid(RestorerRun.open(folder, device=device))
    if facts["method"] != "restoration":
        raise RunError(
            f"{folder} is a run of {facts['method']}, which restores nothing; give one of `anomaly restore train`, or "
            "of `anomaly train --method restoration`"
        )
    run = Run.open(folder, device=device).refuse_context()
    if run.preprocessing.mask == "given":
        raise RunError(f"{folder} was trained with masks, of which restoring makes nothing; give a run without")
    return OnGrid(run)
