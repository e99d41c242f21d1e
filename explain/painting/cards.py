"""What a painter's training leaves for a reader: a sheet of held-out holes, figures of them, and plain words."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anomaly.images.pictures import write_png
from anomaly.painters.lesions import NORMAL, Holes, LesionPainter
from anomaly.painters.lesions_filling import filled
from anomaly.pictures import heatmaps
from anomaly.runs.previews import EDGES, bullets, flat_pictures
from explain.painting.windows import LesionWindows

SHOWN = 8
LOOKED_AT = 64


def sheet_of(
    painter: LesionPainter, held: LesionWindows, names: Sequence[str], path: Path, *, turned: bool = False
) -> dict[str, float]:
    """Write a sheet of held-out holes and give how far paintings of their own class are off, beside a smooth filling.

    Mean absolute differences inside of holes, of a range of 2: of the mean of 4 paintings, of a smooth filling, and
    between two paintings.
    """
    holes = held.shown(LOOKED_AT)
    parts = [holes_of(holes, slice(start, start + SHOWN)) for start in range(0, LOOKED_AT, SHOWN)]
    draws = torch.cat([painter.paint(p, [str(k) for k in range(len(p.x))], 4) for p in parts], 1)
    rows = {"real": holes.x, "hole": torch.where(holes.hole, -1.0, holes.x), "painted as it is": draws[0]}
    rows["once more"] = draws[1]
    few = holes_of(holes, slice(0, SHOWN))
    for place, name in enumerate(("normal", *names)):
        asked = few._replace(classes=torch.full_like(few.classes, place))
        rows[f"as {name}"] = painter.paint(asked, [str(k) for k in range(SHOWN)])[0]
    shown = [
        [heatmaps.grey(one, EDGES) for one in flat_pictures(each[:SHOWN].numpy(), turned or each.ndim == 5)]
        for each in rows.values()
    ]
    title = f"{painter.name} on persons it was not trained on"
    write_png(path, heatmaps.sheet(heatmaps.filled(shown), list(rows), title=title, bar=False))
    inside = holes.hole.expand_as(holes.x)
    return {
        "off": float((draws.mean(0) - holes.x).abs()[inside].mean()),
        "off_smooth": float((filled(holes.x, holes.hole) - holes.x).abs()[inside].mean()),
        "apart": float((draws[0] - draws[1]).abs()[inside].mean()),
    }


def holes_of(holes: Holes, rows: slice | np.ndarray) -> Holes:
    """Some of several holes."""
    return Holes(*(each[rows] for each in holes))


def model_card(painter: LesionPainter, facts: Mapping[str, Any]) -> str:
    """Say in plain words what a run is, what it may be used for and what it cannot know; Markdown."""
    data, told = facts["data"], facts["held_out"]
    off = (
        "Of persons held out, the mean of 4 paintings is {off:.3f} from the truth inside of holes (mean absolute "
        "difference, of a range of 2), a smooth filling {off_smooth:.3f}; two paintings are {apart:.3f} apart.".format(
            **told
        )
        if told
        else "Persons held out have too few lesions to say how well it paints."
    )
    return CARD.format(
        name=painter.name, summary=painter.summary, cite=painter.cite, classes=", ".join(facts["names"]), off=off,
        settings=bullets(painter.settings()),
        preprocessing=bullets({k: v for k, v in facts["preprocessing"].items() if v is not None}),
        split=bullets(data["split"]), counts=bullets(facts["counts"]), seed=facts["seed"], normal=NORMAL,
        shape=" x ".join(map(str, painter.shape_)),
        **{name: data[name] for name in ("images", "subjects", "subjects_from", "unreadable", "fingerprint")},
    )  # fmt: skip


CARD = """# Model card: {name}

## What it is

A painter: {summary}. Classes of lesions: {classes}; besides them normal tissue, class {normal}.

Settings:

{settings}

## What it was trained on

{images} images of {subjects} subjects ({unreadable} more could not be used and were left out):

{split}

Images or slices in training with lesions of each class, and without any:

{counts}

No subject is in both parts; the split depends on the subjects' names alone, which come from {subjects_from}.
Fingerprint of the data: `{fingerprint}`. Seed: {seed}. Windows of (channels x space) {shape}, at the images' own
resolution.

{off}

## How images are prepared

{preprocessing}

## How to use it

    anomaly paint out RUN --images TABLE --lesions COLUMN --out OUT
    anomaly paint in RUN --images NORMALS --class CLASS --count 100 --out OUT
    anomaly paint evaluate RUN --images OTHERS --lesions COLUMN --out OUT

## What it is for, and what it is not

- For research. It is not a medical device, was not validated for diagnosis, and must not guide care.
- What it paints was drawn, not measured: a lesion that nobody has, or tissue that nobody saw. Keep painted images apart
  from real ones; their names, headers and tables say what they are.
- It paints what it saw. A lesion of another kind, organ or scanner comes out as one of its own classes.
- What lies below a lesion is not known. A pseudo-healthy twin is a guess by the surroundings; where a lesion moves or
  swells what is around it, that stays.
- Outside of a mask nothing changes. A mask that is too tight leaves a rim of the lesion, by which the painter may
  continue it: give masks that hold all of it.

## How to cite

- the method: {cite}
- the software: anomaly-explain, see its CITATION.cff
"""
