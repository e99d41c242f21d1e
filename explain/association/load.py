"""How much of the group map each image bears, and what that predicts: the map earning its keep.

The load of an image is made with a group map that neither it nor any image of its person or its matched set went
into (cross-fitting); made with all images it would tell the outcome even where there is nothing to tell.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from anomaly.errors import EvaluationError
from anomaly.statistics import auroc_interval, compare_aurocs, metrics
from anomaly.statistics.estimates import groups_of
from anomaly.statistics.permutation import plan
from explain.association.people import Sample
from explain.association.voxels import residuals, t_maps

SHARE = 0.05
"""Share of the voxels that make a load, those with the largest t."""
LOAD, VALUE, MEAN = "load", "value", "mean_of_map"


def loads(values: np.ndarray, sample: Sample, *, folds: int = 5, robust: bool = True, seed: int = 0) -> pd.DataFrame:
    """Columns `load`, `mean_of_map` and `fold` for maps (n, V), a row an image.

    In each fold a group map is made from the images of the other folds. Of these t the 5 % farthest from zero weigh
    the map of each held-out image (signs kept; weights add up to one in size), and the sum is expressed in standard
    deviations of the controls of the other folds, so that folds can be pooled. Held-out controls lie somewhat above
    zero and spread wider than one, since the map was made to set the others apart.

    Raises:
        EvaluationError: fewer than two folds, or fewer persons (or sets) in a class than folds.
    """
    groups, outcome = units(sample), sample.outcome
    fewest = min(np.unique(groups[outcome == kind]).size for kind in (0, 1))
    if not 2 <= folds <= fewest:
        raise EvaluationError(f"expected 2 to {fewest} folds, the persons or sets of the smaller class; got {folds}")
    load, fold = np.empty(len(values)), np.empty(len(values), dtype=int)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for number, (train, test) in enumerate(splitter.split(values, outcome, groups)):
        weights = map_weights(values, sample, train, robust=robust)
        every = values @ weights
        controls = every[train[outcome[train] == 0]].astype(np.float64)
        load[test], fold[test] = (every[test] - controls.mean()) / controls.std(ddof=1), number + 1
    return pd.DataFrame({LOAD: load, MEAN: values.mean(axis=1, dtype=np.float64), "fold": fold})


def map_weights(values: np.ndarray, sample: Sample, train: np.ndarray, *, robust: bool = True) -> np.ndarray:
    """Weights (V,) of the voxels from the group map of the images `train`."""
    part = sample.rows(train)
    model = plan(part.outcome, part.covariates, part.names("subject"), part.names("match"))
    partner = None if model.partner is None else train[model.partner]
    model = replace(model, kept=train[model.kept], partner=partner)
    unit, _ = residuals(model, values)
    rows = np.arange(len(unit))[None]
    t = t_maps(model, unit, rows, np.ones_like(rows), robust=robust)[1][0]
    size = np.abs(t)
    t[size < np.quantile(size, 1 - SHARE)] = 0
    return t / np.maximum(np.abs(t).sum(), np.finfo(np.float32).tiny)


def units(sample: Sample) -> np.ndarray:
    """What never parts, as numbers (n,): the images of a person, and of matched sets that share a person."""
    size = len(sample.images)
    people, sets = (groups_of(sample.names(name), size) for name in ("subject", "match"))
    edges = coo_array((np.ones(size), (people, sets + size)), shape=(2 * size, 2 * size))
    return np.asarray(connected_components(edges, directed=False)[1][people])


def prediction(
    table: pd.DataFrame, columns: list[str], groups: np.ndarray, notes: list[str], beside: Sequence[str] = ()
) -> pd.DataFrame:
    """What each score of `table` (load, value, `beside`, mean of the map) tells of each column of 0/1 (or NaN).

    A row an outcome and score, with the AUROC, its interval (clustered by `groups` where these hold several images)
    and, beside the scores that are not the load, the load's AUROC minus theirs. The mean of the map is the floor
    and judged the way round that tells more; `_reversed` says so.
    """
    rows = []
    whose = groups if np.unique(groups).size < groups.size else None
    for name in columns:
        known = table[name].notna().to_numpy()
        event, subject = table.loc[known, name].to_numpy(), None if whose is None else whose[known]
        if not known.all():
            notes.append(f"Of {int((~known).sum())} images {name} is not known; they tell nothing of it.")
        scores = _scores(table[known], event, name, [VALUE, *beside], notes)
        for score, value in scores.items():
            area = auroc_interval(event, value, subject, scale="logit")
            row: dict[str, Any] = {"outcome": name, "score": score, "n": event.size, "events": int(event.sum())}
            row |= {"auroc": area.value, "auroc_low": area.low, "auroc_high": area.high}
            # The load's weights were made of these very images: no p-value of it holds, however they were dealt.
            row |= {"p_value": area.p_value if score != LOAD else float("nan")}
            if score != LOAD:
                apart = compare_aurocs(event, scores[LOAD], value, subject)
                row |= {"load_minus_score": apart.difference, "low": apart.low, "high": apart.high}
            rows.append(row | {"method": area.method + (", making of the map not counted" if score == LOAD else "")})
    return pd.DataFrame(rows)


def _scores(
    table: pd.DataFrame, event: np.ndarray, name: str, raw: list[str], notes: list[str]
) -> dict[str, np.ndarray]:
    scores = {LOAD: table[LOAD].to_numpy()}
    for score in raw:
        if score in table and np.isfinite(table[score]).all():
            scores[score] = table[score].to_numpy()
        elif score in table:
            notes.append(f"{score} was left out for {name}: some of its values are not numbers.")
    floor = table[MEAN].to_numpy()
    reverse = metrics.auroc(event, floor) < 0.5
    return scores | ({f"{MEAN}_reversed": -floor} if reverse else {MEAN: floor})
