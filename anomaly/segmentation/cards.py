"""What a training of a segmenter leaves for a reader: Dice of whole held-out images, a sheet of them, plain words."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anomaly.images.labels import Labels
from anomaly.pictures import heatmaps
from anomaly.restorers.cards import flat
from anomaly.runs.previews import EDGES, bullets
from anomaly.segmentation.keeping import KeptAnnotations
from anomaly.segmentation.run import dice_in_short
from anomaly.segmenters.base import Segmenter
from anomaly.training.batches import evenly

JUDGED, SHOWN = 64, 8
COLOURS = np.array(
    [[230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66], [213, 94, 0], [204, 121, 167], [0, 114, 178]]
)
"""Of the classes, over and over again (Okabe and Ito 2008): those who see colours otherwise tell them apart too."""
OPAQUE = 0.55
Seen = tuple[np.ndarray, np.ndarray, np.ndarray]
"""An image (C, *space), and the places of its classes (*space) in truth and as found."""


def held_out(
    segmenter: Segmenter, images: KeptAnnotations, labels: Labels, part: str, device: torch.device
) -> tuple[dict[str, Any], list[Seen]]:
    """Dice of each class over up to 64 rows of a part, in the mean of images that have it; and some to show.

    Returns:
        `dice` by class (None where no image has it), `mean` over them and `images`; nothing where the part is empty.
    """
    rows = images.rows(part)
    rows = rows[evenly(len(rows), JUDGED)] if len(rows) else rows
    shown = {int(row) for row in rows[evenly(len(rows), SHOWN)]} if len(rows) else set()
    figures, pictures = [], list[Seen]()
    for row in map(int, rows):
        truth, slices = images.places_of(row), images.of(row)
        found = np.stack([places_found(segmenter, slices[s], device) for s in range(len(slices))])
        each = [(truth == place, found == place) for place in range(1, labels.count)]
        figures.append([dice_of(*both) if both[0].any() else np.nan for both in each])
        if row in shown:
            s = int((truth.reshape(len(truth), -1) > 0).sum(1).argmax())
            pictures.append((np.array(slices[s]), np.array(truth[s]), found[s]))
    if not figures:
        return {}, []
    told = np.array(figures, dtype=float)
    means = {name: _mean(told[:, k]) for k, name in enumerate(labels.names)}
    return {"dice": means, "mean": _mean(np.array([each for each in means.values() if each is not None])),
            "images": len(figures)}, pictures  # fmt: skip


def places_found(segmenter: Segmenter, image: np.ndarray, device: torch.device) -> np.ndarray:
    """The most likely class of each pixel of an image (C, *space), uint8 (*space)."""
    x = torch.from_numpy(np.array(image))[None].to(device)
    return segmenter.whole(x)[0].argmax(0).to(torch.uint8).cpu().numpy()


def dice_of(one: np.ndarray, other: np.ndarray) -> float:
    """2 |both| / (|one| + |other|); NaN where both are empty."""
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else float("nan")


def preview(seen: Sequence[Seen], path: Path, labels: Labels, *, held_out: bool, slices: bool = False) -> None:
    """Write a sheet of images, the truth over each, and what was found.

    Args:
        seen: images with places; of a volume the slice of the last axis is shown that has most of the truth.
        path: of the PNG file.
        labels: names of the classes.
        held_out: whether these were not trained on.
        slices: the images are slices of volumes, to be turned as a volume's are.
    """
    rows: list[list[np.ndarray]] = [[], [], []]
    for image, truth, found in seen:
        at = most_marked(truth)
        grey = heatmaps.grey(flat(_slice(image, at), slices or at is not None), EDGES)
        rows[0].append(grey)
        for place, each in enumerate((truth, found), start=1):
            rows[place].append(tinted(grey, flat(_slice(each[None], at), slices or at is not None)))
    title = "images it was not trained on" if held_out else "images it was trained on, for none was held out"
    sheet = heatmaps.sheet(
        rows, ["image", "truth", "found"], title=title, footer=legend(labels), bar=False, side=128
    )  # fmt: skip
    heatmaps.write_png(path, sheet)


def most_marked(places: np.ndarray) -> int | None:
    """Of a volume the slice of the last axis with the most marked voxels, or the middle one; None of a picture."""
    if places.ndim == 2:
        return None
    counts = (places > 0).reshape(-1, places.shape[-1]).sum(0)
    return int(counts.argmax()) if counts.any() else places.shape[-1] // 2


def tinted(grey: np.ndarray, places: np.ndarray) -> np.ndarray:
    """A picture uint8, grey or in colours, with each class in its colour over it: (rows, columns, 3) uint8."""
    drawn = np.repeat(grey[..., None], 3, axis=2) if grey.ndim == 2 else grey
    marked = places > 0
    colours = COLOURS[(places.astype(int) - 1) % len(COLOURS)]
    mixed = (1 - OPAQUE) * drawn + OPAQUE * colours
    return np.where(marked[..., None], mixed, drawn).astype(np.uint8)


NAMES = ("orange", "light blue", "green", "yellow", "red", "pink", "blue")


def legend(labels: Labels) -> str:
    """Which colour is which class."""
    return ", ".join(f"{NAMES[k % len(NAMES)]}: {name}" for k, name in enumerate(labels.names))


def _slice(values: np.ndarray, at: int | None) -> np.ndarray:
    """(C, *space) of a picture, or of one slice of the last axis of a volume."""
    return values if at is None else values[..., at]


def _mean(values: np.ndarray) -> float | None:
    there = values[np.isfinite(values)]
    return float(there.mean()) if len(there) else None


def model_card(segmenter: Segmenter, labels: Labels, facts: Mapping[str, Any]) -> str:
    """Say in plain words what a run is, what it may be used for and what it cannot know; Markdown.

    Args:
        segmenter: fitted.
        labels: its classes.
        facts: as in `run.json`.
    """
    data, told = facts["data"], facts["held_out"]
    numbers = {name: " and ".join(map(str, each)) for name, each in zip(labels.names, labels.numbers, strict=True)}
    judged = (
        f"Of {told['images']} whole held-out images, in the mean of those that have the class: {dice_in_short(told)}. "
        "The weights that did best on held-out images were kept, so that this is a little too good."
        if told
        else "Nobody was held out: nothing is known of images that it has not learned from."
    )
    return CARD.format(
        name=segmenter.name,
        summary=segmenter.summary,
        cite=segmenter.cite,
        classes=bullets(numbers),
        settings=bullets(segmenter.settings()),
        preprocessing=bullets({k: v for k, v in facts["preprocessing"].items() if v is not None}),
        split=bullets(data["split"]),
        pixels=bullets(data["marked"]),
        shape=" x ".join(map(str, segmenter.shape_)),
        judged=judged,
        seed=facts["seed"],
        masks=" --mask MASKS" if facts["preprocessing"]["mask"] == "given" else "",
        **{name: data[name] for name in ("images", "subjects", "subjects_from", "unreadable", "fingerprint")},
    )


CARD = """# Model card: {name}

## What it is

A segmenter: it says of each pixel which class it is. Method: `{name}`, {summary}.

Classes, with the numbers that label maps hold for them (the first is what is written; 0 is the background):

{classes}

Settings:

{settings}

## What it was trained on

{images} images of {subjects} subjects ({unreadable} more could not be used and were left out):

{split}

Images to train on in which a class is marked:

{pixels}

No subject is in both of the parts train and choose; the split depends on the subjects' names, which come from
{subjects_from}, but that nobody is held out who alone has a class. Images in `unlabelled` had no label map. Fingerprint
of the data: `{fingerprint}`. Seed: {seed}. Windows of (channels x space) {shape}.

{judged}

## How images are prepared

{preprocessing}

## How to use it

    anomaly segment apply RUN --images FOLDER_OR_CSV{masks} --out OUT
    anomaly segment evaluate OUT --labels COLUMN --cohort CSV --out CHECKED
    anomaly segment evaluate OUT --labels FOLDER --out CHECKED

CSV is the table of those images, whose column COLUMN names the label maps drawn; FOLDER holds them, called as their
images.

## What it is for, and what it is not

- For research. It is not a medical device, was not validated for diagnosis, and must not guide care.
- It draws what those drew who made the label maps, with their habits and their mistakes.
- Each pixel gets a class, whatever the image shows: images of another scanner, body part or disease come out wrong
  without a word. What it does not know it takes for background, or for the class that looks most like it.
- Volumes taken from what it finds are biased where it is unsure; check them against volumes of label maps drawn by hand
  (`segment evaluate` tells the bias of each class).

## How to cite

- the method: {cite}
- the software: anomaly-explain, see its CITATION.cff
"""
