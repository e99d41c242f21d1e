"""The table of tissues that a user gives: class, amplitude, density, attenuation, and perhaps reflection."""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.cohorts.masks import COLUMN as MASK
from anomaly.cohorts.results import some
from anomaly.errors import AnomalyError, UnreadableImage
from anomaly.images import read
from anomaly.images.image import alone
from anomaly.images.labels import Labels
from anomaly.images.masking import masked
from anomaly.images.preprocessing import Preprocessing
from anomaly.painters.tissues import SOFT, Tissue, tissues_of
from anomaly.painters.ultrasound import Ultrasound
from anomaly.runs.units import APART, LOOKED_AT, sides
from anomaly.training.batches import evenly

logger = logging.getLogger(__name__)
NUMBERS = ("amplitude", "density", "attenuation", "reflection")


def read_tissues(path: Path) -> dict[str, Tissue]:
    """Tissues by the name of their class, from a CSV or JSON file with a row, or an object, for each.

    `class` is its name (`background` among them); `amplitude`, `density` (a square millimetre), `attenuation` (dB a
    centimetre and megahertz) and `reflection` may be left out or empty, and are then those of soft tissue.

    Raises:
        AnomalyError: it cannot be read, lacks the class, names one twice, or holds what is no number.
    """
    try:
        if path.suffix.lower() == ".json":
            table = pd.DataFrame(json.loads(path.read_text(encoding="utf-8")))
        else:
            table = pd.read_csv(path, dtype={"class": str})
    except (OSError, ValueError, TypeError) as error:
        raise AnomalyError(f"{path} cannot be read as a table of tissues: {error}") from error
    if "class" not in table or not len(table):
        raise AnomalyError(f"{path}: expected rows with class, {', '.join(NUMBERS)}; got {some(table.columns)}")
    if strange := [str(name) for name in table.columns if name not in ("class", *NUMBERS)]:
        raise AnomalyError(f"{path}: has the column {strange[0]!r}; expected class, {', '.join(NUMBERS)}")
    names = [str(name).strip() for name in table["class"]]
    if twice := [name for name in names if names.count(name) > 1]:
        raise AnomalyError(f"{path}: names the class {twice[0]!r} twice")
    rows: list[Any] = table.to_dict("records")
    return {name: _tissue(row, path, name) for name, row in zip(names, rows, strict=True)}


def _tissue(row: Mapping[str, Any], path: Path, name: str) -> Tissue:
    found = {}
    for key in NUMBERS:
        cell = row.get(key)
        if cell is None or (isinstance(cell, float) and math.isnan(cell)):
            continue
        try:
            found[key] = float(cell)
        except (TypeError, ValueError):
            raise AnomalyError(f"{path}: {key} of {name} is {cell!r}; expected a number") from None
    return Tissue(**found)


def tissues_told(names: Sequence[str], given: Mapping[str, Tissue] | None) -> list[Tissue]:
    """A tissue for the background and each class, with a warning where nothing is known of a name."""
    tissues, unknown = tissues_of(names, given)
    if unknown:
        logger.warning(
            "nothing is known of how %s scatters ultrasound; soft tissue is taken (%s): name classes by --classes, or "
            "give --tissues",
            some(unknown, 6), SOFT,
        )  # fmt: skip
    return tissues


def place_probe(
    method: Ultrasound,
    asked: Mapping[str, Any],
    labels: Labels,
    tissues: Mapping[str, Tissue] | None,
    cohort: pd.DataFrame,
    preprocessing: Preprocessing,
) -> None:
    """Fill in what the settings do not say: tissues of the classes, millimetres of a pixel, which way images are shown.

    Up to 8 images of the cohort are read. Where their files tell no millimetres, the settings stand.
    """
    if not method.tissues:
        method.tissues = as_setting(labels.names, tissues)
    told, kinds = list[tuple[float, float]](), set[bool]()
    for row in cohort.iloc[evenly(len(cohort), LOOKED_AT)].to_dict("records"):
        try:
            image = masked(read(Path(row["path"])), row.get(MASK) if preprocessing.mask == "given" else None)
            size = sides(image, alone(image.path, partial(preprocessing.apply, image)))
        except UnreadableImage:
            continue  # is told where it is read to be learned from
        kinds.add(image.kind != "picture")
        told += [] if size is None else [size]
    if "turned" not in asked and kinds:
        method.turned = True in kinds
    if not told:
        logger.info("files tell no millimetres; a pixel of the prepared images is taken to be %g mm", method.pixel)
        return
    down, across = np.median(told, axis=0)
    if not {"pixel", "across"} & set(asked):
        method.pixel, method.across = float(np.round(down, 4)), float(np.round(across, 4))
    used = np.array([method.pixel, method.across or method.pixel])
    if other := [each for each in told if np.abs(np.array(each) / used - 1).max() > APART]:
        logger.warning(
            "speckle is drawn for pixels of %.3g x %.3g mm, and %d of %d images looked at have others once prepared "
            "(%.3g to %.3g mm): give one --spacing, or --set pixel and across",
            *used, len(other), len(told), np.min(told), np.max(told),
        )  # fmt: skip


def as_setting(names: Sequence[str], given: Mapping[str, Tissue] | None) -> tuple[float, ...]:
    """The same as the setting `tissues` of the method "ultrasound"."""
    return tuple(getattr(each, key) for each in tissues_told(names, given) for key in NUMBERS)
