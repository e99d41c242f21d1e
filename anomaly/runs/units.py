"""Whether images have the units that a degradation takes for granted: what is black and white, and millimetres."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from anomaly.cohorts.masks import COLUMN as MASK
from anomaly.degradations.base import Degradation
from anomaly.degradations.photons import LowDose
from anomaly.detectors import Detector, RestoringDetector
from anomaly.errors import UnreadableImage
from anomaly.images import Image, read
from anomaly.images.image import alone
from anomaly.images.masking import masked
from anomaly.images.prepared import Prepared
from anomaly.images.preprocessing import Preprocessing
from anomaly.training.batches import evenly

logger = logging.getLogger(__name__)
LOOKED_AT = 8
APART = 0.05
"""How far a spacing may lie from what was set, as a share of it, without a word."""


def undone(detector: Detector) -> Degradation | None:
    """What a detector takes from images; None where it takes nothing."""
    return detector.made if isinstance(detector, RestoringDetector) else None


def refuse_scale(degradation: Degradation | None, preprocessing: Preprocessing) -> None:
    """Say plainly when black and white are not what a degradation takes them for.

    Raises:
        AnomalyError: so.
    """
    if degradation is not None:
        degradation.refuse_scale(preprocessing.intensity, preprocessing.window)


def warn_of_spacing(degradation: Degradation | None, cohort: pd.DataFrame, preprocessing: Preprocessing) -> None:
    """Say so where a degradation reckons in millimetres, and the headers of images tell others; or takes CT for none.

    Some images of the table are read. Nothing is said where no header tells a spacing.

    Args:
        degradation: what is done to images.
        cohort: their table.
        preprocessing: how they come to the grid on which that is done.
    """
    if isinstance(degradation, LowDose) and not degradation.hounsfield:
        logger.info(
            "lowdose: images are not taken as CT, each pixel counts photons of its own; for CT give "
            '--set "hounsfield=(LOW,HIGH)" and --intensity window with the same two numbers'
        )
    if degradation is None or degradation.pixel is None:
        return
    some = cohort.iloc[evenly(len(cohort), LOOKED_AT)].to_dict("records")
    told = [each for each in (_told(row["path"], row.get(MASK), preprocessing) for row in some) if each]
    other = [each for each in told if max(abs(side / degradation.pixel - 1) for side in each) > APART]
    if not other:
        return
    low, high = np.min(told), np.max(told)
    theirs = f"{low:.3g}" if high - low < APART * low else f"{low:.3g} to {high:.3g}"
    logger.warning(
        "%s reckons with pixels of %.3g mm (spacing), but by their headers %d of %d images looked at have others: "
        "theirs are %s mm; paths, and so noise, grow with it: --set spacing=%.3g",
        degradation.name, degradation.pixel, len(other), len(told), theirs, np.median(told),
    )  # fmt: skip


def sides(image: Image, prepared: Prepared) -> tuple[float, float] | None:
    """The mm of a pixel along both axes of a prepared slice; None where the file tells none."""
    if not image.placed:
        return None
    dims = len(image.space)
    steps = np.linalg.norm(image.affine[:3, :dims] @ prepared.matrix[:dims, :dims], axis=0)
    first, second, *_ = steps if prepared.sliced is None else np.delete(steps, prepared.sliced)
    return float(first), float(second)


def _told(path: str | Path, mask: str | None, preprocessing: Preprocessing) -> tuple[float, float] | None:
    try:
        image = masked(read(Path(path)), mask if preprocessing.mask == "given" else None)
        return alone(image.path, lambda: sides(image, preprocessing.apply(image)))
    except UnreadableImage:  # which is told where all are read
        return None
