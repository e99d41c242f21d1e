"""From images with label maps to a run: read once, split by subject, train a synthesizer, write down."""

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from anomaly.cohorts.cohort import fingerprint
from anomaly.cohorts.masks import COLUMN as MASK
from anomaly.cohorts.results import some
from anomaly.errors import AnomalyError, CohortError
from anomaly.files import write_whole
from anomaly.images.labels import Labels
from anomaly.images.preprocessing import Preprocessing
from anomaly.painters.register import SYNTHESIZERS
from anomaly.painters.synthesizer import SHOWN, Synthesizer
from anomaly.painters.tissues import Tissue
from anomaly.painters.ultrasound import Ultrasound
from anomaly.runs import longer
from anomaly.runs.facts import SYNTHESIZER, write_facts
from anomaly.runs.methods import make
from anomaly.runs.plans import abandon, claim, clear, refuse_changes
from anomaly.runs.run import COHORT, WEIGHTS
from anomaly.runs.settings import known
from anomaly.runs.watching import Watch, draw_curves
from anomaly.synthesis.caching import CachedMaps, MappedBatches, cache_maps
from anomaly.synthesis.cards import held_out, model_card, preview
from anomaly.synthesis.mapped import CHOOSE, TRAIN, Mapped, classes_of, tell
from anomaly.synthesis.run import SynthesizerRun
from anomaly.synthesis.scattering import place_probe
from anomaly.training.batches import evenly
from anomaly.training.journal import Journal
from anomaly.training.learned import share_of
from anomaly.training.machine import Machine

logger = logging.getLogger(__name__)


def learn_synthesis(
    mapped: Mapped,
    out: Path | str,
    *,
    method: str = "spade",
    settings: Mapping[str, Any] | None = None,
    preprocessing: Preprocessing | None = None,
    classes: str | None = None,
    tissues: Mapping[str, Tissue] | None = None,
    choose: float = 0.15,
    seed: int = 0,
    machine: Machine | None = None,
    resume: bool = False,
    save_every: int = 500,
    workers: int | None = None,
) -> SynthesizerRun:
    """Learn to draw images from label maps; this is `anomaly synthesize train`.

    Args:
        mapped: the images and their label maps.
        out: the run folder; must be new, empty, or an unfinished run to resume.
        method: name of a synthesizer.
        settings: hyperparameters of the method by name.
        preprocessing: how images become tensors; stored with the run.
        classes: which numbers are which class, as "effusion=6,bone=1"; None makes each number its own class.
        tissues: of classes by name, for the method "ultrasound"; see `anomaly.painters.tissues`.
        choose: share of subjects held out, to watch by.
        seed: of weights, batches and chance. Who is held out depends on the subjects' names alone.
        machine: device, precision, processes.
        resume: go on exactly where a killed training stood. A finished run is returned as it is.
        save_every: steps between two checkpoints.
        workers: threads that read images; None takes one a core.

    Raises:
        AnomalyError: an unknown method or setting, tissues of no class, or images too small for a critic.
        CohortError: too few subjects, no label maps, or images that do not come out alike.
        RunError: `out` holds something else, or a training with other settings or fewer steps.
        TrainingError: the loss is no longer a number.
    """
    out, machine = Path(out), machine or Machine()
    synthesizer, preprocessing = _asked(method, settings, preprocessing, tissues)
    finished, steps, work = longer.gone_on_with(out, synthesizer, settings or {}, machine, resume=resume)
    plan: dict[str, Any] = {}  # only the first process fills and needs it

    def prepare() -> None:
        cohort = mapped.parted(choose)
        labels, background = classes_of(list(cohort["labels"]), classes)
        prepared = dataclasses.replace(preprocessing, mask="given" if MASK in cohort else "none")
        if isinstance(synthesizer, Ultrasound):
            place_probe(synthesizer, settings or {}, labels, tissues, cohort, prepared)
        plan.update(
            kind=SYNTHESIZER, method=synthesizer.name, settings=synthesizer.settings(),
            preprocessing=dataclasses.asdict(prepared), seed=seed, fingerprint=fingerprint(cohort),
            classes={"column": str(mapped.labels), **labels.as_json()}, background=background, choose=choose,
            maps=fingerprint(cohort.assign(path=cohort["labels"])), subjects_from=cohort.attrs["subjects_from"],
            precision=machine.precision, processes=machine.processes * machine.nodes,
        )  # fmt: skip
        if finished:
            refuse_changes(out, finished, longer.as_finished(plan, finished))
            clear(out)  # which a training that was killed at its very end did not come to
            if not steps:
                longer.tell_finished(out, finished)
                return
            longer.begin(out, plan, {})
        claim(work, plan, resume)
        tell(cohort)
        try:
            cache_maps(cohort, prepared, labels, work / "checkpoint", workers=workers)
            _tell_few(CachedMaps.open(work / "checkpoint").persons(TRAIN, labels))
        except AnomalyError:
            abandon(work)
            raise
        if steps:
            longer.check_images(out, work)

    machine.lead(prepare)
    if not finished or steps:
        cached = CachedMaps.open(work / "checkpoint")
        _fit(synthesizer, cached, work, machine, seed, resume, save_every)
        machine.lead(lambda: _write_down(work, synthesizer, cached, plan, machine))
    if steps:
        machine.lead(lambda: longer.finish(out))
    return SynthesizerRun.open(out)


def _asked(
    method: str,
    settings: Mapping[str, Any] | None,
    preprocessing: Preprocessing | None,
    tissues: Mapping[str, Tissue] | None,
) -> tuple[Synthesizer, Preprocessing]:
    synthesizer = make(known(SYNTHESIZERS, method), settings)
    if preprocessing is not None and preprocessing.context is not None:
        raise AnomalyError(f"{synthesizer.name} makes nothing of context; leave it out of the preprocessing")
    if tissues and not isinstance(synthesizer, Ultrasound):
        raise AnomalyError(f"{synthesizer.name} makes nothing of tissues; leave --tissues out, or take ultrasound")
    return synthesizer, preprocessing or Preprocessing()


def _tell_few(persons: Mapping[str, int]) -> None:
    """Say which classes one person has.

    Raises:
        CohortError: nobody that is trained on has a class: it would be drawn by what was never learned.
    """
    if none := [name for name, count in persons.items() if not count]:
        raise CohortError(
            f"nobody that is trained on has the class {none[0]}, once images are prepared: all who have it are held "
            "out, their images cannot be used, or it is smaller than a pixel; name other --classes, or give more images"
        )
    if one := [name for name, count in persons.items() if count == 1]:
        logger.warning("of %s one person alone has any in the training images: it is drawn as that one's", some(one))


def _fit(
    synthesizer: Synthesizer,
    cached: CachedMaps,
    out: Path,
    machine: Machine,
    seed: int,
    resume: bool,
    save_every: int,
) -> None:
    plan = longer.json.loads((out / "checkpoint" / "plan.json").read_text())
    for name, value in plan["settings"].items():  # what was filled in, for every process
        setattr(synthesizer, name, tuple(value) if isinstance(value, list) else value)
    synthesizer.masked_ = MASK in cached.images.table
    pixels, places = cached.part(TRAIN)
    shown, of_shown = cached.part(CHOOSE)
    chosen = evenly(len(shown), SHOWN)
    if machine.leads:
        logger.info("training %s on %d images; %d are held out", synthesizer, len(pixels), len(shown))
    source = MappedBatches(
        pixels, places, size=synthesizer.batch, seed=seed, share=share_of(synthesizer.batch, machine)
    )
    journal = Journal(folder=out, resume=resume, save_every=save_every, draw=Watch(out, turned=cached.images.sliced))
    held = (torch.from_numpy(np.array(shown[chosen])), torch.from_numpy(np.array(of_shown[chosen], dtype=np.int64)))
    synthesizer.fit(
        source, pixels.shape[1:], len(plan["classes"]["names"]) + 1, held_out=held, machine=machine, seed=seed,
        journal=journal,
    )  # fmt: skip


def _write_down(
    out: Path, synthesizer: Synthesizer, cached: CachedMaps, plan: Mapping[str, Any], machine: Machine
) -> None:
    """Say of the held-out images how it does, and leave the run folder as a reader expects it; `run.json` last."""
    if (out / "training.csv").exists():
        draw_curves(out)
    table: pd.DataFrame = cached.images.table
    write_whole(out / COHORT, table.to_csv(index=False))
    labels, part = Labels.from_json(plan["classes"]), cached.part(CHOOSE)
    told = held_out(synthesizer, *part)
    preview(synthesizer, *part, labels, out / "preview.png", slices=cached.images.sliced)
    data = {
        "images": len(table),
        "subjects": int(table["subject"].nunique()),
        "subjects_from": plan["subjects_from"],
        "split": {name: int((table["split"] == name).sum()) for name in (TRAIN, CHOOSE)},
        "fingerprint": plan["fingerprint"],
        "unreadable": cached.images.unreadable,
        "persons": cached.persons(TRAIN, labels),
    }
    facts = {**plan, "shape": list(synthesizer.shape_), "data": data, "held_out": told}
    write_whole(out / "MODEL_CARD.md", model_card(synthesizer, labels, facts))
    longer.keep_end(out, synthesizer, machine)
    synthesizer.save(out / WEIGHTS)
    write_facts(out, facts, device=str(machine.torch_device), checked=(WEIGHTS, COHORT))
    clear(out)
