"""Pairs of visits read once and kept on disk while a training lasts, one after another in one file."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.cohorts.results import some
from anomaly.errors import CohortError, UnreadableImage
from anomaly.files import write_whole
from anomaly.progress import progress
from anomaly.progression.forecasting import read_pairs
from anomaly.progression.pairing import BEFORE, BEFORE_MAP, MAP
from anomaly.progression.reading import Pair, Reading

TRAIN, CHOOSE, CALIBRATE = "train", "choose", "calibrate"
LEFT_OUT = "left_out.csv"
TEXTS = ("id", "subject", "path", "mask", BEFORE, MAP, BEFORE_MAP)


@dataclass(frozen=True)
class KeptPairs:
    """Pairs of visits on disk: `pixels` is a memory map, in the order of the table, `slices` of each row.

    Args:
        pixels: (n, 3 or more, *size) float32.
        table: the pairs that could be read, with split, years and slices.
        unit: of volumes.
        failed: how many could not.
        left_out: a table (CSV) of images that stand in no pair, with the reason; None where there are none.
    """

    pixels: np.ndarray
    table: pd.DataFrame
    unit: str
    failed: int
    left_out: str | None

    @classmethod
    def open(cls, folder: Path) -> "KeptPairs":
        """Read what `keep_pairs` wrote."""
        table = pd.read_csv(folder / "pairs.csv", dtype=dict.fromkeys(TEXTS, str), keep_default_na=False)
        table["years"] = pd.to_numeric(table["years"])
        facts = json.loads((folder / "pairs.json").read_text())
        pixels = np.memmap(folder / "pairs.raw", dtype=np.float32, mode="r").reshape(-1, *facts["shape"])
        left = (folder / LEFT_OUT).read_text(encoding="utf-8") if (folder / LEFT_OUT).exists() else None
        return cls(pixels, table, facts["unit"], facts["failed"], left)

    @property
    def sliced(self) -> bool:
        """Whether they are slices of volumes."""
        return bool((self.table["slices"] > 1).any())

    def part(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Pixels and years of one part of the split, which lies in one piece.

        Raises:
            CohortError: none of it could be read.
        """
        ends = np.concatenate([[0], np.cumsum(self.table["slices"])])
        rows = np.flatnonzero((self.table["split"] == name).to_numpy())
        if not len(rows):
            raise CohortError(
                f"no readable pair of visits is left in the part {name!r}; give more persons, or mend the files that "
                "errors.csv in the run folder names"
            )
        years = np.repeat(self.table["years"].to_numpy(np.float32)[rows], self.table["slices"].to_numpy()[rows])
        return self.pixels[ends[rows[0]] : ends[rows[-1] + 1]], years


def keep_pairs(pairs: pd.DataFrame, reading: Reading, folder: Path, *, workers: int | None = None) -> None:
    """Read every pair once, in parallel, into one file, part by part of the split.

    Those that cannot be used are named in `errors.csv` beside the folder and left out; images that stand in no pair in
    `left_out.csv` inside it. Nothing is done where all is there already.

    Args:
        pairs: of `Visits.found`, with split.
        reading: how.
        folder: gets the files.
        workers: threads; None takes one a core.

    Raises:
        CohortError: no pair can be read.
    """
    if (folder / "pairs.json").exists():
        return
    (folder.parent / "errors.csv").unlink(missing_ok=True)
    rows: list[Any] = pairs.sort_values("split", kind="stable").to_dict("records")
    first: Pair | None = None
    kept: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    with (
        open(folder / "pairs.raw", "wb") as raw, progress("reading pairs of visits", len(rows), unit="pairs") as bar,
        ThreadPoolExecutor(workers or os.cpu_count()) as pool,
    ):  # fmt: skip
        for row, found in read_pairs(rows, reading, pool):
            bar.advance()
            why = str(found) if isinstance(found, UnreadableImage) else _unlike(found, first or found)
            if why or isinstance(found, UnreadableImage):
                failed.append({"id": row["id"], "path": row["path"], "error": why})
                continue
            first = first or found
            raw.write(np.ascontiguousarray(found.pixels).tobytes())
            kept.append({**row, "slices": len(found.pixels)})
    if failed:
        write_whole(folder.parent / "errors.csv", pd.DataFrame(failed).to_csv(index=False))
    left = pairs.attrs["left_out"]
    if len(left):
        write_whole(folder / LEFT_OUT, left.to_csv(index=False))
    if first is None:
        raise CohortError(f"none of the {len(rows)} pairs of visits can be used; the first: {failed[0]['error']}")
    write_whole(folder / "pairs.csv", pd.DataFrame(kept).to_csv(index=False))
    facts = {"shape": first.pixels.shape[1:], "unit": first.unit, "failed": len(failed)}
    write_whole(folder / "pairs.json", json.dumps(facts))


def with_years(pairs: pd.DataFrame) -> tuple[pd.DataFrame, bool]:
    """The pairs with the years between their visits, 1 for all where nobody says; and whether somebody does.

    Raises:
        CohortError: some are told and others not, or one is not above 0.
    """
    years = pairs["years"].to_numpy(dtype=float)
    if np.isnan(years).all():
        return pairs.assign(years=1.0), False
    wrong = ~(years > 0)
    if wrong.any():
        raise CohortError(
            f"{wrong.sum()} of {len(years)} pairs of visits have no time between them above 0 "
            f"({some(pairs['id'][wrong])}); correct the visits, or leave those out"
        )
    return pairs, True


def _unlike(pair: Pair, first: Pair) -> str:
    """Why a pair cannot stand beside the first one; "" where it can."""
    if pair.unit != first.unit:
        told = f"its volume would be in {pair.unit}, that of {first.image.path.name} is in {first.unit}"
        return f"{pair.image.path}: {told}; give images of one kind"
    if pair.pixels.shape[1:] != first.pixels.shape[1:]:
        shapes = f"{pair.pixels.shape[1:]}, that of {first.image.path.name} {first.pixels.shape[1:]}"
        return f"{pair.image.path}: has shape {shapes} once prepared; give --size"
    return ""
