"""Cases against controls of their own matched set: the other knee, or a person of the same age."""

import numpy as np
import pandas as pd

from anomaly import statistics
from anomaly.errors import EvaluationError
from anomaly.evaluation.gathering import ALONE, Gathered
from anomaly.evaluation.section import Section, ends, in_words
from anomaly.pictures import figures
from anomaly.statistics.estimates import between


def matched(data: Gathered, match: str | None, sign: str, seed: int) -> Section | None:
    """How often the case of a matched set scores higher than a control of it, and the conditional odds ratio."""
    if match is None:
        return None
    named = data.people[match].notna().to_numpy()
    if not named.all():
        data.notes.append(f"{int((~named).sum())} images have no {match} and are in no matched set.")
    rows = []
    for name in data.names:
        if name == ALONE:  # what a matched set shares cannot tell its members apart
            continue
        chosen = named & data.images[name].notna().to_numpy()
        try:
            rows.append({"score": name} | _row(data, name, match, chosen, seed))
        except EvaluationError as error:
            data.notes.append(f"No matched comparison of {name} within {match}: {error}.")
    if not rows:
        return None
    table = pd.DataFrame(rows)
    first = table.iloc[0]
    odds = ""
    if np.isfinite(first["odds_ratio"]):
        odds = (
            f" One standard deviation more goes with {first['odds_ratio']:.2f} times "
            f"({between(first['odds_ratio_low'], first['odds_ratio_high'])}) the odds of being the one."
        )
    ends = between(100 * first["concordance_low"], 100 * first["concordance_high"], ".0f")
    sentence = (
        f"Within {first['sets']} sets matched by {match}, the image with {sign} scores higher than the one without "
        f"{100 * first['concordance']:.0f} times in 100 ({ends}; 50 is chance; {in_words(first['p_value'])}).{odds}"
    )
    numbers = table[["concordance", "concordance_low", "concordance_high"]].to_numpy()
    drawn = figures.forest(list(table["score"]), numbers, "Case scores higher than its control", none=0.5)
    caption = f"{first['method']}; p by {first['test']}. Odds ratio by conditional logistic regression."
    return Section("matched", "Within matched sets", [sentence], caption, table, drawn)


def _row(data: Gathered, name: str, match: str, chosen: np.ndarray, seed: int) -> dict[str, object]:
    images, subject = data.rows(chosen)
    event, score, sets = images["outcome"].to_numpy(), images[name].to_numpy(), data.people.loc[chosen, match]
    found = statistics.matched_concordance(event, score, sets.to_numpy(), subject, seed=seed)
    row: dict[str, object] = {"sets": found.sets, "sets_left_out": found.left_out, "comparisons": found.comparisons}
    row |= ends("concordance", found.concordance) | {"p_value": found.concordance.p_value}
    try:
        if subject is not None and _shared(subject, sets.to_numpy()):
            raise EvaluationError("persons have a part in several sets, or several images in a set with others")
        odds = statistics.conditional_odds_ratio(event, score, sets.to_numpy())
    except EvaluationError as error:
        data.notes.append(f"No conditional odds ratio of {name} within {match}: {error}.")
        odds = statistics.Estimate(np.nan, np.nan, np.nan, "none")
    return row | ends("odds_ratio", odds) | {"method": found.concordance.method, "test": found.test}


def _shared(subject: np.ndarray, sets: np.ndarray) -> bool:
    """Whether images of a person count more than once: in several sets, or beside other persons in one."""
    parts = pd.DataFrame({"subject": subject, "set": sets})
    several = (parts.groupby("subject")["set"].nunique() > 1).any()
    among = parts.groupby("set")["subject"].transform("nunique") > 1
    return bool(several or parts[among].duplicated().any())
