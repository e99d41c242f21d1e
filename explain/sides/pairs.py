"""Pairs stay whole: where one of two images cannot be used, the other is left out as well."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from anomaly.errors import CohortError
from anomaly.files import whole, write_whole
from anomaly.images.caching import CachedImages

PAIRS = "pairs"  # what is lost for the sake of its partner, beside what was lost of each part


def whole_pairs(folder: Path) -> None:
    """Drop from a cache the images whose partner could not be used, or has another number of slices.

    They are named in `errors.csv` beside the folder, behind those that could not be read.

    Raises:
        CohortError: no pair is left.
    """
    images = CachedImages.open(folder)
    table = images.table
    both = table.groupby("pair")["slices"].agg(["size", "nunique"])
    fine = table["pair"].isin(both.index[(both["size"] == 2) & (both["nunique"] == 1)]).to_numpy()
    if fine.all():
        return
    if not fine.any():
        raise CohortError(f"no pair of images is left whole; {folder.parent / 'errors.csv'} says what is wrong")
    ends = np.cumsum(table["slices"].to_numpy())
    with whole(folder / "images.raw") as part, part.open("wb") as raw:  # the map on the old file stays readable
        for keep, end, slices in zip(fine, ends, table["slices"], strict=True):
            if keep:
                raw.write(np.ascontiguousarray(images.pixels[end - slices : end]).tobytes())
    lost = table.loc[~fine, ["id", "path"]].assign(error="its counterpart cannot be used, or has other slices")
    errors = folder.parent / "errors.csv"
    before = [pd.read_csv(errors, dtype=str)] if errors.exists() else []
    write_whole(errors, pd.concat([*before, lost]).to_csv(index=False))
    kept = table[fine]
    write_whole(folder / "images.csv", kept.to_csv(index=False))
    facts = {
        "shape": [int(kept["slices"].sum()), *images.pixels.shape[1:]],
        "lost": {**images.lost, PAIRS: images.lost.get(PAIRS, 0) + int((~fine).sum())},
    }
    write_whole(folder / "images.json", json.dumps(facts))
