"""What training an explainer or a classifier would be and take: `anomaly explain train --dry-run`; writes nothing."""

import inspect
from copy import copy
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anomaly.errors import AnomalyError
from anomaly.images.caching import first_readable
from anomaly.runs.foreseeing import Foreseen
from anomaly.runs.plans import refuse_taken
from anomaly.training.forecast import Forecast, few, free, of_stages
from anomaly.training.machine import Machine
from explain.classifier import Classifier
from explain.latent.walk import LatentWalk
from explain.runs.asked import asked_of, parted
from explain.runs.learning import learn
from explain.sides.sides import CASE, CHOOSE, CONTROL, TRAIN, Sides
from explain.trained import TrainedExplainer

SIDES = (CONTROL, CASE)
ASKED = ("method", "settings", "preprocessing", "target", "generator", "nuisance")


def foresee(sides: Sides, out: Path | str | None = None, **asked: Any) -> Foreseen:
    """What `learn` would do with the same arguments: method, settings, images found, time and memory.

    Args:
        sides: who is a case and who a control.
        out: the run folder, to be told if it is taken; None asks for none.
        asked: as `learn` takes them.

    Raises:
        AnomalyError: as `learn`; it has no such argument; or a walk, whose time follows from the images it walks from.
    """
    try:
        bound = inspect.signature(learn).bind(sides, out or "", **asked)
    except TypeError as error:
        raise AnomalyError(f"foresee takes what learn takes: {error}") from None
    bound.apply_defaults()
    given, machine = bound.arguments, bound.arguments["machine"] or Machine()
    if out is not None:
        refuse_taken(Path(out), given["resume"])
    learner, preprocessing, *_ = asked_of(sides, machine, **{name: given[name] for name in ASKED})
    cohort, prepared = parted(sides, given["choose"], preprocessing, given["target"], given["generator"])
    images = [first_readable(cohort[cohort["split"] == f"{TRAIN} {side}"], prepared) for side in SIDES]
    counts = {
        f"{part} {side}s": int((cohort["split"] == f"{part} {side}").sum())
        for part in (TRAIN, CHOOSE)
        for side in SIDES
    }
    fewest = min(counts[f"{TRAIN} {side}s"] * len(each) for side, each in zip(SIDES, images, strict=True))
    learner.fill_in(tuple(images[0].shape[1:]), fewest, machine.processes * machine.nodes)
    forecast = _of(learner, [each[:1] for each in images], machine)
    return Foreseen(learner.name, learner.settings(), counts, images[0].shape[1:], forecast, free(machine))


def _of(learner: TrainedExplainer | Classifier, images: list[np.ndarray], machine: Machine) -> Forecast:
    """By one step on an image of each side, in a copy of the networks."""
    if isinstance(learner, LatentWalk):
        raise AnomalyError(f"how long {learner.name} takes follows from its walks; it is told as it goes")
    twin: Any = copy(learner)
    shape = images[0].shape[1:]
    size = few(learner.batch, 2 * prod(shape))
    batch = tuple(torch.from_numpy(each).to(machine.torch_device).expand(size, *shape).clone() for each in images)
    with torch.random.fork_rng(devices=[]):
        twin.make(shape, machine, seed=0)
        if isinstance(twin, TrainedExplainer):
            with torch.no_grad():
                twin.settle(*batch)
        return of_stages(twin.net_, twin.stages(), batch, size / learner.batch, machine)
