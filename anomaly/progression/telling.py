"""What an evaluation of forecasts says: main figures in words, the page, and a figure of predicted against true."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from anomaly.cohorts.results import number
from anomaly.progression.judging import DRAWN
from anomaly.progression.predicting import why_none
from anomaly.progression.run import ForecasterRun
from anomaly.reporting import sections
from anomaly.reporting.template import written
from anomaly.statistics.estimates import between

HTML = "progression.html"
PERSON, TRAINING = "person", "training"
"""Whose change a year the floor `trend` goes by."""
TITLES = {
    "accuracy": "growth told from shrinkage", "absolute_error": "absolute error of the volume",
    "volume_error": "error of the volume, mean", "volume_error_sd": "error of the volume, SD",
    "dice_growing": "Dice of growing pixels", "dice_shrinking": "Dice of shrinking pixels",
    "pooled_dice_growing": "Dice of growing pixels of all pairs together",
    "pooled_dice_shrinking": "Dice of shrinking pixels of all pairs together",
    "coverage": "intervals that hold the truth", "width": "width of intervals",
}  # fmt: skip


def sentences_of(
    told: pd.DataFrame, run: ForecasterRun, found: pd.DataFrame, *, least: float, draws: int, missing: tuple[int, int]
) -> list[str]:  # fmt: skip
    """The main figures in words; `missing` counts the pairs that cannot be used, and the images in no pair."""
    pairs = f"{number(len(found), 'pair')} of visits of {number(found['subject'].nunique(), 'person')}"
    more = f"; {number(missing[0], 'pair')} could not be used; see errors.csv" if missing[0] else ""
    more += f"; {number(missing[1], 'image')} in no pair; see left_out.csv" if missing[1] else ""
    limit = f" (changes of more than {least:g} {run.unit})" if least else ""
    said = [
        f"{pairs}{more}.",
        *_beside(told, "accuracy", f"Growth told from shrinkage{limit}", ".3f", ""),
        *_beside(told, "absolute_error", "Mean absolute error of the volume", ".4g", f" {run.unit}"),
        _error(told, run.unit),
        *_beside(told, "dice_growing", f"Dice of growing pixels{limit}", ".3f", ""),
        *_beside(told, "dice_shrinking", f"Dice of shrinking pixels{limit}", ".3f", ""),
        *_beside(told, "pooled_dice_growing", TITLES["pooled_dice_growing"], ".3f", ""),
        *_beside(told, "pooled_dice_shrinking", TITLES["pooled_dice_shrinking"], ".3f", ""),
    ]
    own = int((found["trend_of"] == PERSON).sum())
    theirs = f"the change before of the same person in {own} pairs, in the others " if own else ""
    said.append(f"The floor trend is {theirs}the mean change a year of the training.")
    covered = told[told["measure"] == "coverage"]
    if covered.empty:
        return [*said, f"{why_none(run, draws).capitalize()}."]
    held, width = covered.iloc[0], told[told["measure"] == "width"].iloc[0]["value"]
    return [
        *said,
        f"Intervals of 95 % hold {held['value']:.1%} of the true changes ({_ends(held, '.3f')}); they are {width:.4g} "
        f"{run.unit} wide in the mean.",
    ]


def _beside(told: pd.DataFrame, measure: str, title: str, form: str, unit: str) -> list[str]:
    """One figure beside that of the best floor; nothing where no pair tells it."""
    rows = told[told["measure"] == measure].set_index("version")
    apart = next((name for name in rows.index if str(name).startswith(f"{DRAWN} - ")), None)
    if apart is None:
        return []
    best = str(apart).removeprefix(f"{DRAWN} - ")
    drawn, floor, difference = (rows.loc[name] for name in (DRAWN, best, apart))
    return [
        f"{title}: {drawn['value']:{form}}{unit} ({_ends(drawn, form)}); {best}, the best floor, "
        f"{floor['value']:{form}}{unit}; difference {difference['value']:+{form}}{unit} ({_ends(difference, form)})."
    ]


def _error(told: pd.DataFrame, unit: str) -> str:
    values = told[told["version"] == DRAWN].set_index("measure")["value"]
    return f"Error of the volume: mean {values['volume_error']:.4g} {unit}, SD {values['volume_error_sd']:.4g} {unit}."


def _ends(row: Any, form: str) -> str:
    return between(row["low"], row["high"], form)


def html(told: pd.DataFrame, run: ForecasterRun, sentences: Sequence[str], out: Path) -> str:
    """The page as a browser opens it, with the picture that lies in `out` inside it."""
    rows: list[dict[str, Any]] = []
    for row in told.to_dict("records"):
        ends = between(row["low"], row["high"], ".4g")
        rows.append(
            {"measure": TITLES[row["measure"]], "version": row["version"], "value": f"{row['value']:.4g}",
             "95 % interval": ends, "pairs": row["n"], "persons": row["subjects"]}
        )  # fmt: skip
    about = f"Run {run.folder.name} ({run.forecaster.name}), volumes in {run.unit}. Intervals by drawing persons anew."
    table = sections.table(rows) | {"title": "figures", "caption": "Each figure beside its floors"}
    shown = sections.picture(out, "progression.png")
    intervals = bool((told["measure"] == "coverage").any())
    return written(
        HTML, out.resolve().name, sentences=sentences, about=about, table=table, picture=shown, intervals=intervals
    )


def picture(found: pd.DataFrame, unit: str) -> bytes:
    """Predicted against true change, with intervals, as PNG."""
    truth, drawn = (pd.to_numeric(found[name]).to_numpy(float) for name in ("true_change", f"{DRAWN}_change"))
    low, high = (pd.to_numeric(found[name]).to_numpy(float) for name in ("change_low", "change_high"))
    figure = Figure(figsize=(5.6, 5.2), layout="constrained")
    axes = figure.subplots()
    there = np.isfinite(low)
    held = (truth >= low) & (truth <= high)
    for chosen, colour in ((there & held, "0.75"), (there & ~held, "#d1495b")):
        axes.vlines(truth[chosen], low[chosen], high[chosen], color=colour, linewidth=1)
    axes.plot(truth, drawn, "o", color="#2e6f95", markersize=3.5)
    ends = [float(min(truth.min(), drawn.min())), float(max(truth.max(), drawn.max()))]
    axes.plot(ends, ends, color="0.4", linewidth=0.9, linestyle="--")
    axes.axhline(0, color="0.8", linewidth=0.8)
    axes.axvline(0, color="0.8", linewidth=0.8)
    axes.set_xlabel(f"True change of the volume ({unit})")
    axes.set_ylabel(f"Predicted change ({unit})" + (", 95 % interval; red: truth outside" if there.any() else ""))
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=120, metadata={"Software": None})
    return stream.getvalue()
