"""From images to a trained registrar: laid roughly on one another, read once, split by subject, train, judge."""

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from anomaly.cohorts.cohort import FILE_NAMES, NO_SUBJECTS, fingerprint
from anomaly.cohorts.masks import COLUMN as MASK
from anomaly.errors import AnomalyError
from anomaly.files import write_whole
from anomaly.images.caching import CachedImages
from anomaly.images.preprocessing import Preprocessing
from anomaly.registrars.learned import PLENTY, VoxelMorph
from anomaly.registration.cards import figures, model_card, preview
from anomaly.registration.keeping import VisitBatches, keep_images, kept_images
from anomaly.registration.pairing import CHOOSE, TRAIN, UNTOUCHED, VISITS, Pairing
from anomaly.registration.run import METHODS, RegistrarRun
from anomaly.runs import longer
from anomaly.runs.facts import REGISTRAR, write_facts
from anomaly.runs.methods import make
from anomaly.runs.plans import ASKED, abandon, claim, clear, planned, refuse_changes
from anomaly.runs.run import COHORT, WEIGHTS
from anomaly.runs.settings import known
from anomaly.runs.watching import Watch, draw_curves
from anomaly.training.batches import Batches, Beside, evenly
from anomaly.training.journal import Journal
from anomaly.training.learned import share_of
from anomaly.training.machine import Machine

logger = logging.getLogger(__name__)
SHOWN, JUDGED = 8, 64


def learn_registration(
    pairing: Pairing,
    out: Path | str,
    *,
    method: str = "voxelmorph",
    settings: Mapping[str, Any] | None = None,
    preprocessing: Preprocessing | None = None,
    choose: float = 0.15,
    seed: int = 0,
    machine: Machine | None = None,
    resume: bool = False,
    save_every: int = 500,
    workers: int | None = None,
) -> RegistrarRun:
    """Learn to bring images onto one another, without a truth; this is `anomaly register train`.

    Args:
        pairing: where images are found, and which are brought onto which.
        out: the run folder; must be new, empty, or an unfinished run to resume.
        method: name of a registrar that learns.
        settings: hyperparameters of the method by name.
        preprocessing: how images become tensors; stored with the run.
        choose: share of subjects held out, to watch and to judge by.
        seed: of weights, batches and the start. Who is held out depends on the subjects' names alone.
        machine: device, precision, processes.
        resume: go on exactly where a killed training stood. A finished run is returned as it is.
        save_every: steps between two checkpoints.
        workers: threads that read images; None takes one a core.

    Raises:
        AnomalyError: an unknown method or setting, or slices of volumes.
        CohortError: too few subjects, nobody with two visits, or images that do not come out alike.
        RunError: `out` holds something else, or a training with other settings.
        TrainingError: the loss is no longer a number.
    """
    out, machine = Path(out), machine or Machine()
    registrar, preprocessing = asked_of(method, settings, preprocessing)
    finished, _, work = longer.gone_on_with(out, registrar, settings or {}, machine, resume=resume)

    def prepare() -> None:
        rows = pairing.parted(choose)
        prepared = dataclasses.replace(preprocessing, mask="given" if MASK in rows else "none")
        plan = _plan(registrar, pairing, rows, prepared, choose, seed, machine)
        if finished:
            refuse_changes(out, finished, plan)
            clear(out)  # which a training that was killed at its very end did not come to
            longer.tell_finished(out, finished)
            return
        claim(work, plan, resume)
        _keep(rows, prepared, work, seed, workers)

    machine.lead(prepare)
    if not finished:
        images = kept_images(work / "checkpoint")
        _fit(registrar, pairing, images, out, machine, seed, resume, save_every)
        machine.lead(lambda: _write_down(out, registrar, pairing, images, machine))
    return RegistrarRun.open(out, device=str(machine.torch_device))


def asked_of(
    method: str, settings: Mapping[str, Any] | None, preprocessing: Preprocessing | None
) -> tuple[VoxelMorph, Preprocessing]:
    """What is to learn, and how images are prepared for it; arguments as of `learn_registration`."""
    registrar = make(known(METHODS, method), settings)
    if preprocessing is not None and preprocessing.context is not None:
        raise AnomalyError(f"{registrar.name} makes nothing of context; leave it out of the preprocessing")
    if preprocessing is not None and preprocessing.intensity == "range":
        raise AnomalyError(
            "intensity is 'range'; what was laid on another image no longer tells the range of its file: take "
            "percentile, window or zscore"
        )
    return registrar, preprocessing or Preprocessing()


def held_out_pairs(images: CachedImages, pairing: Pairing, part: str = CHOOSE) -> tuple[Tensor, Tensor]:
    """Moving and fixed images held out, (n, C, *space) each; at most 64 pairs, evenly spread.

    Of any two images each is brought onto the next one; a single one onto the first that was learned from.
    """
    pixels = images.part(part)
    if pairing.kind == VISITS:
        moving, fixed = pixels[::2], pixels[1::2]
    elif len(pixels) == 1:
        moving, fixed = pixels, images.part(TRAIN)[:1]
    else:
        moving, fixed = pixels, np.roll(pixels, -1, axis=0)
    places = evenly(len(moving), JUDGED)
    return torch.from_numpy(np.array(moving[places])), torch.from_numpy(np.array(fixed[places]))


def _keep(rows: pd.DataFrame, prepared: Preprocessing, work: Path, seed: int, workers: int | None) -> None:
    if rows.attrs["subjects_from"] == FILE_NAMES:
        logger.warning("%sparts of one person land on both sides of the split", NO_SUBJECTS)
    try:
        keep_images(rows, prepared, work / "checkpoint", seed=seed, workers=workers)
    except AnomalyError:
        abandon(work)
        raise


def _plan(
    registrar: VoxelMorph, pairing: Pairing, rows: pd.DataFrame, prepared: Preprocessing, choose: float, seed: int,
    machine: Machine,
) -> dict[str, Any]:  # fmt: skip
    """What a resumed training has to be asked alike."""
    return {
        "kind": REGISTRAR, "method": registrar.name, "settings": registrar.settings(),
        "preprocessing": dataclasses.asdict(prepared), "seed": seed, "pairing": _facts(pairing),
        "fingerprint": fingerprint(rows[rows["split"] != UNTOUCHED]), "choose": choose,
        "subjects_from": rows.attrs["subjects_from"], "precision": machine.precision,
        "processes": machine.processes * machine.nodes,
    }  # fmt: skip


def _facts(pairing: Pairing) -> dict[str, Any]:
    names = ("visits", "start", "date", "side", "contrast", "unit", "order", "which")
    return {"of": pairing.kind, **{name: getattr(pairing, name) for name in names}}


def _fit(
    registrar: VoxelMorph, pairing: Pairing, images: CachedImages, out: Path, machine: Machine, seed: int,
    resume: bool, save_every: int,
) -> None:  # fmt: skip
    source = images.part(TRAIN)
    of_visits = pairing.kind == VISITS
    registrar.fill_in(tuple(source.shape[1:]), PLENTY, machine.processes * machine.nodes)
    asked: dict[str, Any] = dict(size=registrar.batch, share=share_of(registrar.batch, machine))
    sides = [Batches(source, seed=2 * seed + side, **asked) for side in range(2)]
    batches = VisitBatches(source, seed=seed, **asked) if of_visits else Beside(*sides)
    moving, fixed = held_out_pairs(images, pairing)
    if machine.leads:
        count = len(source) // 2 if of_visits else len(source)
        logger.info(
            "training %s on %d %s; %d pairs are held out", registrar, count,
            "pairs of visits" if of_visits else "images, any two at once", len(moving),
        )  # fmt: skip
    journal = Journal(folder=out, resume=resume, save_every=save_every, draw=Watch(out))
    registrar.fit(
        batches, source.shape[1:], held_out=(moving[:SHOWN], fixed[:SHOWN]), masked=MASK in images.table,
        machine=machine, seed=seed, journal=journal,
    )  # fmt: skip


def _write_down(out: Path, registrar: VoxelMorph, pairing: Pairing, images: CachedImages, machine: Machine) -> None:
    """Say of the held-out pairs how it does, and leave the run folder as a reader expects it; `run.json` last."""
    if (out / "training.csv").exists():
        draw_curves(out)
    plan = planned(out)
    table = images.table[images.table["split"] != UNTOUCHED]
    write_whole(out / COHORT, table.drop(columns=["onto", "onto_mask"]).to_csv(index=False))
    pairs = held_out_pairs(images, pairing)
    untouched = None if pairing.start == "none" else held_out_pairs(images, pairing, UNTOUCHED)
    preview(registrar, *pairs, out / "preview.png")
    counts = table["split"].value_counts()
    data = {
        "images": int(table["id"].nunique()),
        "subjects": int(table["subject"].nunique()),
        "subjects_from": plan["subjects_from"],
        "split": {part: int(counts.get(part, 0)) for part in (TRAIN, CHOOSE)},
        "fingerprint": plan["fingerprint"],
        "unreadable": images.unreadable,
    }
    used = registrar.settings()
    settings = {} if used == plan["settings"] else {"settings": used, ASKED: plan["settings"]}
    told = figures(registrar, *pairs, untouched)
    facts = {**plan, **settings, "shape": list(registrar.shape_), "data": data, "held_out": told}
    write_whole(out / "MODEL_CARD.md", model_card(registrar, facts))
    registrar.save(out / WEIGHTS)
    write_facts(out, facts, device=str(machine.torch_device), checked=(WEIGHTS, COHORT))
    clear(out)
