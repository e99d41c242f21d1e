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

from anomaly import statistics
from anomaly.errors import EvaluationError
from anomaly.files import write_whole
from anomaly.reporting import figures
from anomaly.reporting.files import check_unique, read_scores, read_table, some

_log = logging.getLogger(__name__)

FEWEST = 10
SPECIFICITIES = {"90": 0.90, "95": 0.95}


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
        scores: a `scores.csv`, or the folder that holds one; `value` and every `baseline_*` are evaluated.
        cohort: a table with `id` (or `path`, where there is no id) and the outcome.
        outcome: column of 0/1, or of any two values with `positive` naming the event.
        subject: column naming persons, for clustered intervals. Left out, the column `subject` serves
            where some person has several images; where none has, or there is none, plain DeLong.
        compare: other `scores.csv` of the same images, each named by its folder or its file.
        out: receives evaluation.csv, comparison.csv, evaluated.csv, evaluation.json, roc.png and
            distribution.png.
        seed: of the bootstrap behind the sensitivities.
        scale: of the AUROC's interval, `plain` or `logit` (see `statistics.auroc_interval`).

    Raises:
        EvaluationError: nothing joins, the outcome is not one of two values, fewer than ten events or
            controls, scores that are NaN or infinite, a column that is not there.
    """
    notes: list[str] = []
    scored = read_scores(_scores_file(Path(scores)))
    people = read_table(cohort, "cohort")
    scored, people = _join(scored, people, _folder(scores), _folder(cohort), notes)
    event = _events(people, outcome, positive, notes)
    known = event.notna().to_numpy()
    _name_missing(scored.loc[~known, "id"], outcome, notes)
    scored, people = scored[known].reset_index(drop=True), people[known].reset_index(drop=True)
    images = pd.DataFrame({"id": scored["id"], "outcome": event[known].astype(int).to_numpy()})
    _check_numbers(images["outcome"], outcome)
    groups = _subjects(scored, people, subject, notes)
    images["subject"] = groups if groups is not None else images["id"]
    names = _add_scores(images, scored, compare, notes)
    flagged = _flags(scored)
    rows = [
        {"score": name, "outcome": outcome, "stratum": "all"}
        | _row(images, name, groups, flagged if name == "value" else None, seed, scale)
        for name in names
    ]
    pairs = _pairs(images, names, groups)
    result = Evaluation(pd.DataFrame(rows), pairs, images, _headline(rows[0], outcome, positive), notes, Path(out))
    named = "table" if isinstance(cohort, pd.DataFrame) else str(Path(cohort).resolve())
    about = {"scores": str(_scores_file(Path(scores)).resolve()), "cohort": named, "outcome": outcome}
    _write(result, names, about | {"positive": positive, "subject": subject, "seed": seed})
    return result


def _scores_file(path: Path) -> Path:
    return path / "scores.csv" if path.is_dir() else path


def _folder(table: Path | pd.DataFrame) -> Path:
    if isinstance(table, pd.DataFrame):
        return Path.cwd()
    return Path(table) if Path(table).is_dir() else Path(table).parent


def _join(
    scored: pd.DataFrame, people: pd.DataFrame, scores_folder: Path, cohort_folder: Path, notes: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The scored images with a row in the cohort, and those rows, in one order."""
    keys = [key for key in ("id", "path") if key in scored and key in people]
    if not keys:
        raise EvaluationError(f"the cohort needs a column id (or path) to join on; got {some(people)}")
    for key in keys:
        if key == "id":
            check_unique(people["id"], "the cohort")
            found = pd.Index(people["id"]).get_indexer(pd.Index(scored["id"]))
        else:
            found = _match_paths(scored["path"], people["path"], scores_folder, cohort_folder)
        if (found >= 0).any():
            break
    else:
        raise EvaluationError(
            f"none of {len(scored)} scores joins the cohort on {' or '.join(keys)}: "
            f"scores have {some(scored[keys[0]])}, the cohort {some(people[keys[0]])}"
        )
    joined = found >= 0
    notes.append(f"{joined.sum()} of {len(scored)} scores joined the cohort on {key}.")
    if not joined.all():
        lost = scored.loc[~joined, "id"]
        notes.append(f"{len(lost)} scored images are not in the cohort and were left out ({some(lost)}).")
    if people.shape[0] > joined.sum():
        notes.append(f"{people.shape[0] - joined.sum()} rows of the cohort have no score.")
    return scored[joined].reset_index(drop=True), people.iloc[found[joined]].reset_index(drop=True)


def _match_paths(scored: pd.Series, people: pd.Series, scores_folder: Path, cohort_folder: Path) -> np.ndarray:
    """Row of the cohort for each score: by whole path, else by a file name that is unique on both sides."""
    whole = [str((scores_folder / str(path)).resolve()) for path in scored]
    listed = [str((cohort_folder / str(path)).resolve()) for path in people]
    if len(set(listed)) < len(listed):
        raise EvaluationError("a path stands on several rows of the cohort; give the cohort a column id")
    found = pd.Index(listed).get_indexer(pd.Index(whole))
    names, their_names = (
        pd.Series([Path(each).name for each in whole]),
        pd.Series([Path(each).name for each in listed]),
    )
    unique = their_names[~their_names.duplicated(keep=False)]
    rows = names.map(pd.Series(unique.index, index=unique.to_numpy())).to_numpy(dtype=float)
    usable = ~names.duplicated(keep=False).to_numpy() & np.isfinite(rows) & (found < 0)
    return np.where(usable, np.where(usable, rows, 0).astype(int), found)


def _events(people: pd.DataFrame, outcome: str, positive: str | None, notes: list[str]) -> pd.Series:
    """1.0 for the event, 0.0 without, NaN where unknown."""
    if outcome not in people:
        raise EvaluationError(f"the cohort has no column {outcome!r}; it has {some(people, 12)}")
    column = people[outcome]
    text = column.map(_plain_text).where(column.notna())
    text = text.where(text != "")
    levels = sorted(text.dropna().unique())
    if positive is not None:
        if str(positive) not in levels:
            raise EvaluationError(f"{outcome!r} holds {some(levels, 6)}, never {positive!r}; name one of these")
        if len(levels) > 2:
            others = [level for level in levels if level != str(positive)]
            notes.append(f"Controls are all images whose {outcome} is not {positive}: {some(others, 6)}.")
        return (text == str(positive)).astype(float).where(text.notna())
    if set(levels) <= {"0", "1"}:
        return text.astype(float)
    if set(levels) <= {"True", "False"}:
        return (text == "True").astype(float).where(text.notna())
    likely = [level for level in levels if level.lower() not in _WITHOUT]
    raise EvaluationError(
        f"{outcome!r} must be 0 or 1, but holds {len(levels)} values ({some(levels, 6)}); "
        f"say which is the event, such as --positive {(likely or levels)[-1]}"
    )


_WITHOUT = {"normal", "control", "healthy", "no", "none", "negative", "benign", "0"}


def _plain_text(value: object) -> str:
    """A value as a person would type it: 1 for 1.0."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


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


def _subjects(scored: pd.DataFrame, people: pd.DataFrame, subject: str | None, notes: list[str]) -> np.ndarray | None:
    """Names of the persons where images are to count by person; None for one image a person."""
    name = subject or "subject"
    column = people[name] if name in people else scored[name] if name in scored else None
    if column is None and subject is not None:
        raise EvaluationError(f"neither the cohort nor the scores have a column {subject!r}; got {some(people, 12)}")
    if column is None:
        notes.append("Intervals are plain DeLong: no subject is named, so each image counts as another person.")
        return None
    if column.isna().any():
        which = scored.loc[column.isna().to_numpy(), "id"]
        raise EvaluationError(f"{len(which)} images have no {name} ({some(which)}); fill in the column")
    people_count, total = column.nunique(), len(column)
    if subject is None and people_count == total:
        notes.append(f"Intervals are plain DeLong: each of the {total} images is of another subject.")
        return None
    why = "as asked" if subject else "as some persons have several images"
    notes.append(f"Intervals are clustered by {name}, {why}: {total} images of {people_count} persons.")
    return column.astype(str).to_numpy()


def _add_scores(images: pd.DataFrame, scored: pd.DataFrame, compare: Sequence[Path], notes: list[str]) -> list[str]:
    """Puts every score beside the outcomes; returns their names, the main one first."""
    images["value"] = scored["value"]
    for other in map(Path, compare):
        file = _scores_file(other)
        name = file.parent.resolve().name if file.stem == "scores" else file.stem
        while name in images:
            name += "_2"
        values = read_scores(file).set_index("id")["value"]
        images[name] = images["id"].map(values)
        absent = images.loc[images[name].isna(), "id"]
        if len(absent):
            notes.append(f"{len(absent)} images have no score in {name} and were left out of it ({some(absent)}).")
        _check_numbers(images.loc[images[name].notna(), "outcome"], f"the images of {name}")
    for name in (str(column) for column in scored if str(column).startswith("baseline_")):
        values = pd.to_numeric(scored[name], errors="coerce")
        if np.isfinite(values).all():
            images[name] = values.astype(float)
        else:
            notes.append(f"{name} was left out: {int((~np.isfinite(values)).sum())} of its values are not numbers.")
    names = [str(name) for name in images if name not in ("id", "subject", "outcome")]
    for name in names:
        if images[name].nunique() == 1:
            notes.append(f"All scores of {name} are equal: they order nobody, which is an AUROC of 0.5.")
    return names


def _flags(scored: pd.DataFrame) -> np.ndarray | None:
    if "flagged" not in scored or scored["flagged"].isna().any():
        return None
    return scored["flagged"].map(_plain_text).isin(["True", "true", "1"]).to_numpy()


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
    row |= _figures("auroc", area) | {"auroc_method": area.method}
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


def _figures(name: str, estimate: statistics.Estimate) -> dict[str, float]:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _pairs(images: pd.DataFrame, names: list[str], groups: np.ndarray | None) -> pd.DataFrame:
    """comparison.csv: each two scores but two baselines, which nobody asks about; Holm over all rows."""
    wanted = [pair for pair in combinations(names, 2) if not all(name.startswith("baseline_") for name in pair)]
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


def _headline(row: dict[str, Any], outcome: str, positive: str | None) -> str:
    sign = _sign(outcome, positive)
    return (
        f"AUROC {row['auroc']:.2f} (95 % {row['auroc_low']:.2f}–{row['auroc_high']:.2f}, "
        f"{row['auroc_method']}): of one image with {sign} and one without, drawn at random, the score "
        f"is higher for the one with it {100 * row['auroc']:.0f} times in 100."
    )


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
