"""Where the score comes from: whether it is the disease that it tells, or how the image was taken."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from anomaly import statistics
from anomaly.cohorts.grid import CELLS, GRID, INTENSITIES, SIDE, SIZES, read_grid
from anomaly.cohorts.joining import check_numbers
from anomaly.cohorts.results import read_facts, some
from anomaly.errors import EvaluationError
from anomaly.evaluation.gathering import Gathered
from anomaly.evaluation.section import Section, ends, interval, listed
from anomaly.pictures import figures
from anomaly.statistics import Estimate
from anomaly.statistics.estimates import between

FILE = f"{GRID.stem}.csv"
TITLE = "Where the score comes from"
_RING = np.pad(np.zeros((SIDE - 2, SIDE - 2), bool), 1, constant_values=True).ravel()
_PARTS = ("score", "map", "ring", "inside")
_OF_PICTURES = {"size_1": "height", "size_2": "width"}
_CAPTION = (
    "AUROCs of the score, and of the map alone: of its mean over all of the image, over the outermost ring of an 8 x 8 "
    "grid, over the inside, and over each cell (those in where.csv). The grid lies over the image as it was prepared, "
    "padding included; of volumes over the last two axes, after the mean over the first. Sizes and intensities are "
    "those of the file, before it was prepared; its border is the outermost eighth on every side. Above 0.5 is higher "
    "with the outcome, below 0.5 lower. Where the ring, a size or the border tells nearly as much as the score, the "
    "score may tell how the images were taken. Where they tell nothing, that is no proof that it does not."
)


def where_from(data: Gathered, sign: str, scale: str) -> Section | None:
    """What parts of the map, and size and brightness of the file, tell alone; None where that was not kept."""
    try:
        measures = _measures(data)
        if measures is None:
            return None
        found = {str(name): _auroc(data, measures[name].to_numpy(), scale) for name in measures}
    except EvaluationError as error:
        data.notes.append(f"{TITLE} could not be told: {error}.")
        return None
    known = measures["map"].notna().to_numpy()
    numbers = {"n": int(known.sum()), "events": int(data.event[known].sum())}
    table = pd.DataFrame(
        [{"measure": name} | numbers | ends("auroc", area) | {"method": area.method} for name, area in found.items()]
    )
    cells = np.array([found[name].value for name in CELLS]).reshape(SIDE, SIDE)
    drawn = figures.grid(cells, {name: found[name] for name in _PARTS})
    sentences = [_of_map(found, sign), *_of_file(found, sign)]
    return Section("where", TITLE, sentences, _CAPTION, table, drawn, shown=len(table) - len(CELLS))


def _measures(data: Gathered) -> pd.DataFrame | None:
    """What is held against the outcome, a column each, a row an image; NaN in images without a map."""
    kept = read_grid(data.file.parent)
    if kept is None:
        _note_absent(data)
        return None
    grid = kept.reindex(data.images["id"]).reset_index(drop=True)
    cells = grid[list(CELLS)].to_numpy()
    known = np.isfinite(cells).all(axis=1)
    lost = data.images.loc[~known, "id"]
    if len(lost):
        told = f"{len(lost)} images have no map in {FILE} and were left out of where the score comes from"
        data.notes.append(f"{told} ({some(lost)}).")
    check_numbers(data.event[known], f"the images with a map in {FILE}")
    score = data.images[data.names[0]].to_numpy()
    parts = (score, cells.mean(1), cells[:, _RING].mean(1), cells[:, ~_RING].mean(1))
    table = pd.DataFrame(dict(zip(_PARTS, parts, strict=True)))
    of_file = _varying(grid.loc[known, [*SIZES, *INTENSITIES]], data.notes)
    table = table.join(of_file).join(grid[list(CELLS)])
    table.loc[~known] = np.nan
    return table


def _note_absent(data: Gathered) -> None:
    """Say how to get the check, but of scores from elsewhere, which may never have had a map."""
    if read_facts(data.file.parent / "score.json"):
        data.notes.append(
            f"{TITLE} was left out: there is no {FILE} beside the scores, as an older version left them; score the "
            "images again, into a new --out."
        )


def _varying(of_file: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Sizes and intensities that are known of all images and not the same in all of them."""
    of_file = of_file.dropna(axis=1)
    if SIZES[2] not in of_file:
        of_file = of_file.rename(columns=_OF_PICTURES)
    same = [str(name) for name in of_file if of_file[name].nunique() == 1]
    if same:
        verb = "is" if len(same) == 1 else "are"
        names = listed([_spoken(name) for name in same])
        notes.append(f"{names[:1].upper()}{names[1:]} {verb} the same in all images, so the outcome is not in that.")
    return of_file.drop(columns=same)


def _auroc(data: Gathered, values: np.ndarray, scale: str) -> Estimate:
    known = np.isfinite(values)
    images, subject = data.rows(known)
    return statistics.auroc_interval(images["outcome"], values[known], subject, scale=scale)


def _of_map(found: Mapping[str, Estimate], sign: str) -> str:
    """What ring and inside of the map tell, beside the score."""
    ring = found["ring"]
    verbs = {"higher": f"tells {sign} with an AUROC of", "lower": f"tells {sign} the other way round, with an AUROC of"}
    verb = verbs.get(_way(ring), f"is not shown to tell {sign}: its AUROC is")
    level = "95 % " if np.isfinite(ring.low) else ""
    return (
        f"The outer ring of the map alone, the rim of the image, {verb} {ring.value:.2f} "
        f"({level}{between(ring.low, ring.high)}); the inside alone has {interval(found['inside'])}, "
        f"the score {interval(found['score'])}."
    )


def _of_file(found: Mapping[str, Estimate], sign: str) -> list[str]:
    """What size and brightness of the file tell by themselves; nothing where they are always the same."""
    ways = {"higher": f"higher with {sign}", "lower": f"lower with {sign}", "": "not shown to differ"}
    taken = [name for name in found if name in (*_OF_PICTURES.values(), *SIZES, *INTENSITIES)]
    told = [f"{_spoken(name)} {interval(found[name])}, {ways[_way(found[name])]}" for name in taken]
    return [f"How the image was taken, by itself: {'; '.join(told)}."] if told else []


def _way(area: Estimate) -> str:
    """Which way a measure goes with the outcome, as far as its interval shows."""
    return "higher" if area.low > 0.5 else "lower" if area.high < 0.5 else ""


def _spoken(name: str) -> str:
    return name.replace("_", " ")
