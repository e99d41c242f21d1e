"""What a training leaves for a reader: figures of held-out images, a sheet of them, and plain words."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from anomaly.images.pictures import write_png
from anomaly.pictures import heatmaps
from anomaly.runs.previews import EDGES, bullets, flat_pictures
from anomaly.training.batches import chunks, evenly
from anomaly.translators.cycle import CycleGAN

SHOWN = 8


def held_out(translator: CycleGAN, source: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """Mean sizes of change in images held out, of a range of 2: drawn as the other heap, there and back, as own."""
    sums = np.zeros(3)
    counts = np.array([len(source), len(source), len(target)])
    for x in chunks(source):
        to = translator.translate(x)
        home = translator.translate(to, back=True)
        sums[:2] += len(x) * np.array([translator.size(to, x), translator.size(home, x)])
    for y in chunks(target):
        sums[2] += len(y) * translator.size(translator.translate(y), y)
    names = ("change", "lost_there_and_back", "change_of_target")
    return dict(zip(names, (sums / counts).tolist(), strict=True))


def preview(translator: CycleGAN, source: np.ndarray, target: np.ndarray, path: Path, *, slices: bool = False) -> None:
    """Write a sheet of held-out images: as they are, as drawn, there and back, and images of the other heap below.

    Args:
        translator: fitted.
        source, target: (n, C, *space) as prepared for it; up to 8 of each, evenly spread, are shown.
        path: of the PNG file.
        slices: the images are slices of volumes, to be turned as a volume's are.
    """
    x, y = (next(chunks(each[evenly(len(each), SHOWN)], size=SHOWN)) for each in (source, target))
    to = translator.translate(x)
    shown = {"from": x, "drawn as to": to, "and back": translator.translate(to, back=True), "to": y}
    title = f"{translator.name} on images it was not trained on"
    drawings_sheet({name: each.numpy() for name, each in shown.items()}, path, turned=slices, title=title)


def drawings_sheet(images: Mapping[str, np.ndarray], path: Path, *, turned: bool = False, title: str = "") -> None:
    """Write a sheet of images (n, C, *space) in [-1, 1], a row of up to 8 for each name; as PNG.

    turned: they are slices of volumes, to be turned as a volume's are.
    """
    rows = []
    for each in images.values():
        shown = each[evenly(len(each), SHOWN)]
        rows.append([heatmaps.grey(one, EDGES) for one in flat_pictures(shown, turned or shown.ndim == 5)])
    write_png(path, heatmaps.sheet(heatmaps.filled(rows), list(images), title=title, bar=False))


def model_card(translator: CycleGAN, facts: Mapping[str, Any]) -> str:
    """Say in plain words what a run is, what it may be used for and what it cannot know; Markdown.

    Args:
        translator: fitted.
        facts: as in `run.json`.
    """
    data, told = facts["data"], facts["held_out"]
    return CARD.format(
        name=translator.name,
        summary=translator.summary,
        cite=translator.cite,
        settings=bullets(translator.settings()),
        preprocessing=bullets(facts["preprocessing"]),
        split=bullets(data["split"]),
        shape=" x ".join(map(str, translator.shape_)),
        seed=facts["seed"],
        **{name: data[name] for name in ("images", "subjects", "subjects_from", "unreadable", "fingerprint")},
        **{name: f"{value:.4f}" for name, value in told.items()},
    )


CARD = """# Model card: {name}

## What it is

A translator: it learned from two heaps of images, without pairs, to draw each image of one as the other would show it,
and back. Method: `{name}`, {summary}.

Settings:

{settings}

## What it was trained on

{images} images of {subjects} subjects ({unreadable} more could not be used and were left out):

{split}

No subject is in both parts, also where one is in both heaps; the split depends on the subjects' names alone, which come
from {subjects_from}. Fingerprint of the data: `{fingerprint}`. Seed: {seed}.

Of images held out, the mean size of the change, of a range of 2: {change} when drawn as the other heap,
{lost_there_and_back} lost there and back. Images of the heap "to" drawn as of "to" are changed by {change_of_target}:
little should be.

## How images are prepared

The network sees (channels x space) {shape}.

{preprocessing}

## How to use it

    anomaly translate apply RUN --images FOLDER_OR_CSV --out OUT          # --back: the other way
    anomaly translate evaluate RUN --from TEST --to TEST --out OUT

## What it is for, and what it is not

- For research. It is not a medical device, was not validated for diagnosis, and must not guide care.
- A translated image is drawn, not measured. It may serve to train or to test an analysis across scanners; nobody may be
  diagnosed, measured or counted by it.
- Whatever differs between the two heaps is drawn: where they differ in age, in disease or in how people lay, it draws
  that, and may paint a lesion in or out. Give heaps that differ in the scanner alone.
- Whether it worked is told by `anomaly translate evaluate`: structure kept, a judge that tells drawn from real, each
  beside a plain matching of histograms, which is often enough. It judges what the network draws, on the grid that
  images are prepared to; `apply` brings the change to the grid of the file and adds it there, so that what is finer
  stays as it was, also where scanners differ in it.

## How to cite

- the method: {cite}
- the software: anomaly-explain, see its CITATION.cff
"""
