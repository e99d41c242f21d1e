"""Images to come, without labels, beside the normals of a training: a part of its table of their own."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from anomaly.cohorts.cohort import FILE_NAMES, fingerprint, read_cohort
from anomaly.cohorts.masks import COLUMN, NONE, Given, counting
from anomaly.detectors.base import ToCome
from anomaly.errors import AnomalyError
from anomaly.images.caching import CachedImages

PART = "unlabelled"
logger = logging.getLogger(__name__)


def listed(
    source: Path | str | pd.DataFrame | None,
    normals: pd.DataFrame,
    *,
    subject: str | None,
    subject_pattern: str | None,
    mask: Given = None,
) -> pd.DataFrame | None:
    """The unlabelled images of people who are not among the normals, a row an image, their `split` being `PART`.

    Args:
        source: a folder or a table; one that holds the normals as well gives all the others; None gives None.
        normals: their table, as `read_cohort` gives it.
        subject, subject_pattern, mask: see `read_cohort`; images have masks where the normals have.

    Raises:
        AnomalyError: nobody is left.
    """
    if source is None:
        return None
    masked = COLUMN in normals
    found = counting(
        read_cohort(source, subject=subject, subject_pattern=subject_pattern, mask=mask if masked else NONE)
    )
    if masked and COLUMN not in found:
        raise AnomalyError("the normals have masks, the unlabelled images have none; give them in the column mask")
    if found.attrs["subjects_from"] == FILE_NAMES != normals.attrs.get("subjects_from"):
        logger.warning(
            "nothing says whose the unlabelled images are, so people who are among the normals are not known by them; "
            "give a table with the same subjects, or --subject-pattern"
        )
    known = set(normals["subject"])
    new = found[~found["subject"].isin(known) & ~found["path"].isin(set(normals["path"]))].reset_index(drop=True)
    if new.empty:
        raise AnomalyError(
            f"all {len(found)} unlabelled images are of people whose images are among the normals; give --unlabelled "
            "images of others"
        )
    if len(new) < len(found):
        logger.info(
            "%d of %d unlabelled images are left out: their people are among the normals",
            len(found) - len(new), len(found),
        )  # fmt: skip
    return new[["id", "path", "subject", *([COLUMN] if masked else [])]].assign(split=PART)


def beside(normals: pd.DataFrame, unlabelled: pd.DataFrame | None) -> pd.DataFrame:
    """Both in one table, normals first."""
    if unlabelled is None:
        return normals
    return pd.concat([normals, unlabelled], ignore_index=True)


def facts(unlabelled: pd.DataFrame | None) -> dict[str, object] | None:
    """What the plan of a training keeps of them: how many, and which."""
    return None if unlabelled is None else {"images": len(unlabelled), "fingerprint": fingerprint(unlabelled)}


def to_come_of(images: CachedImages) -> ToCome:
    """The images to come among those that were read, whose they are, and whose the held-out normals are."""
    return ToCome(images.part(PART), _whose(images, PART), _whose(images, "choose"))


def _whose(images: CachedImages, part: str) -> np.ndarray:
    """The subject of each image of a part, as a number; of a volume, of each slice."""
    table = images.table[images.table["split"] == part]
    return np.repeat(pd.factorize(table["subject"])[0], table["slices"])


def only_normals(images: CachedImages) -> pd.DataFrame:
    """The table of the normals alone."""
    return images.table[images.table["split"] != PART].reset_index(drop=True)
