"""Pages that a restorer's training leaves for a reader: a sheet of held-out images, and plain words."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from anomaly.degradations.base import Degradation
from anomaly.pictures import heatmaps
from anomaly.restorers.sample import Pictures
from anomaly.runs.previews import EDGES, bullets, shown_slice
from anomaly.translators.restorer import Restorer

ROWS = ("poor", "restored", "good")


def preview(pictures: Pictures, path: Path, *, slices: bool = False, step: int = 1) -> None:
    """Write a sheet of held-out images: poor, restored, good.

    Args:
        pictures: (C, *space) each; of a volume the middle slice of the last axis is shown.
        path: of the PNG file.
        slices: the images are slices of volumes, to be turned as a volume's are.
        step: of volumes, one slice of so many along the last axis was kept: one that was not is shown.
    """
    rows = [[heatmaps.grey(flat(each, slices, step), EDGES) for each in row] for row in zip(*pictures, strict=True)]
    sheet = heatmaps.sheet(rows, list(ROWS), title="images it was not trained on", bar=False, side=128)
    heatmaps.write_png(path, sheet)


def flat(image: np.ndarray, slices: bool, step: int = 1) -> np.ndarray:
    """One picture of (C, *space), front or head up; of a volume the middle slice, as far as may be from those kept."""
    volume = image.ndim == 4
    shown = image[..., shown_slice(image.shape[-1], step)] if volume else image
    seen = np.moveaxis(shown, 0, -1) if len(shown) == 3 else shown.mean(axis=0)
    return seen.swapaxes(0, 1)[::-1, ::-1] if volume or slices else seen


def model_card(restorer: Restorer, degradation: Degradation | None, facts: Mapping[str, Any]) -> str:
    """Say in plain words what a run is, what it may be used for and what it cannot know; Markdown.

    Args:
        restorer: fitted.
        degradation: what it undoes; None where it learned from given pairs.
        facts: as in `run.json`.
    """
    data, told = facts["data"], facts["held_out"]
    return CARD.format(
        name=restorer.name,
        undoes=f"`{degradation.name}` ({degradation.summary})" if degradation else "what tells the pairs given apart",
        degradation=bullets(facts["degradation"]["settings"]) if degradation else f"pairs by {facts['pairs']}",
        settings=bullets(restorer.settings()),
        preprocessing=bullets({k: v for k, v in facts["preprocessing"].items() if v is not None}),
        split=bullets(data["split"]),
        shape=" x ".join(map(str, restorer.shape_)),
        after=told["psnr"],
        before=told["psnr_before"],
        cite=f"{restorer.cite}; {degradation.cite}" if degradation else restorer.cite,
        seed=facts["seed"],
        **{name: data[name] for name in ("images", "subjects", "subjects_from", "unreadable", "fingerprint")},
    )


CARD = """# Model card: {name}

## What it is

A network that learned to undo {undoes}: it draws of a poor image the good one that may lie behind it.

What was done to images:

{degradation}

Settings:

{settings}

## What it was trained on

{images} images of {subjects} subjects ({unreadable} more could not be used and were left out):

{split}

No subject is in both parts; the split depends on the subjects' names alone, which come from {subjects_from}.
Fingerprint of the data: `{fingerprint}`. Seed: {seed}. Windows of (channels x space) {shape}, at the images' own
resolution.

On whole held-out images its peak signal-to-noise ratio is {after:.2f} dB; before, it is {before:.2f} dB. (`seen/psnr`
in `training.csv` is that of windows of a few of them, and so another number.)

## How images are prepared

{preprocessing}

## How to use it

    anomaly restore apply RUN --images FOLDER_OR_CSV --out OUT
    anomaly restore evaluate RUN --images GOOD_IMAGES --out OUT

## What it is for, and what it is not

- For research. It is not a medical device, was not validated for diagnosis, and must not guide care.
- What a restored image shows beyond the poor one was drawn, not measured. It is what was usual among the images learned
  from: a lesion that the poor image does not show is not there in the restored one either, and one may be drawn that
  nobody has. Never look for disease in it alone.
- It undoes what it was trained to undo. Images that are poor in another way, or of another scanner or part of the body,
  come out wrong without a word.
- Numbers taken from restored images (volumes, thicknesses, dose) have to be checked against those of good ones.

## How to cite

- the method: {cite}
- the software: anomaly-explain, see its CITATION.cff
"""
