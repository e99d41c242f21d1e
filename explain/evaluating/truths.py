"""Where the disease of a case is, as its mask, its healthy twin or their difference tell, on the grid of the image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anomaly.errors import EvaluationError
from anomaly.images import Image, read
from explain.association.maps import located, same_grid


@dataclass(frozen=True)
class Truth:
    """Where the truth of each case is found, by column of the cohort; paths start from `folder`.

    Args:
        mask: files that are not 0 where the disease is.
        flags: of masks whose values are sums of flags, those that count.
        labels: of masks whose values are labels, those that count.
        truth: files of the healthy image minus the case.
        twin: files of the healthy image.

    Raises:
        EvaluationError: flags and labels together, or truth and twin.
    """

    folder: Path
    mask: str | None = None
    flags: int | None = None
    labels: Sequence[int] = ()
    truth: str | None = None
    twin: str | None = None

    def __post_init__(self) -> None:
        if self.flags and self.labels:
            raise EvaluationError("flags and labels are both given; values of a mask are either, so give one of them")
        if self.truth and self.twin:
            raise EvaluationError("truth and twin are both given, and tell the same; give one of them")

    def of(self, row: Mapping[str, Any], image: Image) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Mask (*space) bool and true map, case minus healthy (*space), of one image; None where it tells nothing.

        Raises:
            EvaluationError: a file lies on another grid than the image.
            UnreadableImage: a file cannot be read.
        """
        values, true = self._read(row, self.mask, "mask", image), None
        marked = None if values is None else self._marked(values)
        if (difference := self._read(row, self.truth, "truth", image)) is not None:
            true = -difference
        elif (twin := self._read(row, self.twin, "twin", image)) is not None:
            true = image.pixels.mean(0) - twin
        return (
            None if marked is None or not marked.any() else marked,
            None if true is None or np.ptp(true) == 0 else true,
        )

    def _marked(self, values: np.ndarray) -> np.ndarray:
        if self.flags:
            return np.rint(values).astype(np.int64) & self.flags != 0
        return np.isin(np.rint(values), self.labels) if self.labels else values != 0

    def _read(self, row: Mapping[str, Any], column: str | None, what: str, image: Image) -> np.ndarray | None:
        named = row.get(column) if column else None
        if not isinstance(named, str) or not named:
            return None
        found = read((self.folder / named).resolve())
        same(found, image, f"{found.path}: the {what} of {row['id']}")
        return found.pixels.mean(0)


def same(found: Image, image: Image, what: str) -> None:
    """Refuse what lies on another grid than its image; files that tell no geometry are taken at their shape.

    Raises:
        EvaluationError: it does.
    """
    if found.space != image.space:
        raise EvaluationError(f"{what} has the shape {found.space}, expected {image.space}, that of the image")
    if located(found.affine) and located(image.affine) and not same_grid(found, image):
        raise EvaluationError(
            f"{what} lies elsewhere than the image, or is turned, by its affine; resample it onto the image's grid"
        )
