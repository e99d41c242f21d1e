"""Brings scores, outcomes, persons and covariates together, in one order, and says what was left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from anomaly.cohorts import joining
from anomaly.cohorts.results import read_scores, read_table, safe_id, scored_trained, some
from anomaly.errors import EvaluationError
from anomaly.statistics import design, metrics
from anomaly.statistics.design import column_of, perhaps_groups

BASELINE, REVERSED = "baseline_", "_reversed"
ALONE = f"{BASELINE}covariates"
_TRAINED = (
    "{}: subjects the model was trained on were let in (allow_overlap); such scores are too low, "
    "and figures made with them do not hold for new subjects."
)


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of the scores: columns of the cohort, as the user names them.

    Args:
        outcome: of 0/1, or of any values with `positive` naming the event. May be left out where `time` and
            `event` are given: then it is the event by the time `at`.
        subject: naming persons; left out, the column `subject` serves where some person has several images.
        where: keeps the rows of the cohort whose columns have these values.
        missing: cells of the cohort that mean that nothing is known.
        adjust: covariates, such as age, sex and bmi.
        match: naming matched sets, within which cases are compared with controls.
        strata: within whose values everything is said again.
        time, event: time to the event or to the end of observation, and 1 where the event was seen.
        at: the time by which the outcome counts and until which survival is told; by default the time at which both
            groups are large, and the last time of an event.
    """

    outcome: str | None = None
    positive: str | None = None
    subject: str | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    missing: Sequence[str] = ()
    adjust: Sequence[str] = ()
    match: str | None = None
    strata: Sequence[str] = ()
    time: str | None = None
    event: str | None = None
    at: float | None = None

    def __post_init__(self) -> None:
        if (self.time is None) != (self.event is None):
            raise EvaluationError("time and event go together: name the column of each")
        if self.outcome is None and self.time is None:
            raise EvaluationError("name the outcome, or the columns of time and event, or the truth of the maps")

    @property
    def names(self) -> list[str]:
        """Columns that hold names, whatever they look like."""
        return [name for name in (self.subject, self.match) if name is not None]

    @property
    def folder(self) -> str:
        """What the folder of the answers is called: the outcome, the value that is the event, the rows asked for."""
        asked = [self.sign, *(f"{name}-{value}" for name, value in self.where.items())]
        return "_".join(safe_id(each) for each in asked)

    @property
    def sign(self) -> str:
        """What the event is called in a sentence."""
        called = str(self.outcome or self.event)
        return called if self.positive is None else f"{called} {self.positive}"


@dataclass(frozen=True)
class Followed:
    """The main score of all images that were followed up, whose they are, and their covariates; in one order."""

    time: np.ndarray
    event: np.ndarray
    score: np.ndarray
    subject: np.ndarray | None
    covariates: pd.DataFrame | None


@dataclass(frozen=True)
class Gathered:
    """Scored images whose outcome is known, and the rows of the cohort they belong to, in one order.

    images: id, outcome (0/1), subject, and a column a score. groups: (n,) names of persons; None where each image
    counts as another person. covariates: columns of numbers, incomplete rows NaN; None where none are asked for.
    followed: all images that were followed up, also those whose outcome is not known, such as of people who left
    before; None where no time is asked for. folds: by the name of a cross-fitted score, which model (n,) each image's
    chance comes from.
    """

    images: pd.DataFrame
    people: pd.DataFrame
    names: list[str]
    groups: np.ndarray | None
    flagged: np.ndarray | None
    covariates: pd.DataFrame | None
    followed: Followed | None
    notes: list[str]
    file: Path
    folds: dict[str, np.ndarray] = field(default_factory=dict)

    def fold(self, name: str, chosen: np.ndarray) -> np.ndarray | None:
        """By which models a score of the images of a mask (n,) was made, where that decides what may be compared."""
        if name not in self.folds:
            return None
        parts, event = self.folds[name][chosen], self.event[chosen]
        return parts if np.intersect1d(parts[event == 1], parts[event == 0]).size else None

    def rows(self, chosen: np.ndarray) -> tuple[pd.DataFrame, np.ndarray | None]:
        """The images of a mask (n,), and whose they are."""
        return self.images[chosen], None if self.groups is None else self.groups[chosen]

    @property
    def event(self) -> np.ndarray:
        """The outcome (n,), 0 or 1."""
        return self.images["outcome"].to_numpy()


def gather(scores: Path, cohort: Path | pd.DataFrame, question: Question, compare: Sequence[Path]) -> Gathered:
    """Read, join and check everything an evaluation needs.

    Raises:
        EvaluationError: nothing joins, columns that are not there, an outcome that is not one of two values, fewer
            than ten events or controls, scores or times that are no finite numbers, covariates that are constant or
            collinear.
    """
    notes: list[str] = []
    file = scores_file(scores)
    scored = read_scores(file, names=question.names)
    people = read_table(cohort, "cohort", names=question.names, missing=question.missing)
    joining.require(
        people,
        [
            question.match,
            question.time,
            question.event,
            *[column_of(name, people) for name in question.adjust],
            *question.strata,
        ],
    )
    people = joining.chosen(people, question.where, notes)
    scored, people = joining.join(scored, people, file.parent, _folder(cohort), notes)
    times = None if question.time is None else _times(people, question, scored["id"], notes)
    event = _events(people, times, question, notes)
    followed = None if times is None else _followed(scored, people, times, question)
    known = event.notna().to_numpy()
    joining.note_unknown(scored.loc[~known, "id"], question.outcome or "the outcome by then", notes)
    scored, people = scored[known].reset_index(drop=True), people[known].reset_index(drop=True)
    images = pd.DataFrame({"id": scored["id"], "outcome": event[known].astype(int).to_numpy()})
    joining.check_numbers(images["outcome"], question.sign)
    groups = joining.subjects(scored, people, question.subject, notes)
    images["subject"] = groups if groups is not None else images["id"]
    _name_mixed(images, groups, question.sign, notes)
    others = [scores_file(Path(other)) for other in compare]
    names = _add_scores(images, scored, others, notes)
    notes += [_TRAINED.format(table) for table in (file, *others) if scored_trained(table)]
    if joining.simulated(people):
        notes.append(joining.SIMULATED)
    return Gathered(
        images,
        people,
        names,
        groups,
        _flags(scored),
        _covariates(people, question.adjust, images["id"], notes),
        followed,
        notes,
        file,
    )


def _times(people: pd.DataFrame, question: Question, ids: pd.Series, notes: list[str]) -> pd.DataFrame:
    """Time and event of every row, both NaN where either is missing."""
    time = pd.to_numeric(people[question.time], errors="coerce").astype(float)
    text = people[question.event].map(joining.plain_text).where(people[question.event].notna())
    event = text.map({"1": 1.0, "0": 0.0, "True": 1.0, "False": 0.0})
    strange = text.notna() & event.isna() & (text != "")
    if strange.any():
        raise EvaluationError(f"{question.event!r} must be 0 or 1, but holds {some(text[strange].unique())}; recode it")
    unreadable = people[question.time].notna() & ~np.isfinite(time)
    if unreadable.any() or (time < 0).any():
        bad = unreadable | (time < 0)
        raise EvaluationError(
            f"{int(bad.sum())} values of {question.time!r} are negative, infinite or no numbers "
            f"({some(ids[bad.to_numpy()])}); times run from the image to the event or to the end of observation"
        )
    known = time.notna() & event.notna()
    if not known.all():
        lost = ids[~known.to_numpy()]
        notes.append(f"{len(lost)} images have no time or event and were left out of survival ({some(lost)}).")
    return pd.DataFrame({"time": time.where(known), "event": event.where(known)})


def _followed(scored: pd.DataFrame, people: pd.DataFrame, times: pd.DataFrame, question: Question) -> Followed:
    has = times.notna().all(axis=1).to_numpy()
    scored, people, times = (table[has].reset_index(drop=True) for table in (scored, people, times))
    if not (times["event"] == 1).any():
        raise EvaluationError(f"{question.event!r} is 1 in none of {len(times)} images that were followed up")
    # What is said of persons and covariates is said once, of the images with an outcome.
    return Followed(
        times["time"].to_numpy(),
        times["event"].to_numpy(),
        scored["value"].to_numpy(),
        joining.subjects(scored, people, question.subject, []),
        _covariates(people, question.adjust, scored["id"], []),
    )


def _events(
    people: pd.DataFrame, times: pd.DataFrame | None, question: Question, notes: list[str]
) -> "pd.Series[float]":
    if question.outcome is not None:
        return joining.events(people, question.outcome, question.positive, notes)
    assert times is not None
    at = question.at if question.at is not None else _telling(times)
    happened = (times["event"] == 1) & (times["time"] <= at)
    watched = happened | (times["time"] >= at)
    groups = f"{int(happened.sum())} with and {int((watched & ~happened).sum())} without it"
    chosen = f", chosen since both groups are largest then ({groups}; another by --at)" if question.at is None else ""
    notes.append(
        f"The outcome is {question.event} by {question.time} {at:g}{chosen}; who was not observed that long is left "
        "out of the AUROC, and counted in the analysis of survival."
    )
    return happened.astype(float).where(watched)


def _telling(times: pd.DataFrame) -> float:
    """The time of an event by which the smaller of two groups, those who have had it and those free of it, is largest.

    By the last event hardly anybody is left who was watched that long without one.
    """
    known = times.dropna()
    had = np.sort(known.loc[known["event"] == 1, "time"].to_numpy())
    if not had.size:
        return float("nan")
    free = np.sort(known.loc[known["event"] == 0, "time"].to_numpy())
    moments = np.unique(had)
    cases = np.searchsorted(had, moments, side="right")
    controls = had.size - cases + free.size - np.searchsorted(free, moments, side="left")
    return float(moments[int(np.argmax(np.minimum(cases, controls)))])


def scores_file(path: Path) -> Path:
    """The table of scores itself, or that of a folder."""
    return path / "scores.csv" if path.is_dir() else path


def _folder(table: Path | pd.DataFrame) -> Path:
    return Path.cwd() if isinstance(table, pd.DataFrame) else Path(table).parent


def _name_mixed(images: pd.DataFrame, groups: np.ndarray | None, sign: str, notes: list[str]) -> None:
    if groups is None:
        return
    share = images.groupby("subject")["outcome"].mean()
    mixed = share[(share > 0) & (share < 1)]
    if len(mixed):
        notes.append(
            f"{len(mixed)} persons have images both with and without {sign} ({some(mixed.index)}); "
            "their images are compared with each other as well as with those of others."
        )


def _covariates(people: pd.DataFrame, adjust: Sequence[str], ids: pd.Series, notes: list[str]) -> pd.DataFrame | None:
    if not adjust:
        return None
    columns = design(people, adjust)
    notes += perhaps_groups(people, adjust)
    lost = ids[columns.isna().any(axis=1).to_numpy()]
    if len(lost):
        notes.append(f"{len(lost)} images lack a covariate and were left out of all that is adjusted ({some(lost)}).")
    return columns


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
        if images[name].equals(images["value"]):
            notes.append(f"{name} is the same as value in every image: one of the two is enough.")
        absent = images.loc[images[name].isna(), "id"]
        if len(absent):
            notes.append(f"{len(absent)} images have no score in {name} and were left out of it ({some(absent)}).")
        joining.check_numbers(images.loc[images[name].notna(), "outcome"], f"the images of {name}")
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
