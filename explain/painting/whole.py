"""Figures of whole images: what differs outside of masks in files, and how near twins are to the truth."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch

from anomaly.errors import UnreadableImage
from anomaly.images import read
from anomaly.images.image import same_grid
from anomaly.painters.lesions import NORMAL, Holes
from anomaly.translation.figures import Figure, mean_of_subjects
from explain.painting.canvas import Canvas, open_canvas
from explain.painting.cohort import LESION, Lesions
from explain.painting.floors import FLOORS
from explain.painting.painting import crops, paint_image
from explain.painting.run import PainterRun
from explain.painting.stored import differing
from explain.painting.writing import write_painted

WRITTEN = 12
"""Images that are written and read again."""


@dataclass(frozen=True)
class Ill:
    """Images with lesions, opened one after another, so that one is in memory at a time.

    Args:
        run: says how they are opened.
        asked: where lesions are.
        table: of images that are known to open.
    """

    run: PainterRun
    asked: Lesions
    table: pd.DataFrame

    def __iter__(self) -> Iterator[tuple[Mapping[str, Any], Canvas]]:
        """Rows with their canvases."""
        rows: list[Any] = self.table[self.table[LESION] != ""].to_dict("records")
        for row in rows:
            found = open_canvas(row, self.run.preprocessing, self.run.names, self.asked.classes, self.run.tissues)
            if found.marked.any():
                yield row, found


def outside_kept(run: PainterRun, ill: Ill, seed: int) -> list[Figure]:
    """Share of pixels outside of masks that differ as stored, once an image was painted on and written."""
    shares, whose = list[float](), list[str]()
    with TemporaryDirectory() as folder:
        for row, canvas in islice(ill, WRITTEN):
            hole = canvas.marked > 0
            painted = _out(run, canvas, str(row["id"]), seed)
            values = canvas.values(canvas.change(painted), hole)
            written = write_painted(Path(folder) / f"{len(shares)}", canvas.image, values, hole)
            shares.append(float(differing(canvas.image, written)[~hole].mean()))
            whose.append(str(row["subject"]))
    note = "share of pixels outside of masks whose stored value differs in the file that was written"
    return [mean_of_subjects("changed_outside", "painted", np.array(shares), np.array(whose), note)]


def true_to_twins(run: PainterRun, ill: Ill, twin: str, base: Path, seed: int) -> list[Figure]:
    """How far what was painted out is off from how the image looks without, inside of masks, of a range of 2."""
    found: dict[str, list[float]] = {"painted": [], "unchanged": [], **{name: [] for name in FLOORS}}
    whose = []
    for row, canvas in ill:
        cell = row.get(twin)
        if not canvas.lesions.any() or pd.isna(cell) or not str(cell).strip():
            continue
        other = read(base / str(cell))
        if not same_grid(other, canvas.image):
            raise UnreadableImage(f"{other.path}: is the twin of {canvas.image.path.name} and lies on another grid")
        hole = canvas.marked > 0
        unit = float(canvas.scale.unit.mean())

        def off(
            values: np.ndarray, hole: np.ndarray = hole, true: np.ndarray = other.pixels, unit: float = unit
        ) -> float:
            return float(np.abs(values - true)[:, hole].mean() / unit)

        found["painted"].append(off(canvas.values(canvas.change(_out(run, canvas, str(row["id"]), seed)), hole)))
        found["unchanged"].append(off(canvas.image.pixels))
        for name in FLOORS:
            found[name].append(off(canvas.values(canvas.change(_filled(run, canvas, name)), hole)))
        whose.append(str(row["subject"]))
    people = np.array(whose)
    return [mean_of_subjects("twin_off", name, np.array(values), people) for name, values in found.items()]


def _out(run: PainterRun, canvas: Canvas, name: str, seed: int) -> np.ndarray:
    """(S, C, *size) with all lesions painted out at once."""
    holes = (canvas.lesions > 0).astype(np.uint8)
    return paint_image(run.painter, canvas.x, holes, NORMAL, canvas.tissues, name, seed=seed)[0]


def _filled(run: PainterRun, canvas: Canvas, name: str) -> np.ndarray:
    """The same by a floor, in the crops that the painter sees."""
    painted = canvas.x.copy()
    for s in range(len(painted)):
        hole = canvas.lesions[s] > 0
        if not hole.any():
            continue
        for box, here in crops(hole, run.window):
            cut = (slice(None), *box)
            x = torch.from_numpy(painted[s][cut].copy())[None]
            none = torch.zeros(1, 0, *here.shape)
            marked = torch.from_numpy(here.copy())[None, None]
            filled = FLOORS[name](Holes(x, marked, torch.zeros(1, dtype=torch.long), none))[0].numpy()
            painted[s][cut] = np.where(here, filled, painted[s][cut])
    return painted
