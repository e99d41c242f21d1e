"""The folder that a training of a restorer leaves: written last, checked first, and nothing in it is code."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pandas as pd

from anomaly.degradations.base import Degradation
from anomaly.degradations.register import make
from anomaly.images.preprocessing import Preprocessing
from anomaly.runs.describing import images_in_short, method_in_short, preprocessing_in_short
from anomaly.runs.facts import RESTORER, opened
from anomaly.runs.run import COHORT, WEIGHTS, torch_device
from anomaly.shown import Readable
from anomaly.translators.restorer import Restorer


@dataclass(frozen=True, repr=False)
class RestorerRun(Readable):
    """A trained restorer with what it needs to take an image.

    Args:
        folder: where it lies.
        facts: what `run.json` says.
        restorer: fitted.
        degradation: what it undoes; None where it learned from given pairs.
        preprocessing: what becomes black and white.
    """

    folder: Path
    facts: Mapping[str, Any]
    restorer: Restorer
    degradation: Degradation | None
    preprocessing: Preprocessing

    def _in_short(self) -> tuple[str, dict[str, object]]:
        told = self.facts["held_out"]
        return method_in_short(self.restorer), {
            "undoes": self.undoes,
            "learned": images_in_short(self.facts),
            "prepared": preprocessing_in_short(self.preprocessing),
            "held out": f"PSNR {told['psnr']:.2f} dB, before {told['psnr_before']:.2f} dB",
            "folder": self.folder,
        }

    @property
    def undoes(self) -> str:
        """What it undoes, in words."""
        return "what tells poor from good of the pairs given" if self.degradation is None else str(self.degradation)

    @property
    def identity(self) -> str:
        """SHA-256 of the weights: the same for a moved or renamed folder."""
        return str(self.facts["files"][WEIGHTS])

    @property
    def limits(self) -> tuple[float, float]:
        """The values of poor images that were seen in training, as a network sees them."""
        low, high = self.facts["limits"]
        return float(low), float(high)

    @property
    def trained(self) -> frozenset[str]:
        """Names of the subjects it was trained on; those held out are not among them."""
        table = pd.read_csv(self.folder / COHORT, dtype=str, keep_default_na=False)
        return frozenset(table.loc[table["split"] == "train", "subject"])

    @classmethod
    def open(cls, folder: Path | str, *, device: str = "cpu") -> Self:
        """Load a run after checking every file against what `run.json` recorded.

        Args:
            folder: what `anomaly restore train` left.
            device: "auto", "cpu", "cuda", ...

        Raises:
            RunError: no run there, one of another kind, or a damaged one.
        """
        folder = Path(folder)
        facts = opened(folder, RESTORER)
        told = facts["degradation"]
        degradation = None if told is None else make(told["name"], told["settings"])
        restorer = Restorer.load(folder / WEIGHTS, torch_device(device))
        return cls(folder, facts, restorer, degradation, Preprocessing(**facts["preprocessing"]))
