"""Images of any size, read once and kept on disk while a training lasts: one after another in one file."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from anomaly.degradations.base import Degradation
from anomaly.errors import AnomalyError, CohortError, UnreadableImage
from anomaly.files import write_whole
from anomaly.images import Image, read
from anomaly.images.caching import AHEAD
from anomaly.images.image import alone, same_grid
from anomaly.images.preprocessing import Preprocessing
from anomaly.progress import progress
from anomaly.restorers.degrading import by_what, chance, fitted, refuse_short
from anomaly.restorers.scales import OF_THE_IMAGE, Scale, laid_out, refuse_apart, refuse_beyond, scale_of
from anomaly.streams import ordered

GOOD = "good"
"""Column with the file of the good image of a pair."""


@dataclass(frozen=True)
class KeptImages:
    """Images on disk, each at its own size: `values` is a flat memory map.

    Of each row of the table there are `slices` pictures, or one volume, of one size, (slices, C, *space), scaled as
    good images are; where pairs were given, behind them as many poor ones. `scales` (rows, 2, C) says what a network
    is to see as -1 and 1 of these values.
    """

    values: np.ndarray
    table: pd.DataFrame
    offsets: np.ndarray
    spaces: np.ndarray
    scales: np.ndarray
    paired: bool
    lost: Mapping[str, int]

    @classmethod
    def open(cls, folder: Path) -> "KeptImages":
        """Read what `keep_images` wrote."""
        texts = {"id": str, "subject": str, "path": str, GOOD: str}
        table = pd.read_csv(folder / "images.csv", dtype=texts, keep_default_na=False)
        facts = json.loads((folder / "images.json").read_text())
        values = np.memmap(folder / "images.raw", dtype=np.float32, mode="r")
        scales, spaces = np.array(facts["scales"]), np.array(facts["spaces"])
        sizes = [prod(space) * slices for space, slices in zip(spaces, table["slices"], strict=True)]
        each = np.array(sizes) * scales.shape[2] * (2 if facts["paired"] else 1)
        offsets = np.concatenate([[0], np.cumsum(each)])
        return cls(values, table, offsets, spaces, scales, facts["paired"], facts["lost"])

    @property
    def channels(self) -> int:
        """Channels of each image."""
        return int(self.scales.shape[2])

    @property
    def unreadable(self) -> int:
        """How many images were lost in all."""
        return sum(self.lost.values())

    @property
    def sliced(self) -> bool:
        """Whether they are slices of volumes."""
        return bool((self.table["slices"] > 1).any())

    def part(self, name: str) -> list[tuple[int, int]]:
        """Row and slice of each picture (or volume) of one part of the split.

        Raises:
            CohortError: none of them could be read.
        """
        rows = np.flatnonzero((self.table["split"] == name).to_numpy())
        if not len(rows):
            raise CohortError(
                f"no readable image is left in the part {name!r}; give more of them, or mend those that errors.csv in "
                "the run folder names"
            )
        return [(int(row), s) for row in rows for s in range(int(self.table["slices"].iloc[row]))]

    def of(self, row: int) -> np.ndarray:
        """(1 or 2, slices, C, *space): the good image, and the poor one of a pair."""
        shape = (1 + self.paired, int(self.table["slices"].iloc[row]), self.channels, *map(int, self.spaces[row]))
        return self.values[self.offsets[row] : self.offsets[row + 1]].reshape(shape)


def keep_images(
    cohort: pd.DataFrame,
    preprocessing: Preprocessing,
    degradation: Degradation | None,
    folder: Path,
    *,
    workers: int | None = None,
) -> None:
    """Read every image once, in parallel, into one file, part by part of the split.

    Files that cannot be used are named in `errors.csv` beside the folder and left out. Nothing is done where all is
    there already.

    Args:
        cohort: id, path, subject, split; of pairs, the file of the good image as well, in the column `good`.
        preprocessing: what becomes -1 and 1, and which way volumes are taken apart.
        degradation: what will be done to them; None for pairs.
        folder: gets the files.
        workers: threads; None takes one a core.

    Raises:
        CohortError: no image can be read.
    """
    if (folder / "images.json").exists():
        return
    (folder.parent / "errors.csv").unlink(missing_ok=True)
    rows: list[Any] = cohort.sort_values("split", kind="stable").to_dict("records")
    kept: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    lost: Counter[str] = Counter()
    spaces: list[list[int]] = []
    scales: list[Any] = []
    with open(folder / "images.raw", "wb") as raw, progress("reading images", len(rows), unit="images") as bar:
        for row, found in zip(rows, _ready(rows, preprocessing, degradation, workers), strict=True):
            bar.advance()
            if isinstance(found, UnreadableImage):
                failed.append({"id": row["id"], "path": row["path"], "error": str(found)})
                lost[row["split"]] += 1
                continue
            pixels, scale = found
            raw.write(pixels.tobytes())
            kept.append({**row, "slices": pixels.shape[1]})
            spaces.append(list(pixels.shape[3:]))
            scales.append([scale.low.tolist(), scale.high.tolist()])
    if failed:
        write_whole(folder.parent / "errors.csv", pd.DataFrame(failed).to_csv(index=False))
    if not kept:
        raise CohortError(f"none of the {len(rows)} images can be used; the first: {failed[0]['error']}")
    write_whole(folder / "images.csv", pd.DataFrame(kept).to_csv(index=False))
    facts = {"spaces": spaces, "scales": scales, "paired": degradation is None, "lost": lost}
    write_whole(folder / "images.json", json.dumps(facts))


def first_readable(
    cohort: pd.DataFrame, preprocessing: Preprocessing, degradation: Degradation | None
) -> tuple[int, ...]:
    """(C, *space) of the first image of a table that can be read, once the degradation can take it.

    Raises:
        AnomalyError: it cannot.
        CohortError: none can be read.
    """
    error: UnreadableImage | None = None
    for row in cohort.to_dict("records"):
        try:
            image = read(Path(row["path"]))
            x = alone(image.path, partial(good, image, preprocessing))
            long_enough(image, x, degradation)
        except UnreadableImage as failed:
            error = error or failed
            continue
        return tuple(x.shape[1:]) if degradation is None else tuple(fitted(x, degradation).shape[1:])
    raise CohortError(f"none of the {len(cohort)} images can be read; the first: {error}")


def _ready(
    rows: list[dict[str, Any]], preprocessing: Preprocessing, degradation: Degradation | None, workers: int | None
) -> Iterator[tuple[np.ndarray, Scale] | UnreadableImage]:
    def one(row: dict[str, Any]) -> tuple[np.ndarray, Scale] | UnreadableImage:
        try:
            image = read(Path(row["path"]))
            return alone(image.path, lambda: _one(image, row, preprocessing, degradation))
        except UnreadableImage as error:
            return error

    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        yield from ordered(pool, one, rows, ahead=AHEAD)


def _one(
    image: Image, row: Mapping[str, Any], preprocessing: Preprocessing, degradation: Degradation | None
) -> tuple[np.ndarray, Scale]:
    """The values of an image, of a pair of both, with their scale."""
    if degradation is None:
        both, _ = pair_of(image, read(Path(row[GOOD])), preprocessing)
        return both, Scale.none(both.shape[2])
    x = suited(image, good(image, preprocessing), degradation)
    return x[None], scale_as_poor(image, x, preprocessing, degradation)


def good(image: Image, preprocessing: Preprocessing) -> np.ndarray:
    """A good image as it is learned: (S, C, *space), what becomes -1 and 1 by itself, the rest clipped."""
    laid = laid_out(image, preprocessing)
    x = scale_of(image, laid.pixels, preprocessing, laid.foreground).scaled(laid.pixels)
    refuse_beyond(image, x, preprocessing)
    return np.ascontiguousarray(x.clip(-1, 1))


def suited(image: Image, x: np.ndarray, degradation: Degradation) -> np.ndarray:
    """An image (S, C, *space) cropped to whole steps; UnreadableImage where it cannot be degraded like this."""
    long_enough(image, x, degradation)
    try:
        return fitted(x, degradation)
    except AnomalyError as error:
        raise UnreadableImage(f"{image.path}: {error}") from error


def long_enough(image: Image, x: np.ndarray, degradation: Degradation | None) -> None:
    """UnreadableImage where an image (S, C, *space) is shorter than a step of the degradation."""
    if degradation is None:
        return
    try:
        refuse_short(tuple(x.shape[2:]), degradation)
    except AnomalyError as error:
        raise UnreadableImage(f"{image.path}: {error}") from None


def scale_as_poor(
    image: Image, x: np.ndarray, preprocessing: Preprocessing, degradation: Degradation, seed: int = 0
) -> Scale:
    """What would become -1 and 1 of an image (S, C, *space) if it were seen as poor as it will be."""
    if preprocessing.intensity not in OF_THE_IMAGE:
        return Scale.none(x.shape[1])
    poor, counted = by_what(degradation, torch.from_numpy(x), chance(seed))
    return scale_of(image, poor, preprocessing, counted)


def pair_of(poor: Image, good_: Image, preprocessing: Preprocessing) -> tuple[np.ndarray, Scale]:
    """Good and poor image of a pair, (2, S, C, *space), both by the scale of the poor one, and that scale.

    With intensity "range" each is scaled by the limits of its own file, which may hold another number of bits.

    Raises:
        UnreadableImage: they lie on other grids, have other units, or do not suit the preprocessing.
    """
    if not same_grid(poor, good_):
        sizes = [" x ".join(map(str, each.space)) for each in (poor, good_)]
        raise UnreadableImage(
            f"{poor.path}: its good image {good_.path.name} lies on another grid ({sizes[0]} here, {sizes[1]} there, "
            "or elsewhere in space); resample one onto the other"
        )
    low, high = (laid_out(each, preprocessing) for each in (poor, good_))
    scale = scale_of(poor, low.pixels, preprocessing, low.foreground)
    ranged = preprocessing.intensity == "range"
    of_good = scale_of(good_, high.pixels, preprocessing, high.foreground) if ranged else scale
    both = np.stack([of_good.scaled(high.pixels), scale.scaled(low.pixels)])
    refuse_beyond(poor, both[1], preprocessing)
    refuse_apart(poor, good_, both[0][np.broadcast_to(high.foreground, both[0].shape)])
    return np.ascontiguousarray(both), scale
