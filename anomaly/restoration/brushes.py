"""Runs that restore: of a restorer, on the grid of each image, and of a detector, on the grid of its training."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anomaly.degradations.base import Degradation
from anomaly.errors import RunError, UnreadableImage
from anomaly.images import Image
from anomaly.images.prepared import Prepared, scaled
from anomaly.images.preprocessing import Preprocessing
from anomaly.restoration.drawing import Drawn, OwnGrid, within_limits
from anomaly.restorers.run import RestorerRun
from anomaly.runs.facts import DETECTOR, kind_of, read_facts
from anomaly.runs.run import Run


@dataclass(frozen=True)
class OnGrid:
    """A run of a detector that restores, on the grid of its training; what it changes is brought to the source's."""

    run: Run
    degradation: Degradation | None = None  # none that is done to images here

    @property
    def undoes(self) -> str:
        """In words."""
        return str(getattr(self.run.detector, "made", self.run.facts["method"]))

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self.run.folder

    @property
    def identity(self) -> str:
        """Of the run."""
        return self.run.identity

    @property
    def preprocessing(self) -> Preprocessing:
        """Of the run."""
        return self.run.preprocessing

    @property
    def trained(self) -> frozenset[str]:
        """Subjects of the training."""
        table = self.run.normals
        return frozenset(table.loc[table["split"] == "train", "subject"])

    def prepare(self, image: Image) -> tuple[Prepared, ...]:
        """The image as the detector takes it."""
        return (scaled(self.preprocessing.apply(image), image.path),)

    def draw(self, image: Image, prepared: Prepared, *, told: str | None) -> Drawn:
        """See `Brush`."""
        if told is not None:
            raise RunError(f"{self.folder} is a run of a detector; leave --degrade out")
        if image.mask is not None:
            raise UnreadableImage(f"{image.path}: has a hole, which runs of detectors do not fill; leave --holes out")
        detector: Any = self.run.detector
        x = torch.from_numpy(prepared.pixels).to(detector.device)
        with torch.no_grad():
            change = (detector.restored(x) - x).cpu().numpy()
        brought = np.stack([prepared.restore(change[:, c : c + 1]) for c in range(change.shape[1])])
        unit = prepared.unit.reshape(-1, *[1] * image.ndim)
        added = brought * unit if len(brought) == len(image.pixels) else (brought * unit).mean(0, keepdims=True)
        values = within_limits(image, image.pixels + added.astype(np.float32))
        return Drawn(values, image.frame, float(np.abs(change).mean()), float(np.abs(change).max()))


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
    return OnGrid(Run.open(folder, device=device))
