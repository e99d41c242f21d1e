"""One analysis beside the main table: a table, a figure, and what they say in plain words."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from anomaly.shown import Readable, several
from anomaly.statistics import Estimate
from anomaly.statistics.estimates import between


@dataclass(frozen=True, repr=False)
class Section(Readable):
    """What one analysis found.

    Args:
        name: of its files, NAME.csv and NAME.png.
        title: its heading.
        sentences: the findings, for a reader who knows no statistics.
        caption: how the figures of the table were made.
        table: the figures.
        figure: a PNG; None where there is nothing to draw.
        shown: how many rows, from the first, stand on the page and in `evaluation.json`; None for all.
    """

    name: str
    title: str
    sentences: list[str]
    caption: str
    table: pd.DataFrame
    figure: bytes | None = None
    shown: int | None = None

    def _in_short(self) -> tuple[str, dict[str, object]]:
        more = len(self.sentences) - 1
        return self.title, {
            "found": self.sentences[0] if self.sentences else None,
            "sentences": f"{more} more" if more > 0 else None,
            "table": f"{len(self.table)} rows: {several(map(str, self.table))}",
            "figure": "none" if self.figure is None else f"a PNG of {len(self.figure) / 1024:.0f} KiB",
        }


def ends(name: str, estimate: Estimate) -> dict[str, float]:
    """An estimate as three columns of a table."""
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def interval(estimate: Estimate, digits: int = 2) -> str:
    """An estimate as it stands in a sentence: 0.81 (0.75 to 0.86)."""
    return f"{estimate.value:.{digits}f} ({between(estimate.low, estimate.high, f'.{digits}f')})"


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON can hold them: what is not a finite number is null."""
    rows: list[dict[str, Any]] = json.loads(
        table.replace([np.inf, -np.inf], np.nan).to_json(orient="records", double_precision=15)
    )
    return rows


def told_as_facts(section: Section) -> dict[str, Any]:
    """A section as `evaluation.json` holds it: its words, its rows, and the name of its figure."""
    told = {"name": section.name, "title": section.title, "sentences": section.sentences, "caption": section.caption}
    figure = None if section.figure is None else f"{section.name}.png"
    return told | {"figure": figure, "rows": records(section.table[: section.shown])}


def in_words(p_value: float) -> str:
    """A p-value as it stands in a sentence, or that there is none."""
    if np.isnan(p_value):
        return "not tested"
    # Near 0.05 fewer digits would hide on which side it lies.
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:{'.4f' if 0.045 < p_value < 0.055 else '.2g'}}"


def listed(names: list[str]) -> str:
    """Names as a sentence lists them: age, sex and bmi."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
