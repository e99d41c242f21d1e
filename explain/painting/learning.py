"""From images with lesions and images without to a run that paints both: read once, split by person, train."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.cohorts.cohort import FILE_NAMES, NO_SUBJECTS, fingerprint
from anomaly.errors import AnomalyError
from anomaly.files import write_whole
from anomaly.images.finding import Globs
from anomaly.images.image import alone
from anomaly.images.labels import Labels, held_by, read_labels
from anomaly.images.preprocessing import Preprocessing
from anomaly.images.reading import read
from anomaly.painters.lesions import LesionPainter
from anomaly.runs.facts import PAINTER, read_facts, write_facts
from anomaly.runs.methods import make
from anomaly.runs.plans import abandon, claim, clear, planned, refuse_changes
from anomaly.runs.run import COHORT, WEIGHTS
from anomaly.runs.settings import known
from anomaly.runs.watching import Watch, draw_curves
from anomaly.training.journal import Journal
from anomaly.training.learned import share_of
from anomaly.training.machine import Machine
from explain.painting.canvas import suited
from explain.painting.cards import model_card, sheet_of
from explain.painting.cohort import (
    CHOOSE,
    NORMAL,
    TISSUES,
    TRAIN,
    Lesions,
    lesion_cohort,
    marks_of,
    names_of,
    parted,
)  # fmt: skip
from explain.painting.growing import as_json
from explain.painting.keeping import Kept, keep
from explain.painting.run import METHODS, PainterRun
from explain.painting.shapes import FILE, write_shapes
from explain.painting.windows import LesionWindows, window_of

logger = logging.getLogger(__name__)
SHOWN = 8
LOOKED_AT = 50
"""Label maps that are looked at for which tissues there are."""


def learn_painter(
    images: Path | str | pd.DataFrame,
    out: Path | str,
    lesions: Lesions,
    *,
    method: str = LesionPainter.name,
    settings: Mapping[str, Any] | None = None,
    preprocessing: Preprocessing | None = None,
    subject: str | None = None,
    subject_pattern: str | None = None,
    where: Mapping[str, str] | None = None,
    match: Globs = None,
    exclude: Globs = None,
    choose: float = 0.15,
    seed: int = 0,
    machine: Machine | None = None,
    resume: bool = False,
    save_every: int = 500,
    workers: int | None = None,
) -> PainterRun:
    """Learn to paint lesions of a class in and out; this is `anomaly paint train`.

    Args:
        images: a folder or a table; images without lesions are the normal ones.
        out: the run folder; must be new, empty, or an unfinished run to resume.
        lesions: where lesions are, and what says their class.
        method: name of a painter.
        settings: of the painter, by name.
        preprocessing: what becomes black and white, and how volumes lie; images keep their own grid.
        subject, subject_pattern, where, match, exclude: see `read_cohort`.
        choose: share of subjects held out, to watch by.
        seed: of weights, windows and noise.
        machine: device, precision, processes.
        resume: go on exactly where a killed training stood. A finished run of the same images, lesions and settings is
            returned as it is.
        save_every: steps between two checkpoints.
        workers: threads that read images; None takes one a core.

    Raises:
        AnomalyError: an unknown method or setting, or images that windows do not fit into.
        CohortError: no lesions, a class with lesions of one person, too few subjects, or no image that can be used.
        RunError: `out` holds something else, or a training with other settings, images or lesions.
        TrainingError: the loss is no longer a number.
    """
    out, machine = Path(out), machine or Machine()
    painter, prepared = make(known(METHODS, method), settings), suited(preprocessing)
    finished = resume and (out / "run.json").exists()
    whose: dict[str, Any] = dict(
        subject=subject, subject_pattern=subject_pattern, where=where, match=match, exclude=exclude
    )  # fmt: skip

    def prepare() -> None:
        cohort = parted(lesion_cohort(images, lesions, **whose), choose)
        names, tissues = names_of(cohort, lesions), _tissues(cohort, lesions)
        plan: dict[str, Any] = dict(
            kind=PAINTER, method=painter.name, settings=painter.settings(), preprocessing=dataclasses.asdict(prepared),
            lesions={
                "given": lesions.given, "column": lesions.column, "classes": as_json(lesions.classes),
                "tissues": as_json(tissues),
            },
            names=list(names), seed=seed, fingerprint=fingerprint(cohort), marks=marks_of(cohort), choose=choose,
            subjects_from=cohort.attrs["subjects_from"], precision=machine.precision,
            processes=machine.processes * machine.nodes,
        )  # fmt: skip
        if finished:
            refuse_changes(out, read_facts(out), plan)
            clear(out)  # which a training that was killed at its very end did not come to
            return
        claim(out, plan, resume)
        if plan["subjects_from"] == FILE_NAMES:
            logger.warning("%sparts of one person land on both sides of the split", NO_SUBJECTS)
        try:
            keep(cohort, prepared, names, lesions.classes, tissues, out / "checkpoint", workers=workers)
            kept = Kept.open(out / "checkpoint")
            _windows(painter, kept, TRAIN, names, 0 if tissues is None else len(tissues.names), seed=seed)
        except AnomalyError:
            abandon(out)
            raise

    machine.lead(prepare)
    if finished:
        return PainterRun.open(out, device=str(machine.torch_device))
    plan, kept = planned(out), Kept.open(out / "checkpoint")
    _fit(painter, kept, plan, out, machine, resume, save_every)
    machine.lead(lambda: _write_down(out, painter, kept, plan, machine))
    return PainterRun.open(out, device=str(machine.torch_device))


def _fit(
    painter: LesionPainter,
    kept: Kept,
    plan: Mapping[str, Any],
    out: Path,
    machine: Machine,
    resume: bool,
    save_every: int,
) -> None:
    names, tissues, seed = plan["names"], _count(plan), plan["seed"]
    window = window_of(kept, painter.window)
    share = share_of(painter.batch, machine)
    source = _windows(painter, kept, TRAIN, names, tissues, seed=seed, share=share)
    if machine.leads:
        counts = ", ".join(f"{name} {len(source.lesions[k])}" for k, name in enumerate(names, 1))
        without = " (none is without lesions: normal tissue is learned beside them)" if source.without else ""
        logger.info(
            "training %s in windows of %s pixels; images or slices with lesions: %s; without: %d%s", painter,
            " x ".join(map(str, window)), counts, 0 if source.without else len(source.normal), without,
        )  # fmt: skip
    held = _held_out(painter, kept, names, tissues)
    shown = None if held is None else held.shown(SHOWN)
    journal = Journal(folder=out, resume=resume, save_every=save_every, draw=Watch(out, turned=kept.sliced))
    painter.fit(
        source, (kept.channels, *window), 1 + len(names), tissues, shown=shown, machine=machine, seed=seed,
        journal=journal,
    )  # fmt: skip


def _windows(
    painter: LesionPainter, kept: Kept, part: str, names: Sequence[str], tissues: int, **settings: Any
) -> LesionWindows:
    return LesionWindows(
        kept, part, 1 + len(names), tissues, size=painter.batch, window=window_of(kept, painter.window),
        flips=painter.flips, from_ill=painter.from_ill, near=painter.near, names=names, **settings,
    )  # fmt: skip


def _held_out(painter: LesionPainter, kept: Kept, names: Sequence[str], tissues: int) -> LesionWindows | None:
    """Windows of the persons held out; None where they have too few lesions of a class."""
    try:
        return _windows(painter, kept, CHOOSE, names, tissues)
    except AnomalyError as error:
        logger.info("nothing is shown of persons held out: %s", error)
        return None


def _write_down(out: Path, painter: LesionPainter, kept: Kept, plan: Mapping[str, Any], machine: Machine) -> None:
    """Leave the run folder as a reader expects it; `run.json` last."""
    if (out / "training.csv").exists():
        draw_curves(out)
    names, tissues = plan["names"], _count(plan)
    table = kept.table.drop(columns=[TISSUES], errors="ignore")
    write_whole(out / COHORT, table.to_csv(index=False))
    source = _windows(painter, kept, TRAIN, names, tissues)
    write_shapes(source.shapes, out)
    told: dict[str, float] = {}
    held = _held_out(painter, kept, names, tissues)
    if held is not None:
        told = sheet_of(painter, held, names, out / "preview.png", turned=kept.sliced)
    data = {
        "images": len(table), "subjects": int(table["subject"].nunique()), "subjects_from": plan["subjects_from"],
        "split": {part: int((table["split"] == part).sum()) for part in (TRAIN, CHOOSE)},
        "fingerprint": plan["fingerprint"], "unreadable": kept.unreadable,
    }  # fmt: skip
    counts = {name: len(source.lesions[k]) for k, name in enumerate(names, 1)}
    counts[NORMAL] = 0 if source.without else len(source.normal)
    facts = {**plan, "shape": list(painter.shape_), "data": data, "counts": counts, "held_out": told}
    write_whole(out / "MODEL_CARD.md", model_card(painter, facts))
    painter.save(out / WEIGHTS)
    write_facts(out, facts, device=str(machine.torch_device), checked=(WEIGHTS, COHORT, FILE))
    clear(out)


def _tissues(cohort: pd.DataFrame, lesions: Lesions) -> Labels | None:
    """Which numbers are tissues: as asked, or all that label maps hold, of which some are looked at."""
    if lesions.tissues is None or lesions.of_tissues is not None:
        return None if lesions.tissues is None else lesions.of_tissues
    rows = cohort[cohort[TISSUES] != ""].iloc[:: max(1, len(cohort) // LOOKED_AT)]
    maps = []
    for path, file in zip(rows["path"], rows[TISSUES], strict=True):
        try:
            image = read(Path(path))
            maps.append(np.unique(alone(image.path, partial(read_labels, file, image))))
        except AnomalyError:  # which is told where all are read
            continue
    return Labels.found(held_by(maps))


def _count(plan: Mapping[str, Any]) -> int:
    told = plan["lesions"]["tissues"]
    return 0 if told is None else len(told["names"])
