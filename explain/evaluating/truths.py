"""Where the disease of a case is, as its mask, its healthy twin or their difference tell, on the grid of the image."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from anomaly.errors import EvaluationError
from anomaly.evaluation.truths import Marking, read_truth, same
from anomaly.images import Image, read

WITHIN = "within"
"""In `explain.json`, what maps cannot leave: they are 0 outside of masks that were given."""


@dataclass(frozen=True)
class Truth:
    """Where the truth of each case is found, by column of the cohort; paths start from `folder`.

    Args:
        mask: files that are not 0 where the disease is.
        marking: which values of masks count.
        truth: files of the healthy image minus the case.
        twin: files of the healthy image.

    Raises:
        EvaluationError: truth and twin are both given.
    """

    folder: Path
    mask: str | None = None
    marking: Marking = field(default_factory=Marking)
    truth: str | None = None
    twin: str | None = None

    def __post_init__(self) -> None:
        if self.truth and self.twin:
            raise EvaluationError("truth and twin are both given, and tell the same; give one of them")

    def of(self, row: Mapping[str, Any], image: Image) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Mask (*space) bool and true map, case minus healthy (*space), of one image; None where it tells nothing.

        Raises:
            EvaluationError: a file lies on another grid than the image.
            UnreadableImage: a file cannot be read.
        """
        marked, true = self._mask(row, image), None
        if (difference := self._read(row, self.truth, "truth", image)) is not None:
            true = -difference
        elif (twin := self._read(row, self.twin, "twin", image)) is not None:
            true = image.pixels.mean(0) - twin
        return (
            None if marked is None or not marked.any() else marked,
            None if true is None or np.ptp(true) == 0 else true,
        )

    def _mask(self, row: Mapping[str, Any], image: Image) -> np.ndarray | None:
        path, what = self._path(row, self.mask), f"the mask of {row['id']}"
        return None if path is None else self.marking.of(read_truth(path, image, what), f"{path}: {what}")[0]

    def _read(self, row: Mapping[str, Any], column: str | None, what: str, image: Image) -> np.ndarray | None:
        path = self._path(row, column)
        if path is None:
            return None
        found = read(path)
        same(found, image, f"{found.path}: the {what} of {row['id']}")
        return found.pixels.mean(0)

    def _path(self, row: Mapping[str, Any], column: str | None) -> Path | None:
        named = row.get(column) if column else None
        return (self.folder / named).resolve() if isinstance(named, str) and named else None
