"""Which images have no lesions of their own, by what told a painter of lesions when it was trained."""

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pandas as pd

from anomaly.cohorts.labels import COLUMN, base_of, with_labels
from anomaly.errors import CohortError, UnreadableImage
from anomaly.images.image import alone
from anomaly.images.labels import read_labels
from anomaly.images.masking import read_mask
from anomaly.images.reading import read
from explain.painting.run import PainterRun

logger = logging.getLogger(__name__)


def healthy(
    cohort: pd.DataFrame, images: Path | str | pd.DataFrame, run: PainterRun, workers: int | None
) -> pd.DataFrame:
    """The images whose masks mark no lesion, by the column that the run was told of; all where there is none.

    A lesion that an image has of its own would stand in a new case unmarked. An image whose mask cannot be read is
    taken to have one.

    Raises:
        CohortError: all have lesions.
    """
    column = str(run.facts["lesions"]["given"])
    if column not in cohort:
        logger.warning(
            "no column %s says which of %d images have lesions of their own, which would be left unmarked beside those "
            "that are painted in; give images without, or fill in that column", column, len(cohort),
        )  # fmt: skip
        return cohort
    labelled = with_labels(cohort, column, base_of(images), "the table", missing="keep")
    masks = dict(zip(labelled["id"], labelled[COLUMN], strict=True))
    told = [(path, masks.get(name, "")) for name, path in zip(cohort["id"], cohort["path"], strict=True)]
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        ill = list(pool.map(partial(_ill, run), *zip(*told, strict=True)))
    if all(ill):
        raise CohortError(f"all {len(ill)} images have lesions by the column {column}; give some without")
    return cohort[[not each for each in ill]].reset_index(drop=True)


def _ill(run: PainterRun, path: str, mask: str) -> bool:
    if not mask:
        return False

    def marks() -> bool:
        image = read(Path(path))
        if run.classes is None:
            return bool(read_mask(Path(mask), image, 0).any())
        return bool(run.classes.places(read_labels(mask, image)).any())

    try:
        return alone(Path(path), marks)
    except (UnreadableImage, OSError):
        return True
