"""How well each map finds what a mask or a healthy twin shows, beside maps that take no method: image by image."""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from scipy import ndimage

from anomaly.errors import EvaluationError, UnreadableImage
from anomaly.images import read
from explain import metrics

MAP, BLURRED, MEAN, RAW, CENTRE = "map", "map, blurred", "mean difference", "raw image", "centre"
FLOORS = (MEAN, RAW, CENTRE, BLURRED)
SIGNS = ("absolute", "positive", "negative")
BLUR, MIDDLE = 0.05, 0.25
"""Widths (standard deviations) of the blur and of the centred Gaussian, as a share of the smallest side."""


@dataclass(frozen=True)
class Truth:
    """Where the truth of each case is found, by column of the cohort; paths start from `folder`.

    Args:
        mask: files that are not 0 where the disease is.
        flags: of masks whose values are sums of flags, those that count.
        truth: files of the healthy image minus the case.
        twin: files of the healthy image.
    """

    folder: Path
    mask: str | None = None
    flags: int | None = None
    truth: str | None = None
    twin: str | None = None

    def of(self, row: Mapping[str, Any], image: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Mask (*space) bool and true map, case minus healthy (*space), of one image; None where there is none."""
        marked, true = self._read(row, self.mask), None
        if marked is not None:
            marked = marked.astype(np.int64) & self.flags != 0 if self.flags else marked != 0
        if (difference := self._read(row, self.truth)) is not None:
            true = -difference
        elif (twin := self._read(row, self.twin)) is not None:
            _same(twin.shape, image.shape, f"the twin of {row['id']}")
            true = image - twin
        return marked, true

    def _read(self, row: Mapping[str, Any], column: str | None) -> np.ndarray | None:
        named = row.get(column) if column else None
        if not isinstance(named, str) or not named:
            return None
        return read((self.folder / named).resolve()).pixels.mean(0)


def map_of(folder: Path, files: str) -> np.ndarray:
    """The map (*space) among the files of a row.

    Raises:
        EvaluationError: there is none.
    """
    name = next((each for each in files.split(";") if each.endswith("_map.nii.gz")), None)
    if name is None or not (folder / name).is_file():
        raise EvaluationError("its map is not there; explain it again with --outputs nifti")
    values = np.asarray(nib.Nifti1Image.from_filename(folder / name).dataobj, dtype=np.float32)
    return values[..., 0] if values.ndim == 3 and values.shape[2] == 1 else values


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
    """
    means = _means(table, notes)
    rows: list[dict[str, Any]] = []
    lost: list[str] = []
    for row in table[table["label"] != 0].to_dict("records"):
        try:
            rows += list(_of_one({str(k): v for k, v in row.items()}, home, truth, means, sign, threshold))
        except (EvaluationError, UnreadableImage, OSError) as error:
            lost.append(f"{row['id']}: {error}")
    if lost:
        notes.append(f"{len(lost)} images were left out of the quality of maps; the first: {lost[0]}.")
    if not rows:
        raise EvaluationError(lost[0] if lost else "no case has a marked pixel or a twin; name their column")
    return pd.DataFrame(rows)


def _of_one(
    row: Mapping[str, Any], home: Path, truth: Truth, means: "Means | None", sign: str, threshold: float
) -> Iterator[dict[str, Any]]:
    image = read(Path(row["path"])).pixels.mean(0)
    mask, true = truth.of(row, image)
    if (mask is None or not mask.any()) and true is None:
        return
    map = map_of(home, str(row["files"]))
    for each, what in ((mask, "mask"), (true, "truth")):
        if each is not None:
            _same(each.shape, map.shape, f"the {what} of {row['id']}")
    maps = {
        MAP: map,
        BLURRED: ndimage.gaussian_filter(map, BLUR * min(map.shape)),
        RAW: image,
        CENTRE: _centre(map.shape),
    }
    if means is not None:
        maps[MEAN] = means.of_others(str(row["subject"]))
    for name, values in maps.items():
        told = {"id": row["id"], "subject": row["subject"], "map": name}
        if mask is not None and mask.any():
            told |= _by_mask(_evidence(values, sign) if name in (MAP, BLURRED, MEAN) else values, mask, threshold, name)
        if true is not None:
            told |= {"ncc": float(metrics.ncc(values[None], true[None])[0])}
            told |= {"absolute_ncc": float(metrics.absolute_ncc(values[None], true[None])[0])}
        yield told


def _by_mask(evidence: np.ndarray, mask: np.ndarray, threshold: float, name: str) -> dict[str, float]:
    values, marked = evidence[None], mask[None]
    told = {
        "average_precision": metrics.pixel_average_precision(values, marked),
        "pointing_game": metrics.pointing_game(values, marked),
        "relevance_mass": metrics.relevance_mass(values, marked),
    }
    if name in (MAP, BLURRED):  # a threshold in the unit of the map says nothing of the others
        told["dice"] = metrics.dice_at(values, marked, threshold)
    return {key: float(value[0]) for key, value in told.items()} | {"prevalence": float(mask.mean())}


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
            image = read(Path(str(row.path))).pixels.mean(0, dtype=np.float64)
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


def _same(shape: tuple[int, ...], expected: tuple[int, ...], what: str) -> None:
    if shape != expected:
        raise EvaluationError(f"{what} has the shape {shape}, expected {expected}, that of the image")
