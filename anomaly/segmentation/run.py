"""The folder that a training of a segmenter leaves: written last, checked first, and nothing in it is code."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pandas as pd

from anomaly.errors import RunError
from anomaly.images.labels import Labels
from anomaly.images.preprocessing import Preprocessing
from anomaly.runs.describing import images_in_short, method_in_short, preprocessing_in_short
from anomaly.runs.facts import SEGMENTER, opened
from anomaly.runs.run import COHORT, WEIGHTS, torch_device
from anomaly.segmenters.base import Segmenter
from anomaly.segmenters.register import SEGMENTERS
from anomaly.shown import Readable, several


@dataclass(frozen=True, repr=False)
class SegmenterRun(Readable):
    """A trained segmenter with what it needs to take an image.

    Args:
        folder: where it lies.
        facts: what `run.json` says.
        segmenter: fitted.
        labels: names and numbers of its classes.
        preprocessing: how images become tensors.
    """

    folder: Path
    facts: Mapping[str, Any]
    segmenter: Segmenter
    labels: Labels
    preprocessing: Preprocessing

    def _in_short(self) -> tuple[str, dict[str, object]]:
        return method_in_short(self.segmenter), {
            "classes": several([f"{name}={numbers[0]}" for name, numbers in self.classes.items()]),
            "learned": images_in_short(self.facts),
            "prepared": preprocessing_in_short(self.preprocessing),
            "held out": dice_in_short(self.facts["held_out"]),
            "folder": self.folder,
        }

    @property
    def classes(self) -> dict[str, tuple[int, ...]]:
        """The numbers of each class by its name."""
        return dict(zip(self.labels.names, self.labels.numbers, strict=True))

    @property
    def identity(self) -> str:
        """SHA-256 of the weights: the same for a moved or renamed folder."""
        return str(self.facts["files"][WEIGHTS])

    @property
    def cohort(self) -> pd.DataFrame:
        """The images it was made with: id, subject, path, side, split, labels, slices; names as text."""
        return pd.read_csv(
            self.folder / COHORT,
            dtype={"id": str, "subject": str, "path": str, "labels": str}, keep_default_na=False,
        )  # fmt: skip

    @property
    def trained(self) -> frozenset[str]:
        """Names of the subjects whose label maps it has seen: learned from, or held out to choose weights by."""
        return self.subjects("train") | self.subjects("choose")

    def subjects(self, part: str) -> frozenset[str]:
        """Names of the subjects of a part of the split: "train", "choose", or "unlabelled", seen without label maps."""
        table = self.cohort
        return frozenset(table.loc[table["split"] == part, "subject"])

    @classmethod
    def open(cls, folder: Path | str, *, device: str = "cpu") -> Self:
        """Load a run after checking every file against what `run.json` recorded.

        Args:
            folder: what `anomaly segment train` left.
            device: "auto", "cpu", "cuda", ...

        Raises:
            RunError: no run there, one of another kind, of a method that is not there, or a damaged one.
        """
        folder = Path(folder)
        facts = opened(folder, SEGMENTER)
        if facts["method"] not in SEGMENTERS:
            raise RunError(
                f"{folder} was trained by {facts['method']!r}, which this version does not have; it has "
                f"{', '.join(SEGMENTERS)}"
            )
        segmenter = SEGMENTERS[facts["method"]].load(folder / WEIGHTS, torch_device(device))
        labels = Labels.from_json(facts["classes"])
        return cls(folder, facts, segmenter, labels, Preprocessing(**facts["preprocessing"]))


def dice_in_short(told: Mapping[str, Any]) -> str:
    """ "Dice 0.812: effusion 0.744, bone 0.880" of held-out images, or that there are none."""
    if not told:
        return "nobody"
    each = ", ".join(f"{name} {'absent' if value is None else f'{value:.3f}'}" for name, value in told["dice"].items())
    return each if told["mean"] is None else f"Dice {told['mean']:.3f}: {each}"
