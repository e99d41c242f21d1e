"""Joins scores to a cohort table and says, with honest intervals, how well they tell an outcome.

Labels meet scores here and nowhere else. Whatever was left out (images that did not join, outcomes that
are missing) is counted and named in `Evaluation.notes` and in `evaluation.json`.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from anomaly import figures, joining, metrics, statistics
from anomaly.errors import EvaluationError
from anomaly.files import write_whole
from anomaly.results import read_scores, read_table, scored_trained, some

_log = logging.getLogger(__name__)

FEWEST = 10
SPECIFICITIES = {"90": 0.90, "95": 0.95}
TRIVIAL = {"baseline_intensity": "mean brightness", "baseline_mean_image": "distance from the mean image"}
BASELINE, REVERSED = "baseline_", "_reversed"


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found: the tables it wrote, the images they are made of, and remarks in plain words."""

    table: pd.DataFrame
    comparison: pd.DataFrame
    images: pd.DataFrame
    headline: str
    notes: list[str]
    out: Path


def evaluate(
    scores: Path,
    cohort: Path | pd.DataFrame,
    *,
    outcome: str,
    subject: str | None = None,
    positive: str | None = None,
    compare: Sequence[Path] = (),
    out: Path,
    seed: int = 0,
    scale: str = "logit",
) -> Evaluation:
    """How well the scores of a table tell those with an outcome from those without; writes `out`.

    Args:
        scores: a `scores.csv`, or the folder that holds one; `value` and every `baseline_*` are evaluated. A
            baseline that is lower with the outcome is judged by its opposite, named `baseline_*_reversed`:
            what a trivial score could tell is the floor, whichever way it points.
        cohort: a table with `id` (or `path`, where there is no id) and the outcome.
        outcome: column of 0/1, or of any two values with `positive` naming the event.
        subject: column naming persons, for clustered intervals. Left out, the column `subject` serves
            where some person has several images; where none has, or there is none, plain DeLong.
        compare: other `scores.csv` of the same images, each named by its folder or its file.
        out: receives evaluation.csv, comparison.csv, evaluated.csv, evaluation.json, roc.png and
            distribution.png.
        seed: of the bootstrap behind average precision and sensitivities.
        scale: of the AUROC's interval, `plain` or `logit` (see `statistics.auroc_interval`).

    Raises:
        EvaluationError: nothing joins, the outcome is not one of two values, fewer than ten events or
            controls, scores that are NaN or infinite, a column that is not there.
    """
    notes: list[str] = []
    file, columns = _scores_file(Path(scores)), [subject] if subject else []
    scored, people = read_scores(file, names=columns), read_table(cohort, "cohort", names=columns)
    scored, people = joining.join(scored, people, file.parent, _folder(cohort), notes)
    event = joining.events(people, outcome, positive, notes)
    known = event.notna().to_numpy()
    _name_missing(scored.loc[~known, "id"], outcome, notes)
    scored, people = scored[known].reset_index(drop=True), people[known].reset_index(drop=True)
    images = pd.DataFrame({"id": scored["id"], "outcome": event[known].astype(int).to_numpy()})
    _check_numbers(images["outcome"], outcome)
    groups = joining.subjects(scored, people, subject, notes)
    images["subject"] = groups if groups is not None else images["id"]
    others = [_scores_file(Path(other)) for other in compare]
    names = _add_scores(images, scored, others, notes)
    notes += [_TRAINED.format(table) for table in (file, *others) if scored_trained(table)]
    flagged = _flags(scored)
    rows = [
        {"score": name, "outcome": outcome, "stratum": "all"}
        | _row(images, name, groups, flagged if name == "value" else None, seed, scale)
        for name in names
    ]
    pairs = _pairs(images, names, groups)
    headline = _headline(rows[0], _sign(outcome, positive)) + _against_trivial(rows, pairs) + "."
    result = Evaluation(pd.DataFrame(rows), pairs, images, headline, notes, Path(out))
    named = "table" if isinstance(cohort, pd.DataFrame) else str(Path(cohort).resolve())
    about = {"scores": str(file.resolve()), "cohort": named, "outcome": outcome}
    _write(result, names, about | {"positive": positive, "subject": subject, "seed": seed})
    return result


_TRAINED = (
    "{}: subjects the model was trained on were let in (allow_overlap); such scores are too low, "
    "and figures made with them do not hold for new subjects."
)


def _scores_file(path: Path) -> Path:
    return path / "scores.csv" if path.is_dir() else path


def _folder(table: Path | pd.DataFrame) -> Path:
    return Path.cwd() if isinstance(table, pd.DataFrame) else Path(table).parent


def _name_missing(ids: pd.Series, outcome: str, notes: list[str]) -> None:
    if len(ids):
        notes.append(f"{len(ids)} images have no {outcome} and were left out ({some(ids)}).")


def _check_numbers(event: pd.Series, outcome: str) -> None:
    events, controls = int(event.sum()), int((1 - event).sum())
    if min(events, controls) < FEWEST:
        raise EvaluationError(
            f"{events} events and {controls} controls for {outcome!r}: at least {FEWEST} of each are needed "
            "for a figure that means anything"
        )


def _add_scores(images: pd.DataFrame, scored: pd.DataFrame, others: Sequence[Path], notes: list[str]) -> list[str]:
    """Puts every score beside the outcomes; returns their names, the main one first."""
    images["value"] = scored["value"]
    for file in others:
        # Only what scoring calls a baseline is one, whatever a user's folder is called.
        name = (file.parent.resolve().name if file.stem == "scores" else file.stem).removeprefix(BASELINE)
        while name in images:
            name += "_2"
        values = read_scores(file).set_index("id")["value"]
        images[name] = images["id"].map(values)
        absent = images.loc[images[name].isna(), "id"]
        if len(absent):
            notes.append(f"{len(absent)} images have no score in {name} and were left out of it ({some(absent)}).")
        _check_numbers(images.loc[images[name].notna(), "outcome"], f"the images of {name}")
    for name in (str(column) for column in scored if str(column).startswith(BASELINE)):
        _add_baseline(images, name, pd.to_numeric(scored[name], errors="coerce").astype(float), notes)
    names = [str(name) for name in images if name not in ("id", "subject", "outcome")]
    for name in names:
        if images[name].nunique() == 1:
            notes.append(f"All scores of {name} are equal: they order nobody, which is an AUROC of 0.5.")
    return names


def _add_baseline(images: pd.DataFrame, name: str, values: pd.Series, notes: list[str]) -> None:
    """Puts a trivial score beside the outcomes, the way round that tells more."""
    unusable = int((~np.isfinite(values)).sum())
    if unusable:
        notes.append(f"{name} was left out: {unusable} of its values are not numbers.")
    elif metrics.auroc(images["outcome"], values) < 0.5:
        notes.append(f"{name} is lower with the outcome, so it is judged reversed, as {name}{REVERSED}.")
        images[f"{name}{REVERSED}"] = -values
    else:
        images[name] = values


def _flags(scored: pd.DataFrame) -> np.ndarray | None:
    if "flagged" not in scored or scored["flagged"].isna().any():
        return None
    return scored["flagged"].map(joining.plain_text).isin(["True", "true", "1"]).to_numpy()


def _row(
    images: pd.DataFrame,
    name: str,
    groups: np.ndarray | None,
    flagged: np.ndarray | None,
    seed: int,
    scale: str,
) -> dict[str, Any]:
    """The figures of one line of evaluation.csv."""
    has = images[name].notna().to_numpy()
    event, score = images.loc[has, "outcome"].to_numpy(), images.loc[has, name].to_numpy()
    subject = None if groups is None else groups[has]
    area = statistics.auroc_interval(event, score, subject, scale=scale)
    row: dict[str, Any] = {"n": event.size, "events": int(event.sum())}
    row |= _figures("auroc", area)
    row |= _figures("ap", statistics.average_precision_interval(event, score, subject, seed=seed))
    row["prevalence"] = float(event.mean())
    for percent, specificity in SPECIFICITIES.items():
        found = statistics.sensitivity_interval(event, score, specificity, subject, seed=seed)
        row |= _figures(f"sensitivity_at_{percent}", found)
    row["p_value"] = area.p_value
    if flagged is not None:
        for label, group in {"flagged_share": event == 0, "flagged_share_events": event == 1}.items():
            of_group = None if subject is None else subject[group]
            row |= _figures(label, statistics.proportion(flagged[has][group], of_group))
    return row


def _figures(name: str, estimate: statistics.Estimate) -> dict[str, Any]:
    ends = {f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return {name: estimate.value} | ends | {f"{name}_method": estimate.method}


def _pairs(images: pd.DataFrame, names: list[str], groups: np.ndarray | None) -> pd.DataFrame:
    """comparison.csv: each two scores but two baselines, which nobody asks about; Holm over all rows."""
    wanted = [pair for pair in combinations(names, 2) if not all(name.startswith(BASELINE) for name in pair)]
    pairs = pd.DataFrame([_pair(images, *pair, groups) for pair in wanted], columns=_PAIR)
    pairs["p_holm"] = multipletests(pairs["p_value"], method="holm")[1] if wanted else None
    return pairs


_PAIR = ["score_a", "score_b", "difference", "low", "high", "z", "p_value", "method"]


def _pair(images: pd.DataFrame, first: str, second: str, groups: np.ndarray | None) -> dict[str, Any]:
    """One line of comparison.csv, over the images that have both scores."""
    both = images[[first, second]].notna().all(axis=1).to_numpy()
    event, subject = images.loc[both, "outcome"], None if groups is None else groups[both]
    _check_numbers(event, f"the images scored by both {first} and {second}")
    found = statistics.compare_aurocs(event, images.loc[both, first], images.loc[both, second], subject)
    return {"score_a": first, "score_b": second} | asdict(found)


def _headline(row: dict[str, Any], sign: str) -> str:
    return (
        f"AUROC {row['auroc']:.2f} (95 % {row['auroc_low']:.2f}–{row['auroc_high']:.2f}, "
        f"{row['auroc_method']}): of one image with {sign} and one without, drawn at random, the score "
        f"is higher for the one with it {100 * row['auroc']:.0f} times in 100"
    )


def _against_trivial(rows: list[dict[str, Any]], pairs: pd.DataFrame) -> str:
    """The clause of the headline that sets the score beside the best trivial one; nothing where there is none."""
    trivial = [row for row in rows if row["score"].startswith(BASELINE)]
    if not trivial:
        return ""
    best = max(trivial, key=lambda row: row["auroc"])
    pair = pairs[(pairs["score_a"] == rows[0]["score"]) & (pairs["score_b"] == best["score"])].iloc[0]
    name = best["score"].removesuffix(REVERSED)
    words = TRIVIAL.get(name, name.removeprefix(BASELINE).replace("_", " "))
    words += " (reversed)" if best["score"].endswith(REVERSED) else ""
    verdict = "the best trivial score, {}, reaches"
    if pair["low"] <= 0:
        verdict = "not shown to be better than the best trivial score, {}, which reaches"
    if pair["difference"] <= 0:
        verdict = "no better than the best trivial score, {}, which reaches"
    figures = f"difference {pair['difference']:+z.2f} ({pair['low']:z.2f} to {pair['high']:z.2f})"
    return f"; {verdict.format(words)} {best['auroc']:.2f}: {figures}"


def _sign(outcome: str, positive: str | None) -> str:
    """What the event is called in a sentence."""
    return outcome if positive is None else f"{outcome} {positive}"


def _write(result: Evaluation, names: list[str], about: dict[str, Any]) -> None:
    tables = {"evaluation": result.table, "comparison": result.comparison, "evaluated": result.images}
    for name, table in tables.items():
        write_whole(result.out / f"{name}.csv", table.to_csv(index=False))
    listed = {name: _records(tables[name]) for name in ("evaluation", "comparison")}
    facts = about | {"headline": result.headline, "notes": result.notes} | listed
    write_whole(result.out / "evaluation.json", json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False))
    write_whole(result.out / "roc.png", figures.roc(result.images, names))
    event, sign = result.images["outcome"].to_numpy() == 1, _sign(about["outcome"], about["positive"])
    groups = {f"without {sign}": ~event, f"with {sign}": event}
    pixels = figures.distribution(result.images["value"].to_numpy(), groups)
    write_whole(result.out / "distribution.png", pixels)
    for note in result.notes:
        _log.info(note)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON can hold them: what is not a finite number is null."""
    return json.loads(table.replace([np.inf, -np.inf], np.nan).to_json(orient="records", double_precision=15))
