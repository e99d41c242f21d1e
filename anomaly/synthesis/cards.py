"""What a training leaves for a reader: figures of held-out images, a sheet of them, and plain words."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anomaly.images.labels import Labels
from anomaly.nets.losses import dissimilarity
from anomaly.painters.synthesizer import Synthesizer
from anomaly.runs.previews import SHOWN, bullets
from anomaly.synthesis.shown import write_sheet
from anomaly.training.batches import evenly, passes

NARROW = 1.5
MOST = 200


def held_out(synthesizer: Synthesizer, images: np.ndarray, places: np.ndarray) -> dict[str, float]:
    """Of up to 200 held-out maps drawn: mean |drawn - real|, SSIM, and |one draw - another|."""
    chosen, sums, done = evenly(len(images), MOST), np.zeros(3), 0
    size = passes(images.shape[1:])
    for start in range(0, len(chosen), size):
        own = chosen[start : start + size]
        x = torch.from_numpy(np.array(images[own], dtype=np.float32))
        maps = torch.from_numpy(np.array(places[own], dtype=np.int64))
        one, other = (synthesizer.draw(maps, [int(k) + shift for k in own]) for shift in (0, 10**6))
        alike = 1 - dissimilarity(x, one, NARROW)
        sums += len(own) * np.array([float(each.mean()) for each in ((one - x).abs(), alike, (one - other).abs())])
        done += len(own)
    return dict(zip(("l1", "ssim", "between_draws"), (sums / done).tolist(), strict=True))


def preview(
    synthesizer: Synthesizer,
    images: np.ndarray,
    places: np.ndarray,
    labels: Labels,
    path: Path,
    *,
    slices: bool = False,
) -> None:
    """Write a sheet of held-out label maps, the real images, and two draws of each; up to 8."""
    chosen = evenly(len(images), SHOWN)
    maps = np.array(places[chosen], dtype=np.int64)
    draws = [synthesizer.draw(torch.from_numpy(maps), [int(k) + shift for k in chosen]).numpy() for shift in (0, 10**6)]
    rows = {"real": np.array(images[chosen]), "drawn": draws[0], "drawn again": draws[1]}
    title = f"{synthesizer.name} on label maps it was not trained on"
    write_sheet(path, maps, rows, turned=slices, title=title, footer=f"classes: {', '.join(labels.names)}")


def model_card(synthesizer: Synthesizer, labels: Labels, facts: Mapping[str, Any]) -> str:
    """Say in plain words what a run is, what it may be used for and what it cannot know; Markdown."""
    data, told = facts["data"], facts["held_out"]
    numbers = {
        name: f"{'+'.join(map(str, each))} ({persons(data['persons'][name])})"
        for name, each in zip(labels.names, labels.numbers, strict=True)
    }
    return CARD.format(
        name=synthesizer.name,
        summary=synthesizer.summary,
        cite=synthesizer.cite,
        settings=bullets(synthesizer.settings()),
        preprocessing=bullets(facts["preprocessing"]),
        classes=bullets(numbers),
        background=", ".join(map(str, facts["background"])) or "none",
        split=bullets(data["split"]),
        shape=" x ".join(map(str, synthesizer.shape_)),
        seed=facts["seed"],
        **{name: data[name] for name in ("images", "subjects", "subjects_from", "unreadable", "fingerprint")},
        **{name: f"{value:.4f}" for name, value in told.items()},
    )


def persons(count: int) -> str:
    """In words, how many it was learned from."""
    return "1 person" if count == 1 else f"{count} persons"


CARD = """# Model card: {name}

## What it is

A synthesizer: it learned from images and their label maps to draw an image of a label map, also of one that nobody has.
Method: `{name}`, {summary}.

Settings:

{settings}

## What it knows

The classes of its label maps, the numbers that files hold for them, and how many persons they were learned from:

{classes}

Other numbers that counted as background in training: {background}. What a label map does not tell (a tissue without a
class, the side of the body, the scanner) is drawn as it was met in training, by chance.

## What it was trained on

{images} images of {subjects} subjects ({unreadable} more could not be used and were left out):

{split}

No subject is in both parts; the split depends on the subjects' names alone, which come from {subjects_from}.
Fingerprint of the data: `{fingerprint}`. Seed: {seed}.

Of images held out, drawn from their label maps: {l1} from the real image (mean of absolute differences, of a range of
2), SSIM {ssim}; two draws of a map differ by {between_draws}.

## How images are prepared

The network draws (channels x space) {shape}; label maps are brought to that grid, and what is drawn back to theirs.

{preprocessing}

## How to use it

    anomaly synthesize apply RUN --labels MAPS --out OUT                  # --draws 4: four images of each map
    anomaly synthesize evaluate RUN --images TEST --labels labels --out OUT

## What it is for, and what it is not

- For research. It is not a medical device, was not validated for diagnosis, and must not guide care.
- A drawn image was not measured. It may serve to train or to test an analysis; nobody may be diagnosed, measured or
  counted by it.
- It draws what its classes looked like in its training: lesions of another kind than were met there are drawn as those
  were. A label map unlike any that it met (another organ, another field of view) is drawn all the same.
- Whether drawn images are worth something is told by `anomaly synthesize evaluate`: whether a segmenter finds in them
  what the map says, how far they are from real ones, and whether they are copies.

## How to cite

- the method: {cite}
- the software: anomaly-explain, see its CITATION.cff
"""
