"""The folder that a trained forecaster leaves: written last, checked first, and nothing in it is code."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pandas as pd

from anomaly.cohorts.joining import simulated
from anomaly.evolution.evolving import Evolving
from anomaly.evolution.register import FORECASTERS
from anomaly.progression.calibrating import Calibration
from anomaly.progression.keeping import TEXTS, TRAIN
from anomaly.progression.reading import Reading
from anomaly.runs.describing import images_in_short, method_in_short, preprocessing_in_short
from anomaly.runs.facts import FORECASTER, opened
from anomaly.runs.run import COHORT, WEIGHTS, torch_device
from anomaly.shown import Readable


@dataclass(frozen=True, repr=False)
class ForecasterRun(Readable):
    """A trained forecaster with what it needs to take an image.

    Args:
        folder: where it lies.
        facts: what `run.json` says.
        forecaster: what was learned.
        reading: how images and maps become tensors.
        calibration: how far predictions were off in persons held out.
    """

    folder: Path
    facts: Mapping[str, Any]
    forecaster: Evolving
    reading: Reading
    calibration: Calibration

    def _in_short(self) -> tuple[str, dict[str, object]]:
        told = self.facts["held_out"]
        off = (
            f"volume off by {told['off']:.4g} {self.unit} in the mean, by {told['persistence']:.4g} if nothing changed"
        )
        return method_in_short(self.forecaster), {
            "learned": images_in_short(self.facts).replace("images", "pairs of visits", 1),
            "prepared": preprocessing_in_short(self.reading.preprocessing),
            "held out": off,
            "folder": self.folder,
        }

    @property
    def identity(self) -> str:
        """SHA-256 of the weights: the same for a moved or renamed folder."""
        return str(self.facts["files"][WEIGHTS])

    @property
    def unit(self) -> str:
        """Of volumes: mm3, mm2 or pixels."""
        return str(self.facts["unit"])

    @property
    def spans(self) -> tuple[float, float]:
        """The shortest and the longest interval learned from, in years."""
        low, high = self.facts["years"]
        return float(low), float(high)

    @property
    def timed(self) -> bool:
        """Whether intervals differed, so that time is an input."""
        return bool(self.forecaster.net_.timed > 0)

    @property
    def years(self) -> float:
        """The mean interval learned from, in years."""
        return float(self.facts["mean_years"])

    @property
    def pairs(self) -> pd.DataFrame:
        """The pairs of visits it was made with, with split and volumes; names as text."""
        return pd.read_csv(self.folder / COHORT, dtype=dict.fromkeys(TEXTS, str), keep_default_na=False)

    @property
    def simulated(self) -> bool:
        """Whether all persons it was made with were drawn by a program."""
        return simulated(self.pairs)

    @property
    def trained(self) -> frozenset[str]:
        """Names of the subjects whose pairs it learned from or was chosen or calibrated by."""
        return frozenset(self.pairs["subject"])

    @property
    def learned_from(self) -> pd.DataFrame:
        """The pairs that the weights were learned from."""
        table = self.pairs
        return table[table["split"] == TRAIN].reset_index(drop=True)

    @classmethod
    def open(cls, folder: Path | str, *, device: str = "cpu") -> Self:
        """Load a run after checking every file against what `run.json` recorded.

        Args:
            folder: what `anomaly progress train` left.
            device: "auto", "cpu", "cuda", ...

        Raises:
            RunError: no run there, one of another kind, or a damaged one.
        """
        folder = Path(folder)
        facts = opened(folder, FORECASTER)
        learned = FORECASTERS[facts["method"]].load(folder / WEIGHTS, torch_device(device))
        return cls(folder, facts, learned, Reading.of(facts), Calibration.read(facts))
