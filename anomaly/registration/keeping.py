"""Images that registration learns from: laid roughly on one another, prepared, and kept on disk while it learns."""

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.errors import AnomalyError, CohortError, UnreadableImage
from anomaly.files import write_whole
from anomaly.images import Image, read
from anomaly.images.caching import CachedImages
from anomaly.images.image import alone
from anomaly.images.masking import masked
from anomaly.images.prepared import scaled
from anomaly.images.preprocessing import Preprocessing
from anomaly.progress import progress
from anomaly.registrars.linear import linear
from anomaly.registrars.transforms import Transform
from anomaly.registration.counting import in_box_of, together
from anomaly.registration.pairing import CHOOSE, TRAIN, UNTOUCHED
from anomaly.streams import ordered
from anomaly.training.batches import Batches

AHEAD = 16
TEXTS = {"id": str, "subject": str, "path": str, "mask": str, "onto": str, "onto_mask": str, "group": str}


class VisitBatches:
    """Batches of (later, earlier) images of persons, the content of each following from its number alone.

    Args:
        images: (2 n, C, *space), later and earlier image of each pair in turn.
        asked: as `Batches` takes it.
    """

    def __init__(self, images: np.ndarray, **asked: Any) -> None:
        self.pairs = Batches(images.reshape(len(images) // 2, 2, *images.shape[1:]), **asked)

    def __getitem__(self, k: int) -> tuple[Any, Any]:
        """Batch number k of moving and of fixed images."""
        both = self.pairs[k]
        return both[:, 0], both[:, 1]


def keep_images(
    rows: pd.DataFrame, preprocessing: Preprocessing, folder: Path, *, seed: int = 0, workers: int | None = None
) -> None:
    """Read every image once, lay it on the one it belongs on, prepare it, and write all into one array on disk.

    What cannot be used is named in `errors.csv` beside the folder, and left out with the rest of its group. Nothing is
    done where all is there already. `CachedImages.open` reads it.

    Args:
        rows: as `Pairing.parted` gives them.
        preprocessing: how images become tensors.
        folder: gets the files.
        seed: of the start.
        workers: threads; None takes one a core.

    Raises:
        CohortError: no image to learn from, or none that was held out, can be used; or they have different shapes.
    """
    if (folder / "images.json").exists():
        return
    (folder.parent / "errors.csv").unlink(missing_ok=True)
    order: list[Any] = rows.sort_values("split", kind="stable").to_dict("records")
    found: list[np.ndarray | UnreadableImage] = []
    with (
        ThreadPoolExecutor(workers or os.cpu_count()) as pool,
        progress("reading images", len(order), unit="images") as bar,
    ):
        groups = [list(rows) for _, rows in groupby(order, lambda row: (row["split"], row["group"]))]
        for each in ordered(pool, lambda rows: _ready(rows, preprocessing, seed), groups, ahead=AHEAD):
            bar.advance(len(each))
            found.extend(each)
    lost = _told(folder.parent, order, found)
    kept = [(row, x) for row, x in zip(order, found, strict=True) if row["group"] not in lost]
    _refuse_unlike([(row, x) for row, x in kept if isinstance(x, np.ndarray)], len(order), found)
    with open(folder / "images.raw", "wb") as raw:
        for _, pixels in kept:
            raw.write(np.asarray(pixels).tobytes())
    write_whole(folder / "images.csv", pd.DataFrame([{**row, "slices": 1} for row, _ in kept]).to_csv(index=False))
    shape = [len(kept), *np.asarray(kept[0][1]).shape]
    parts = Counter(row["split"] for row in order if row["group"] in lost and row["split"] != UNTOUCHED)
    write_whole(folder / "images.json", json.dumps({"shape": shape, "lost": parts}))


def kept_images(folder: Path) -> CachedImages:
    """What `keep_images` wrote."""
    images = CachedImages.open(folder)
    return replace(images, table=pd.read_csv(folder / "images.csv", dtype=TEXTS, keep_default_na=False))


def _told(out: Path, rows: list[Any], found: list[np.ndarray | UnreadableImage]) -> set[str]:
    """Name what cannot be used in `errors.csv`, each once; gives the groups that are lost by it."""
    failed = [(row, each) for row, each in zip(rows, found, strict=True) if isinstance(each, UnreadableImage)]
    told = [{"id": row["id"], "path": row["path"], "error": str(each)} for row, each in failed]
    if told:
        table = pd.DataFrame(told).drop_duplicates(["id", "error"])
        write_whole(out / "errors.csv", table.to_csv(index=False))
    return {row["group"] for row, _ in failed}


def _refuse_unlike(kept: list[tuple[Any, np.ndarray]], asked: int, found: list[Any]) -> None:
    parts = {row["split"] for row, _ in kept}
    for part in (TRAIN, CHOOSE):
        if part not in parts:
            error = next((str(each) for each in found if isinstance(each, UnreadableImage)), "there are too few")
            raise CohortError(f"of {asked} images none is left in the part {part!r}; the first that failed: {error}")
    shape = kept[0][1].shape
    for row, pixels in kept:
        if pixels.shape != shape:
            raise CohortError(
                f"{row['path']} has shape {pixels.shape}, images before it {shape} (C, *space); give one --size for all"
            )


def _ready(rows: Sequence[Mapping[str, Any]], preprocessing: Preprocessing, seed: int) -> list[Any]:
    """The pixels (C, *size) of each image of a group on the one it belongs on, or why it cannot be used."""
    laid = [_tried(partial(_laid, row, seed)) for row in rows]
    if any(isinstance(each, UnreadableImage) for each in laid):
        return laid  # the rest of the group is left out with it
    counting = _tried(partial(_counting, laid, rows, preprocessing.mask == "given"))
    if isinstance(counting, UnreadableImage):
        return [counting] * len(rows)
    return [_tried(partial(_prepared, image, preprocessing)) for image in counting]


def _tried(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except UnreadableImage as error:
        return error


def _laid(row: Mapping[str, Any], seed: int) -> Image:
    return started(masked(read(Path(row["path"])), row.get("mask")), row, seed)


def _counting(images: Sequence[Image], rows: Sequence[Mapping[str, Any]], of_masks: bool) -> list[Image]:
    """Images of which counts what will count in use: of two visits the same, of any two what lies in one box."""
    if rows[0]["split"] == UNTOUCHED or (of_masks and any(each.mask is None for each in images)):
        return list(images)
    if len(images) > 1:
        return together(images, of_masks)
    return [in_box_of(images[0], rows[0]["onto_mask"]) if of_masks else images[0]]


def _prepared(image: Image, preprocessing: Preprocessing) -> np.ndarray:
    ready = alone(image.path, lambda: scaled(preprocessing.apply(image), image.path))
    if ready.sliced is not None:
        raise UnreadableImage(f"{image.path}: is a volume, which slices cannot be brought onto; give --dims 3")
    return np.ascontiguousarray(ready.pixels[0], dtype=np.float32)


def started(image: Image, row: Mapping[str, Any], seed: int) -> Image:
    """An image moved as a whole onto the one that its row names, its mask with it; as it is where it names none.

    Raises:
        UnreadableImage: the other one cannot be read, or nothing was found.
    """
    if not row.get("onto"):
        return image
    fixed = masked(read(Path(row["onto"])), row.get("onto_mask"))
    try:
        matrix = linear(image, fixed, row["start"], seed=seed)
        return Transform.linear(matrix, image, fixed).image(image)
    except UnreadableImage:
        raise
    except AnomalyError as error:
        raise UnreadableImage(str(error)) from error
