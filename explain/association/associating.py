"""Tests where in the image the maps of people with an outcome differ from those of people without.

Each image brings a map (how far it departs from normal, or an explanation); all lie on one grid. What is called
significant is corrected for all voxels, by shufflings that respect persons with several images and matched sets
(`anomaly.statistics.permutation`). Then the map earns its keep: what each image bears of it is set beside the raw
score as a predictor (`load`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.clusters.shards import refuse_shard
from anomaly.cohorts import joining
from anomaly.cohorts.results import some
from anomaly.errors import EvaluationError
from anomaly.statistics.permutation import Plan, against_zero, plan
from explain.association.body import NONE, within_body
from explain.association.findings import (
    Association,
    about_prediction,
    about_shufflings,
    about_spread,
    facts_of,
    headline_of,
    write,
)
from explain.association.groupmap import group_map, maxima_of_shard
from explain.association.load import loads, prediction, units
from explain.association.maps import Maps, read_maps
from explain.association.people import Sample, gather, refuse_few
from explain.association.regions import regions
from explain.association.shuffling import fingerprint, joined, keep_part, parts
from explain.association.visits import Pairing
from explain.association.visits import facts as facts_of_visits

__all__ = ["Association", "associate"]


def associate(
    maps: Path,
    cohort: Path | pd.DataFrame,
    *,
    outcome: str | None = None,
    out: Path,
    subject: str | None = None,
    positive: str | None = None,
    adjust: Sequence[str] = (),
    match: str | None = None,
    where: Mapping[str, str] | None = None,
    missing: Sequence[str] = (),
    correction: str = "max-t",
    permutations: int = 1000,
    cluster_threshold: float = 0.001,
    smooth: float = 0.0,
    mask: Path | str | None = None,
    predict: Sequence[str] = (),
    beside: Sequence[str] = (),
    folds: int = 5,
    alpha: float = 0.05,
    robust: bool = True,
    visits: str | None = None,
    visit_unit: str | None = None,
    visit_order: Sequence[str] = (),
    date: str | None = None,
    annual: bool = False,
    outcome_at: str | None = None,
    seed: int = 0,
    shard: tuple[int, int] | None = None,
) -> Association:
    """Where maps are higher or lower with an outcome, corrected for all voxels; writes `out`.

    With `visits` the maps are those of change: the last visit of each person, side and contrast less the first one.
    They are compared between those with the outcome and without; where none is named, held against no change.

    Shufflings can be shared out: each shard leaves a file in `out`, and the same call without a shard, made when all
    are there, joins them and writes what one process would have written.

    Args:
        maps: as `maps.list_maps`: a folder that scoring wrote with `--heatmaps nifti`, a table, or a folder of files.
        cohort: a table with `id` (or `path`) and the outcome, joined as in `evaluate`.
        outcome: column of 0/1, or of other values with `positive` naming the event; of changes it may stand on the row
            of either visit, and may be left out.
        out: receives mean_difference, t, auroc, p_corrected and significant (t where significant, else 0) as
            NIfTI on the grid of the maps; association.png, regions.csv, association.json, errors.csv where a map
            could not be read, and load.csv and prediction.csv with `predict`.
        subject: column naming persons. Left out, the column `subject` serves where some person has several images.
        adjust: columns of the cohort to adjust for, numbers or texts.
        match: column naming matched sets, such as the person whose two knees are compared.
        where: keeps the rows of the cohort whose columns have these values.
        missing: cells of the cohort that mean that nothing is known, such as "-9".
        correction: `max-t`, `cluster` (mass of clusters above `cluster_threshold`) or `tfce`.
        permutations: shufflings beside the data as they are.
        cluster_threshold: below 1 an uncorrected two-sided p, else a t.
        smooth: full width at half maximum in mm of a Gaussian laid over each map (in voxels without geometry).
        mask: an image on the grid of the maps, not zero where voxels count; "none" counts all. By default those of the
            body do: inside the masks of all images, or by their mean (see `body.within_body`).
        predict: columns of 0/1 that the load on the map is to predict, in `folds` folds (see `load.loads`).
        beside: columns of numbers, of the scores or the cohort, whose AUROC stands beside that of the load: such as
            the difference of a case from its twin. The raw score and the mean of the map stand there anyway.
        alpha: family-wise error rate.
        robust: variance that lets groups spread differently, as those with a disease do (see `voxels.t_maps`);
            with fewer than a hundred cases it takes away most of the harm, not all. False pools it.
        visits: column of visits, whose images must lie on one grid: register follow-ups first (`anomaly register
            visits`). visit_unit, visit_order and date: as in `anomaly.cohorts.visits.visit_pairs`.
        annual: whether changes are divided by the years between both visits.
        outcome_at: "visit" where outcomes are told at each visit, "person" where once (see `anomaly.cohorts.outcomes`).
        seed: of shufflings and folds.
        shard: (i, N) makes the shufflings of shard i of N alone, and writes nothing else.

    Raises:
        EvaluationError: nothing joins, one class, fewer than ten images of either, maps on different grids,
            covariates that are constant or collinear, sets that all hold one outcome, too few shufflings; or
            shufflings in `out` that are not all there, or of other maps or settings.
    """
    if shard is not None:
        refuse_shard(shard)
    if not 0 < alpha < 1:
        raise EvaluationError(f"alpha must lie between 0 and 1, got {alpha}")
    pairing = None
    if visits is not None:
        pairing = Pairing(
            visits=visits, visit_unit=visit_unit, visit_order=visit_order, date=date, annual=annual,
            outcome_at=outcome_at,
        )  # fmt: skip
    _refuse(outcome, pairing, predict, match, bool(visit_unit or visit_order or date or annual or outcome_at))
    notes: list[str] = []
    adjust, predict, beside = (joining.columns(each) for each in (adjust, predict, beside))
    sample = gather(
        Path(maps), cohort, outcome=outcome, subject=subject, positive=positive, adjust=adjust, match=match,
        where=where or {}, missing=missing, predict=predict, beside=beside, pairing=pairing,
        notes=notes,
    )  # fmt: skip
    mask = None if mask is None else NONE if str(mask) == NONE else Path(mask)
    sample, read = _read(sample, outcome, predict, mask, smooth, notes)
    model = _model(sample, match, alpha, permutations, notes)
    asked: dict[str, Any] = dict(
        correction=correction, permutations=permutations, cluster_threshold=cluster_threshold, robust=robust, seed=seed
    )
    if shard is not None:
        return _shared_out(read, model, shard, asked, notes, Path(out))
    files = parts(Path(out))
    maxima = joined(files, fingerprint(read.values, read.mask, model, asked), permutations) if files else None
    found = group_map(read.values, sample.outcome, model, read.mask, **asked, shown=True, maxima=maxima)
    notes += about_spread(read.values, sample, model, robust)
    table = regions(found, read, alpha)
    load = _loads(read, sample, predict, folds, robust, seed)
    predicted = None if load is None else prediction(load, list(predict), units(sample), notes, beside)
    table_of_people = "table" if isinstance(cohort, pd.DataFrame) else str(Path(cohort).resolve())
    settings = {
        "maps": str(Path(maps).resolve()), "cohort": table_of_people, "outcome": outcome, "positive": positive,
        "subject": subject, "adjust": list(adjust), "match": match, "where": dict(where or {}),
        "missing": list(missing),
        "correction": correction, "cluster_threshold": found.threshold, "permutations": permutations,
        "smooth": smooth, "mask": str(mask.resolve()) if isinstance(mask, Path) else mask, "predict": list(predict),
        "folds": folds, "alpha": alpha, "robust": robust, "seed": seed, **facts_of_visits(pairing),
    }  # fmt: skip
    facts = settings | facts_of(found, read, table, alpha, sample.rows(model.images))
    result = Association(
        table, load, predicted, read.failed, headline_of(facts, table), about_prediction(predicted), notes, Path(out)
    )
    write(result, facts, found, read, sample)
    return result


def _shared_out(
    read: Maps, model: Plan, shard: tuple[int, int], asked: Mapping[str, Any], notes: list[str], out: Path
) -> Association:
    """The shufflings of one shard, in a file; nothing is said of the maps yet."""
    maxima = maxima_of_shard(read.values, model, read.mask, shard, **asked, shown=True)
    path = keep_part(out, shard, maxima, fingerprint(read.values, read.mask, model, asked))
    told = f"{maxima.shape[1]} of {asked['permutations']} shufflings are in {path}"
    headline = f"{told}; when those of all {shard[1]} shards are there, the same without --shard joins them"
    return Association(pd.DataFrame(), None, None, read.failed, headline, [], notes, out)


def _read(
    sample: Sample,
    outcome: str | None,
    predict: Sequence[str],
    mask: Path | str | None,
    smooth: float,
    notes: list[str],
) -> tuple[Sample, Maps]:
    """The maps, and the rows of those that could be read."""
    read = read_maps(sample.images, mask if isinstance(mask, Path) else None, smooth, shown=True)
    sample = sample.rows(read.read)
    if mask is None:
        read = within_body(read, sample, notes)
    elif mask == NONE:
        notes.append(f"All {int(read.mask.sum()):,} voxels count, those outside the body too (mask none).")
    refuse_few(sample, outcome)
    for column in predict:
        joining.check_numbers(sample.images[column].dropna().to_numpy(), column)
    if len(read.failed):
        notes.append(f"{len(read.failed)} maps could not be read and were left out ({some(read.failed['id'])}).")
    return sample, read


def _model(sample: Sample, match: str | None, alpha: float, permutations: int, notes: list[str]) -> Plan:
    """The model with its shufflings, refused where these are too few to say anything at `alpha`."""
    if sample.outcome.all():
        model = against_zero(len(sample.images), sample.covariates, sample.names("subject"))
    else:
        model = plan(sample.outcome, sample.covariates, sample.names("subject"), sample.names("match"))
    # Turning every outcome round leaves the size of t as it is, so two arrangements count as one.
    distinct = model.arrangements // 2
    if min(distinct, permutations + 1) * alpha < 1:
        raise EvaluationError(
            f"{distinct:.6g} distinct shufflings respect persons and matched sets and {permutations} were asked for: "
            f"alpha = {alpha:g} needs {int(np.ceil(1 / alpha))}; gather more persons or ask for more"
        )
    lost = len(sample.images) - model.images.size
    if lost:
        notes.append(f"{lost} images are in sets of {match} without both outcomes; they tell nothing of the map.")
    notes.append(about_shufflings(sample, model))
    return model


def _refuse(
    outcome: str | None, pairing: Pairing | None, predict: Sequence[str], match: str | None, asked: bool
) -> None:
    """Refuse questions that mean nothing without an outcome, or without visits."""
    if pairing is None and asked:
        raise EvaluationError("unit, order and dates of visits, and changes a year, go with visits; name these")
    if outcome is None and pairing is None:
        raise EvaluationError("name the outcome that maps are compared by, or the column of visits")
    if outcome is None and (len(predict) or match):
        raise EvaluationError("loads and matched sets take an outcome; name it, or leave them out")


def _loads(
    read: Maps, sample: Sample, predict: Sequence[str], folds: int, robust: bool, seed: int
) -> pd.DataFrame | None:
    if not predict:
        return None
    load = loads(read.values, sample, folds=folds, robust=robust, seed=seed)
    return pd.concat([sample.images.drop(columns=["map", "image", "mask"], errors="ignore"), load], axis=1)
