"""The folder that a trained painter leaves: written last, checked first, and nothing in it is code."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import pandas as pd

from anomaly.images.labels import Labels
from anomaly.images.preprocessing import Preprocessing
from anomaly.painters.lesions import LesionPainter
from anomaly.runs.describing import left_out, method_in_short, preprocessing_in_short
from anomaly.runs.facts import PAINTER, opened
from anomaly.runs.run import COHORT, WEIGHTS, torch_device
from anomaly.shown import Readable
from explain.painting.cohort import CHOOSE, NORMAL, TRAIN
from explain.painting.shapes import Shape, read_shapes

METHODS: Mapping[str, type[LesionPainter]] = {LesionPainter.name: LesionPainter}


@dataclass(frozen=True, repr=False)
class PainterRun(Readable):
    """A trained painter with what it needs to take an image.

    Args:
        folder: where it lies.
        facts: what `run.json` says.
        painter: what was learned.
        preprocessing: how images become tensors.
    """

    folder: Path
    facts: Mapping[str, Any]
    painter: LesionPainter
    preprocessing: Preprocessing

    def _in_short(self) -> tuple[str, dict[str, object]]:
        data = self.facts["data"]
        told = ", ".join(f"{name} {count}" for name, count in self.facts["counts"].items())
        return method_in_short(self.painter), {
            "learned": f"from {data['split'][TRAIN]} images, {data['split'][CHOOSE]} held out; {data['subjects']} "
            f"subjects in all{left_out(data)}",
            "classes": f"{told} (images or slices with such lesions, and without any)",
            "prepared": preprocessing_in_short(self.preprocessing),
            "held out": ", ".join(f"{name.replace('_', ' ')} {v:.4f}" for name, v in self.facts["held_out"].items()),
            "folder": self.folder,
        }

    @property
    def identity(self) -> str:
        """SHA-256 of the weights: the same for a moved or renamed folder."""
        return str(self.facts["files"][WEIGHTS])

    @property
    def names(self) -> tuple[str, ...]:
        """The classes of lesions, in order; normal is none of them."""
        return tuple(self.facts["names"])

    @property
    def classes(self) -> Labels | None:
        """Which numbers of masks are which class; None where a column of the table says the class."""
        told = self.facts["lesions"]["classes"]
        return None if told is None else Labels.from_json(told)

    @property
    def tissues(self) -> Labels | None:
        """Which numbers of label maps are tissues; None where it learned without."""
        told = self.facts["lesions"]["tissues"]
        return None if told is None else Labels.from_json(told)

    @property
    def window(self) -> tuple[int, ...]:
        """Pixels of the windows that it learned from."""
        return tuple(self.painter.shape_[1:])

    @cached_property
    def shapes(self) -> list[Shape]:
        """Outlines of the lesions of its training."""
        return read_shapes(self.folder)

    @property
    def cohort(self) -> pd.DataFrame:
        """The images it was made with: id, subject, path, split and more; names as text."""
        texts = {"id": str, "subject": str, "path": str}
        return pd.read_csv(self.folder / COHORT, dtype=texts, keep_default_na=False)

    @property
    def trained(self) -> frozenset[str]:
        """Names of the subjects it was trained on; those held out are not among them."""
        table = self.cohort
        return frozenset(table.loc[table["split"] == TRAIN, "subject"])

    def place(self, name: str) -> int:
        """The place of a class by its name, 0 for normal."""
        return 0 if name == NORMAL else 1 + self.names.index(name)

    @classmethod
    def open(cls, folder: Path | str, *, device: str = "cpu") -> Self:
        """Load a run after checking every file against what `run.json` recorded.

        Raises:
            RunError: no run there, one of another kind, or a damaged one.
        """
        folder = Path(folder)
        facts = opened(folder, PAINTER)
        painter = METHODS[facts["method"]].load(folder / WEIGHTS, torch_device(device))
        return cls(folder, facts, painter, Preprocessing(**facts["preprocessing"]))
