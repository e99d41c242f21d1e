"""Pages that a forecaster's training leaves for a reader: a sheet of persons held out, and plain words."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anomaly.cohorts.joining import SIMULATED
from anomaly.evolution.evolving import AFTER, BEFORE, IMAGE, Evolving
from anomaly.images.pictures import write_png
from anomaly.pictures import heatmaps
from anomaly.progression.calibrating import Calibration
from anomaly.runs.previews import EDGES, bullets, flat_pictures
from anomaly.training.batches import evenly

SHOWN = 8


def preview(learned: Evolving, pairs: np.ndarray, years: np.ndarray, path: Path, *, slices: bool = False) -> None:
    """Write a sheet of persons held out: now, predicted, the next visit, the change predicted and the true one.

    Args:
        learned: fitted.
        pairs: (n, 3 or more, *space), as prepared for it.
        years: (n,) between the visits.
        path: of the PNG file.
        slices: they are slices of volumes, to be turned as a volume's are.
    """
    chosen = evenly(len(pairs), SHOWN)
    x = torch.from_numpy(np.array(pairs[chosen]))
    change = learned.forecast(x, torch.from_numpy(years[chosen]), [str(k) for k in chosen], 10).mean(0).numpy()
    before, after = (x[:, each : each + 1].numpy() for each in (BEFORE, AFTER))
    rows = {"now": 2 * before - 1, "predicted": 2 * (before + change) - 1, "next visit": 2 * after - 1}
    rows |= {"change": change, "true change": after - before}
    rows = ({"image": x[:, IMAGE:].numpy()} if x.shape[1] > IMAGE else {}) | rows
    turned = slices or x.ndim == 5
    panels = [[heatmaps.grey(one, EDGES) for one in flat_pictures(each, turned)] for each in rows.values()]
    title = f"{learned.name} on persons it was not trained on; grey: no change"
    write_png(path, heatmaps.sheet(panels, list(rows), title=title, bar=False))


def model_card(learned: Evolving, facts: Mapping[str, Any], calibration: Calibration) -> str:
    """Say in plain words what a run is, what it may be used for and what it cannot know; Markdown.

    Args:
        learned: fitted.
        facts: as in `run.json`.
        calibration: of persons held out.
    """
    data, told, (low, high) = facts["data"], facts["held_out"], facts["years"]
    interval = calibration.why_none or (
        f"Intervals of 95 % reach {calibration.reach:.4g} times {WORDS[calibration.unit].format(unit=facts['unit'])}"
    )
    made_up = f"**SIMULATED.** {SIMULATED}\n\n" if facts["data"]["simulated"] else ""
    return CARD.format(
        simulated=made_up,
        name=learned.name, summary=learned.summary, cite=learned.cite, settings=bullets(learned.settings()),
        preprocessing=bullets({k: v for k, v in facts["preprocessing"].items() if v is not None}),
        split=bullets(data["split"]), shape=" x ".join(map(str, learned.shape_)), seed=facts["seed"],
        off=f"{told['off']:.4g}", persistence=f"{told['persistence']:.4g}", unit=facts["unit"], interval=interval,
        persons=calibration.persons, image="map and image" if facts["image"] == "beside" else "map alone",
        years=("a time that nobody tells" if not facts["told_years"] else f"{low:g} to {high:g} years"),
        **{name: data[name] for name in ("images", "subjects", "subjects_from", "unreadable", "fingerprint")},
    )  # fmt: skip


WORDS = {
    "even": "1 {unit} to either side of the predicted change.",
    "spread": "(the spread of the draws + an offset) to either side of the predicted change, in {unit}.",
    "volume": "(the volume now + an offset) to either side of the predicted change, in {unit}.",
}
CARD = """# Model card: {name}

{simulated}## What it is

A forecaster: it learned from pairs of visits of the same persons how the map of a disease changes from one to the next,
and draws of a new map ({image}) what it may be at the next visit. Method: `{name}`, {summary}.

Settings:

{settings}

## What it was trained on

{images} pairs of visits of {subjects} subjects ({unreadable} more could not be used and were left out), {years} apart:

{split}

No subject is in two parts; the split depends on the subjects' names alone, which come from {subjects_from}.
Fingerprint of the data: `{fingerprint}`. Seed: {seed}.

Of the {persons} persons that calibrate, the predicted volume is off by {off} {unit} in the mean; "nothing changes" is
off by {persistence}.

{interval}

A person has one score, the largest over their pairs, so that intervals hold for persons like those held out.

## How images are prepared

The network sees (channels x space) {shape}.

{preprocessing}

## How to use it

    anomaly progress predict RUN --images FOLDER_OR_CSV --out OUT
    anomaly progress evaluate RUN --images CSV --visits COLUMN --out OUT

## What it is for, and what it is not

- For research. It is not a medical device, was not validated for prognosis, and must not guide care.
- A predicted map is drawn, not measured. It says what became of maps like this one in the persons learned from, with
  their treatment, over their time; of other persons, scanners or treatments it says nothing.
- The interval is of the volume that a map of the next visit will have, errors of the map included, not of the disease.
- Whether it knows more than "nothing changes" is told by `anomaly progress evaluate`, beside that and other floors.

## How to cite

- the method: {cite}
- the software: anomaly-explain, see its CITATION.cff
"""
