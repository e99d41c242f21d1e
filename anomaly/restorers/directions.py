"""Which way slices lie, in words a reader of images has: axes are counted after a volume was turned."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from anomaly.degradations.base import Degradation
from anomaly.degradations.fourier import KSpace
from anomaly.degradations.slices import Slices
from anomaly.errors import UnreadableImage
from anomaly.images import Image, read
from anomaly.images.preprocessing import Preprocessing
from anomaly.restorers.scales import laid_out

logger = logging.getLogger(__name__)
NAMES = {"R": "left-right", "A": "posterior-anterior", "S": "inferior-superior"}
"""The directions of x, y and z of a scanner, whichever end an axis points to."""


def tell_direction(
    cohort: pd.DataFrame, degradation: Degradation | None, preprocessing: Preprocessing, *, poor: bool = False
) -> None:
    """Log which way the slices of volumes lie that a degradation takes, and how far apart they are before and after.

    Args:
        cohort: of images; the first that can be read is looked at.
        degradation: what is undone; nothing is said of one that knows no slices.
        preprocessing: how volumes are turned.
        poor: the images have lost slices already, and are to get finer.
    """
    if preprocessing.dims != 3 or not isinstance(degradation, Slices | KSpace):
        return
    for path in cohort["path"]:
        try:
            told = direction(read(Path(path)), degradation, preprocessing, poor=poor)
        except UnreadableImage:  # which is told where all are read
            continue
        logger.info("%s (by %s)", told, Path(path).name)
        return


def direction(image: Image, degradation: Slices | KSpace, preprocessing: Preprocessing, *, poor: bool = False) -> str:
    """The words for one volume, arguments as of `tell_direction`; millimetres where its file tells them."""
    prepared = laid_out(image, preprocessing)
    axis = degradation.axis
    steps = image.affine[:3, :3] @ prepared.matrix[:3, :3]  # mm in the body along each axis as the network has it
    along = steps[:, axis]
    name = NAMES["RAS"[int(np.abs(along).argmax())]]
    where = f"axis {axis} of volumes turned to {preprocessing.orientation}"
    if preprocessing.orientation == "keep":
        where = f"axis {axis} of the file"
    if isinstance(degradation, KSpace):
        return f"slices along {name} ({where}), each with k-space of its own"
    share = f"the mean of {degradation.factor}" if degradation.thick else f"one of {degradation.factor} kept"
    if not image.placed:
        return f"slices along {name} ({where}), {share}"
    mm = float(np.linalg.norm(along))
    after = mm / degradation.factor if poor else mm * degradation.factor
    return f"slices along {name} ({where}), {share}: from {mm:.3g} to {after:.3g} mm"
