"""What a training leaves for a reader: figures of pairs held out beside their floors, a sheet of them, plain words."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anomaly.images.pictures import write_png
from anomaly.nets.agreement import local_correlation
from anomaly.nets.fields import warp
from anomaly.nets.within import mean_within, within
from anomaly.pictures import heatmaps
from anomaly.registrars.learned import VoxelMorph
from anomaly.runs.previews import EDGES, bullets, flat_pictures
from anomaly.training.batches import evenly

SHOWN = 8
Pairs = tuple[Tensor, Tensor]


def figures(registrar: VoxelMorph, moving: Tensor, fixed: Tensor, untouched: Pairs | None) -> dict[str, float]:
    """Means over pairs held out, (n, C, *space) each: how alike they are before, with the start, and registered.

    `correlation` is the local one, 1 at best; `disagreement` what was trained by; `folded` the share of pixels where
    the field folds; `moved` the mean displacement and `there_and_back` what is left of it after the way back, in
    pixels.

    Args:
        registrar: fitted.
        moving, fixed: with their start.
        untouched: the same pairs without it; None where there is none.
    """
    sums: dict[str, float] = {}
    for k in range(len(moving)):
        pair = moving[k : k + 1].to(registrar.device), fixed[k : k + 1].to(registrar.device)
        told = {name: float(value) for name, value in registrar.judged(*pair).items()}
        field = registrar.field(*pair)
        before = pair if untouched is None else tuple(each[k : k + 1].to(registrar.device) for each in untouched)
        found = {
            "correlation_before": _correlation(registrar, *before),
            "correlation_start": _correlation(registrar, *pair),
            "correlation": _correlation(registrar, warp(pair[0], field), pair[1]),
            "disagreement_start": told["before"], "disagreement": told["after"],
            **{name: told[name] for name in ("folded", "moved", "there_and_back")},
        }  # fmt: skip
        sums = {name: sums.get(name, 0.0) + value for name, value in found.items()}
    return {name: value / len(moving) for name, value in sums.items()}


@torch.no_grad()
def _correlation(registrar: VoxelMorph, x: Tensor, fixed: Tensor) -> float:
    inside = within(fixed) if registrar.masked_ else None
    return float(mean_within(local_correlation(x, fixed, inside), inside).mean())


def preview(registrar: VoxelMorph, moving: Tensor, fixed: Tensor, path: Path) -> None:
    """Write a sheet of pairs held out: moving, moved, fixed, and a chessboard of the last two; as PNG.

    Args:
        registrar: fitted.
        moving, fixed: (n, C, *space); up to 8, evenly spread, are shown, of volumes the middle slice of the last axis.
        path: of the file.
    """
    places = torch.from_numpy(evenly(len(moving), SHOWN))
    moving, fixed = moving[places], fixed[places]
    moved = warp(moving, registrar.field(moving, fixed).cpu())
    shown = {"moving": moving, "moved": moved, "fixed": fixed, "chessboard": torch.where(board(fixed), moved, fixed)}
    rows = [
        [heatmaps.grey(one, EDGES) for one in flat_pictures(each.numpy(), each.ndim == 5)] for each in shown.values()
    ]
    title = f"{registrar.name} on images it was not trained on"
    write_png(path, heatmaps.sheet(heatmaps.filled(rows), list(shown), title=title, bar=False))


def board(x: Tensor) -> Tensor:
    """The black fields of a chessboard of 8 fields a side, (1, 1, *space) bool, for images (N, C, *space)."""
    ranks = torch.meshgrid(*[torch.arange(side) * 8 // side for side in x.shape[2:]], indexing="ij")
    return (torch.stack(ranks).sum(0) % 2 == 0)[None, None]


def model_card(registrar: VoxelMorph, facts: Mapping[str, Any]) -> str:
    """Say in plain words what a run is, what it may be used for and what it cannot know; Markdown.

    Args:
        registrar: fitted.
        facts: as in `run.json`.
    """
    data, told = facts["data"], facts["held_out"]
    return CARD.format(
        name=registrar.name,
        summary=registrar.summary,
        cite=registrar.cite,
        settings=bullets(registrar.settings()),
        preprocessing=bullets({name: value for name, value in facts["preprocessing"].items() if value is not None}),
        pairs=bullets({name: value for name, value in facts["pairing"].items() if value is not None}),
        split=bullets(data["split"]),
        shape=" x ".join(map(str, registrar.shape_)),
        seed=facts["seed"],
        **{name: data[name] for name in ("images", "subjects", "subjects_from", "unreadable", "fingerprint")},
        **{name: f"{value:.4f}" for name, value in told.items()},
    )


CARD = """# Model card: {name}

## What it is

A registrar: it learned to bring one image onto another by a displacement of every pixel. Method: `{name}`, {summary}.

Settings:

{settings}

## What it was trained on

{images} images of {subjects} subjects ({unreadable} more could not be used and were left out):

{split}

Pairs:

{pairs}

No subject is in both parts; the split depends on the subjects' names alone, which come from {subjects_from}.
Fingerprint of the data: `{fingerprint}`. Seed: {seed}. The network saw (channels x space) {shape}.

## How it does on pairs it was not trained on

| | local correlation (1: alike everywhere) |
|---|---|
| as they are | {correlation_before} |
| with the start alone | {correlation_start} |
| registered | {correlation} |

What it was trained to make small went from {disagreement_start} to {disagreement}. Pixels move by {moved} on average;
there and back, {there_and_back} pixels of that are left. The field folds at {folded} of the pixels.

That images look alike afterwards does not say that each pixel came to its own place: where an image has no structure,
the field is what is smooth. Only landmarks or segmentations tell.

## How images are prepared

{preprocessing}

## How to use it

    anomaly register pair MOVING FIXED --by RUN --out OUT
    anomaly register visits --images IMAGES --visits COLUMN --by RUN --out OUT

## What it is for, and what it is not

- For research. It is not a medical device, was not validated for diagnosis, and must not guide care.
- A lesion that is new has no counterpart: the field makes room for it by what lies around, and the registered image may
  show less of a change than there is. Look at the pictures, and at the image before.
- It knows the kind of images, and how far they lie apart, of its training. Others come out badly, without a word.

## How to cite

- the method: {cite}
- the software: anomaly-explain, see its CITATION.cff
"""
