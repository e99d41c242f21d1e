"""Holds figures of maps beside those of floors: a table with intervals, what it says in words, and a picture."""

from typing import Any

import numpy as np
import pandas as pd

from anomaly.errors import EvaluationError
from anomaly.evaluation.beside import held, mean_of, wide
from anomaly.evaluation.section import Section
from anomaly.pictures.panels import beside
from explain.evaluating.quality import BLURRED, EITHER_WAY, FLOORS, MAP

FIGURES = {
    "average_precision": "average precision of the pixels",
    "auroc": "AUROC of the pixels",
    "pointing_game": "peak in the mask",
    "relevance_mass": "share of the evidence in the mask",
    "dice": "Dice",
    "ncc": "correlation with the true difference",
    "absolute_ncc": "the same of sizes",
}
CORRELATIONS = ("ncc", "absolute_ncc")


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
        each = _each(images, figure)
        if each.empty:
            continue
        subject = subjects.loc[each.index].to_numpy()
        means = {str(name): mean_of(each[name], subject, seed) for name in each}
        gains = {str(name): mean_of(each[MAP] - each[name], subject, seed) for name in each if name != MAP}
        beaten = [name for name in gains if name != BLURRED]
        told, said = held(figure, len(each), means, gains, map=MAP, beaten=beaten)
        rows += told
        sentences.append(f"{words[0].upper()}{words[1:]}: {said}.")
    if not sentences:
        raise EvaluationError("no figure could be made of any map; look at the masks and maps")
    sentences += _sizes(images, seed)
    table = pd.DataFrame(rows)
    caption = _caption(images, sign, threshold)
    words = "mean over cases, 95 % interval"
    drawn = beside(table, FIGURES, main=MAP, names=FLOORS, column="mean", words=words, signed=CORRELATIONS)
    return Section("quality", "Do maps point at the truth", sentences, caption, table, drawn)


def _each(images: pd.DataFrame, figure: str) -> pd.DataFrame:
    """One figure, a row an image and a column a map; correlations of some floors the way round that tells more."""
    found = wide(images, figure, (MAP, *FLOORS), MAP)
    for name in EITHER_WAY if figure in CORRELATIONS else ():
        if name in found:
            found[name] *= np.sign(found[name].mean()) or 1.0
    return found


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
