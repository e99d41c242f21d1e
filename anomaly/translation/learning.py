"""From two heaps of images to a run: read once, split by subject, train a translator, write down."""

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from anomaly.cohorts.cohort import fingerprint
from anomaly.cohorts.masks import COLUMN as MASK
from anomaly.errors import AnomalyError
from anomaly.files import write_whole
from anomaly.images.caching import CachedImages, cache_images
from anomaly.images.preprocessing import Preprocessing
from anomaly.runs import longer
from anomaly.runs.facts import TRANSLATOR, write_facts
from anomaly.runs.methods import make
from anomaly.runs.plans import claim, clear, refuse_changes
from anomaly.runs.run import COHORT, WEIGHTS
from anomaly.runs.settings import known
from anomaly.runs.watching import Watch, draw_curves
from anomaly.training.journal import Journal
from anomaly.training.machine import Machine
from anomaly.translation.cards import held_out, model_card, preview
from anomaly.translation.heaps import (
    CHOOSE,
    FROM,
    HEAP,
    TO,
    TRAIN,
    Heaps,
    refuse_copies,
    refuse_unlike,
    tell,
    told_apart,
)
from anomaly.translation.run import METHODS, TranslatorRun
from anomaly.translators.cycle import CycleGAN, refuse_small

logger = logging.getLogger(__name__)


def learn_translation(
    heaps: Heaps,
    out: Path | str,
    *,
    method: str = "cyclegan",
    settings: Mapping[str, Any] | None = None,
    preprocessing: Preprocessing | None = None,
    choose: float = 0.15,
    seed: int = 0,
    machine: Machine | None = None,
    resume: bool = False,
    save_every: int = 500,
    workers: int | None = None,
) -> TranslatorRun:
    """Learn to draw images of one heap as of another, without pairs; this is `anomaly translate train`.

    Args:
        heaps: the two heaps.
        out: the run folder; must be new, empty, or an unfinished run to resume.
        method: name of a translator.
        settings: hyperparameters of the method by name.
        preprocessing: how images of both heaps become tensors; stored with the run.
        choose: share of subjects of each heap held out, to watch by.
        seed: of weights, batches and what is remembered. Who is held out depends on the subjects' names alone.
        machine: device, precision, processes.
        resume: go on exactly where a killed training stood. A finished run is returned as it is.
        save_every: steps between two checkpoints.
        workers: threads that read images; None takes one a core.

    Raises:
        AnomalyError: an unknown method or setting, or images smaller than a critic's patch.
        CohortError: heaps that are no two heaps, too few subjects, or images that do not come out alike.
        RunError: `out` holds something else, or a training with other settings or fewer steps.
        TrainingError: the loss is no longer a number.
    """
    out, machine = Path(out), machine or Machine()
    translator, preprocessing = asked_of(method, settings, preprocessing)
    finished, steps, work = longer.gone_on_with(out, translator, settings or {}, machine, resume=resume)
    plan: dict[str, Any] = {}  # only the first process fills and needs it

    def prepare() -> None:
        cohort, prepared = parted(heaps, choose, preprocessing)
        plan.update(
            kind=TRANSLATOR, method=translator.name, settings=translator.settings(),
            preprocessing=dataclasses.asdict(prepared), seed=seed, fingerprint=fingerprint(cohort),
            heaps=told_apart(cohort), choose=choose, subjects_from=cohort.attrs["subjects_from"],
            precision=machine.precision, processes=machine.processes * machine.nodes,
        )  # fmt: skip
        if finished:
            refuse_changes(out, finished, longer.as_finished(plan, finished))
            clear(out)  # which a training that was killed at its very end did not come to
            if not steps:
                longer.tell_finished(out, finished)
                return
            longer.begin(out, plan, {})
        else:
            refuse_small(refuse_unlike(cohort, prepared), translator.halved)
        claim(work, plan, resume)
        tell(cohort)
        cache_images(cohort, prepared, work / "checkpoint", workers=workers)
        refuse_copies(CachedImages.open(work / "checkpoint"))
        if steps:
            longer.check_images(out, work)

    machine.lead(prepare)
    if not finished or steps:
        images = CachedImages.open(work / "checkpoint")
        _fit(translator, images, work, machine, seed, resume, save_every)
        machine.lead(lambda: _write_down(work, translator, images, plan, machine))
    if steps:
        machine.lead(lambda: longer.finish(out))
    return TranslatorRun.open(out)


def asked_of(
    method: str, settings: Mapping[str, Any] | None, preprocessing: Preprocessing | None
) -> tuple[CycleGAN, Preprocessing]:
    """What is to learn, and how images are prepared for it; arguments as of `learn_translation`."""
    translator = make(known(METHODS, method), settings)
    if preprocessing is not None and preprocessing.context is not None:
        raise AnomalyError(f"{translator.name} makes nothing of context; leave it out of the preprocessing")
    return translator, preprocessing or Preprocessing()


def parted(heaps: Heaps, choose: float, preprocessing: Preprocessing) -> tuple[pd.DataFrame, Preprocessing]:
    """The table of both heaps with its split, and how its images are prepared."""
    cohort = heaps.parted(choose)
    return cohort, dataclasses.replace(preprocessing, mask="given" if MASK in cohort else "none")


def _fit(
    translator: CycleGAN,
    images: CachedImages,
    out: Path,
    machine: Machine,
    seed: int,
    resume: bool,
    save_every: int,
) -> None:
    source, target = (images.part(f"{TRAIN} {heap}") for heap in (FROM, TO))
    shown = (images.part(f"{CHOOSE} {FROM}"), images.part(f"{CHOOSE} {TO}"))
    translator.masked_ = MASK in images.table
    if machine.leads:
        rest = len(images.pixels) - len(source) - len(target)
        logger.info("training %s from %d images to %d; %d are held out", translator, len(source), len(target), rest)
    journal = Journal(folder=out, resume=resume, save_every=save_every, draw=Watch(out, turned=images.sliced))
    translator.fit(source, target, held_out=shown, machine=machine, seed=seed, journal=journal)


def _write_down(
    out: Path, translator: CycleGAN, images: CachedImages, plan: Mapping[str, Any], machine: Machine
) -> None:
    """Say of the held-out images how it does, and leave the run folder as a reader expects it; `run.json` last."""
    if (out / "training.csv").exists():
        draw_curves(out)
    table = images.table.drop(columns="split")
    write_whole(out / COHORT, table.to_csv(index=False))
    source, target = (images.part(f"{CHOOSE} {heap}") for heap in (FROM, TO))
    told = held_out(translator, source, target)
    preview(translator, source, target, out / "preview.png", slices=images.sliced)
    data = {
        "images": len(table),
        "subjects": int(table["subject"].nunique()),
        "subjects_from": plan["subjects_from"],
        "split": {
            f"{part} {heap}": int(((table["part"] == part) & (table[HEAP] == heap)).sum())
            for part in (TRAIN, CHOOSE)
            for heap in (FROM, TO)
        },
        "fingerprint": plan["fingerprint"],
        "unreadable": images.unreadable,
    }
    facts = {**plan, "shape": list(translator.shape_), "data": data, "held_out": told}
    write_whole(out / "MODEL_CARD.md", model_card(translator, facts))
    longer.keep_end(out, translator, machine)
    translator.save(out / WEIGHTS)
    write_facts(out, facts, device=str(machine.torch_device), checked=(WEIGHTS, COHORT))
    clear(out)
