"""The folder that a trained translator leaves: written last, checked first, and nothing in it is code."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pandas as pd

from anomaly.images.preprocessing import Preprocessing
from anomaly.runs.describing import left_out, method_in_short, preprocessing_in_short
from anomaly.runs.facts import TRANSLATOR, opened
from anomaly.runs.run import COHORT, WEIGHTS, torch_device
from anomaly.shown import Readable
from anomaly.translation.heaps import CHOOSE, FROM, HEAP, TO, TRAIN
from anomaly.translators.cycle import CycleGAN

METHODS: Mapping[str, type[CycleGAN]] = {CycleGAN.name: CycleGAN}


@dataclass(frozen=True, repr=False)
class TranslatorRun(Readable):
    """A trained translator with what it needs to take an image.

    Args:
        folder: where it lies.
        facts: what `run.json` says.
        translator: what was learned.
        preprocessing: how images become tensors.
    """

    folder: Path
    facts: Mapping[str, Any]
    translator: CycleGAN
    preprocessing: Preprocessing

    def _in_short(self) -> tuple[str, dict[str, object]]:
        data, told = self.facts["data"], self.facts["held_out"]
        counts = ((data["split"][f"{part} {heap}"] for heap in (FROM, TO)) for part in (TRAIN, CHOOSE))
        trained, held_out = (tuple(each) for each in counts)
        return method_in_short(self.translator), {
            "learned": f"from {trained[0]} images to {trained[1]}; {held_out[0]} and {held_out[1]} held out; "
            f"{data['subjects']} subjects in all{left_out(data)}",
            "prepared": preprocessing_in_short(self.preprocessing),
            "held out": ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in told.items()),
            "folder": self.folder,
        }

    @property
    def identity(self) -> str:
        """SHA-256 of the weights: the same for a moved or renamed folder."""
        return str(self.facts["files"][WEIGHTS])

    @property
    def cohort(self) -> pd.DataFrame:
        """The images it was made with: id, subject, path, heap, part, slices; names as text."""
        texts = {"id": str, "subject": str, "path": str}
        return pd.read_csv(self.folder / COHORT, dtype=texts, keep_default_na=False)

    def trained(self, heap: str = "") -> frozenset[str]:
        """Names of the subjects it was trained on, of one heap or of both; those held out are not among them."""
        table = self.cohort
        rows = (table["part"] == TRAIN) & (table[HEAP].isin([heap] if heap else [FROM, TO]))
        return frozenset(table.loc[rows, "subject"])

    @classmethod
    def open(cls, folder: Path | str, *, device: str = "cpu") -> Self:
        """Load a run after checking every file against what `run.json` recorded.

        Raises:
            RunError: no run there, one of another kind, or a damaged one.
        """
        folder = Path(folder)
        facts = opened(folder, TRANSLATOR)
        translator = METHODS[facts["method"]].load(folder / WEIGHTS, torch_device(device))
        return cls(folder, facts, translator, Preprocessing(**facts["preprocessing"]))
