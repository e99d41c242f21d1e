"""How well each map finds what a mask or a healthy twin shows, beside maps that take no method: image by image."""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from anomaly.errors import EvaluationError, UnreadableImage
from anomaly.evaluation.floors import ALIKE, DARK, MAP, RAW, standing
from anomaly.evaluation.truths import same
from anomaly.images import Image, read
from anomaly.progress import progress
from anomaly.statistics import thresholds
from explain.evaluating.truths import Truth
from explain.measures import metrics

BLURRED, MEAN, CENTRE = "map, blurred", "mean difference", "centre"
FLOORS = (MEAN, RAW, DARK, CENTRE, BLURRED, ALIKE)
EITHER_WAY = (RAW, CENTRE)
"""Floors that do not know which way disease changes an image: their correlation counts the way that tells more."""
SIGNS = ("absolute", "positive", "negative")
BLUR, MIDDLE = 0.05, 0.25
"""Widths (standard deviations) of the blur and of the centred Gaussian, as a share of the smallest side."""


def map_of(folder: Path, files: str) -> Image:
    """The map (1, *space) among the files of a row.

    Raises:
        EvaluationError: there is none.
        UnreadableImage: it cannot be read.
    """
    name = next((each for each in files.split(";") if each.endswith("_map.nii.gz")), None)
    if name is None or not (folder / name).is_file():
        raise EvaluationError("its map is not there; explain it again with --outputs nifti")
    return read(folder / name)


def measured(
    table: pd.DataFrame, home: Path, truth: Truth, *, sign: str, threshold: float, notes: list[str]
) -> pd.DataFrame:
    """Figures of each case by map or floor: id, subject, map, and what can be said of it.

    Args:
        table: id, subject, path, files, label (1 case, 0 control, NaN unknown), and the columns of the cohort.
        home: the folder of the explanations.
        truth: where masks and twins are.
        sign: of the map that counts as evidence.
        threshold: of the map, for Dice.
        notes: what is left out is added.

    Raises:
        EvaluationError: no case has a map, and a mask or a twin that says something.
    """
    means = _means(table, notes)
    rows: list[dict[str, Any]] = []
    lost: list[str] = []
    silent = 0
    cases = table[table["label"] != 0].to_dict("records")
    with progress("judging maps", len(cases), unit="images") as bar:
        for row in cases:
            bar.advance()
            try:
                told = list(_of_one({str(k): v for k, v in row.items()}, home, truth, means, sign, threshold))
            except (EvaluationError, UnreadableImage, OSError) as error:
                lost.append(f"{row['id']}: {error}")
                continue
            rows += told
            silent += not told
    if lost:
        notes.append(f"{len(lost)} images were left out of the quality of maps; the first: {lost[0]}.")
    if not rows:
        raise EvaluationError(
            lost[0]
            if lost
            else "no case has a marked pixel or a twin that differs; look at the files in the column, and at the flags "
            "or labels asked for"
        )
    if silent:
        notes.append(f"{silent} images have no marked pixel and no twin that differs; of their maps nothing is said.")
    return pd.DataFrame(rows)


def _of_one(
    row: Mapping[str, Any], home: Path, truth: Truth, means: "Means | None", sign: str, threshold: float
) -> Iterator[dict[str, Any]]:
    image = read(Path(row["path"]))
    mask, true = truth.of(row, image)
    if mask is None and true is None:
        return
    found = map_of(home, str(row["files"]))
    same(found, image, f"{found.path}: the map of {row['id']}")
    map, grey, width = found.pixels[0], image.pixels.mean(0), BLUR * min(found.space)
    evidence = _evidence(map, sign)
    # Of each its evidence, for masks, and its values as they are, for twins.
    maps = {
        MAP: (evidence, map),
        BLURRED: (ndimage.gaussian_filter(evidence, width), ndimage.gaussian_filter(map, width)),
        RAW: (grey - grey.min(),) * 2,
        DARK: (grey.max() - grey, None),  # against a twin it is the raw image the other way round
        CENTRE: (_centre(map.shape),) * 2,
        ALIKE: (np.ones(map.shape, np.float32),) * 2,
    }
    if means is not None:
        mean = means.of_others(str(row["subject"]))
        maps[MEAN] = (_evidence(mean, sign), mean)
    pixels = int(np.count_nonzero(evidence >= threshold))
    for name, (by_mask, by_twin) in maps.items():
        told: dict[str, Any] = {}
        if mask is not None:
            told |= _by_mask(by_mask, mask)
            told["dice"] = (
                float(metrics.dice_at(by_mask[None], mask[None], threshold)[0])
                if name == MAP
                else thresholds.of_highest(by_mask, mask, pixels)
            )
        if mask is not None and name == MAP:
            told |= _sizes(map, mask)
        if true is not None and by_twin is not None:
            told |= {"ncc": float(metrics.ncc(by_twin[None], true[None])[0])}
            told |= {"absolute_ncc": float(metrics.absolute_ncc(by_twin[None], true[None])[0])}
        if told:
            yield {"id": row["id"], "subject": row["subject"], "map": name, **told}


def _by_mask(evidence: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    values, marked = evidence[None], mask[None]
    precision, auroc = thresholds.of_one(evidence, mask)
    told = {
        "pointing_game": metrics.pointing_game(values, marked),
        "relevance_mass": metrics.relevance_mass(values, marked),
    }
    found = {"average_precision": precision, "auroc": auroc, "prevalence": float(mask.mean())}
    return found | {key: float(value[0]) for key, value in told.items()}


def _sizes(map: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Mean size of a map inside the mask and outside."""
    nothing, sides = np.zeros_like(map), {"inside": mask, "outside": ~mask}
    return {name: float(metrics.proximity(map[None], nothing[None], side[None])[0]) for name, side in sides.items()}


def _evidence(map: np.ndarray, sign: str) -> np.ndarray:
    return {"absolute": np.abs(map), "positive": map, "negative": -map}[sign]


def _centre(shape: tuple[int, ...]) -> np.ndarray:
    """A Gaussian in the middle of the image."""
    places = np.meshgrid(*(np.arange(side) - (side - 1) / 2 for side in shape), indexing="ij", sparse=True)
    distance = sum(place**2 for place in places)
    bell: np.ndarray = np.exp(-distance / (2 * (MIDDLE * min(shape)) ** 2))
    return bell


@dataclass(frozen=True)
class Means:
    """Mean images of cases and controls in two halves of the subjects, so that nobody has a say in their own floor."""

    difference: tuple[np.ndarray, np.ndarray]

    def of_others(self, subject: str) -> np.ndarray:
        """Mean case minus mean control of the half that the subject is not in."""
        return self.difference[1 - half_of(subject)]


def half_of(subject: str) -> int:
    """Which half of the subjects this one is in; it depends on the name alone."""
    return zlib.crc32(subject.encode()) % 2


def _means(table: pd.DataFrame, notes: list[str]) -> Means | None:
    """The floor that knows the population; None, with a note, where there is no such thing."""
    sums: dict[tuple[int, int], np.ndarray] = {}
    counts: dict[tuple[int, int], int] = {}
    for row in table[table["label"].notna()].itertuples():
        try:
            image = standing(read(Path(str(row.path))).pixels.mean(0, dtype=np.float64))
        except (UnreadableImage, OSError):
            continue
        key = (half_of(str(row.subject)), int(row.label))  # type: ignore[arg-type]
        if sums and image.shape != next(iter(sums.values())).shape:
            notes.append("Images differ in size, so there is no mean difference to hold beside.")
            return None
        sums[key] = sums.get(key, 0) + image
        counts[key] = counts.get(key, 0) + 1
    if len(sums) < 4:
        notes.append("There is no mean difference to hold beside: that takes cases and controls of several persons.")
        return None
    means = {key: sums[key] / counts[key] for key in sums}
    return Means((means[0, 1] - means[0, 0], means[1, 1] - means[1, 0]))
