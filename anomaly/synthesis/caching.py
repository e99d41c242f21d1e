"""Images and label maps read and prepared once, kept on disk while a training lasts."""

import json
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from anomaly.errors import CohortError, UnreadableImage
from anomaly.files import write_whole
from anomaly.images.caching import CachedImages
from anomaly.images.labels import Labels
from anomaly.images.preprocessing import Preprocessing
from anomaly.progress import progress
from anomaly.streams import ordered
from anomaly.synthesis.reading import read_pair
from anomaly.training.batches import Batches

AHEAD = 64
PLACES = "places.raw"


@dataclass(frozen=True)
class CachedMaps:
    """Prepared images on disk with the places of their classes, (n, *space) uint8, both memory maps."""

    images: CachedImages
    places: np.ndarray

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read what `cache_maps` wrote."""
        images = CachedImages.open(folder)
        shape = (images.pixels.shape[0], *images.pixels.shape[2:])
        return cls(images, np.memmap(folder / PLACES, dtype=np.uint8, mode="r", shape=shape))

    def part(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Images and places of one part of the split, as views.

        Raises:
            CohortError: none of them could be read.
        """
        pixels, table = self.images.part(name), self.images.table
        rows = np.flatnonzero((table["split"] == name).to_numpy())
        start = int(table["slices"].to_numpy()[: rows[0]].sum())
        return pixels, self.places[start : start + len(pixels)]

    def persons(self, name: str, labels: Labels) -> dict[str, int]:
        """How many subjects of one part of the split have any of each class.

        Raises:
            CohortError: none of them could be read.
        """
        _, places = self.part(name)
        table = self.images.table
        rows = table[table["split"] == name]
        having: dict[int, set[str]] = {place: set() for place in range(1, labels.count)}
        ends = rows["slices"].astype(int).cumsum()
        for subject, end, count in zip(rows["subject"], ends, rows["slices"].astype(int), strict=True):
            for place in np.unique(places[end - count : end]):
                having.get(int(place), set()).add(str(subject))
        return {each: len(having[place]) for place, each in enumerate(labels.names, start=1)}


def cache_maps(
    cohort: pd.DataFrame, preprocessing: Preprocessing, labels: Labels, folder: Path, *, workers: int | None = None
) -> None:
    """Read and prepare every image and its label map once, in parallel; nothing where that was done.

    Those that cannot be used are named in `errors.csv` beside the folder and left out.

    Raises:
        CohortError: none can be read, or images come out in several shapes.
    """
    if (folder / "images.json").exists():
        return
    (folder.parent / "errors.csv").unlink(missing_ok=True)
    rows: list[Any] = cohort.sort_values("split", kind="stable").to_dict("records")
    kept, failed, lost = list[dict[str, Any]](), list[dict[str, Any]](), Counter[str]()
    shape: tuple[int, ...] = ()
    work = partial(_ready, preprocessing=preprocessing, labels=labels)
    with (
        open(folder / "images.raw", "wb") as raw,
        open(folder / PLACES, "wb") as places,
        ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool,
        progress("reading images and label maps", len(rows), unit="images") as bar,
    ):
        for row, found in zip(rows, ordered(pool, work, rows, ahead=AHEAD), strict=True):
            bar.advance()
            if isinstance(found, UnreadableImage):
                failed.append({"id": row["id"], "path": row["path"], "error": str(found)})
                lost[row["split"]] += 1
                continue
            pixels, of_pixels = found
            shape = shape or pixels.shape[1:]
            if pixels.shape[1:] != shape:
                raise CohortError(
                    f"{row['path']} has shape {pixels.shape[1:]}, images before it {shape} (C, *space); "
                    "give one --size for all"
                )
            raw.write(np.ascontiguousarray(pixels, dtype=np.float32).tobytes())
            places.write(np.ascontiguousarray(of_pixels).tobytes())
            kept.append({**row, "slices": len(pixels)})
    if failed:
        write_whole(folder.parent / "errors.csv", pd.DataFrame(failed).to_csv(index=False))
    if not kept:
        raise CohortError(f"none of the {len(rows)} images can be used; the first: {failed[0]['error']}")
    write_whole(folder / "images.csv", pd.DataFrame(kept).to_csv(index=False))
    write_whole(
        folder / "images.json", json.dumps({"shape": [sum(row["slices"] for row in kept), *shape], "lost": lost})
    )


class MappedBatches:
    """Batch k -> images (N, C, *space) and places (N, *space), as `Batches` chooses them."""

    def __init__(
        self, pixels: np.ndarray, places: np.ndarray, *, size: int, seed: int, share: tuple[int, int] = (0, 1)
    ) -> None:
        self.places = places
        self.order = Batches(np.arange(len(pixels), dtype=np.float64)[:, None], size=size, seed=seed, share=share)
        self.pixels = pixels

    def __getitem__(self, k: int) -> tuple[Tensor, Tensor]:
        """Batch number k."""
        chosen = self.order[k][:, 0].long().numpy()
        x = torch.from_numpy(np.array(self.pixels[chosen], dtype=np.float32))
        return x, torch.from_numpy(np.array(self.places[chosen], dtype=np.int64))


def _ready(
    row: dict[str, Any], *, preprocessing: Preprocessing, labels: Labels
) -> tuple[np.ndarray, np.ndarray] | UnreadableImage:
    try:
        return read_pair(row, preprocessing, labels)[:2]
    except UnreadableImage as error:
        return error
