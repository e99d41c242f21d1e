"""From cases and controls to a run: read once, split by subject, train an explainer or a classifier, write down."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.cohorts.cohort import FILE_NAMES, NO_SUBJECTS, fingerprint
from anomaly.cohorts.joining import columns
from anomaly.cohorts.masks import COLUMN as MASK
from anomaly.cohorts.masks import told_in_short
from anomaly.images.caching import CachedImages, cache_images
from anomaly.images.preprocessing import Preprocessing
from anomaly.runs import longer
from anomaly.runs.facts import CLASSIFIER, EXPLAINER
from anomaly.runs.methods import code_of
from anomaly.runs.plans import ASKED, claim, clear, refuse_changes
from anomaly.runs.watching import Watch
from anomaly.training.journal import Journal
from anomaly.training.machine import Machine
from explain.classifier import Classifier
from explain.runs.asked import asked_of, parted, refuse_unknown, warn_of_known
from explain.runs.run import LearnedRun
from explain.runs.written import write_down
from explain.sides.pairs import whole_pairs
from explain.sides.sides import CASE, CHOOSE, CONTROL, TRAIN, Sides, told_apart
from explain.trained import TrainedExplainer

logger = logging.getLogger(__name__)


def learn(
    sides: Sides,
    out: Path | str,
    *,
    method: str = "additive",
    settings: Mapping[str, Any] | None = None,
    preprocessing: Preprocessing | None = None,
    target: Path | str | None = None,
    generator: Path | str | None = None,
    nuisance: str | Sequence[str] = (),
    choose: float = 0.15,
    seed: int = 0,
    machine: Machine | None = None,
    resume: bool = False,
    save_every: int = 500,
    workers: int | None = None,
) -> LearnedRun:
    """Train an explainer or a classifier on cases and controls; `anomaly explain train` and `explain classifier`.

    Args:
        sides: who is a case and who a control.
        out: the run folder; must be new, empty, or an unfinished run to resume.
        method: name of an explainer that is trained, FILE.py:CLASS, or "classifier".
        settings: hyperparameters of the method by name.
        preprocessing: how images become tensors; stored with the run.
        target: run folder of what is to be explained, for a method that takes a target; prepared alike.
        generator: run folder of a detector that draws images from codes, for a method that walks in them; prepared
            alike.
        nuisance: columns of the table (age, sex, site) that such a walk is not to change.
        choose: share of subjects held out, to watch and stop by.
        seed: of weights, batches and noise. Who is held out depends on the subjects' names alone.
        machine: device, precision, processes.
        resume: go on exactly where a killed training stood. A finished run is returned as it is, unless `settings` has
            more `steps` than it: then it is trained on, see `anomaly.runs.longer`.
        save_every: steps between two checkpoints.
        workers: threads that read images; None takes one a core.

    Raises:
        AnomalyError: an unknown method or setting, a target that does not fit, pairs where none are taken.
        CohortError: images or subjects are too few, or a side has none.
        RunError: `out` holds something else, a training with other settings, or a finished run that has more steps, or
            whose method allows no more.
        TrainingError: the loss is no longer a number.
    """
    out, machine = Path(out), machine or Machine()
    nuisance = columns(nuisance)
    learner, preprocessing, opened, drawing = asked_of(
        sides, machine, method=method, settings=settings, preprocessing=preprocessing, target=target,
        generator=generator, nuisance=nuisance,
    )  # fmt: skip
    kind = CLASSIFIER if method == CLASSIFIER else EXPLAINER
    own = method if code_of(method) else None
    finished, steps, work = longer.gone_on_with(out, learner, settings or {}, machine, resume=resume)
    if finished:
        finished |= {name: learner.completed(finished[name]) for name in ("settings", ASKED) if name in finished}
    plan: dict[str, Any] = {}  # only the first process fills and needs it

    def prepare() -> None:
        cohort, prepared = parted(sides, choose, preprocessing, target, generator)
        refuse_unknown(nuisance, cohort)
        plan.update(
            kind=kind,
            method=learner.name,
            settings=learner.settings(),
            preprocessing=dataclasses.asdict(prepared),
            seed=seed,
            fingerprint=fingerprint(cohort),
            sides=told_apart(cohort),
            choose=choose,
            subjects_from=cohort.attrs["subjects_from"],
            target=opened and {"identity": opened.identity},
            generator=drawing and {"identity": drawing.identity},
            nuisance=list(nuisance) or None,  # as runs say that were made before there were nuisances
            code=code_of(method),
            precision=machine.precision,
            processes=machine.processes * machine.nodes,
        )
        if finished:
            refuse_changes(out, finished, longer.as_finished(plan, finished))
            clear(out)  # which a training that was killed at its very end did not come to
            if not steps:
                longer.tell_finished(out, finished)
                return
            longer.begin(out, plan, {})
        claim(work, plan, resume, learner.completed)
        if drawing is not None:
            warn_of_known(cohort, drawing)
        if FILE_NAMES in plan["subjects_from"]:
            logger.warning("%sparts of one person land on both sides of the split", NO_SUBJECTS)
        if MASK in cohort:
            logger.info(told_in_short(cohort))
        cache_images(cohort, prepared, work / "checkpoint", workers=workers)
        if sides.pair is not None:
            whole_pairs(work / "checkpoint")
        if steps:
            longer.check_images(out, work)

    machine.lead(prepare)
    if not finished or steps:
        images = CachedImages.open(work / "checkpoint")
        _fit(learner, images, work, machine, seed, resume, save_every, nuisance)
        given = {"target": opened, "generator": drawing}
        machine.lead(lambda: write_down(work, learner, images, plan, given, machine, home=out))
    if steps:
        machine.lead(lambda: longer.finish(out))
    return LearnedRun.open(out, kind, method=own, target=target, generator=generator)


def _fit(
    learner: "TrainedExplainer | Classifier",
    images: CachedImages,
    out: Path,
    machine: Machine,
    seed: int,
    resume: bool,
    save_every: int,
    nuisance: Sequence[str],
) -> None:
    controls, cases = images.part(f"{TRAIN} {CONTROL}"), images.part(f"{TRAIN} {CASE}")
    held_out = (images.part(f"{CHOOSE} {CONTROL}"), images.part(f"{CHOOSE} {CASE}"))
    if machine.leads:
        rest = len(images.pixels) - len(controls) - len(cases)
        logger.info(
            "training %s on %d controls and %d cases; %d are held out", learner, len(controls), len(cases), rest
        )
    journal = Journal(folder=out, resume=resume, save_every=save_every, draw=Watch(out, turned=images.sliced))
    beside: dict[str, Any] = {}
    if nuisance:
        beside = {"nuisance": {name: _of_sides(images, _column(images, name)) for name in nuisance}}
        beside["people"] = _of_sides(images, images.table["subject"])
    learner.fit(controls, cases, held_out=held_out, machine=machine, seed=seed, journal=journal, **beside)


def _column(images: CachedImages, name: str) -> "pd.Series[Any]":
    """What the table says of each image; numbers as such, "" if unknown."""
    column = images.table[name]
    numbers = pd.to_numeric(column.replace("", np.nan), errors="coerce")
    return numbers if numbers.notna().sum() == (column != "").sum() else column


def _of_sides(images: CachedImages, column: "pd.Series[Any]") -> tuple[np.ndarray, np.ndarray]:
    """Of a column the values of the controls and of the cases to learn from, slice by slice."""
    table = images.table

    def of(side: str) -> np.ndarray:
        rows = table[table["split"] == f"{TRAIN} {side}"]
        return np.repeat(column[rows.index].to_numpy(), rows["slices"])

    return of(CONTROL), of(CASE)
