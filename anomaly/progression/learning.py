"""From pairs of visits to a run: read once, split by subject, train, calibrate on persons held out, write down."""

import dataclasses
import logging
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from anomaly.cohorts.cohort import FILE_NAMES, NO_SUBJECTS, split
from anomaly.cohorts.joining import simulated
from anomaly.cohorts.masks import COLUMN as MASK
from anomaly.errors import AnomalyError, RunError, UnreadableImage
from anomaly.evolution.evolving import Evolving
from anomaly.evolution.register import FORECASTERS
from anomaly.files import write_whole
from anomaly.images.preprocessing import Preprocessing
from anomaly.progression.calibrating import Calibration
from anomaly.progression.cards import model_card, preview
from anomaly.progression.forecasting import DRAWS, figures, forecast, read_pairs, seen_now, size_of
from anomaly.progression.inputs import fingerprint
from anomaly.progression.keeping import CALIBRATE, CHOOSE, LEFT_OUT, TRAIN, KeptPairs, keep_pairs, with_years
from anomaly.progression.pairing import Visits
from anomaly.progression.reading import Reading, flags_alone
from anomaly.progression.run import ForecasterRun
from anomaly.runs import longer
from anomaly.runs.facts import FORECASTER, write_facts
from anomaly.runs.methods import make
from anomaly.runs.plans import ASKED, abandon, claim, clear, planned, refuse_changes
from anomaly.runs.run import COHORT, WEIGHTS
from anomaly.runs.settings import known
from anomaly.runs.watching import Watch, draw_curves
from anomaly.training.journal import Journal
from anomaly.training.machine import Machine

logger = logging.getLogger(__name__)
IMAGES = ("none", "beside")


def learn_progression(
    visits: Visits,
    out: Path | str,
    *,
    method: str = "dep-gan",
    settings: Mapping[str, Any] | None = None,
    preprocessing: Preprocessing | None = None,
    image: str = "none",
    span: tuple[float, float] | None = None,
    choose: float = 0.1,
    calibrate: float = 0.2,
    seed: int = 0,
    machine: Machine | None = None,
    resume: bool = False,
    save_every: int = 500,
    workers: int | None = None,
) -> ForecasterRun:
    """Learn how the map of a disease changes until the next visit; this is `anomaly progress train`.

    Args:
        visits: the pairs of visits, and their maps.
        out: the run folder; must be new, empty, or an unfinished run to resume.
        method: "dep-gan" or "difference-unet".
        settings: hyperparameters of the method by name.
        preprocessing: how maps and images become tensors; `intensity` and `channels` are of the image beside.
        image: "beside" lets it see the image of the first visit, "none" the map alone.
        span: values of maps that count as 0 and 1; what lies beyond is cut. None takes 0 to 1 as they are, and
            pictures by their depth.
        choose: share of subjects by whom the best weights are told.
        calibrate: share of subjects who say how far predictions may be off; 19 of them at least give intervals.
        seed: of weights, batches and noise. Who is in which part depends on the subjects' names alone.
        machine: device, precision, processes.
        resume: go on exactly where a killed training stood. A finished run is returned as it is.
        save_every: steps between two checkpoints.
        workers: threads that read; None takes one a core.

    Raises:
        AnomalyError: an unknown method or setting.
        CohortError: nobody has two visits, too few subjects, or no pair can be read.
        RunError: `out` holds something else, or a training with other settings.
        TrainingError: the loss is no longer a number.
    """
    out, machine = Path(out), machine or Machine()
    prepared = preprocessing or Preprocessing()
    learner = asked_of(method, settings, image, prepared)
    finished, _, work = longer.gone_on_with(out, learner, settings or {}, machine, resume=resume)

    def prepare() -> None:  # by the first process alone
        pairs, plan = _plan(visits, learner, image, span, prepared, (choose, calibrate), machine, workers)
        _begin(out, work, {**plan, "seed": seed}, finished, pairs, resume, workers)

    machine.lead(prepare)
    if not finished:
        kept = KeptPairs.open(work / "checkpoint")
        learned = _fit(learner, kept, out, machine, seed, resume, save_every)
        machine.lead(lambda: _write_down(out, learned, kept, machine, workers))
    return ForecasterRun.open(out, device=str(machine.torch_device))


def _plan(
    visits: Visits, learner: Evolving, image: str, span: tuple[float, float] | None, prepared: Preprocessing,
    shares: tuple[float, float], machine: Machine, workers: int | None,
) -> tuple[pd.DataFrame, dict[str, Any]]:  # fmt: skip
    """The pairs with their split, and what is asked of the training."""
    pairs, timed = parted(visits, *shares)
    of_masks = dataclasses.replace(prepared, mask="given" if MASK in pairs else "none")
    return pairs, dict(
        kind=FORECASTER, method=learner.name, settings=learner.settings(), image=image, range=span,
        flags=span is None and flags_alone(pairs, workers), preprocessing=dataclasses.asdict(of_masks),
        pairs=visits.asked(), fingerprint=fingerprint(pairs), choose=shares[0], calibrate=shares[1], told_years=timed,
        subjects_from=pairs.attrs["subjects_from"], precision=machine.precision,
        processes=machine.processes * machine.nodes,
    )  # fmt: skip


def _begin(
    out: Path, work: Path, plan: dict[str, Any], finished: Mapping[str, Any] | None, pairs: pd.DataFrame, resume: bool,
    workers: int | None,
) -> None:  # fmt: skip
    """Take the folder, and read all pairs once; of a finished run say so, and nothing else."""
    if finished:
        refuse_changes(out, finished, plan)
        clear(out)  # which a training that was killed at its very end did not come to
        longer.tell_finished(out, finished)
        return
    claim(work, plan, resume)
    if plan["subjects_from"] == FILE_NAMES:
        logger.warning("%sparts of one person land on both sides of the split", NO_SUBJECTS)
    if plan["flags"]:
        logger.info("all maps that are pictures hold 0 and 1 alone, which are taken as they are")
    try:
        keep_pairs(pairs, Reading.of(plan), work / "checkpoint", workers=workers)
        _parts(KeptPairs.open(work / "checkpoint"))
    except AnomalyError:
        abandon(work)
        raise


def asked_of(
    method: str, settings: Mapping[str, Any] | None, image: str, preprocessing: Preprocessing
) -> Evolving:  # fmt: skip
    """What is to learn; arguments as of `learn_progression`."""
    if image not in IMAGES:
        raise AnomalyError(f"image is {image!r}; expected one of {', '.join(IMAGES)}")
    if preprocessing.context is not None:
        raise AnomalyError("a forecaster makes nothing of context; leave it out of the preprocessing")
    return make(known(FORECASTERS, method), settings)


def parted(visits: Visits, choose: float, calibrate: float) -> tuple[pd.DataFrame, bool]:
    """The pairs with their split and years, and whether somebody tells these.

    Raises:
        CohortError: they cannot be used, or subjects are too few for three parts.
    """
    if not (0 < choose < 1 and 0 < calibrate < 1):
        raise AnomalyError(f"choose is {choose} and calibrate {calibrate}; expected shares above 0 and below 1")
    pairs = visits.found()
    told = dict(pairs.attrs)
    pairs, timed = with_years(pairs)
    pairs["split"] = split(list(pairs["subject"]), choose=choose, calibrate=calibrate)
    pairs.attrs = told
    return pairs, timed


def _parts(kept: KeptPairs) -> None:
    for name in (TRAIN, CHOOSE, CALIBRATE):
        kept.part(name)  # refuses what is empty


def _fit(
    learner: Evolving, kept: KeptPairs, out: Path, machine: Machine, seed: int, resume: bool, save_every: int
) -> Evolving:
    learned = dataclasses.replace(learner)
    (pairs, years), shown = kept.part(TRAIN), kept.part(CHOOSE)
    if machine.leads:
        logger.info("training %s on %d pairs of visits; %d choose the weights", learned, len(pairs), len(shown[0]))
    journal = Journal(folder=out, resume=resume, save_every=save_every, draw=Watch(out, turned=kept.sliced))
    return learned.fit(pairs, years, held_out=shown, machine=machine, seed=seed, journal=journal)


def _write_down(out: Path, learned: Evolving, kept: KeptPairs, machine: Machine, workers: int | None) -> None:
    """Say of persons held out how it does, and leave the run folder as a reader expects it; `run.json` last."""
    if (out / "training.csv").exists():
        draw_curves(out)
    plan = planned(out)
    table = pd.DataFrame(_judged(learned, kept, Reading.of(plan), workers))
    write_whole(out / COHORT, table.to_csv(index=False))
    chosen, held_out = (table[table["split"] == name] for name in (CHOOSE, CALIBRATE))
    calibration = Calibration.of(chosen, held_out, draws=DRAWS if learned.noisy else 1)
    told = {
        "off": float((held_out["change"] - held_out["true_change"]).abs().mean()),
        "persistence": float(held_out["true_change"].abs().mean()),
    }
    preview(learned, *kept.part(CALIBRATE), out / "preview.png", slices=kept.sliced)
    counts = table["split"].value_counts()
    data = {
        "images": len(table), "subjects": int(table["subject"].nunique()), "subjects_from": plan["subjects_from"],
        "split": {part: int(counts.get(part, 0)) for part in (TRAIN, CHOOSE, CALIBRATE)},
        "calibration_subjects": calibration.persons, "fingerprint": plan["fingerprint"], "unreadable": kept.failed,
        "simulated": simulated(table),
    }  # fmt: skip
    years = table.loc[table["split"] == TRAIN, "years"]
    used = learned.settings()
    asked = {} if used == plan["settings"] else {"settings": used, ASKED: plan["settings"]}
    facts = {
        **plan, **asked, "shape": list(learned.shape_), "data": data, "held_out": told, "unit": kept.unit,
        "years": [float(years.min()), float(years.max())], "mean_years": float(years.mean()),
        "calibration": calibration.facts(),
    }  # fmt: skip
    if (left := kept.left_out) is not None:
        write_whole(out / LEFT_OUT, left)
    write_whole(out / "MODEL_CARD.md", model_card(learned, facts, calibration))
    learned.save(out / WEIGHTS)
    write_facts(out, facts, device=str(machine.torch_device), checked=(WEIGHTS, COHORT))
    clear(out)


def _judged(learned: Evolving, kept: KeptPairs, reading: Reading, workers: int | None) -> Iterator[dict[str, Any]]:
    """The table of pairs with volumes now and then, and of those held out what is predicted."""
    rows: list[Any] = kept.table.drop(columns="slices").to_dict("records")
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for row, pair in read_pairs(rows, reading, pool):
            if isinstance(pair, UnreadableImage):
                raise RunError(f"{pair}; it was there when the training began: put it back, and train with --resume")
            if row["split"] == TRAIN:
                sizes = [size_of(each, pair, learned.threshold) for each in (pair.before, pair.after)]
                told = {"volume": sizes[0], "true_volume": sizes[1], "true_change": sizes[1] - sizes[0]}
                yield {**row, **told, **seen_now(pair, learned.threshold)}
            else:
                told = figures(learned, pair, forecast(learned, pair, row["years"], str(row["id"])))
                yield {**row, **told}
