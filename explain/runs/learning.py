"""From cases and controls to a run: read once, split by subject, train an explainer or a classifier, write down."""

import dataclasses
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.cohorts.cohort import FILE_NAMES, NO_SUBJECTS, fingerprint
from anomaly.cohorts.joining import columns
from anomaly.cohorts.masks import COLUMN as MASK
from anomaly.cohorts.masks import suited, told_in_short
from anomaly.cohorts.results import some
from anomaly.errors import AnomalyError, CohortError
from anomaly.files import write_whole
from anomaly.images.caching import CachedImages, cache_images
from anomaly.images.preprocessing import Preprocessing
from anomaly.pictures.scales import next_to_nothing
from anomaly.runs import longer
from anomaly.runs.facts import CLASSIFIER, EXPLAINER, read_facts, write_facts
from anomaly.runs.methods import code_of, make
from anomaly.runs.plans import ASKED, claim, clear, refuse_changes
from anomaly.runs.run import COHORT, WEIGHTS
from anomaly.runs.watching import Watch, draw_curves
from anomaly.training.journal import Journal
from anomaly.training.learned import Learned
from anomaly.training.machine import Machine
from explain.classifier import Classifier
from explain.counterfactuals.targeted import Targeted
from explain.latent.walk import LatentWalk
from explain.runs.cards import model_card, preview
from explain.runs.given import GeneratorRun, GivenRun, TargetRun, open_generator, open_target
from explain.runs.judging import judged
from explain.runs.run import LearnedRun, find_explainer
from explain.sides.pairs import whole_pairs
from explain.sides.sides import CASE, CHOOSE, CONTROL, TRAIN, Sides, told_apart
from explain.trained import TrainedExplainer

logger = logging.getLogger(__name__)
UNMASKED = (Targeted, LatentWalk)
"""Methods that ask their target of what they draw, where a mask would be lost."""


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
        finished["settings"] = learner.completed(finished["settings"])
    plan: dict[str, Any] = {}  # only the first process fills and needs it

    def prepare() -> None:
        cohort, prepared = parted(sides, choose, preprocessing, target, generator)
        _refuse_unknown(nuisance, cohort)
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
        claim(work, plan, resume)
        if drawing is not None:
            _warn_of_known(cohort, drawing)
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
        machine.lead(lambda: _write_down(work, learner, images, plan, given, machine, home=out))
    if steps:
        machine.lead(lambda: longer.finish(out))
    return LearnedRun.open(out, kind, method=own, target=target, generator=generator)


def _masks_of(*given: Path | str | None) -> str | None:
    """Whether the runs that take part were trained with masks, "given" or "none"; None where there is no run."""
    runs = [Path(folder) for folder in given if folder is not None and (Path(folder) / "run.json").is_file()]
    told = [read_facts(run)["preprocessing"].get("mask", "none") for run in runs]  # what is none says so when opened
    return told[0] if told else None


def asked_of(
    sides: Sides,
    machine: Machine,
    *,
    method: str,
    settings: Mapping[str, Any] | None,
    preprocessing: Preprocessing | None,
    target: Path | str | None,
    generator: Path | str | None,
    nuisance: str | Sequence[str],
) -> tuple["TrainedExplainer | Classifier", Preprocessing, TargetRun | None, GeneratorRun | None]:
    """What is to learn, how images are prepared for it, and the runs that it is given; arguments as of `learn`."""
    learner = _create(method, settings, sides)
    if preprocessing is not None and preprocessing.context is not None:
        raise AnomalyError(f"{learner.name} makes nothing of context; leave it out of the preprocessing")
    _takes_target(learner, target)  # before it is read
    given = _masks_of(target, generator)
    preprocessing = dataclasses.replace(preprocessing or Preprocessing(), mask=given or "none")
    if given == "given" and isinstance(learner, UNMASKED):
        raise AnomalyError(
            f"{learner.name} makes nothing of masks, with which what it was given was trained; take another method, or "
            "train that without masks"
        )
    opened = _targeted(learner, target, preprocessing, machine)
    return learner, preprocessing, opened, _drawing(learner, generator, columns(nuisance), preprocessing, machine)


def parted(
    sides: Sides,
    choose: float,
    preprocessing: Preprocessing,
    target: Path | str | None,
    generator: Path | str | None,
) -> tuple[pd.DataFrame, Preprocessing]:
    """The table with its split, and how its images are prepared."""
    cohort, given = sides.read(choose), _masks_of(target, generator)
    if given is not None or sides.mask is None:  # a column that nobody named may mark the disease of cases
        cohort = suited(cohort, sides.mask, given or "none", str(target or generator or "this"))
    return cohort, dataclasses.replace(preprocessing, mask="given" if MASK in cohort else "none")


def _create(method: str, settings: Mapping[str, Any] | None, sides: Sides) -> "TrainedExplainer | Classifier":
    cls: type[Any] = Classifier if method == CLASSIFIER else find_explainer(method)
    learner: TrainedExplainer | Classifier = make(cls, settings)
    paired = isinstance(learner, TrainedExplainer) and learner.paired
    if paired and sides.pair is None:
        raise AnomalyError(
            f"{method} learns from pairs; give --cohort with --pair, the column that names each image's counterpart"
        )
    return learner


def _takes_target(learner: Learned, target: Path | str | None) -> bool:
    """Whether a method takes a target; AnomalyError where it is given one and takes none."""
    takes = isinstance(learner, TrainedExplainer) and learner.takes_target
    if not takes and target is not None:
        raise AnomalyError(f"{learner.name} learns from cases and controls alone and takes no target; leave it out")
    return takes


def _targeted(
    learner: Learned, target: Path | str | None, preprocessing: Preprocessing, machine: Machine
) -> TargetRun | None:
    """Open the target of a method that takes one."""
    if not _takes_target(learner, target):
        return None
    if target is None:
        raise AnomalyError(
            f"{learner.name} explains a target; give --target, the run folder of a classifier or a detector"
        )
    opened = open_target(target, device=str(machine.torch_device))
    opened.check(preprocessing, "this training")
    learner.target = opened.value  # type: ignore[attr-defined]
    if isinstance(learner, LatentWalk):
        learner.threshold, learner.scale = opened.threshold, opened.scale
    return opened


def _drawing(
    learner: Learned,
    generator: Path | str | None,
    nuisance: Sequence[str],
    preprocessing: Preprocessing,
    machine: Machine,
) -> GeneratorRun | None:
    """Open the generator of a method that walks in its codes."""
    if not isinstance(learner, LatentWalk):
        given = "generator" if generator is not None else "nuisance" if nuisance else None
        if given:
            raise AnomalyError(f"{learner.name} takes no {given}; leave --{given} out, or take latent-walk")
        return None
    if generator is None:
        raise AnomalyError(
            f"{learner.name} walks in the codes of a generator; give --generator, the run folder of `anomaly train "
            "--method stylegan`"
        )
    opened = open_generator(generator, device=str(machine.torch_device))
    opened.check(preprocessing, "this training")
    learner.generator = opened.generator
    return opened


def _refuse_unknown(nuisance: Sequence[str], cohort: pd.DataFrame) -> None:
    missing = [name for name in nuisance if name not in cohort]
    if missing:
        raise CohortError(
            f"the cohort has no column {some(missing)} to keep as it is; its columns are {some(cohort.columns, 20)}"
        )


def _warn_of_known(cohort: pd.DataFrame, generator: GeneratorRun) -> None:
    """Say so where people held out here are some that the generator was trained on, and draws the better for it."""
    held_out = set(cohort.loc[cohort["part"] == CHOOSE, "subject"])
    known = sorted(held_out & generator.trained)
    if known:
        logger.warning(
            "%d of the %d subjects held out here (%s) are among those that %s was trained on, so walks of new people "
            "will be worse than is told; train both on one table, by the same --subject, with --choose here no more "
            "than --choose and --calibrate there", len(known), len(held_out), some(known), generator.folder,
        )  # fmt: skip


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


def _write_down(
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
