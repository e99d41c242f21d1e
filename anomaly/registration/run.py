"""The folder that a trained registrar leaves: written last, checked first, and nothing in it is code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch

from anomaly.errors import AnomalyError
from anomaly.images.grids import resample
from anomaly.images.image import Image
from anomaly.images.prepared import Prepared, scaled
from anomaly.images.preprocessing import Preprocessing
from anomaly.registrars.learned import VoxelMorph
from anomaly.registration.counting import counted
from anomaly.registration.pairing import TRAIN
from anomaly.runs.describing import images_in_short, method_in_short, preprocessing_in_short
from anomaly.runs.facts import REGISTRAR, opened
from anomaly.runs.run import COHORT, WEIGHTS, torch_device
from anomaly.shown import Readable

METHODS: Mapping[str, type[VoxelMorph]] = {VoxelMorph.name: VoxelMorph}


@dataclass(frozen=True, repr=False)
class RegistrarRun(Readable):
    """A trained registrar with what it needs to take an image; itself a `Registrar`, by its `field`.

    Args:
        folder: where it lies.
        facts: what `run.json` says.
        registrar: fitted.
        preprocessing: how images become tensors.
    """

    folder: Path
    facts: Mapping[str, Any]
    registrar: VoxelMorph
    preprocessing: Preprocessing

    def _in_short(self) -> tuple[str, dict[str, object]]:
        told = self.facts["held_out"]
        return method_in_short(self.registrar), {
            "learned": images_in_short(self.facts),
            "pairs": self.facts["pairing"]["of"],
            "prepared": preprocessing_in_short(self.preprocessing),
            "held out": f"correlation {told['correlation']:.3f}, before {told['correlation_before']:.3f}",
            "folder": self.folder,
        }

    @property
    def name(self) -> str:
        """Of the method."""
        return self.registrar.name

    @property
    def identity(self) -> str:
        """SHA-256 of the weights: the same for a moved or renamed folder."""
        return str(self.facts["files"][WEIGHTS])

    @cached_property
    def trained(self) -> frozenset[str]:
        """Names of the subjects it was trained on; those held out are not among them."""
        table = pd.read_csv(self.folder / COHORT, dtype=str, keep_default_na=False)
        return frozenset(table.loc[table["split"] == TRAIN, "subject"])

    @classmethod
    def open(cls, folder: Path | str, *, device: str = "cpu") -> Self:
        """Load a run after checking every file against what `run.json` recorded.

        Raises:
            RunError: no run there, one of another kind, or a damaged one.
        """
        folder = Path(folder)
        facts = opened(folder, REGISTRAR)
        registrar = METHODS[facts["method"]].load(folder / WEIGHTS, torch_device(device))
        return cls(folder, facts, registrar, Preprocessing(**facts["preprocessing"]))

    def field(
        self,
        moving: np.ndarray,
        fixed: np.ndarray,
        *,
        spacing: Sequence[float],
        inside: np.ndarray | None = None,
        affine: np.ndarray | None = None,
    ) -> np.ndarray:
        """The displacement that draws the moving image on the fixed one: drawn(p) = moving(p + field(p)).

        Both are prepared as those that were learned from, whatever their grid, and the field is brought back to it.

        Args:
            moving: (C, *space), in its own intensities, roughly in its place, on the grid of the fixed image.
            fixed: (C, *space), in its own intensities.
            spacing: millimetres of a voxel along each axis of space.
            inside: (*space) bool, where both count; a run that learned with masks needs it.
            affine: (4, 4), where the grid lies, RAS+; None for pictures, and for axes that point right, to the front
                and up.

        Returns:
            (dims, *space) float32, in voxels of the grid, component c along axis c.

        Raises:
            AnomalyError: images have other axes than those learned from, or cannot be prepared like them.
        """
        dims = len(self.registrar.shape_) - 1
        if fixed.ndim - 1 != dims:
            raise AnomalyError(
                f"{self.folder} learned from images of {dims} axes, these have {fixed.ndim - 1}; take a run of such, "
                "or another --by"
            )
        laid = [self._prepared(each, spacing, inside, affine) for each in (moving, fixed)]
        pair = [torch.from_numpy(each.pixels) for each in laid]
        found = self.registrar.field(pair[0], pair[1])
        return on_source(found[0].cpu().numpy(), laid[1])

    def _prepared(
        self, pixels: np.ndarray, spacing: Sequence[float], inside: np.ndarray | None, affine: np.ndarray | None
    ) -> Prepared:
        lies = np.diag([*spacing, *[1.0] * (4 - len(spacing))]) if affine is None else affine
        kind = "picture" if affine is None and pixels.ndim == 3 else "nifti"
        image = Image(np.asarray(pixels, dtype=np.float32), lies, Path(kind), kind)
        image = counted(image, inside, self.preprocessing.mask == "given")
        prepared = scaled(self.preprocessing.apply(image), image.path)
        if prepared.pixels.shape[1:2] != self.registrar.shape_[:1]:
            raise AnomalyError(
                f"{self.folder} learned from {self.registrar.shape_[0]} channels, this image has "
                f"{prepared.pixels.shape[1]}; give images of the kind it learned from"
            )
        return prepared


def on_source(field: np.ndarray, prepared: Prepared) -> np.ndarray:
    """A field (dims, *size) in prepared pixels, in voxels of the grid that the image came from: (dims, *source).

    Beyond what was prepared it goes on as at the edge, so that it does not tear there.
    """
    inverse = np.linalg.inv(prepared.matrix)
    parts = np.stack([resample(each, inverse, prepared.source) for each in field])
    return np.tensordot(prepared.matrix[:-1, :-1], parts, 1).astype(np.float32)
