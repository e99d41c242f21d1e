"""What a finished training leaves in its run folder: figures on held-out images, pictures, a card, the weights."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.files import write_whole
from anomaly.images.caching import CachedImages
from anomaly.images.preprocessing import Preprocessing
from anomaly.pictures.scales import next_to_nothing
from anomaly.runs import longer
from anomaly.runs.facts import write_facts
from anomaly.runs.plans import ASKED, clear
from anomaly.runs.run import COHORT, WEIGHTS
from anomaly.runs.watching import draw_curves
from anomaly.training.machine import Machine
from explain.classifier import Classifier
from explain.runs.cards import model_card, preview
from explain.runs.given import GivenRun
from explain.runs.judging import judged
from explain.sides.sides import CASE, CHOOSE, CONTROL, TRAIN
from explain.trained import TrainedExplainer

logger = logging.getLogger(__name__)


def write_down(
    out: Path,
    learner: "TrainedExplainer | Classifier",
    images: CachedImages,
    plan: Mapping[str, Any],
    given: Mapping[str, GivenRun | None],
    machine: Machine,
    *,
    home: Path,
) -> None:
    """Say of the held-out images how it does, and leave the run folder as a reader expects it; `run.json` last."""
    if (out / "training.csv").exists():
        draw_curves(out)
    table = images.table.drop(columns="split")
    write_whole(out / COHORT, table.to_csv(index=False))
    told = judged(learner, images)
    if little := next_to_nothing(told.get("largest_change_in_cases", float("nan")), " in a held-out case"):
        logger.warning("%s Train longer: such maps mean nothing", little)
    if isinstance(learner, TrainedExplainer):
        cases = images.part(f"{CHOOSE} {CASE}")
        affine = Preprocessing(**plan["preprocessing"]).grid(cases.shape[2:]) if cases.ndim == 5 else None
        preview(learner, cases, out / "preview.png", limit=told["limit"], affine=affine, slices=images.sliced)
    places = {
        what: run and {"identity": run.identity, "folder": os.path.relpath(run.folder, home)}
        for what, run in given.items()
    }
    data = _counts(table, plan, images.unreadable)
    used = learner.settings()
    settings = {} if used == plan["settings"] else {"settings": used, ASKED: plan["settings"]}
    facts = {**plan, **settings, **places, "shape": list(learner.shape_), "data": data, "held_out": told}
    write_whole(out / "MODEL_CARD.md", model_card(learner, facts))
    longer.keep_end(out, learner, machine)
    learner.save(out / WEIGHTS)
    write_facts(out, facts, device=str(machine.torch_device), checked=(WEIGHTS, COHORT))
    clear(out)


def _counts(table: pd.DataFrame, plan: Mapping[str, Any], unreadable: int) -> dict[str, Any]:
    sides = np.where(table["label"] == 1, CASE, CONTROL)
    return {
        "images": len(table),
        "subjects": int(table["subject"].nunique()),
        "subjects_from": plan["subjects_from"],
        "split": {
            f"{part} {side}s": int(((table["part"] == part) & (sides == side)).sum())
            for part in (TRAIN, CHOOSE)
            for side in (CONTROL, CASE)
        },
        "fingerprint": plan["fingerprint"],
        "unreadable": unreadable,
    }
