"""What training a restorer would be and take, told without one: `anomaly restore train --dry-run`; writes nothing."""

import inspect
from copy import copy
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from anomaly.degradations.base import Degradation
from anomaly.errors import AnomalyError, CohortError
from anomaly.images.preprocessing import Preprocessing
from anomaly.restorers.keeping import first_readable
from anomaly.restorers.learning import asked_of, learn_restorer, parted
from anomaly.restorers.windows import window_in
from anomaly.runs.foreseeing import Foreseen
from anomaly.runs.plans import refuse_taken
from anomaly.runs.units import LOOKED_AT, warn_of_spacing
from anomaly.training.batches import evenly
from anomaly.training.forecast import few, free, of_stages
from anomaly.training.machine import Machine
from anomaly.translators.restorer import PLENTY


def foresee_restorer(images: Path | str | pd.DataFrame, out: Path | str | None = None, **asked: Any) -> Foreseen:
    """What `learn_restorer` would do with the same arguments: settings, images found, time and memory.

    The table and up to 8 images are read, and one step is taken and thrown away; time is told without reading and
    degrading.

    Args:
        images, out, asked: as `learn_restorer` takes them; no `out` asks for no folder.

    Raises:
        AnomalyError: as `learn_restorer`, or it has no such argument.
    """
    try:
        bound = inspect.signature(learn_restorer).bind(images, out or "", **asked)
    except TypeError as error:
        raise AnomalyError(f"foresee_restorer takes what learn_restorer takes: {error}") from None
    bound.apply_defaults()
    given = bound.arguments
    if out is not None:
        refuse_taken(Path(out), given["resume"])
    machine = given["machine"] or Machine()
    restorer, degradation, preprocessing = asked_of(
        given["degrade"], given["pairs"], given["settings"], given["preprocessing"]
    )
    whose = {name: given[name] for name in ("subject", "subject_pattern", "where", "match", "exclude")}
    cohort = parted(images, given["pairs"], given["choose"], **whose)
    channels, space = _smallest(cohort, preprocessing, degradation)
    warn_of_spacing(degradation, cohort, preprocessing)
    window = window_in(space, degradation, restorer.window)
    restorer.fill_in((channels, *window), PLENTY, machine.processes * machine.nodes)
    twin: Any = copy(restorer)
    twin.tells_ = degradation is not None and degradation.tells
    shape = (channels, *window)
    size = few(restorer.batch, prod(shape))
    with torch.random.fork_rng(devices=[]):
        twin.make(shape, machine, seed=0)
        x = torch.rand(size, *shape, device=machine.torch_device)
        known = (x[:, :1] > 0.5,) if twin.tells_ else ()
        forecast = of_stages(twin.net_, twin.stages(), (x, x.flip(-1), *known), size / restorer.batch, machine)
    counts = {part: int((cohort["split"] == part).sum()) for part in ("train", "choose")}
    settings = {**restorer.settings(), **({} if degradation is None else vars(degradation))}
    return Foreseen(restorer.name, settings, counts, shape, forecast, free(machine))


def _smallest(
    cohort: pd.DataFrame, preprocessing: Preprocessing, degradation: Degradation | None
) -> tuple[int, tuple[int, ...]]:
    """Channels, and the fewest pixels along each axis, of some images of the table."""
    channels, *first = first_readable(cohort, preprocessing, degradation)
    spaces = [first]
    for place in evenly(len(cohort), LOOKED_AT).tolist():
        try:
            spaces.append(list(first_readable(cohort.iloc[[place]], preprocessing, degradation)[1:]))
        except CohortError:  # which is told where all are read
            continue
    return channels, tuple(int(side) for side in np.min(spaces, axis=0))
