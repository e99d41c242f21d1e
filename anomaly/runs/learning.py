"""From a folder of normal images to a run: read once, split by subject, train, calibrate, write down."""

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.cohorts.classes import Classes, classed
from anomaly.cohorts.cohort import FILE_NAMES, NO_SUBJECTS, fingerprint, read_cohort, split
from anomaly.cohorts.masks import COLUMN as MASK
from anomaly.cohorts.masks import Given, counting, told_in_short
from anomaly.detectors import DETECTORS, Detector
from anomaly.detectors.moments import Moments
from anomaly.errors import AnomalyError
from anomaly.files import write_whole
from anomaly.images.caching import CachedImages, cache_images
from anomaly.images.finding import Globs
from anomaly.images.preprocessing import Preprocessing
from anomaly.runs import longer
from anomaly.runs.calibration import Calibration, MapSample, mean_of_slices
from anomaly.runs.likeness import Likeness
from anomaly.runs.methods import code_of, create
from anomaly.runs.plans import claim, clear, decided, planned, refuse_changes
from anomaly.runs.previews import model_card, preview
from anomaly.runs.run import COHORT, Run, write_run
from anomaly.runs.telling import tell
from anomaly.runs.units import refuse_scale, undone, warn_of_spacing
from anomaly.runs.unlabelled import PART, beside, facts, listed, only_normals, to_come_of
from anomaly.runs.watching import Watch, draw_curves
from anomaly.training.batches import chunks, mean_of
from anomaly.training.journal import Journal
from anomaly.training.machine import Machine

logger = logging.getLogger(__name__)
FEWEST_FOR_5_PERCENT = 19


def learn(
    normals: Path | str | pd.DataFrame,
    out: Path | str,
    *,
    method: str = "auto",
    settings: Mapping[str, Any] | None = None,
    preprocessing: Preprocessing | None = None,
    subject: str | None = None,
    subject_pattern: str | None = None,
    where: Mapping[str, str] | None = None,
    match: Globs = None,
    exclude: Globs = None,
    mask: Given = None,
    unlabelled: Path | str | pd.DataFrame | None = None,
    classes: str | None = None,
    choose: float = 0.1,
    calibrate: float = 0.2,
    seed: int = 0,
    machine: Machine | None = None,
    resume: bool = False,
    save_every: int = 500,
    workers: int | None = None,
) -> Run:
    """Train a detector on normal images and leave a run folder behind; this is `anomaly train`.

    Args:
        normals: a folder or a table of images of normal people.
        out: the run folder; must be new, empty, or an unfinished run to resume.
        method: name of a detector, or FILE.py:CLASS.
        settings: hyperparameters of the method by name.
        preprocessing: how images become tensors; stored with the run.
        subject, subject_pattern, where, match, exclude, mask: see `read_cohort`. Where images have masks, only what
            lies inside is learned, scored and drawn; images to score must then have masks too.
        unlabelled: a folder or a table of images to come, of normal and of ill, for a method that looks at such; people
            who are among the normals are left out.
        classes: column of the table, 2 to 100 values, for a method that learns to draw classes apart; images without
            one are left out. Scores do not ask for them, but see `anomaly.cohorts.classes`.
        choose: share of subjects held out to stop and to scale by.
        calibrate: share of subjects held out to calibrate by, touched once.
        seed: of weights, batches and noise. The split depends on the subjects alone, so runs over the same
            normals share their calibration subjects and can be scored as an ensemble.
        machine: device, precision, processes.
        resume: go on exactly where a killed training stood. A finished run is returned as it is, unless `settings` has
            more `steps` than it: then it is trained on, see `anomaly.runs.longer`.
        save_every: steps between two checkpoints.
        workers: threads that read images; None takes one a core.

    Raises:
        AnomalyError: an unknown method or setting, classes for a method that learns none, or unlabelled images for one
            that looks at none.
        CohortError: no images, too few subjects to hold some out, or classes that cannot be learned.
        RunError: `out` holds something else, a training with other settings, or a finished run that has more steps, or
            whose method allows no more.
        TrainingError: the loss is no longer a number.
    """
    out, machine = Path(out), machine or Machine()
    preprocessing = preprocessing or Preprocessing()
    detector, code = create_asked(method, settings, classes), code_of(method)
    refuse_context(detector, preprocessing)
    refuse_scale(undone(detector), preprocessing)
    if unlabelled is not None and not detector.looks:
        raise AnomalyError(f"{detector.name} makes nothing of unlabelled images; leave --unlabelled out, or take auto")
    finished, steps, work = longer.gone_on_with(out, detector, settings or {}, machine, resume=resume)
    plan: dict[str, Any] = {}  # only the first process fills and needs it

    def prepare() -> None:
        cohort, told, prepared = parted(
            normals, preprocessing=preprocessing, subject=subject, subject_pattern=subject_pattern, where=where,
            match=match, exclude=exclude, mask=mask, classes=classes, choose=choose, calibrate=calibrate,
        )  # fmt: skip
        to_come = listed(unlabelled, cohort, subject=subject, subject_pattern=subject_pattern, mask=mask)
        plan.update(
            method=detector.name, unlabelled=facts(to_come), settings=_taught(detector, told).settings(),
            classes=told and told.facts(cohort), preprocessing=dataclasses.asdict(prepared), seed=seed,
            fingerprint=fingerprint(cohort), choose=choose, calibrate=calibrate,
            subjects_from=cohort.attrs["subjects_from"], code_sha256=code["sha256"] if code else None,
            precision=machine.precision, processes=machine.processes * machine.nodes,
        )  # fmt: skip
        if finished:
            refuse_changes(out, finished, longer.as_finished(plan, finished))
            clear(out)  # which a training that was killed at its very end did not come to
            if not steps:
                longer.tell_finished(out, finished)
                return
            longer.begin(out, plan, {**finished["settings"], "steps": steps})
        claim(work, plan, resume)
        if plan["subjects_from"] == FILE_NAMES:
            logger.warning("%sparts of one person land on both sides of the split", NO_SUBJECTS)
        if said := told_in_short(cohort):
            logger.info(said)
        warn_of_spacing(undone(detector), cohort, prepared)
        cache_images(beside(cohort, to_come), prepared, work / "checkpoint", workers=workers)
        if told:  # again, since images that cannot be read are gone now
            told.check(CachedImages.open(work / "checkpoint").table)
        if steps:
            longer.check_images(out, work)

    machine.lead(prepare)
    if finished and not steps:
        return Run.open(out, method=method if code else None)
    images, told = CachedImages.open(work / "checkpoint"), Classes.of(planned(work))
    detector = _taught(detector, told)
    detector.masked_ = MASK in images.table
    context = Preprocessing(**planned(work)["preprocessing"]).context_channels
    detector.context_ = context
    numbers = None if told is None else told.numbers(images.table[images.table["split"] == "train"])
    train, held_out = images.part("train"), images.part("choose")
    detector = decided(work, detector, train, machine)
    to_look_at = None if unlabelled is None else to_come_of(images)
    if machine.leads:
        rest = len(images.pixels) - len(train) - (0 if to_look_at is None else len(to_look_at.images))
        logger.info("training %s on %d images of normals; %d are held out", detector, len(train), rest)
    machine.lead(lambda: _foretold(detector, train, machine))
    journal = Journal(folder=work, resume=resume, save_every=save_every, draw=Watch(work, turned=images.sliced))
    detector.fit(
        train, held_out, unlabelled=to_look_at, classes=numbers, masked=MASK in images.table, context=context,
        machine=machine, seed=seed, journal=journal,
    )  # fmt: skip
    machine.lead(lambda: _write_down(work, detector, images, plan, code, machine))
    if steps:
        machine.lead(lambda: longer.finish(out))
    return Run.open(out, method=method if code else None)


def parted(
    normals: Path | str | pd.DataFrame,
    *,
    preprocessing: Preprocessing | None,
    subject: str | None,
    subject_pattern: str | None,
    where: Mapping[str, str] | None,
    match: Globs,
    exclude: Globs,
    mask: Given,
    classes: str | None,
    choose: float,
    calibrate: float,
) -> tuple[pd.DataFrame, Classes | None, Preprocessing]:
    """The table with its split, the classes if there are any, and how images are prepared; arguments as of `learn`."""
    if not (choose > 0 and calibrate > 0):
        raise AnomalyError(f"choose and calibrate must be above 0, got {choose} and {calibrate}")
    cohort = read_cohort(
        normals, subject=subject, subject_pattern=subject_pattern, where=where, match=match, exclude=exclude,
        mask=mask,
    )  # fmt: skip
    cohort = counting(cohort)
    prepared = dataclasses.replace(preprocessing or Preprocessing(), mask="given" if MASK in cohort else "none")
    cohort, told = (cohort, None) if classes is None else classed(cohort, classes)
    cohort["split"] = split(list(cohort["subject"]), choose=choose, calibrate=calibrate)
    if told:
        told.check(cohort)
    return cohort, told, prepared


def create_asked(
    method: str, settings: Mapping[str, Any] | None, classes: str | None, told: Classes | None = None
) -> Detector:
    """The detector that was asked for, set to learn the classes that were found, if they are known already."""
    detector = create(method, settings)
    _check_classes(detector, settings or {}, classes)
    return _taught(detector, told)


def refuse_context(detector: Detector, preprocessing: Preprocessing) -> None:
    """Say plainly when images come with context, of which a method makes nothing."""
    if preprocessing.context is not None and not detector.sees_context:
        able = ", ".join(name for name, cls in DETECTORS.items() if cls.sees_context)
        raise AnomalyError(f"{detector.name} makes nothing of context; leave --context out, or take one of: {able}")


def _foretold(detector: Detector, normals: np.ndarray, machine: Machine) -> None:
    """Say what learning will take, before it begins; see `telling`."""
    took, tight = tell(detector, normals, machine)
    logger.info("it will take %s", took)
    if tight:
        logger.warning("%s", tight)


def _check_classes(detector: Detector, settings: Mapping[str, Any], classes: str | None) -> None:
    """Say plainly when classes are set by hand, or asked of a method that learns none."""
    if detector.conditional and "classes" in settings:
        raise AnomalyError(
            f"the classes of {detector.name} are counted, not set; give --classes COLUMN, which tells them"
        )
    if classes is not None and not detector.conditional:
        able = ", ".join(name for name, cls in DETECTORS.items() if cls.conditional)
        raise AnomalyError(f"{detector.name} learns no classes apart; leave --classes out, or take one of: {able}")


def _taught(detector: Detector, told: Classes | None) -> Detector:
    """The detector, set to learn so many classes."""
    if told is None:
        return detector
    return dataclasses.replace(detector, classes=len(told.names))  # type: ignore[call-arg]  # what is conditional has it


def _write_down(
    out: Path,
    detector: Detector,
    images: CachedImages,
    plan: Mapping[str, Any],
    code: Mapping[str, str] | None,
    machine: Machine,
) -> None:
    """Calibrate, and leave the run folder as a reader expects it; `run.json` comes last."""
    calibration = calibrated(detector, images)
    if (out / "training.csv").exists():
        draw_curves(out)
    preview(detector, calibration, images.part("calibrate"), out / "preview.png", slices=images.sliced)
    table, lost_to_come = only_normals(images), images.lost.get(PART, 0)
    if lost_to_come:
        logger.warning("%d unlabelled images could not be read; errors.csv names them", lost_to_come)
    write_whole(out / COHORT, table.to_csv(index=False))
    counts = table["split"].value_counts()
    told = Classes.of(plan)
    data = {
        "images": len(table),
        "subjects": table["subject"].nunique(),
        "subjects_from": plan["subjects_from"],
        "split": {part: int(counts.get(part, 0)) for part in ("train", "choose", "calibrate")},
        "calibration_subjects": calibration.people,
        "fingerprint": plan["fingerprint"],
        "unreadable": images.unreadable - lost_to_come,
        **({"classes": told.counts(table)} if told else {}),
    }
    preprocessing = Preprocessing(**plan["preprocessing"])
    column = None if told is None else told.column
    write_whole(out / "MODEL_CARD.md", model_card(detector, preprocessing, data, plan["seed"], column))
    device = str(machine.torch_device)
    longer.keep_end(out, detector, machine)
    write_run(
        out, detector=detector, calibration=calibration, likeness=_likeness(images, preprocessing), plan=plan,
        code=code, data=data, device=device,
    )  # fmt: skip
    clear(out)


def _likeness(images: CachedImages, preprocessing: Preprocessing) -> Likeness | None:
    """What kind of images the normals are, those of all parts of the split; None where the cache does not tell."""
    if images.kinds is None:
        return None
    normal = (images.table["split"] != PART).to_numpy()
    found = Likeness.learn(
        images.kinds[normal], images.table["subject"].to_numpy(dtype=str)[normal], preprocessing.dims
    )
    if not found.ranked:
        logger.info("only %d normal subjects say what kind of images these are; unlike_p is Student's", found.people)
    return found


def calibrated(detector: Detector, images: CachedImages) -> Calibration:
    """Score the normals held out for it, once, and keep what their scores say of variation among normals."""
    held_out = images.part("calibrate")
    values, moments, areas, some = list[np.ndarray](), Moments(), list[np.ndarray](), MapSample(held_out.shape)
    for x in chunks(held_out, detector.device):
        score, inside = detector.score(x), detector.within(x)
        counted = None if inside is None else inside.cpu().numpy()
        values.append(score.value.cpu().numpy())
        areas.append(np.ones(len(x)) if counted is None else counted.reshape(len(x), -1).sum(1))
        moments.add(score.map.cpu().numpy(), counted)
        some.add(score.map.cpu().numpy(), counted)
    table = images.table[images.table["split"] == "calibrate"]
    slices = np.repeat(np.arange(len(table)), table["slices"])
    of_cases = mean_of_slices(np.concatenate(values), slices, np.concatenate(areas))
    mean_image = mean_of(images.part("train"), masked=detector.masked_)[0].numpy()
    subjects = table["subject"].to_numpy(dtype=str)
    calibration = Calibration(of_cases, subjects, moments.mean(), moments.sd(), mean_image)
    calibration = dataclasses.replace(calibration, map_limits=some.limits(subjects[slices]))
    if calibration.people < FEWEST_FOR_5_PERCENT:
        logger.warning(
            "only %d normal subjects are held out to calibrate by, so no p-value can be below %.3f; "
            "give more normals or a larger --calibrate share",
            calibration.people, 1 / (calibration.people + 1),
        )  # fmt: skip
    return calibration
