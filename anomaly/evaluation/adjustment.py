"""What the score says beside covariates: odds ratios, what it adds to them, and the ROC among people alike."""

from typing import Any

import numpy as np
import pandas as pd

from anomaly import statistics
from anomaly.cohorts.joining import check_numbers
from anomaly.errors import EvaluationError
from anomaly.evaluation import thirds
from anomaly.evaluation.gathering import ALONE, Gathered
from anomaly.evaluation.section import Section, ends, in_words, interval, listed
from anomaly.pictures import figures
from anomaly.statistics import metrics
from anomaly.statistics.estimates import between

_NORMAL_IQR = 1.349  # standard deviations between the quartiles of a normal distribution
BENT = 0.05
"""Below this p-value of a bend the odds ratio per standard deviation is not told as if it described the odds."""
_FAR = 3.0  # scores that follow a lognormal distribution of unit log-variance reach 2


def covariates_alone(data: Gathered, seed: int) -> statistics.AddedValue | None:
    """What the main score adds to the covariates; the chances by the covariates alone become a baseline.

    The chances are cross-fitted by person, so that the baseline is not flattered by its own fit.
    """
    if data.covariates is None:
        return None
    known = _complete(data)
    images, subject = data.rows(known)
    try:
        check_numbers(images["outcome"], "the images with all covariates")
        added = statistics.added_value(
            images["outcome"], images[data.names[0]], data.covariates[known], subject, seed=seed
        )
    except EvaluationError as error:
        data.notes.append(f"What the score adds to the covariates could not be told: {error}.")
        return None
    data.images[ALONE] = np.nan
    data.images.loc[known, ALONE] = added.covariates_alone
    data.folds[ALONE] = np.full(len(known), -1)
    data.folds[ALONE][known] = added.fold
    data.names.append(ALONE)
    return added


def odds(data: Gathered, adjust: list[str], sign: str) -> Section | None:
    """Odds ratio per standard deviation of each score, crude and adjusted."""
    rows = []
    for name in data.names:
        if name != ALONE:
            rows += _odds(data, name, adjust)
    if not rows:
        return None
    table = pd.DataFrame(rows)
    sentences = [_told(data, row, adjust, sign) for row in rows if row["score"] == data.names[0]]
    labels = [f"{row['score']}, {'crude' if row['adjusted_for'] == 'nothing' else 'adjusted'}" for row in rows]
    numbers = table[["odds_ratio", "odds_ratio_low", "odds_ratio_high"]].to_numpy()
    drawn = figures.forest(labels, numbers, "Odds ratio per standard deviation", none=1.0, logarithmic=True)
    methods = "; ".join(table["method"].unique())
    caption = (
        f"Odds ratio per standard deviation of the score with 95 % interval. {methods}. Where bend_p_value is below "
        f"{BENT} the log-odds do not follow a straight line, and no such ratio describes them."
    )
    return Section("odds", "Odds of the outcome", sentences, caption, table, drawn)


def _odds(data: Gathered, name: str, adjust: list[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    _note_far(data, name)
    has = data.images[name].notna().to_numpy()
    models: list[tuple[str, np.ndarray, pd.DataFrame | None]] = [("nothing", has, None)]
    if data.covariates is not None:
        both = has & _complete(data)
        models.append((", ".join(adjust), both, data.covariates[both]))
    for held, chosen, covariates in models:
        images, subject = data.rows(chosen)
        try:
            found = statistics.odds_ratio(images["outcome"], images[name], covariates, subject)
        except EvaluationError as error:
            data.notes.append(f"No odds ratio of {name} adjusted for {held}: {error}.")
            continue
        about = {"score": name, "adjusted_for": held, "n": len(images), "events": int(images["outcome"].sum())}
        shape = thirds.bend_of(images["outcome"].to_numpy(), images[name].to_numpy(), covariates, subject)
        row = about | ends("odds_ratio", found) | {"p_value": found.p_value, "bend_p_value": shape}
        rows.append(row | {"method": found.method})
    return rows


def _note_far(data: Gathered, name: str) -> None:
    """Say so where a few far scores make one standard deviation a wider step than nearly anybody takes."""
    scores = data.images[name].dropna()
    usual = float(np.subtract(*scores.quantile([0.75, 0.25]))) / _NORMAL_IQR
    if usual > 0 and scores.std() > _FAR * usual:
        data.notes.append(
            f"A few scores of {name} lie so far out that one standard deviation is {scores.std() / usual:.3g} times "
            "what the middle half of the images would make it; its odds ratio is for that wide step."
        )


def _told(data: Gathered, row: dict[str, Any], adjust: list[str], sign: str) -> str:
    if row["bend_p_value"] < BENT:
        return _bent(data, row, adjust, sign)
    who = "One standard deviation more in the score goes with"
    if row["adjusted_for"] != "nothing":
        who = f"Among people of the same {listed(adjust)}, one standard deviation more goes with"
    ends = between(row["odds_ratio_low"], row["odds_ratio_high"])
    return f"{who} {row['odds_ratio']:.2f} times ({ends}, {in_words(row['p_value'])}) the odds of {sign}."


def _bent(data: Gathered, row: dict[str, Any], adjust: list[str], sign: str) -> str:
    """What is told instead of one ratio where the odds do not rise evenly with the score."""
    name = data.names[0]
    chosen, covariates, who = data.images[name].notna().to_numpy(), None, "The odds"
    if row["adjusted_for"] != "nothing":
        chosen = chosen & _complete(data)
        covariates, who = data.covariates[chosen], f"Among people of the same {listed(adjust)} the odds"  # type: ignore[index]
    images, subject = data.rows(chosen)
    told = thirds.odds_told(images["outcome"].to_numpy(), images[name].to_numpy(), covariates, subject)
    told = told or "; see the thirds of the score" if covariates is None else told
    return (
        f"{who} of {sign} do not rise evenly with the score (test of a bend, {in_words(row['bend_p_value'])}), so that "
        f"no single odds ratio describes them{told}. (A straight line says {row['odds_ratio']:.2g} times for one "
        "standard deviation.)"
    )


def added(data: Gathered, found: statistics.AddedValue | None, adjust: list[str], scale: str) -> Section | None:
    """What the score adds to the covariates alone."""
    if found is None:
        return None
    images, subject = data.rows(_complete(data))
    event = images["outcome"].to_numpy()
    curves = {
        "score": images[data.names[0]].to_numpy(),
        "covariates": found.covariates_alone,
        "both": found.with_score,
    }
    folds = {"score": None, "covariates": found.fold, "both": found.fold}
    areas = {
        name: statistics.auroc_interval(event, score, subject, scale=scale, fold=folds[name])
        for name, score in curves.items()
    }
    table = pd.DataFrame(
        {"predictor": name, "n": event.size, "events": int(event.sum())} | ends("auroc", area) | {"method": area.method}
        for name, area in areas.items()
    )
    _, alone, both = areas.values()
    verdict = "adds to what the covariates tell" if found.p_value < 0.05 else "is not shown to add to the covariates"
    sentence = (
        f"The score {verdict} ({found.method}, {in_words(found.p_value)}): {listed(adjust)} alone have an AUROC of "
        f"{interval(alone)}, with the score {interval(both)}, each predicting persons it was not fitted on."
    )
    caption = (
        f"Nested models compared by {found.method}: statistic {found.statistic:.3f}, {in_words(found.p_value)}. The "
        "AUROCs are of cross-fitted predictions; their intervals do not count the fitting of the models."
    )
    drawn = figures.roc(pd.DataFrame({"outcome": event} | curves), list(curves))
    return Section("added_value", "Beside the covariates", [sentence], caption, table, drawn)


def adjusted_roc(data: Gathered, adjust: list[str]) -> Section | None:
    """The AUROC among people with the same covariates (Janes & Pepe 2009)."""
    if data.covariates is None:
        return None
    known = _complete(data)
    images, subject = data.rows(known)
    score = images[data.names[0]]
    try:
        found = statistics.adjusted_auroc(images["outcome"], score, data.covariates[known], subject)
    except EvaluationError as error:
        data.notes.append(f"The AUROC among people alike could not be told: {error}.")
        return None
    pooled = metrics.auroc(images["outcome"], score)
    area = found.auroc
    sentence = (
        f"Between people of the same {listed(adjust)} the AUROC is {interval(area)}, between any two {pooled:.2f}."
    )
    about = {"adjusted_for": ", ".join(adjust), "n": len(images), "events": int(images["outcome"].sum())}
    table = pd.DataFrame([about | ends("adjusted_auroc", area) | {"pooled_auroc": pooled, "method": area.method}])
    false, true, _ = metrics.roc_curve(images["outcome"], score)
    curves = {
        f"people alike: {area.value:.2f}": (found.false_positive_rate, found.sensitivity),
        f"all: {pooled:.2f}": (false, true),
    }
    caption = f"Covariate-adjusted AUROC (Janes & Pepe 2009) with 95 % interval: {area.method}."
    return Section("adjusted_roc", "Among people alike", [sentence], caption, table, figures.curves(curves))


def _complete(data: Gathered) -> np.ndarray:
    """Mask (n,) of the images with all covariates."""
    assert data.covariates is not None
    return data.covariates.notna().all(axis=1).to_numpy()
