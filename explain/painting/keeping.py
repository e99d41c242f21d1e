"""Images with their lesions, read once and kept on disk while a training lasts."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.errors import AnomalyError, CohortError, UnreadableImage
from anomaly.files import write_whole
from anomaly.images.caching import AHEAD
from anomaly.images.labels import Labels
from anomaly.images.preprocessing import Preprocessing
from anomaly.progress import progress
from anomaly.streams import ordered
from explain.painting.canvas import Canvas, open_canvas, refuse_whole
from explain.painting.cohort import CLASS, LESION, TISSUES

KINDS = {"images": np.float32, "lesions": np.uint8, "tissues": np.uint8}


@dataclass(frozen=True)
class Kept:
    """Images each at its own size: of each row of the table `slices` pictures or one volume.

    Args:
        table: id, path, subject, split, slices and whatever else.
        spaces: (rows, dims), the size of each.
        channels: of each image.
        arrays: flat, by `KINDS`.
        lost: how many of each part could not be used.
    """

    table: pd.DataFrame
    spaces: np.ndarray
    channels: int
    arrays: Mapping[str, np.ndarray]
    lost: Mapping[str, int]

    @classmethod
    def open(cls, folder: Path) -> "Kept":
        """Read what `keep` wrote."""
        texts = dict.fromkeys(("id", "subject", "path", LESION, CLASS, TISSUES), str)
        table = pd.read_csv(folder / "images.csv", dtype=texts, keep_default_na=False)
        facts = json.loads((folder / "images.json").read_text())
        arrays = {name: np.memmap(folder / f"{name}.raw", dtype=kind, mode="r") for name, kind in KINDS.items()}
        return cls(table, np.array(facts["spaces"]), facts["channels"], arrays, facts["lost"])

    @cached_property
    def offsets(self) -> np.ndarray:
        """Where each row begins, in pixels of one channel."""
        sizes = [prod(map(int, space)) * int(n) for space, n in zip(self.spaces, self.table["slices"], strict=True)]
        return np.concatenate([[0], np.cumsum(sizes)])

    @property
    def unreadable(self) -> int:
        """How many images were lost in all."""
        return sum(self.lost.values())

    @property
    def sliced(self) -> bool:
        """Whether they are slices of volumes."""
        return bool((self.table["slices"] > 1).any())

    def items(self, part: str | None = None) -> list[tuple[int, int]]:
        """Row and slice of each picture (or volume) of one part of the split, or of all."""
        rows = range(len(self.table)) if part is None else np.flatnonzero((self.table["split"] == part).to_numpy())
        return [(int(row), s) for row in rows for s in range(int(self.table["slices"].iloc[row]))]

    def arrays_of(self, row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Image (S, C, *space), lesions and tissues (S, *space) of a row."""
        space, slices = tuple(map(int, self.spaces[row])), int(self.table["slices"].iloc[row])
        start, end = (int(each) for each in self.offsets[row : row + 2])
        c = self.channels
        lesions, tissues = (self.arrays[name][start:end].reshape(slices, *space) for name in ("lesions", "tissues"))
        return self.arrays["images"][start * c : end * c].reshape(slices, c, *space), lesions, tissues


def keep(
    cohort: pd.DataFrame,
    preprocessing: Preprocessing,
    names: Sequence[str],
    classes: Labels | None,
    tissues: Labels | None,
    folder: Path,
    *,
    window: Sequence[int] = (),
    workers: int | None = None,
) -> None:
    """Read every image once into a folder; those that cannot be used are named in `errors.csv` beside it.

    Nothing is done where all is there already. Arguments as of `open_canvas`; images smaller than a window, where it is
    given, cannot be used.

    Raises:
        CohortError: no image can be used.
        AnomalyError: images have other numbers of channels than the first.
    """
    if (folder / "images.json").exists():
        return
    (folder.parent / "errors.csv").unlink(missing_ok=True)
    rows: list[Any] = cohort.to_dict("records")
    kept, failed, spaces = list[dict[str, Any]](), list[dict[str, Any]](), list[list[int]]()
    lost: Counter[str] = Counter()
    streams = {name: open(folder / f"{name}.raw", "wb") for name in KINDS}
    channels = 0
    try:
        with progress("reading images", len(rows), unit="images") as bar:
            read = opened(rows, preprocessing, names, classes, tissues, workers, window)
            for row, found in zip(rows, read, strict=True):
                bar.advance()
                if isinstance(found, UnreadableImage):
                    failed.append({"id": row["id"], "path": row["path"], "error": str(found)})
                    lost[row["split"]] += 1
                    continue
                channels = channels or found.x.shape[1]
                if found.x.shape[1] != channels:
                    raise AnomalyError(f"{row['path']}: has {found.x.shape[1]} channels, the first image {channels}")
                for name, values in zip(KINDS, (found.x, found.lesions, found.tissues), strict=True):
                    streams[name].write(np.ascontiguousarray(values, dtype=KINDS[name]).tobytes())
                kept.append({**row, "slices": len(found.x)})
                spaces.append(list(found.x.shape[2:]))
    finally:
        for stream in streams.values():
            stream.close()
    if failed:
        write_whole(folder.parent / "errors.csv", pd.DataFrame(failed).to_csv(index=False))
    if not kept:
        raise CohortError(f"none of the {len(rows)} images can be used; the first: {failed[0]['error']}")
    write_whole(folder / "images.csv", pd.DataFrame(kept).to_csv(index=False))
    write_whole(folder / "images.json", json.dumps({"spaces": spaces, "channels": channels, "lost": lost}))


def opened(
    rows: Sequence[Mapping[str, Any]],
    preprocessing: Preprocessing,
    names: Sequence[str],
    classes: Labels | None,
    tissues: Labels | None,
    workers: int | None = None,
    window: Sequence[int] = (),
) -> Iterator[Canvas | UnreadableImage]:
    """Canvases of rows, in parallel and in order, or why there is none."""

    def one(row: Mapping[str, Any]) -> Canvas | UnreadableImage:
        try:
            found = open_canvas(row, preprocessing, names, classes, tissues)
            refuse_whole(found.lesions, found.image.path)
            if any(side < of for side, of in zip(found.x.shape[2:], window, strict=False)):
                told = " x ".join(map(str, window))
                raise UnreadableImage(f"{row['path']}: is smaller than the painter's windows of {told}; leave it out")
        except UnreadableImage as error:
            return error
        return found

    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        yield from ordered(pool, one, rows, ahead=AHEAD)
