"""What is known of each person and side: covariates at the first image, and when the event came."""

import numpy as np
import pandas as pd

from anomaly.cohorts import joining
from anomaly.cohorts.results import some
from anomaly.cohorts.times import PER_YEAR
from anomaly.longitudinal.joined import Joined
from anomaly.longitudinal.question import LATE, Question
from anomaly.statistics.design import column_of


def at_first(joined: Joined, images: pd.DataFrame, question: Question) -> pd.DataFrame:
    """Rows of the cohort (n,) with the covariates of every image as they are at the first image of its unit, or, where
    that row has none, as the latest row of the same person and side before it has them."""
    first = joined.people.copy()
    known = images[images["unit"] >= 0].sort_values("time", kind="stable")
    start = known.drop_duplicates("unit").set_index("unit")
    place = images["unit"].map(pd.Series(known.drop_duplicates("unit").index, index=start.index))
    for name in dict.fromkeys(column_of(each, joined.people) for each in question.adjust):
        own = joined.people[name].reindex(place).set_axis(images.index)
        earlier = _earlier(joined, name, start)
        first[name] = own.where(own.notna(), images["unit"].map(earlier))
    return first


def _earlier(joined: Joined, name: str, start: pd.DataFrame) -> pd.Series:
    """The latest cell of a column by unit that is filled no later than its first image."""
    rows = joined.known.assign(cell=joined.cohort[name].to_numpy()).dropna(subset=["key", "since", "cell"])
    own = dict(list(rows.sort_values("since", kind="stable").groupby("key")))
    found = {}
    for unit, key, since in zip(start.index, start["key"], start["since"], strict=True):
        if key in own:
            cells = own[key].loc[own[key]["since"] <= since + 1e-6, "cell"]
            found[unit] = cells.iloc[-1] if len(cells) else np.nan
    return pd.Series(found, dtype=object)


def event_times(
    joined: Joined, images: pd.DataFrame, question: Question, notes: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Years (n,) from the person's first visit to the event or the end of observation, and whether it was seen, by
    whichever row of the person and side has them; NaN where none has, or several do.

    Raises:
        EvaluationError: an event that is not 0 or 1.
    """
    nothing = np.full(len(images), np.nan)
    if question.time is None or question.event is None or not joined.yearly:
        return nothing, nothing
    until = pd.to_numeric(joined.cohort[question.time], errors="coerce").to_numpy(dtype=float)
    event = joining.events(joined.cohort, question.event, None, [])
    rows = joined.known.assign(until=until / PER_YEAR[question.time_unit], event=event.to_numpy())
    rows = rows.dropna(subset=["key", "until", "event"])
    kinds = rows.groupby("key")[["until", "event"]].nunique()
    single = rows.drop_duplicates("key").set_index("key")[(kinds == 1).all(axis=1).reindex(rows["key"].unique())]
    found = [images["key"].map(single[name]).to_numpy(dtype=float) for name in ("until", "event")]
    if joined.astray.any():
        late = images.loc[joined.astray, "subject"].unique()
        notes.append(
            f"{len(late)} persons ({some(late)}) have no row of the visit that the others begin with, from which "
            f"{question.time} is counted; they were not followed."
        )
        found = [np.where(joined.astray, np.nan, each) for each in found]
    return found[0], found[1]


def had_already(
    until: pd.Series, event: pd.Series, since: pd.Series, pairs: pd.DataFrame, question: Question, notes: list[str]
) -> np.ndarray | None:
    """Pairs (n,) whose event came by their last image: 1, 0, or NaN where nobody knows; None where all are unknown."""
    end, happened, last = (each.to_numpy(dtype=float) for each in (until, event, since))
    had = np.where(happened == 1, (end <= last + LATE).astype(float), np.nan)
    # Who was observed to the last image at least was free of it then.
    had = np.where((happened == 0) & (end >= last - LATE), 0.0, had)
    if np.isnan(had).all():
        return None
    if np.isnan(had).any():
        notes.append(
            f"Whether {question.event} came by the last image is not known of {int(np.isnan(had).sum())} pairs "
            f"({some(pairs.loc[np.isnan(had), 'id'])})."
        )
    outcome = pairs["outcome"].to_numpy(dtype=float)
    unlike = np.isfinite(outcome) & np.isfinite(happened) & (outcome != happened)
    if question.outcome is not None and unlike.any():
        notes.append(
            f"{int(unlike.sum())} pairs have {question.sign} and not {question.event}, or the other way round "
            f"({some(pairs.loc[unlike, 'id'])}): who is free until the last image is told by {question.event}."
        )
    return had
