"""Choose the X-rays that travel with the package: python benchmarks/make_demo_data.py SOURCE OUT.

SOURCE holds `chest_xray_64.npz` (array `images`, (N, 64, 64) uint8) and `cohort.csv` (row, subject, label,
finding, split). OUT becomes `images.png`, one lossless sheet, and `cohort.csv`, a row for each of its tiles.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

SEED = 0
ACROSS = 24  # tiles in a row of the sheet
# Most images of each finding; bacteria and virus in the proportion they have in the public test split.
CHOSEN = {"train": {"normal": 450}, "test": {"normal": 90, "bacteria": 97, "virus": 53}}


def choose(cohort: pd.DataFrame, most: dict[str, int], rng: np.random.Generator) -> pd.DataFrame:
    """All images of subjects drawn at random, passing over those who would bring a finding above its most."""
    counts = cohort.groupby("subject")["finding"].value_counts().unstack(fill_value=0)[list(most)]
    total, chosen = np.zeros(len(most), int), set()
    for position in rng.permutation(len(counts)):
        after = total + counts.iloc[position].to_numpy()
        if (after <= list(most.values())).all():
            total = after
            chosen.add(counts.index[position])
    return cohort[cohort["subject"].isin(chosen)]


def sheet(images: np.ndarray) -> np.ndarray:
    """Lay (N, H, W) tiles out row by row, ACROSS in each; the empty places at the end are black."""
    rows = -(-len(images) // ACROSS)
    tiles = np.zeros((rows * ACROSS, *images.shape[1:]), np.uint8)
    tiles[: len(images)] = images
    height, width = images.shape[1:]
    grid = tiles.reshape(rows, ACROSS, height, width).swapaxes(1, 2)
    return grid.reshape(rows * height, ACROSS * width)


def main() -> None:
    """Read the public set, choose by the fixed seed, write the sheet and its cohort."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    images = np.load(arguments.source / "chest_xray_64.npz")["images"]
    public = pd.read_csv(arguments.source / "cohort.csv", dtype={"subject": str})

    rng = np.random.default_rng(SEED)
    cohort = pd.concat([choose(public[public["split"] == split], most, rng) for split, most in CHOSEN.items()])
    ids = cohort["subject"] + "_" + cohort["row"].map("{:04d}".format)
    paths = cohort["split"] + "/" + ids + ".png"
    table = cohort.rename(columns={"label": "pneumonia"}).assign(id=ids, path=paths)
    table = table[["id", "path", "subject", "pneumonia", "finding", "split"]]

    arguments.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(arguments.out / "cohort.csv", index=False)
    Image.fromarray(sheet(images[cohort["row"].to_numpy()])).save(arguments.out / "images.png", optimize=True)


if __name__ == "__main__":
    main()
