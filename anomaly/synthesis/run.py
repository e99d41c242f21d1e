"""The folder that a trained synthesizer leaves: written last, checked first, and nothing in it is code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch

from anomaly.errors import RunError
from anomaly.images.labels import Labels
from anomaly.images.preprocessing import Preprocessing
from anomaly.painters.register import SYNTHESIZERS
from anomaly.painters.synthesizer import Synthesizer
from anomaly.runs.describing import images_in_short, method_in_short, preprocessing_in_short
from anomaly.runs.facts import SYNTHESIZER, opened
from anomaly.runs.run import COHORT, WEIGHTS, torch_device
from anomaly.shown import Readable, several
from anomaly.synthesis.mapped import TRAIN


@dataclass(frozen=True, repr=False)
class SynthesizerRun(Readable):
    """A trained synthesizer with what it needs to take a label map.

    Args:
        folder: where it lies.
        facts: what `run.json` says.
        synthesizer: fitted.
        labels: names and numbers of its classes.
        preprocessing: how images became tensors; their grid is that of label maps.
    """

    folder: Path
    facts: Mapping[str, Any]
    synthesizer: Synthesizer
    labels: Labels
    preprocessing: Preprocessing

    def _in_short(self) -> tuple[str, dict[str, object]]:
        told = self.facts["held_out"]
        return method_in_short(self.synthesizer), {
            "classes": several([f"{n}={k[0]}" for n, k in zip(self.labels.names, self.labels.numbers, strict=True)]),
            "learned": images_in_short(self.facts),
            "prepared": preprocessing_in_short(self.preprocessing),
            "held out": ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in told.items()),
            "folder": self.folder,
        }

    @property
    def identity(self) -> str:
        """SHA-256 of the weights: the same for a moved or renamed folder."""
        return str(self.facts["files"][WEIGHTS])

    @property
    def background(self) -> list[int]:
        """Numbers of label maps that are no class to it, and were met in training."""
        return [int(number) for number in self.facts["background"]]

    @property
    def cohort(self) -> pd.DataFrame:
        """The images it was made with: id, subject, path, labels, split, slices; names as text."""
        texts = {"id": str, "subject": str, "path": str, "labels": str, "mask": str}
        return pd.read_csv(self.folder / COHORT, dtype=texts, keep_default_na=False)

    @property
    def trained(self) -> frozenset[str]:
        """Names of the subjects it was trained on; those held out are not among them."""
        table = self.cohort
        return frozenset(table.loc[table["split"] == TRAIN, "subject"])

    def draw(self, places: np.ndarray, seeds: Sequence[int], styles: Sequence[int] | None = None) -> np.ndarray:
        """Images (n, C, *size) float32 in [-1, 1] of prepared label maps.

        Args:
            places: (n, *size), whole numbers, the place of each pixel's class; 255 outside a mask.
            seeds: one an image, which decides style and noise whatever else is in the batch.
            styles: seeds of the styles alone, such as one for all slices of a scan; None takes those of the images.

        Raises:
            AnomalyError: another size, or a class that it has not learned.
        """
        maps = torch.from_numpy(np.array(places, dtype=np.int64))
        found = self.synthesizer.draw(maps, list(seeds), None if styles is None else list(styles))
        return np.asarray(found.numpy(), dtype=np.float32)

    @classmethod
    def open(cls, folder: Path | str, *, device: str = "cpu") -> Self:
        """Load a run after checking every file against what `run.json` recorded.

        Raises:
            RunError: no run there, one of another kind or of an unknown method, or a damaged one.
        """
        folder = Path(folder)
        facts = opened(folder, SYNTHESIZER)
        if facts["method"] not in SYNTHESIZERS:
            raise RunError(
                f"{folder} was trained by {facts['method']!r}, which this version does not have; it has "
                f"{', '.join(SYNTHESIZERS)}"
            )
        synthesizer = SYNTHESIZERS[facts["method"]].load(folder / WEIGHTS, torch_device(device))
        return cls(
            folder, facts, synthesizer, Labels.from_json(facts["classes"]), Preprocessing(**facts["preprocessing"])
        )
