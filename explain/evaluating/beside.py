"""Holds figures of maps beside those of floors: a table with intervals, what it says in words, and a picture."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from anomaly.errors import EvaluationError
from anomaly.evaluation.section import Section, ends, interval
from anomaly.pictures.figures import COLOURS
from anomaly.statistics import Estimate, bootstrap
from explain.evaluating.quality import BLURRED, EITHER_WAY, FLOORS, MAP

FIGURES = {
    "average_precision": "average precision of the pixels",
    "pointing_game": "peak in the mask",
    "relevance_mass": "share of the evidence in the mask",
    "dice": "Dice",
    "ncc": "correlation with the true difference",
    "absolute_ncc": "the same of sizes",
}
CORRELATIONS = ("ncc", "absolute_ncc")
_ACROSS = 3


def quality(images: pd.DataFrame, sign: str, threshold: float, seed: int) -> Section:
    """How well the map points at the truth, and how much better than the best map that takes no method.

    Args:
        images: as `quality.measured` gives them.
        sign: of the map that counts as evidence.
        threshold: of the map, for Dice.
        seed: of the bootstrap.

    Raises:
        EvaluationError: no figure could be made.
    """
    rows: list[dict[str, Any]] = []
    sentences: list[str] = []
    subjects = images.drop_duplicates("id").set_index("id")["subject"]
    for figure, words in FIGURES.items():
        wide = _wide(images, figure)
        if wide.empty:
            continue
        subject = subjects.loc[wide.index].to_numpy()
        means = {str(name): mean_of(wide[name], subject, seed) for name in wide}
        best = max((name for name in means if name not in (MAP, BLURRED)), key=lambda name: means[name].value)
        for name, mean in means.items():
            above = {} if name == MAP else ends("map_above_it", mean_of(wide[MAP] - wide[name], subject, seed))
            told = {"figure": figure, "map": name, "n": len(wide), **ends("mean", mean)}
            rows.append({**told, "best_floor": "best" if name == best else "", **above})
        gain = mean_of(wide[MAP] - wide[best], subject, seed)
        sentences.append(
            f"{words[0].upper()}{words[1:]}: {interval(means[MAP])}; {best} {means[best].value:.2f}, difference "
            f"{interval(gain)}."
        )
    if not sentences:
        raise EvaluationError("no figure could be made of any map; look at the masks and maps")
    sentences += _sizes(images, seed)
    table = pd.DataFrame(rows)
    caption = _caption(images, sign, threshold)
    return Section("quality", "Do maps point at the truth", sentences, caption, table, drawn(table))


def mean_of(values: pd.Series, subject: Any, seed: int) -> Estimate:
    """The mean of figures (n,), its interval by drawing whole persons anew; those that are NaN are left out."""
    known = np.asarray(values, dtype=np.float64)
    fine = np.isfinite(known)
    if not fine.any():
        return Estimate(float("nan"), float("nan"), float("nan"), "none is known")
    known, whose = known[fine], np.asarray(subject)[fine]
    return bootstrap(lambda weights: weights @ known / weights.sum(1), whose, np.ones(len(known)), seed=seed)


def drawn(table: pd.DataFrame) -> bytes:
    """A PNG of the means of map and floors, (figure, map, mean, mean_low, mean_high), a panel a figure."""
    names = [name for name in FIGURES if name in set(table["figure"])]
    across = 2 if len(names) == 4 else min(_ACROSS, len(names))
    down = -(-len(names) // across)
    figure = Figure(figsize=(1.6 + 2.7 * across, 2.9 * down), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    shown = [name for name in (MAP, *FLOORS) if name in set(table["map"])]
    for axes, name in zip(panels, names, strict=False):
        _panel(axes, table[table["figure"] == name].set_index("map"), shown)
        axes.set_title(FIGURES[name], fontsize=9)
        axes.set_xlim(min(-0.02, float(table["mean_low"].min()) - 0.02) if name in CORRELATIONS else -0.02, 1.02)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    figure.supxlabel("mean over cases, 95 % interval", x=0.02, ha="left", fontsize=8, color="0.35")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, facecolor="white")
    return buffer.getvalue()


def _panel(axes: Any, rows: pd.DataFrame, shown: Sequence[str]) -> None:
    """One figure: a point and a line a map, the map itself in another colour and shape, and a line down from it."""
    for place, name in enumerate(reversed(shown)):
        if name not in rows.index:
            continue
        colour, mark = (COLOURS[0], "o") if name == MAP else ("0.35", "s")
        axes.hlines(place, rows.loc[name, "mean_low"], rows.loc[name, "mean_high"], color=colour, linewidth=1.8)
        axes.plot(rows.loc[name, "mean"], place, mark, color=colour, markersize=6 if name == MAP else 4.5)
    axes.axvline(rows.loc[MAP, "mean"], color=COLOURS[0], linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(shown)), list(reversed(shown)), fontsize=8.5)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.92")
    axes.set_axisbelow(True)


def _wide(images: pd.DataFrame, figure: str) -> pd.DataFrame:
    """One figure, a row an image and a column a map: those images where the map has it, those floors that all have."""
    if figure not in images:
        return pd.DataFrame()
    wide = images.pivot(index="id", columns="map", values=figure)
    wide = wide[wide[MAP].notna()]
    wide = wide[[name for name in (MAP, *FLOORS) if name in wide and wide[name].notna().all()]].copy()
    if figure in CORRELATIONS:
        for name in EITHER_WAY:
            wide[name] *= np.sign(wide[name].mean()) or 1.0
    return wide


def _sizes(images: pd.DataFrame, seed: int) -> list[str]:
    """A sentence on the size of maps inside the masks and outside."""
    if "inside" not in images:
        return []
    own = images[images["inside"].notna() & images["outside"].notna()]
    inside, outside = (mean_of(own[name], own["subject"], seed) for name in ("inside", "outside"))
    return [f"Inside the mask the map is {inside.value:.3g} in size on the mean, outside it {outside.value:.3g}."]


def _caption(images: pd.DataFrame, sign: str, threshold: float) -> str:
    covered = f" Masks cover {images['prevalence'].mean():.1%} of an image." if "prevalence" in images else ""
    return (
        f"Means over cases with 95 % intervals by drawing persons anew. Evidence is the {sign} map; Dice at "
        f"{threshold:.3g}, that of floors with as many pixels.{covered} Floors: the mean difference of cases and "
        "controls of other persons, the raw image (bright, or dark, is evidence; for correlations the way round that "
        "tells more, as for the centre), a Gaussian in the middle, the map blurred, a map that is all alike."
    )
