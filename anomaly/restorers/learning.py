"""From good images, or pairs of poor and good, to a run: read once, split by subject, train, judge, write down."""

import dataclasses
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from anomaly.cohorts.cohort import FILE_NAMES, NO_SUBJECTS, fingerprint, read_cohort, split
from anomaly.cohorts.results import some
from anomaly.degradations.base import Degradation
from anomaly.degradations.register import DEGRADATIONS
from anomaly.errors import AnomalyError, CohortError
from anomaly.files import write_whole
from anomaly.images.finding import Globs
from anomaly.images.preprocessing import Preprocessing
from anomaly.restorers.asking import refuse_source, told_apart
from anomaly.restorers.cards import model_card, preview
from anomaly.restorers.degrading import last_step, warn_of_nothing
from anomaly.restorers.directions import tell_direction
from anomaly.restorers.keeping import GOOD, KeptImages, first_readable, keep_images
from anomaly.restorers.run import RestorerRun
from anomaly.restorers.sample import held_out, limits_of
from anomaly.restorers.windows import Windows, warn_of_small, window_in, window_of
from anomaly.runs import longer
from anomaly.runs.facts import RESTORER, write_facts
from anomaly.runs.plans import ASKED, abandon, claim, clear, planned, refuse_changes
from anomaly.runs.run import COHORT, WEIGHTS
from anomaly.runs.units import refuse_scale, warn_of_spacing
from anomaly.runs.watching import Watch, draw_curves
from anomaly.training.journal import Journal
from anomaly.training.learned import share_of
from anomaly.training.machine import Machine
from anomaly.translators.restorer import PLENTY, Restorer

logger = logging.getLogger(__name__)
TRAIN, CHOOSE = "train", "choose"
SHOWN = 8


class Asked(NamedTuple):
    """What was asked for, checked: what is to learn, what it is to undo, and how images are scaled."""

    restorer: Restorer
    degradation: Degradation | None
    preprocessing: Preprocessing


def learn_restorer(
    images: Path | str | pd.DataFrame,
    out: Path | str,
    *,
    degrade: str | None = None,
    pairs: str | None = None,
    settings: Mapping[str, Any] | None = None,
    preprocessing: Preprocessing | None = None,
    subject: str | None = None,
    subject_pattern: str | None = None,
    where: Mapping[str, str] | None = None,
    match: Globs = None,
    exclude: Globs = None,
    choose: float = 0.1,
    seed: int = 0,
    machine: Machine | None = None,
    resume: bool = False,
    save_every: int = 500,
    workers: int | None = None,
) -> RestorerRun:
    """Learn to undo what makes scans poor, and leave a run folder behind; this is `anomaly restore train`.

    Args:
        images: a folder or a table: of good images where they are degraded here, of poor ones where pairs are given.
        out: the run folder; must be new, empty, or an unfinished run to resume.
        degrade: name of a degradation, which makes poor images of good ones.
        pairs: instead, the column of the table that names the good image of each poor one: a path from the table's
            folder, or the id of another row.
        settings: of the degradation and of the restorer, by name.
        preprocessing: what becomes black and white, and how volumes are taken apart; images keep their own grid,
            whatever its size says.
        subject, subject_pattern, where, match, exclude: see `read_cohort`.
        choose: share of subjects held out, to watch and to judge by.
        seed: of weights, windows and degradations.
        machine: device, precision, processes.
        resume: go on exactly where a killed training stood.
        save_every: steps between two checkpoints.
        workers: threads that read images; None takes one a core.

    Raises:
        AnomalyError: an unknown degradation or setting, or images that it cannot be done to.
        CohortError: images or subjects are too few, or none can be read.
        RunError: `out` holds something else, or a training with other settings.
        TrainingError: the loss is no longer a number.
    """
    out, machine = Path(out), machine or Machine()
    asked = asked_of(degrade, pairs, settings, preprocessing)
    finished, _, work = longer.gone_on_with(out, asked.restorer, settings or {}, machine, resume=resume)
    plan: dict[str, Any] = {}  # only the first process fills and needs it

    def prepare() -> None:
        cohort = parted(
            images, pairs, choose, subject=subject, subject_pattern=subject_pattern, where=where, match=match,
            exclude=exclude,
        )  # fmt: skip
        plan.update(
            kind=RESTORER, method=asked.restorer.name, settings=asked.restorer.settings(),
            degradation=_facts(asked.degradation), pairs=pairs,
            preprocessing=dataclasses.asdict(asked.preprocessing), seed=seed, fingerprint=fingerprint(cohort),
            choose=choose, subjects_from=cohort.attrs["subjects_from"], precision=machine.precision,
            processes=machine.processes * machine.nodes,
        )  # fmt: skip
        if finished:
            refuse_changes(out, finished, plan)
            clear(out)  # which a training that was killed at its very end did not come to
            longer.tell_finished(out, finished)
            return
        shape = first_readable(cohort, asked.preprocessing, asked.degradation)  # refuses what cannot be, before reading
        window_in(shape[1:], asked.degradation, asked.restorer.window)
        warn_of_nothing(asked.degradation, shape)
        warn_of_spacing(asked.degradation, cohort, asked.preprocessing)
        tell_direction(cohort, asked.degradation, asked.preprocessing)
        claim(work, plan, resume)
        if plan["subjects_from"] == FILE_NAMES:
            logger.warning("%sparts of one person land on both sides of the split", NO_SUBJECTS)
        try:
            keep_images(cohort, asked.preprocessing, asked.degradation, work / "checkpoint", workers=workers)
            window_of(KeptImages.open(work / "checkpoint"), asked.degradation, asked.restorer.window)
        except AnomalyError:
            abandon(work)
            raise

    machine.lead(prepare)
    if not finished:
        kept = KeptImages.open(work / "checkpoint")
        restorer = _fit(asked, kept, out, machine, seed, resume, save_every)
        machine.lead(lambda: _write_down(out, restorer, asked, kept, machine))
    return RestorerRun.open(out, device=str(machine.torch_device))


def asked_of(
    degrade: str | None,
    pairs: str | None,
    settings: Mapping[str, Any] | None,
    preprocessing: Preprocessing | None,
) -> Asked:
    """What was asked for, arguments as of `learn_restorer`."""
    refuse_source(degrade, pairs, DEGRADATIONS)
    cls = None if degrade is None else DEGRADATIONS[degrade]
    of_restorer, of_degradation = told_apart(settings or {}, Restorer, cls)
    preprocessing = dataclasses.replace(preprocessing or Preprocessing(), size=None)
    for name, none in (("spacing", None), ("foreground", "none"), ("mask", "none"), ("context", None), ("fit", "pad")):
        if (given := getattr(preprocessing, name)) != none:
            raise AnomalyError(f"{name} is {given!r}; images that are restored keep their own grid, so leave it out")
    degradation = None if cls is None else cls(**of_degradation)
    refuse_scale(degradation, preprocessing)
    return Asked(Restorer(**of_restorer), degradation, preprocessing)


def parted(images: Path | str | pd.DataFrame, pairs: str | None, choose: float, **whose: Any) -> pd.DataFrame:
    """The table of images with its split, and of pairs with the file of each good image in the column `good`.

    Raises:
        CohortError: what is there cannot be used, or subjects are too few to hold some out.
    """
    if not 0 < choose < 1:
        raise AnomalyError(f"choose must be above 0 and below 1, got {choose}")
    cohort = read_cohort(images, mask="none", **whose)
    told = dict(cohort.attrs)
    if pairs is not None:
        base = Path() if isinstance(images, pd.DataFrame) else Path(images).parent
        cohort = paired(cohort, pairs, base)
    together = list(cohort["subject"]) if pairs is None else kept_together(cohort)
    cohort["split"] = split(together, choose=choose, calibrate=0)
    cohort.attrs |= told
    return cohort


def kept_together(cohort: pd.DataFrame) -> list[str]:
    """A name for each pair, the same for subjects that have a file in common: such are learned from, or held out.

    Args:
        cohort: with `path`, `good` and `subject`; its files may be spelled in several ways.

    Raises:
        CohortError: all of them hang together, so that nobody can be held out.
    """
    files = [os.path.realpath(path) for name in ("path", GOOD) for path in cohort[name]]
    rows, of = np.tile(pd.factorize(cohort["subject"])[0], 2), pd.factorize(np.array(files, dtype=object))[0]
    people = int(rows.max()) + 1
    side = people + int(of.max()) + 1
    links = coo_array((np.ones(len(rows)), (rows, people + of)), shape=(side, side))
    group = connected_components(links, directed=False)[1][rows[: len(cohort)]]
    names = cohort["subject"].astype(str).groupby(group).transform("min")
    joined = cohort["subject"].nunique() - names.nunique()
    if joined and names.nunique() == 1:
        raise CohortError(
            f"all {cohort['subject'].nunique()} subjects have good or poor images in common, so none can be held out; "
            "give each subject images of its own"
        )
    if joined:
        shared = cohort.loc[cohort["subject"].groupby(group).transform("nunique") > 1, "subject"].unique()
        logger.warning(
            "%d subjects have images in common with others (%s); such are learned from together, or held out together",
            len(shared), some(shared),
        )  # fmt: skip
    return list(names)


def paired(cohort: pd.DataFrame, column: str, base: Path) -> pd.DataFrame:
    """The rows that have a good image, its file in the column `good`.

    Raises:
        CohortError: there is no such column, nothing in it, or a file that is not there.
    """
    if column not in cohort:
        raise CohortError(f"the table has no column {column!r}; its columns are {some(cohort.columns, 20)}")
    by_id = dict(zip(cohort["id"], cohort["path"], strict=True))
    cohort = cohort[cohort[column].notna() & (cohort[column].astype(str).str.strip() != "")].reset_index(drop=True)
    if cohort.empty:
        raise CohortError(f"no row has a good image in the column {column!r}; fill in their files or ids")
    names = [str(each).strip() for each in cohort[column]]
    files = [by_id.get(name) or str((base / name).resolve()) for name in names]
    gone = [name for name, file in zip(names, files, strict=True) if not Path(file).exists()]
    if gone:
        raise CohortError(
            f"{len(gone)} of {len(names)} good images in the column {column!r} are neither ids nor files "
            f"({some(gone)}); paths begin from the table's folder"
        )
    own = [os.path.realpath(path) for path in cohort["path"]]
    if same := [name for name, file, path in zip(names, files, own, strict=True) if os.path.realpath(file) == path]:
        raise CohortError(f"{len(same)} images are named as their own good image ({some(same)}); name the other one")
    return cohort.assign(**{GOOD: files})


def _facts(degradation: Degradation | None) -> dict[str, Any] | None:
    return None if degradation is None else {"name": degradation.name, "settings": dataclasses.asdict(degradation)}


def _fit(
    asked: Asked, kept: KeptImages, out: Path, machine: Machine, seed: int, resume: bool, save_every: int
) -> Restorer:
    restorer = dataclasses.replace(asked.restorer)
    window = window_of(kept, asked.degradation, restorer.window)
    shape = (kept.channels, *window)
    restorer.fill_in(shape, PLENTY, machine.processes * machine.nodes)
    cut: dict[str, Any] = dict(size=restorer.batch, window=window, flips=restorer.flips)
    batches = Windows(kept, TRAIN, asked.degradation, seed=seed, share=share_of(restorer.batch, machine), **cut)
    shown = Windows(kept, CHOOSE, asked.degradation, **cut).shown(SHOWN)
    scale = max(float(np.quantile((shown[1] - shown[0]).abs().numpy(), 0.999)), 1e-3)
    if machine.leads:
        warn_of_small(kept, asked.degradation, asked.restorer.window, window)
        logger.info(
            "training %s to undo %s on windows of %s pixels of %d images; %d are held out", restorer,
            asked.degradation or "what tells poor from good", " x ".join(map(str, window)),
            (kept.table["split"] == TRAIN).sum(), (kept.table["split"] == CHOOSE).sum(),
        )  # fmt: skip
        steps = 1 if asked.degradation is None else max(asked.degradation.steps(len(window)))
        if steps > 1:
            logger.info("images and windows are cut at their ends to multiples of %d pixels where that is due", steps)
    watch = Watch(out, turned=kept.sliced, step=last_step(asked.degradation, len(window)))
    journal = Journal(folder=out, resume=resume, save_every=save_every, draw=watch)
    return restorer.fit(batches, shape, held_out=shown, scale=scale, machine=machine, seed=seed, journal=journal)


def _write_down(out: Path, restorer: Restorer, asked: Asked, kept: KeptImages, machine: Machine) -> None:
    """Say of the held-out images how it does, and leave the run folder as a reader expects it; `run.json` last."""
    if (out / "training.csv").exists():
        draw_curves(out)
    plan = planned(out)
    write_whole(out / COHORT, kept.table.to_csv(index=False))
    told, pictures = held_out(restorer, asked.degradation, kept, CHOOSE)
    step = last_step(asked.degradation, len(restorer.shape_) - 1)
    preview(pictures, out / "preview.png", slices=kept.sliced, step=step)
    counts = kept.table["split"].value_counts()
    data = {
        "images": len(kept.table),
        "subjects": int(kept.table["subject"].nunique()),
        "subjects_from": plan["subjects_from"],
        "split": {part: int(counts.get(part, 0)) for part in (TRAIN, CHOOSE)},
        "fingerprint": plan["fingerprint"],
        "unreadable": kept.unreadable,
    }
    used = restorer.settings()
    settings = {} if used == plan["settings"] else {"settings": used, ASKED: plan["settings"]}
    facts = {
        **plan, **settings, "code": None, "shape": list(restorer.shape_), "data": data, "held_out": told,
        "limits": limits_of(kept, asked.degradation),
    }  # fmt: skip
    write_whole(out / "MODEL_CARD.md", model_card(restorer, asked.degradation, facts))
    restorer.save(out / WEIGHTS)
    write_facts(out, facts, device=str(machine.torch_device), checked=(WEIGHTS, COHORT))
    clear(out)
