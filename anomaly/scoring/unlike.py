"""Columns of the scores that say whether an image is of a kind that the normals were not."""

import csv
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anomaly.errors import RunError
from anomaly.images.intake import Ready
from anomaly.images.likeness import described
from anomaly.runs.likeness import FEWEST_TOLD, Unlike
from anomaly.runs.run import Run

UNLIKE = ("unlike_p", "unlike")
NOT_TOLD = {"unlike_p": "", "unlike": ""}
logger = logging.getLogger(__name__)


class Stranger:
    """Says of images how unlike the normals of the first run that learned these they are.

    Raises:
        RunError: unlike images are to be refused, and no run learned what normals are like.
    """

    def __init__(self, runs: Sequence[Run], refuse: bool) -> None:
        self.refuse = refuse
        self._which = next((i for i, run in enumerate(runs) if run.likeness is not None), 0)
        self._likeness = runs[self._which].likeness
        if self._likeness is None and refuse:
            raise RunError(
                f"{runs[0].folder} was trained by a version that did not learn what normals are like, so nothing can "
                "be refused as unlike; train again, or leave --refuse-unlike out"
            )
        if self._likeness is not None and self._likeness.people < FEWEST_TOLD:
            logger.info("%d normal subjects are too few to say what is unlike them", self._likeness.people)
        if self._likeness is None:
            logger.info("%s was trained by a version that did not learn what normals are like; unlike_p stays empty",
                        runs[0].folder)  # fmt: skip

    def columns(self, images: Sequence[Ready]) -> list[dict[str, Any]]:
        """`UNLIKE` of each image that could be read, in order; with an `error` where it is refused."""
        if self._likeness is None or not images:
            return [NOT_TOLD for _ in images]
        rows = np.stack([described(one.image, one.prepared[self._which]) for one in images if one.image is not None])
        return [self._told(one, told) for one, told in zip(images, self._likeness.told(rows), strict=True)]

    def _told(self, one: Ready, told: Unlike) -> dict[str, Any]:
        reasons = ", ".join(told.families)
        row = {"unlike_p": told.p_value, "unlike": reasons}
        if not (self.refuse and reasons):
            return row
        error = f"is unlike what was learned, by its {reasons} (p {told.p_value:.2g}); to score it all the same leave "
        return {**row, "error": f"{one.row['path']}: {error}--refuse-unlike out"}


def begun_without(table: Path) -> bool:
    """Whether a table of scores was begun by a version that did not know these columns: it goes on without.

    The `z` of these versions had no end, and goes on so, since a column means one thing in all its rows.
    """
    try:
        with table.open(newline="", encoding="utf-8") as stream:
            line = stream.readline()
    except OSError:
        return False
    header = next(csv.reader([line]), [])
    return line.endswith("\n") and header[:1] == ["id"] and UNLIKE[0] not in header  # one cut short is none
