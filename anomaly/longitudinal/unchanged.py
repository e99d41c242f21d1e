"""Who did not change: persons who are known to be stable, rescans, or, in want of these, those without the outcome."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from anomaly.cohorts import joining
from anomaly.cohorts.results import plain_text
from anomaly.cohorts.visits import VisitPairs
from anomaly.errors import EvaluationError
from anomaly.longitudinal.question import Question

_YES = ("1", "True", "true", "yes", "Yes")
_SOON = 0.5
"""Years within which an image is a rescan of another one, not a follow-up of somebody stable."""
_UNLIKE = 1.5
"""How many times longer one interval may be than another before noise over the one says little of the other."""


def marked(table: pd.DataFrame, stable: str) -> np.ndarray:
    """Rows (n,) that `COLUMN` or `COLUMN=VALUE` calls stable.

    Raises:
        EvaluationError: there is no such column, or it never has this value.
    """
    name, equals, value = stable.partition("=")
    joining.require(table, [name])
    text = table[name].map(plain_text).where(table[name].notna(), "")
    found = (text == value.strip() if equals else text.isin(_YES)).to_numpy()
    if not found.any():
        wanted = value if equals else "1"
        raise EvaluationError(
            f"{name!r} is {wanted} in none of {len(table)} images with a score; it holds "
            f"{', '.join(sorted(set(text))[:6])}: name who did not change as COLUMN=VALUE"
        )
    return found


def rescans(
    table: pd.DataFrame,
    paired: Callable[[str, np.ndarray | None], VisitPairs],
    question: Question,
    notes: list[str],
) -> VisitPairs:
    """All visits beside the first, with those images taken out that are rescans, by what `stable` marks.

    It marks persons where it marks their first image. Else it marks rescans, if these were taken soon after the image
    before, or at the same visit; or, if later, persons of whom it was told at a later visit that they did not change.
    """
    if question.stable is None:
        return paired("first", None)
    found = paired("first", marked(table, question.stable))
    if found.repeats.empty:
        return found
    apart = float(found.repeats["years"].median())
    count = f"{len(found.repeats)} images of {found.repeats['subject'].nunique()} persons that {question.stable} marks"
    if apart > _SOON:
        notes.append(
            f"{count}, though not the first of theirs, were taken {apart:.2g} years after the one before (median), too "
            "late for rescans: they were read as follow-ups of persons who did not change since their first image."
        )
        return paired("first", None)
    when = "at an unknown time" if np.isnan(apart) else f"{365 * apart:.0f} days"
    notes.append(
        f"{count}, though not the first of theirs, were read as rescans and are no follow-ups ({when} after the image "
        "that each repeats, median). If it marks persons who did not change, mark their first images too."
    )
    return found


def unchanged(
    table: pd.DataFrame, images: pd.DataFrame, last: pd.DataFrame, every: VisitPairs, question: Question
) -> tuple[pd.DataFrame, str]:
    """Pairs of images of what did not change, and where that is known from, in words.

    But for rescans they are the first and last image, as far apart as those that are judged by them.
    """
    if question.stable is not None:
        found = marked(table, question.stable)
        whole = np.flatnonzero(found & (images["time"].to_numpy() == 0) & ~images["again"].to_numpy())
        later = every.pairs[found[every.pairs["row"]] & ~every.pairs["baseline_row"].isin(whole)]
        later = later.sort_values("interval", kind="stable").drop_duplicates("baseline_row", keep="last")
        stable = pd.concat([last.loc[last["baseline_row"].isin(whole), every.pairs.columns], later])
        if every.repeats.empty:
            return stable.reset_index(drop=True), f"images of persons who did not change, as {question.stable} says"
        both = pd.concat([every.repeats, stable], ignore_index=True)
        kind = "rescans" if stable.empty else "rescans and images of persons who did not change"
        return both, f"{kind}, as {question.stable} says"
    if question.outcome is None:
        return last[:0], ""
    return last[(last["outcome"] == 0).to_numpy()].reset_index(drop=True), (
        f"those without {question.sign}, who may have changed all the same: real change among them makes it too large. "
        "Name rescans, or persons known to be stable, by --stable"
    )


def apart(noise: pd.DataFrame, judged: pd.DataFrame, time: str, yearly: bool) -> str:
    """What the intervals between images say against judging one kind of pair by the other; nothing where alike."""
    long = "years" if yearly else "interval"
    own, other = float(noise[long].median()), float(judged[long].median())
    told = f"Those pairs lie {own:.2g} {time}s apart in the middle, the pairs that are judged {other:.2g}"
    if own * _UNLIKE < other:
        return (
            f"{told}: it is the noise of taking an image again. What anybody drifts by over the longer time, healthy "
            "or not, counts as change."
        )
    return (
        f"{told}: over a shorter time there is less to go wrong, and it may be too large."
        if own > other * _UNLIKE
        else ""
    )
