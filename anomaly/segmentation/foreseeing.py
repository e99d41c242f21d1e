"""What training a segmenter would be and take, told without one: `anomaly segment train --dry-run`; writes nothing."""

import inspect
from copy import copy
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from anomaly.errors import AnomalyError, CohortError, UnreadableImage
from anomaly.images.labels import Labels
from anomaly.images.preprocessing import Preprocessing
from anomaly.restorers.windows import window_in
from anomaly.runs.foreseeing import Foreseen
from anomaly.runs.plans import refuse_taken
from anomaly.runs.units import LOOKED_AT
from anomaly.segmentation.annotations import Annotations, tell
from anomaly.segmentation.keeping import read_one
from anomaly.segmentation.learning import asked_of, gathered, learn_segmentation
from anomaly.segmenters.base import PLENTY
from anomaly.training.batches import evenly
from anomaly.training.forecast import few, free, of_stages
from anomaly.training.machine import Machine


def foresee_segmentation(annotations: Annotations, out: Path | str | None = None, **asked: Any) -> Foreseen:
    """What `learn_segmentation` would do with the same arguments: settings, images found, time and memory.

    The tables, all label maps and up to 8 images are read, and one step is taken and thrown away.

    Args:
        annotations, out, asked: as `learn_segmentation` takes them; no `out` asks for no folder.

    Raises:
        AnomalyError: as `learn_segmentation`, or it has no such argument.
    """
    try:
        bound = inspect.signature(learn_segmentation).bind(annotations, out or "", **asked)
    except TypeError as error:
        raise AnomalyError(f"foresee_segmentation takes what learn_segmentation takes: {error}") from None
    bound.apply_defaults()
    given = bound.arguments
    if out is not None:
        refuse_taken(Path(out), given["resume"])
    machine = given["machine"] or Machine()
    segmenter, preprocessing = asked_of(
        given["method"], given["settings"], given["preprocessing"], annotations, given["marked"]
    )
    cohort, labels, prepared = gathered(annotations, given["choose"], preprocessing, workers=given["workers"])
    tell(cohort)
    channels, space = _smallest(cohort, prepared, labels)
    shape = (channels, *window_in(space, None, segmenter.window))
    segmenter.fill_in(shape, PLENTY, machine.processes * machine.nodes)
    twin: Any = copy(segmenter)
    twin.classes_, twin.masked_ = labels.count, prepared.mask == "given"
    size = few(twin.batch, prod(shape))
    with torch.random.fork_rng(devices=[]):
        twin.make(shape, machine, seed=0)
        x = 2 * torch.rand(size, *shape, device=machine.torch_device) - 1
        places = torch.randint(0, labels.count, (size, *shape[1:]), device=machine.torch_device)
        batch = ((x, places), x.flip(0)) if twin.unlabelled else (x, places)
        forecast = of_stages(twin.net_, twin.stages(), batch, size / twin.batch, machine)
    counts = {str(part): int(count) for part, count in cohort["split"].value_counts(sort=False).items()}
    return Foreseen(segmenter.name, segmenter.settings(), counts, shape, forecast, free(machine))


def _smallest(cohort: pd.DataFrame, preprocessing: Preprocessing, labels: Labels) -> tuple[int, tuple[int, ...]]:
    """Channels, and the fewest pixels along each axis, of some images of the table.

    Raises:
        CohortError: none of them can be used.
    """
    shapes, first = [], ""
    for place in evenly(len(cohort), LOOKED_AT).tolist():
        try:
            shapes.append(read_one(dict(cohort.iloc[place]), preprocessing, labels)[0].shape[1:])
        except UnreadableImage as error:  # which is told where all are read
            first = first or str(error)
    if not shapes:
        raise CohortError(f"none of {len(cohort)} images that were looked at can be used; the first: {first}")
    return int(shapes[0][0]), tuple(int(side) for side in np.min([each[1:] for each in shapes], axis=0))
