"""How well each score tells cases from controls: all images, strata of them, and scores against each other."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import chi2

from anomaly import statistics
from anomaly.cohorts.joining import FEWEST, check_numbers, plain_text
from anomaly.evaluation.gathering import ALONE, BASELINE, REVERSED, Gathered
from anomaly.evaluation.section import Section, in_words
from anomaly.pictures import figures
from anomaly.statistics.estimates import between
from anomaly.statistics.metrics import checked

SPECIFICITIES = {"90": 0.90, "95": 0.95}
TRIVIAL = {
    "baseline_intensity": "mean brightness",
    "baseline_mean_image": "distance from the mean image",
    ALONE: "the covariates alone",
}
# A number with more different values than this is cut at its thirds before it makes strata.
MOST_LEVELS = 6
_UNCOUNTED = ", fitting not counted"
_PAIR = ["score_a", "score_b", "difference", "low", "high", "z", "p_value", "method"]


def row(data: Gathered, name: str, chosen: np.ndarray, *, seed: int, scale: str) -> dict[str, Any]:
    """The figures of one line of evaluation.csv: one score over the images of a mask (n,) that have it."""
    chosen = chosen & data.images[name].notna().to_numpy()
    images, subject = data.rows(chosen)
    event, score = images["outcome"].to_numpy(), images[name].to_numpy()
    area = statistics.auroc_interval(event, score, subject, scale=scale, fold=data.fold(name, chosen))
    found: dict[str, Any] = {"n": event.size, "events": int(event.sum())}
    found |= _figures("auroc", area)
    found |= _figures("ap", statistics.average_precision_interval(event, score, subject))
    found["prevalence"] = float(event.mean())
    for percent, specificity in SPECIFICITIES.items():
        sensitivity = statistics.sensitivity_interval(event, score, specificity, subject, seed=seed)
        found |= _figures(f"sensitivity_at_{percent}", sensitivity)
    # Cross-fitted on these very images: its interval does not count the fitting, and no test of it would hold.
    found["p_value"] = area.p_value if name != ALONE else float("nan")
    found["auroc_method"] += _UNCOUNTED if name == ALONE else ""
    if data.flagged is not None and name == "value":
        for label, group in {"flagged_share": event == 0, "flagged_share_events": event == 1}.items():
            of_group = None if subject is None else subject[group]
            found |= _figures(label, statistics.proportion(data.flagged[chosen][group], of_group))
    return found


def _figures(name: str, estimate: statistics.Estimate) -> dict[str, Any]:
    ends = {f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return {name: estimate.value} | ends | {f"{name}_method": estimate.method}


def strata(
    data: Gathered, columns: Sequence[str], outcome: str, *, seed: int, scale: str
) -> tuple[list[dict[str, Any]], Section | None]:
    """Lines of evaluation.csv within the values of each column, and what they say.

    A stratum with fewer than ten events or controls is named and left out. The p-values of one score count all
    of its strata (Holm). Whether strata differ is Cochran's Q on the log-odds of their AUROCs, where no person is
    in two of them.
    """
    rows: list[dict[str, Any]] = []
    sentences = []
    for column in columns:
        levels = _levels(data.people[column])
        usable = {}
        for level in _sorted(levels):
            chosen = (levels == level).to_numpy()
            events, controls = int(data.event[chosen].sum()), int((1 - data.event[chosen]).sum())
            if min(events, controls) < FEWEST:
                data.notes.append(f"{column} {level}: {events} events and {controls} controls, too few for figures.")
            else:
                usable[str(level)] = chosen
        if levels.isna().any():
            data.notes.append(f"{int(levels.isna().sum())} images have no {column} and are in none of its strata.")
        names = [name for name in data.names if all(_enough(data, name, chosen) for chosen in usable.values())]
        rows += [
            {"score": name, "outcome": outcome, "stratum": f"{column} {level}"}
            | row(data, name, chosen, seed=seed, scale=scale)
            for name in names
            for level, chosen in usable.items()
        ]
        if usable and names:
            sentences.append(_compared(data, column, usable, [each for each in rows if each["score"] == names[0]]))
    _count_all(rows)
    if not rows:
        return [], None
    first = [each for each in rows if each["score"] == data.names[0]]
    table = pd.DataFrame(first)[
        ["stratum", "n", "events", "auroc", "auroc_low", "auroc_high", "p_value", "p_holm", "auroc_method"]
    ]
    drawn = figures.forest(
        list(table["stratum"]), table[["auroc", "auroc_low", "auroc_high"]].to_numpy(), "AUROC", none=0.5
    )
    caption = "AUROC of the score within each stratum, with 95 % intervals; p against 0.5, by Holm over the strata."
    return rows, Section("strata", "Within strata", sentences, caption, table, drawn)


def _levels(column: pd.Series) -> pd.Series:
    """Values as text; a number of many values as thirds of the images, named by their ends."""
    numbers = pd.to_numeric(column, errors="coerce")
    if numbers.notna().sum() == column.notna().sum() and numbers.nunique() > MOST_LEVELS:
        thirds = pd.qcut(numbers, 3, duplicates="drop")
        ends = numbers.groupby(thirds, observed=True).agg(["min", "max"])
        names = {
            kind: f"{low:.4g} to {high:.4g}" for kind, (low, high) in zip(ends.index, ends.to_numpy(), strict=True)
        }
        return thirds.map(names).astype(object)
    text = column.map(plain_text).where(column.notna())
    return text.where(text != "")


def _sorted(levels: pd.Series) -> list[str]:
    """Levels from low to high where they start with a number, else by letter."""
    found = pd.Series(levels.dropna().unique(), dtype=str)
    numbers = pd.to_numeric(found.str.extract(r"^(-?[\d.]+)")[0], errors="coerce")
    return list(found.iloc[np.lexsort((found, numbers))])


def _enough(data: Gathered, name: str, chosen: np.ndarray) -> bool:
    event = data.event[chosen & data.images[name].notna().to_numpy()]
    return min(int(event.sum()), int((1 - event).sum())) >= FEWEST


def _count_all(rows: list[dict[str, Any]]) -> None:
    for name in dict.fromkeys(each["score"] for each in rows):
        mine = [each for each in rows if each["score"] == name]
        for each, p_holm in zip(mine, statistics.adjust([one["p_value"] for one in mine]), strict=True):
            each["p_holm"] = float(p_holm)


def _compared(data: Gathered, column: str, usable: dict[str, np.ndarray], rows: list[dict[str, Any]]) -> str:
    found = {each["stratum"]: each for each in rows if each["stratum"] in {f"{column} {level}" for level in usable}}
    parts = [
        f"{each['auroc']:.2f} ({between(each['auroc_low'], each['auroc_high'])}) in {stratum}"
        for stratum, each in found.items()
    ]
    said = f"The AUROC is {', '.join(parts)}"
    if len(usable) < 2:
        return f"{said}; no other stratum holds {FEWEST} events and {FEWEST} controls to compare it with."
    everyone = [set(data.images.loc[chosen, "subject"]) for chosen in usable.values()]
    if len(set().union(*everyone)) < sum(map(len, everyone)):
        return f"{said}; some persons are in several of these strata, so their difference is not tested."
    p_value = _heterogeneity(data, list(usable.values()))
    if not np.isfinite(p_value):
        return f"{said}; where an AUROC is 0 or 1 its variance is unknown, so their difference is not tested."
    verdict = "the strata differ by more than chance" if p_value < 0.05 else "the strata are not shown to differ"
    return f"{said}; {verdict} (Cochran's Q, {in_words(p_value)})."


def _heterogeneity(data: Gathered, masks: list[np.ndarray]) -> float:
    """p-value of Cochran's Q (1954) for equal AUROCs of independent strata, on the log-odds; NaN where one is 1."""
    odds, weights = [], []
    for chosen in masks:
        images, subject = data.rows(chosen)
        event, score = checked(images["outcome"], images[data.names[0]])
        found = statistics.auroc_interval(event, score, subject)
        slope = found.value * (1 - found.value)
        if not found.variance > 0 or slope == 0:
            return float("nan")
        odds.append(np.log(found.value / (1 - found.value)))
        weights.append(slope**2 / found.variance)
    centre = np.average(odds, weights=weights)
    return float(chi2.sf(np.sum(weights * (np.array(odds) - centre) ** 2), len(masks) - 1))


def pairs(data: Gathered) -> pd.DataFrame:
    """comparison.csv: each two scores but two baselines, which nobody asks about; Holm over all rows."""
    wanted = [pair for pair in combinations(data.names, 2) if not all(name.startswith(BASELINE) for name in pair)]
    found = pd.DataFrame([_pair(data, *pair) for pair in wanted], columns=_PAIR)
    found["p_holm"] = statistics.adjust(found["p_value"]) if wanted else None
    return found


def _pair(data: Gathered, first: str, second: str) -> dict[str, Any]:
    """One line of comparison.csv, over the images that have both scores."""
    chosen = data.images[[first, second]].notna().all(axis=1).to_numpy()
    images, subject = data.rows(chosen)
    check_numbers(images["outcome"], f"the images scored by both {first} and {second}")
    folds = (data.fold(first, chosen), data.fold(second, chosen))
    found = statistics.compare_aurocs(images["outcome"], images[first], images[second], subject, folds=folds)
    told = {"score_a": first, "score_b": second} | asdict(found)
    if ALONE in (first, second):
        told |= {"z": float("nan"), "p_value": float("nan"), "method": found.method + _UNCOUNTED}
    return told


def against(compared: pd.DataFrame) -> Section | None:
    """What comparison.csv says of the main score, in words and as a figure."""
    if compared.empty:
        return None
    records = [{str(name): value for name, value in each.items()} for each in compared.to_dict("records")]
    labels = [f"{each['score_a']} − {each['score_b']}" for each in records]
    numbers = compared[["difference", "low", "high"]].to_numpy(dtype=float)
    drawn = figures.forest(labels, numbers, "Difference of the AUROCs", none=0.0)
    caption = f"Differences on the same images ({compared['method'].iloc[0]}); p by Holm counts all rows."
    sentences = [_verdict(each) for each in records]
    return Section("comparison", "Scores against each other", sentences, caption, compared, drawn)


def _verdict(pair: dict[str, Any]) -> str:
    if not np.isfinite(pair["p_value"]) and ALONE not in (pair["score_a"], pair["score_b"]):
        return (
            f"{pair['score_a']} and {spoken(pair['score_b'])}: difference of the AUROCs {pair['difference']:+z.2f}, "
            f"not tested ({pair['method']})."
        )
    if not np.isfinite(pair["p_value"]):
        return (
            f"{pair['score_a']} and {spoken(pair['score_b'])}: difference of the AUROCs {pair['difference']:+z.2f}, "
            "not tested, since the covariates were fitted to these images; what the score adds to them is."
        )
    verdict = "is not shown to differ from"
    if pair["p_holm"] < 0.05:
        verdict = "is better than" if pair["difference"] > 0 else "is worse than"
    return (
        f"{pair['score_a']} {verdict} {spoken(pair['score_b'])}: difference of the AUROCs {pair['difference']:+z.2f} "
        f"(95 % {between(pair['low'], pair['high'], 'z.2f')} taken alone), {in_words(pair['p_holm'])} counting all "
        "comparisons (Holm)."
    )


def spoken(name: str) -> str:
    """What a score is called in a sentence."""
    plain = name.removesuffix(REVERSED)
    if not plain.startswith(BASELINE):
        return name
    words = TRIVIAL.get(plain, plain.removeprefix(BASELINE).replace("_", " "))
    return f"{words} (reversed)" if name.endswith(REVERSED) else words


def headline(first: dict[str, Any], sign: str) -> tuple[str, str]:
    """The main figure, and what it means."""
    known = np.isfinite([first["auroc_low"], first["auroc_high"]]).all()
    ends = f"95 % {first['auroc_low']:.2f}–{first['auroc_high']:.2f}, " if known else ""
    return (
        f"AUROC {first['auroc']:.2f} ({ends}{first['auroc_method']})",
        f"of one image with {sign} and one without, drawn at random, the score "
        f"is higher for the one with it {100 * first['auroc']:.0f} times in 100",
    )


def against_trivial(rows: list[dict[str, Any]], compared: pd.DataFrame) -> str:
    """The clause of the headline that sets the score beside the best trivial one; nothing where there is none."""
    trivial = [each for each in rows if each["score"].startswith(BASELINE)]
    if not trivial:
        return ""
    best = max(trivial, key=lambda each: each["auroc"])
    pair = compared[(compared["score_a"] == rows[0]["score"]) & (compared["score_b"] == best["score"])].iloc[0]
    verdict = "the best trivial score, {}, reaches"
    if not pair["low"] > 0:
        verdict = "not shown to be better than the best trivial score, {}, which reaches"
    if pair["difference"] <= 0:
        verdict = "no better than the best trivial score, {}, which reaches"
    numbers = f"difference {pair['difference']:+z.2f} ({between(pair['low'], pair['high'], 'z.2f')})"
    if best["n"] != rows[0]["n"]:
        both = best["auroc"] + pair["difference"]
        numbers = f"{numbers} on the {best['n']} images that have both, where the score reaches {both:.2f}"
    return f"{verdict.format(spoken(best['score']))} {best['auroc']:.2f}: {numbers}"
