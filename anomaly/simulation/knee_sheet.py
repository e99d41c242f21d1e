"""A page of simulated knees with their findings outlined, to be looked at before anything is believed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from anomaly.images import read
from anomaly.pictures import heatmaps
from anomaly.simulation.knee_files import FLAGS
from anomaly.simulation.population import FINDINGS

SHOWN, ACROSS = 12, 3
PANEL, GAP, HEAD, LINE = 192, 8, 44, 20
# Told apart by readers who see no red or no green, too (Okabe and Ito's palette).
COLOURS = dict(zip(FINDINGS, ((86, 180, 233), (230, 159, 0), (204, 121, 167), (0, 158, 115)), strict=True))
Row = dict[Any, Any]
BACKGROUND, TEXT = (16, 16, 16), (220, 220, 220)


def write_knee_sheet(out: Path, cohort: pd.DataFrame) -> None:
    """Write `preview.png`: 12 knees of a study, each as it is and beside it with the findings outlined.

    Args:
        out: folder of the study, with the images and masks that the cohort names.
        cohort: as written to `cohort.csv`.
    """
    picks = list(_picks(cohort))[:SHOWN]
    down = -(-len(picks) // ACROSS)
    cell = (2 * PANEL + 2 * GAP, PANEL + LINE + GAP)
    page = Image.new("RGB", (GAP + ACROSS * cell[0], HEAD + down * cell[1] + LINE + GAP), BACKGROUND)
    draw = ImageDraw.Draw(page)
    title = "SIMULATED knees: drawn by a program, no patient"
    draw.text((GAP, GAP), title, TEXT, ImageFont.load_default(22))
    for k, (caption, row) in enumerate(picks):
        left, top = GAP + k % ACROSS * cell[0], HEAD + k // ACROSS * cell[1]
        draw.text((left, top), f"{caption}  ({row['id']})", TEXT, ImageFont.load_default(14))
        image, flags = _slice(read(out / row["path"]).pixels[0], read(out / row["masks"]).pixels[0])
        page.paste(_panel(image), (left, top + LINE))
        page.paste(_outlined(_panel(image), flags), (left + PANEL, top + LINE))
    left = GAP
    for name, colour in COLOURS.items():
        draw.text((left, page.height - LINE), name, colour, ImageFont.load_default(15))
        left += 120
    heatmaps.write_png(out / "preview.png", page)


def _picks(cohort: pd.DataFrame) -> Iterator[tuple[str, Row]]:
    """Captions and rows: normal knees, each finding, a pair, one that progresses, one that begins to hurt."""
    first = cohort[cohort["visit"] == 0]
    for row in _rows(first[first["normal"] == 1].drop_duplicates("site").head(2)):
        yield f"normal, site {row['site']}", row
    for name in FINDINGS:
        others = first[[f"true_{other}" for other in FINDINGS if other != name]].max(axis=1)
        clearest = (first[f"true_{name}"] - others / 2).sort_values().index[-1:]
        for row in _rows(first[first.index.isin(clearest) & (first[f"true_{name}"] > 0)]):
            yield f"{name} {row[f'true_{name}']:.1f}", row
    pair = first[first["pair"] == 1].sort_values("womac", ascending=False)
    for caption, row in zip(("painful", "its painless pair"), _rows(pair), strict=False):
        yield f"{caption}, WOMAC {row['womac']}", row
    for outcome, told in (("progression", "progresses"), ("incidence", "hurts later")):
        yield from _followed(cohort, first[first[outcome] == 1], told)


def _followed(cohort: pd.DataFrame, first: pd.DataFrame, told: str) -> Iterator[tuple[str, Row]]:
    """The first of these knees that has a later image, at baseline and at its last image."""
    for row in _rows(first):
        same = _rows(cohort[(cohort["subject"] == row["subject"]) & (cohort["side"] == row["side"])])
        if len(same) > 1:
            yield from ((f"{told}, month {each['visit']}", each) for each in (same[0], same[-1]))
            return


def _rows(table: pd.DataFrame) -> list[Row]:
    return table.to_dict("records")


def _slice(image: np.ndarray, flags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The picture and its flags; of a volume the sagittal slice with most findings, front to the left, head up."""
    flags = flags.astype(np.uint8)
    if image.ndim == 2:
        return image, flags
    most = (flags > 0).sum(axis=(1, 2))
    at = int(most.argmax()) if most.any() else len(image) // 3
    return image[at, ::-1, ::-1].T, flags[at, ::-1, ::-1].T


def _panel(image: np.ndarray) -> Image.Image:
    shown = heatmaps.grey(image, (0.0, max(1.0, float(np.quantile(image, 0.998)))))
    return Image.fromarray(shown).convert("RGB").resize((PANEL, PANEL), Image.Resampling.BICUBIC)


def _outlined(panel: Image.Image, flags: np.ndarray) -> Image.Image:
    pixels = np.array(panel)
    large = np.asarray(Image.fromarray(flags).resize((PANEL, PANEL), Image.Resampling.NEAREST))
    for name, flag in FLAGS.items():
        inside = (large & flag) > 0
        pixels[inside & ~ndimage.binary_erosion(inside)] = COLOURS[name]
    return Image.fromarray(pixels)
