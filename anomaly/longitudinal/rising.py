"""How fast scores rise over all visits, and whether faster with the outcome: a mixed model, and what stands in."""

import numpy as np
import pandas as pd

from anomaly import statistics
from anomaly.errors import EvaluationError
from anomaly.evaluation.section import Section, ends, in_words
from anomaly.longitudinal.question import Question, Seen
from anomaly.longitudinal.wording import wide


def slopes(seen: Seen, question: Question) -> Section | None:
    """Slopes of the score by outcome, over all images of who was seen twice or more."""
    images = seen.images
    followed = (images["unit"] >= 0) & ~images["again"]
    several = images[followed].groupby("unit")["id"].transform("size").reindex(images.index, fill_value=0) > 1
    chosen = np.flatnonzero(followed & several)
    group = images["outcome"].to_numpy(dtype=float)[chosen]
    grouped = set(np.unique(group[np.isfinite(group)])) == {0.0, 1.0}
    chosen = chosen[np.isfinite(group)] if grouped else chosen
    columns = None
    try:
        if grouped and question.adjust:
            columns = statistics.design(seen.people.iloc[chosen], question.adjust)
            complete = columns.notna().all(axis=1).to_numpy()
            chosen, columns = chosen[complete], columns[complete]
        rows = images.iloc[chosen]
        found = statistics.slopes(
            rows["value"], rows["time"], rows["subject"].astype(str), rows["outcome"] if grouped else None, columns,
            unit=rows["unit"],
        )  # fmt: skip
    except EvaluationError as error:
        seen.notes.append(f"Slopes of the score are not told: {error}.")
        return None
    table = _table(found, question)
    about = f"{len(rows)} images of {rows['subject'].nunique()} persons"
    held = f", among people of the same {', '.join(question.adjust)} at the first visit" if columns is not None else ""
    sentences = [_told(found, kind, seen, question, grouped) for kind in ("mixed", "marginal") if getattr(found, kind)]
    caption = (
        f"Slopes of the score a {seen.time}, {about}{held}. Mixed model (Laird and Ware 1982), random effects: "
        f"{found.remark}. Beside it the independent model, least squares with errors by person, which asks for less: "
        "where the two differ, visits are missing for a reason, or the mixed model does not hold."
    )
    return Section("slopes", "Slope of the score", sentences, caption, table)


def _table(found: statistics.Slopes, question: Question) -> pd.DataFrame:
    named = {"without": f"without {question.sign}", "with": f"with {question.sign}"}
    return pd.DataFrame(
        {"model": model, "slope of": named.get(name, name)}
        | ends("slope", slope)
        | {"p_value": slope.p_value, "method": slope.method}
        for model, part in (("mixed", found.mixed), ("independent", found.marginal))
        for name, slope in part.items()
    )


def _told(found: statistics.Slopes, kind: str, seen: Seen, question: Question, grouped: bool) -> str:
    part = getattr(found, kind)
    by = "mixed model" if kind == "mixed" else "independent model, errors by person"
    if not grouped:
        return f"The score rises by {wide(part['all'])} a {seen.time} ({by}, {in_words(part['all'].p_value)})."
    apart = part["difference"]
    return (
        f"The score rises by {wide(part['with'])} a {seen.time} with {question.sign} and by {wide(part['without'])} "
        f"without: a difference of {wide(apart)} ({by}, {in_words(apart.p_value)})."
    )
