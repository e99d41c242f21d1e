"""From images with label maps, and images without, to a run: read once, split by subject, train, write down."""

import dataclasses
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from anomaly.cohorts.cohort import fingerprint
from anomaly.cohorts.masks import COLUMN as MASK
from anomaly.errors import AnomalyError, CohortError
from anomaly.files import write_whole
from anomaly.images.labels import Labels
from anomaly.images.preprocessing import Preprocessing
from anomaly.runs import longer
from anomaly.runs.facts import SEGMENTER, write_facts
from anomaly.runs.methods import make
from anomaly.runs.plans import ASKED, abandon, claim, clear, planned, refuse_changes
from anomaly.runs.run import COHORT, WEIGHTS
from anomaly.runs.settings import known
from anomaly.runs.watching import Watch, draw_curves
from anomaly.segmentation.annotations import UNLABELLED, Annotations, tell, told_apart
from anomaly.segmentation.asking import refuse_sides
from anomaly.segmentation.cards import held_out, model_card, preview
from anomaly.segmentation.classes import CHOOSE, TRAIN, held, parted
from anomaly.segmentation.keeping import KeptAnnotations, keep_annotations
from anomaly.segmentation.marking import pixels_at_once
from anomaly.segmentation.run import SegmenterRun
from anomaly.segmentation.windows import LabelledWindows, Windows, spacing_of, watched, window_of
from anomaly.segmenters.base import PLENTY, Segmenter
from anomaly.segmenters.register import SEGMENTERS
from anomaly.training.journal import Journal
from anomaly.training.learned import share_of
from anomaly.training.machine import Machine

logger = logging.getLogger(__name__)
MARKED = 0.5
"""Share of windows that lie around a marked pixel."""


def learn_segmentation(
    annotations: Annotations,
    out: Path | str,
    *,
    method: str = "supervised",
    settings: Mapping[str, Any] | None = None,
    preprocessing: Preprocessing | None = None,
    choose: float | None = None,
    marked: float = MARKED,
    seed: int = 0,
    machine: Machine | None = None,
    resume: bool = False,
    save_every: int = 500,
    workers: int | None = None,
) -> SegmenterRun:
    """Learn to say of each pixel which class it is; this is `anomaly segment train`.

    Args:
        annotations: images with label maps, and images without.
        out: the run folder; must be new, empty, or an unfinished run to resume.
        method: name of a segmenter.
        settings: hyperparameters of the method by name.
        preprocessing: how images become tensors; stored with the run. Images keep their own size unless it says
            otherwise.
        choose: share of labelled subjects held out, to choose weights by; None takes 0.15 of eight or more, and of
            fewer none.
        marked: share of windows that lie around a marked pixel, each class as likely.
        seed: of weights, windows and whatever chance plays a part in a step.
        machine: device, precision, processes.
        resume: go on exactly where a killed training stood. A finished run is returned as it is.
        save_every: steps between two checkpoints.
        workers: threads that read images; None takes one a core.

    Raises:
        AnomalyError: an unknown method or setting, a class that no label map holds, or images without label maps that
            are missing or not asked for.
        CohortError: too few subjects, or images that cannot be used.
        RunError: `out` holds something else, or a training with other settings or fewer steps.
        TrainingError: the loss is no longer a number.
    """
    out, machine = Path(out), machine or Machine()
    segmenter, preprocessing = asked_of(method, settings, preprocessing, annotations, marked)
    with _unsized():
        finished, steps, work = longer.gone_on_with(out, segmenter, settings or {}, machine, resume=resume)
    plan: dict[str, Any] = {}  # only the first process fills and needs it

    def prepare() -> None:
        cohort, labels, prepared = gathered(annotations, choose, preprocessing, workers=workers)
        plan.update(
            kind=SEGMENTER, method=segmenter.name, settings=segmenter.settings(),
            preprocessing=dataclasses.asdict(prepared), seed=seed, fingerprint=fingerprint(cohort),
            annotations=told_apart(cohort), choose=choose, marked=marked,
            classes={"column": str(annotations.labels), **labels.as_json()},
            subjects_from=cohort.attrs["subjects_from"], precision=machine.precision,
            processes=machine.processes * machine.nodes,
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
            keep_annotations(cohort, prepared, labels, work / "checkpoint", workers=workers)
            kept = KeptAnnotations.open(work / "checkpoint")
            refuse_vanished(kept, labels)
            window_of(kept, segmenter.window)
        except AnomalyError:
            abandon(work)
            raise
        if steps:
            longer.check_images(out, work)

    machine.lead(prepare)
    if not finished or steps:
        kept = KeptAnnotations.open(work / "checkpoint")
        learned = _fit(segmenter, kept, work, machine, marked=marked, seed=seed, resume=resume, save_every=save_every)
        machine.lead(partial(_write_down, work, learned, kept, machine))
    if steps:
        machine.lead(lambda: longer.finish(out))
    return SegmenterRun.open(out, device=str(machine.torch_device))


def asked_of(
    method: str,
    settings: Mapping[str, Any] | None,
    preprocessing: Preprocessing | None,
    annotations: Annotations,
    marked: float = MARKED,
) -> tuple[Segmenter, Preprocessing]:
    """What is to learn, and how images are prepared for it; arguments as of `learn_segmentation`."""
    segmenter = make(known(SEGMENTERS, method), settings)
    able = [name for name, each in SEGMENTERS.items() if each.unlabelled]
    refuse_sides(segmenter.name, segmenter.unlabelled, annotations.unlabelled is not None, able)
    if preprocessing is not None and preprocessing.context is not None:
        raise AnomalyError(f"{segmenter.name} makes nothing of context; leave it out of the preprocessing")
    if not 0 <= marked <= 1:
        raise AnomalyError(f"marked must be from 0 to 1, got {marked}")
    return segmenter, preprocessing or Preprocessing(size=None)


def gathered(
    annotations: Annotations, choose: float | None, preprocessing: Preprocessing, *, workers: int | None = None
) -> tuple[pd.DataFrame, Labels, Preprocessing]:
    """The table of all images with its split, the classes of their label maps, and how images are prepared."""
    table = annotations.read()
    found = held(table, annotations.classes, workers=workers)
    cohort = parted(table, found.holders, choose)
    return cohort, found.labels, dataclasses.replace(preprocessing, mask="given" if MASK in cohort else "none")


def refuse_vanished(images: KeptAnnotations, labels: Labels) -> None:
    """Say plainly when nothing is left of a class on the grid that is learned on.

    Raises:
        CohortError: so.
    """
    rows = images.rows(TRAIN)
    if not len(rows):
        raise CohortError(
            "no labelled image that can be used is left to train on; mend those that errors.csv in the run folder names"
        )
    left = images.counts[rows].sum(0)
    gone = [name for place, name in enumerate(labels.names, start=1) if not left[place]]
    if gone:
        raise CohortError(
            f"nothing is left of class {gone[0]!r} in the images to train on once they are prepared: those that have "
            "it cannot be used, it lies outside the masks, or it is smaller than a pixel of the --size and --spacing"
        )


@contextmanager
def _unsized() -> Iterator[None]:
    """Stages are compared by networks that do not know how many classes there are: torch warns of layers of size 0."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Initializing zero-element tensors")
        yield


def _fit(
    segmenter: Segmenter,
    images: KeptAnnotations,
    out: Path,
    machine: Machine,
    *,
    marked: float,
    seed: int,
    resume: bool,
    save_every: int,
) -> Segmenter:
    segmenter.masked_ = MASK in images.table
    segmenter.spacing_ = spacing_of(images, TRAIN, Preprocessing(**planned(out)["preprocessing"]))
    window, classes = window_of(images, segmenter.window), images.counts.shape[1]
    shape = (images.channels, *window)
    segmenter.fill_in(shape, PLENTY, machine.processes * machine.nodes)
    segmenter.classes_ = classes
    size = segmenter.batch
    cut: dict[str, Any] = dict(window=window, size=size, share=share_of(size, machine))
    # Seeds of their own: sides of as many images would be passed over in one order.
    labelled = LabelledWindows(images, TRAIN, seed=2 * seed, marked=marked, **cut)
    beside = None
    if segmenter.unlabelled:
        beside = Windows(images, UNLABELLED, seed=2 * seed + 1, **cut)
    shown = watched(images, CHOOSE, pixels_at_once(segmenter))
    if machine.leads:
        counts = images.table["split"].value_counts()
        logger.info(
            "training %s on windows of %s pixels of %d labelled images%s; %d are held out", segmenter,
            " x ".join(map(str, window)), counts[TRAIN],
            f" and {counts[UNLABELLED]} without label maps" if segmenter.unlabelled else "", counts.get(CHOOSE, 0),
        )  # fmt: skip
        if counts.get(CHOOSE, 0) and not shown:
            logger.warning("nothing is marked in the images that are held out, so weights are those of the last step")
    journal = Journal(folder=out, resume=resume, save_every=save_every, draw=Watch(out, turned=images.sliced))
    return segmenter.fit(
        labelled, shape, classes, unlabelled=beside, held_out=shown, machine=machine, seed=seed, journal=journal
    )


def _write_down(out: Path, segmenter: Segmenter, images: KeptAnnotations, machine: Machine) -> None:
    """Say of the held-out images how it does, and leave the run folder as a reader expects it; `run.json` last."""
    if (out / "training.csv").exists():
        draw_curves(out)
    plan = planned(out)
    labels = Labels.from_json(plan["classes"])
    write_whole(out / COHORT, images.table.to_csv(index=False))
    told, seen = held_out(segmenter, images, labels, CHOOSE, machine.torch_device)
    shown = seen or held_out(segmenter, images, labels, TRAIN, machine.torch_device)[1]
    preview(shown, out / "preview.png", labels, held_out=bool(seen), slices=images.sliced)
    counts, rows = images.table["split"].value_counts(), images.rows(TRAIN)
    data = {
        "images": len(images.table),
        "subjects": int(images.table["subject"].nunique()),
        "subjects_from": plan["subjects_from"],
        "split": {part: int(counts[part]) for part in (TRAIN, CHOOSE, UNLABELLED) if part in counts},
        "marked": {
            name: int((images.counts[rows, place] > 0).sum()) for place, name in enumerate(labels.names, start=1)
        },
        "fingerprint": plan["fingerprint"],
        "unreadable": images.unreadable,
    }
    used = segmenter.settings()
    settings = {} if used == plan["settings"] else {"settings": used, ASKED: plan["settings"]}
    facts = {**plan, **settings, "shape": list(segmenter.shape_), "data": data, "held_out": told}
    write_whole(out / "MODEL_CARD.md", model_card(segmenter, labels, facts))
    with _unsized():
        longer.keep_end(out, segmenter, machine)
    segmenter.save(out / WEIGHTS)
    write_facts(out, facts, device=str(machine.torch_device), checked=(WEIGHTS, COHORT))
    clear(out)
