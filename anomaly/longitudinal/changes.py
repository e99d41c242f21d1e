"""How scores changed between two visits, how much of it is noise, and who changed by more."""

from typing import Any

import numpy as np
import pandas as pd

from anomaly import statistics
from anomaly.errors import EvaluationError
from anomaly.evaluation.discrimination import spoken
from anomaly.evaluation.section import Section, ends, in_words, interval
from anomaly.longitudinal.likeness import unequal
from anomaly.longitudinal.question import AFTER, BEFORE, Seen
from anomaly.longitudinal.unchanged import apart
from anomaly.longitudinal.wording import digits, mean_of, signed
from anomaly.pictures import visits as pictures
from anomaly.statistics.estimates import between

EVERYBODY = "all"
_OWN = " The limit is made of these very pairs: about 5 in 100 lie beyond it, whatever they did."


def groups_of(seen: Seen, sign: str) -> dict[str, np.ndarray]:
    """Masks (pairs,): those with the outcome and without, all where none is asked for or known."""
    outcome = seen.pairs["outcome"].to_numpy(dtype=float)
    found = {f"without {sign}": outcome == 0, f"with {sign}": outcome == 1}
    return {name: chosen for name, chosen in found.items() if chosen.any()} or {EVERYBODY: np.ones(len(outcome), bool)}


def change(seen: Seen, sign: str) -> Section:
    """Mean change of each score, of everybody and by outcome, with intervals that count persons."""
    groups = {EVERYBODY: np.ones(len(seen.pairs), bool), **groups_of(seen, sign)}
    rows = [_row(seen, name, group, chosen) for name in seen.names for group, chosen in groups.items()]
    table = pd.DataFrame(rows)
    main = rows[: len(groups)]
    between_them = f"{np.median(seen.rate):.2g} {seen.time}s apart in the middle"
    first = main[0]
    sentences = [
        f"Between the two images of {first['n']} pairs of {first['persons']} persons, {between_them}, the score "
        f"changed by {signed(first, 'change')} on average ({in_words(first['p_value'])}), "
        f"{signed(first, 'change_per_time')} a {seen.time}."
    ]
    sentences += unequal(seen)
    sentences += [f"{row['group'].capitalize()} it changed by {signed(row, 'change')}." for row in main[1:]]
    moved = [row for row in rows if row["group"] == EVERYBODY and row["score"] != "value" and row["p_value"] < 0.05]
    if moved:
        named = ", ".join(spoken(str(row["score"])) for row in moved)
        sentences.append(
            f"What takes no method changed too ({named}): part of the change may be of how the images were taken."
        )
    caption = (
        "Means at the first and the last image, and the change between; per time: each change over its own time "
        f"between the images, in {seen.time}s. 95 % intervals: {main[0]['method']}."
    )
    labels = (f"Time since the first image, {seen.time}s", "Score")
    before, after = (seen.pairs[f"value{end}"].to_numpy() for end in (BEFORE, AFTER))
    drawn = pictures.lines(seen.rate, before, after, groups_of(seen, sign), labels)
    return Section("change", "Change between visits", sentences, caption, table, drawn)


def noise(seen: Seen, sign: str) -> tuple[Section | None, dict[str, statistics.Repeatability]]:
    """The least detectable change of each score, from pairs of those who did not change."""
    if not len(seen.noise):
        if not seen.noise_from:
            seen.notes.append(
                "What change is more than noise is not told: nothing says who did not change. Name rescans, or persons "
                "known to be stable, by --stable."
            )
        return None, {}
    found, rows = {}, []
    for name in seen.names:
        before, after = (seen.noise[f"{name}{end}"] for end in (BEFORE, AFTER))
        try:
            found[name] = statistics.repeatability(before, after, seen.noise["subject"])
        except EvaluationError as error:
            seen.notes.append(f"The least detectable change of {name} is not told: {error}.")
            continue
        rows.append(_of_noise(name, found[name], seen.noise))
    if "value" not in found:
        return None, {}
    own = found["value"]
    sentences = [
        f"The least detectable change of the score is {digits(own.least_detectable)}: of two images of who did not "
        f"change, 95 in 100 differ by less. It is that of {len(seen.noise)} pairs, {seen.noise_from}.",
        f"Of these pairs {100 * own.inside.value:.0f} % lie within; {_of_correlation(own.correlation)} of what differs "
        "between their images is no noise (intraclass correlation).",
    ]
    if unlike := apart(seen.noise, seen.pairs, seen.time, seen.yearly):
        sentences.append(unlike)
    if own.drift.p_value < 0.05:
        sentences.append(
            f"Their scores drift by {own.drift.value:+.3g} ({between(own.drift.low, own.drift.high, '+.3g')}) on "
            "average, which counts as noise here: they may have changed, or the scanner did."
        )
    caption = (
        "Within-person standard deviation, least detectable change (1.96 sqrt(2) times it), intraclass correlation and "
        f"mean change of pairs that did not change: {seen.noise_from}. 95 % interval: {own.within.method}; "
        "dotted lines of the figure: that of the least detectable change."
    )
    first, last = (seen.pairs[f"value{end}"].to_numpy() for end in (BEFORE, AFTER))
    least = (own.least_detectable.value, own.least_detectable.low, own.least_detectable.high)
    drawn = pictures.against_mean(first, last, groups_of(seen, sign), least)
    return Section("noise", "Least detectable change", sentences, caption, pd.DataFrame(rows), drawn), found


def beyond(seen: Seen, sign: str, known: dict[str, statistics.Repeatability]) -> Section | None:
    """How many changed by more than the least detectable change, either way, by outcome."""
    if not known:
        return None
    groups = {EVERYBODY: np.ones(len(seen.pairs), bool), **groups_of(seen, sign)}
    made_of = set(zip(seen.noise["baseline_row"], seen.noise["row"], strict=True))
    own = np.array([pair in made_of for pair in zip(seen.pairs["baseline_row"], seen.pairs["row"], strict=True)])
    rows = []
    for name, told in known.items():
        moved, least = seen.change(name), told.least_detectable.value
        for group, chosen in groups.items():
            whose = seen.pairs["subject"].to_numpy()[chosen]
            row: dict[str, Any] = {"score": name, "group": group, "n": int(chosen.sum()), "beyond": least}
            row["made_of"] = int(own[chosen].sum())
            for way, which in (("rose", moved > least), ("fell", moved < -least)):
                row |= {f"{way}_n": int(which[chosen].sum())}
                row |= ends(way, statistics.proportion(which[chosen], whose))
            rows.append(row)
    main = rows[: len(groups)]
    sentences = [
        f"{'Of all pairs' if row['group'] == EVERYBODY else row['group'].capitalize()}: {row['rose_n']} of {row['n']} "
        f"scores rose beyond the least detectable change ({_percent(row, 'rose')}), {row['fell_n']} fell beyond it "
        f"({_percent(row, 'fell')})." + (_OWN if row["made_of"] == row["n"] else "")
        for row in main
    ]
    sentences.append("Of pairs that did not change, 2.5 in 100 are expected either way.")
    caption = (
        "Share that changed by more than the least detectable change, with 95 % interval (Wilson, by person); made of: "
        "how many of these pairs it was made of."
    )
    return Section("beyond", "Who changed beyond the noise", sentences, caption, pd.DataFrame(rows))


def _row(seen: Seen, name: str, group: str, chosen: np.ndarray) -> dict[str, Any]:
    pairs, moved = seen.pairs[chosen], seen.change(name)[chosen]
    whose = pairs["subject"].to_numpy()
    row: dict[str, Any] = {"score": name, "group": group, "n": len(pairs), "persons": int(pairs["subject"].nunique())}
    row |= {end.strip("_"): float(pairs[f"{name}{end}"].mean()) for end in (BEFORE, AFTER)}
    mean, rate = mean_of(moved, whose), mean_of(moved / seen.rate[chosen], whose)
    row |= ends("change", mean) | ends("change_per_time", rate)
    return row | {"p_value": mean.p_value, "method": mean.method}


def _of_noise(name: str, found: statistics.Repeatability, pairs: pd.DataFrame) -> dict[str, Any]:
    row: dict[str, Any] = {"score": name, "n": len(pairs), "persons": int(pairs["subject"].nunique())}
    for column in ("within", "least_detectable", "correlation", "drift", "inside"):
        row |= ends(column, getattr(found, column))
    return row | {"method": found.within.method}


def _of_correlation(found: statistics.Estimate) -> str:
    return f"{100 * max(found.value, 0):.0f} %" if np.isnan(found.low) else interval(found)


def _percent(row: dict[str, Any], name: str) -> str:
    return f"{100 * row[name]:.0f} %, {between(100 * row[f'{name}_low'], 100 * row[f'{name}_high'], '.0f')}"
