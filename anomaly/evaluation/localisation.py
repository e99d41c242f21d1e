"""How well maps mark what a truth marks: pixel by pixel, beside floors, with intervals by person."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from anomaly.evaluation.beside import drawn, held, mean_of, told, too_few, wide
from anomaly.evaluation.floors import ALIKE, FLOORS, MAP
from anomaly.evaluation.section import Section
from anomaly.evaluation.tallying import Looked, Tally
from anomaly.pictures.panels import beside
from anomaly.statistics import Estimate, thresholds
from anomaly.statistics.estimates import between

MAX_FPR = 0.3
POOLED: dict[str, Callable[..., np.ndarray]] = {
    "pooled_average_precision": lambda marked, rest, found: thresholds.average_precision(marked, rest),
    "pooled_auroc": lambda marked, rest, found: thresholds.auroc(marked, rest),
    "region_overlap": lambda marked, rest, found: thresholds.region_overlap(found, rest, MAX_FPR),
}
ORACLE = "dice_oracle"


def localised(looked: Looked, limits: Mapping[str, float], seed: int) -> Section:
    """Average precision, AUROC, overlap of regions and Dice of the map and of its floors."""
    _add_oracle(looked, limits)
    rows, sentences = [], []
    for figure, words in _figures(looked, limits).items():
        count, values, gains = (_pooled if figure in POOLED else _averaged)(looked, figure, seed)
        beaten = [name for name in values if name != MAP]
        of_figure, said = held(figure, count, values, gains, map=MAP, beaten=beaten, column="value")
        rows += of_figure
        sentences.append(f"{words}: {said}.")
    sentences = [_setting(looked), *_once(sentences)]
    sentences += _of_normals(looked, limits)
    table = pd.DataFrame(rows)
    titles = _titles(looked, limits)
    figure_ = beside(table, titles, main=MAP, names=FLOORS, column="value", words="95 % interval where there is one")
    return Section("truth", "Do maps mark what the truth marks", sentences, _caption(looked), table, figure_)


def _once(sentences: list[str]) -> list[str]:
    """That there is no interval is said once, in the first of the sentences that say so of all."""
    words = f" ({between(float('nan'), float('nan'))})"
    return sentences[:1] + [sentence.replace(words, "") for sentence in sentences[1:]]


def headline(section: Section, looked: Looked) -> str:
    """The first figure in one sentence."""
    row = section.table.iloc[0]
    floor = section.table[(section.table["figure"] == row["figure"]) & (section.table["best_floor"] == "best")].iloc[0]
    reason = too_few(looked.subjects[np.stack(looked.tallies[MAP].each["marked"]).sum(1) > 0])
    whole = told(Estimate(row["value"], row["value_low"], row["value_high"], reason))
    return (
        f"Average precision of all {looked.pixel}s together {whole}, where the best map that takes no method "
        f"({floor['map']}) has {floor['value']:.2f}."
    )


def _figures(looked: Looked, limits: Mapping[str, float]) -> dict[str, str]:
    """Each figure and how a sentence begins that tells it."""
    fixed = {
        f"dice_at_{name}": f"Dice, the limit fixed so that at most {name} % of the {looked.pixel}s of held-out normals "
        "exceed it, mean over images"
        for name in limits
    }
    return {
        "pooled_average_precision": f"Average precision, all {looked.pixel}s of all images together",
        "average_precision": "Average precision, mean over images",
        "pooled_auroc": f"AUROC, all {looked.pixel}s of all images together",
        "auroc": "AUROC, mean over images",
        "region_overlap": f"Regions found, each counting the same, over false {looked.pixel}s up to 30 % (PRO)",
        **fixed,
        ORACLE: "Dice at the one threshold that is best for these very images (an oracle: no threshold known "
        "beforehand does better)",
    }


def _titles(looked: Looked, limits: Mapping[str, float]) -> dict[str, str]:
    return {
        "pooled_average_precision": f"average precision, all {looked.pixel}s",
        "average_precision": "average precision, mean of images",
        "pooled_auroc": f"AUROC, all {looked.pixel}s",
        "auroc": "AUROC, mean of images",
        "region_overlap": "regions found (PRO, to 30 %)",
        **{f"dice_at_{name}": f"Dice at {name} % of normal {looked.pixel}s" for name in limits},
        ORACLE: "best Dice (oracle)",
    }


def _averaged(looked: Looked, figure: str, seed: int) -> tuple[int, dict[str, Estimate], dict[str, Estimate]]:
    """The mean over images of the map and of each floor, and of their differences."""
    each = wide(looked.images, figure, (MAP, *FLOORS), MAP)
    subjects = looked.images.drop_duplicates("id").set_index("id")["subject"].loc[each.index].to_numpy()
    values = {str(name): mean_of(each[name], subjects, seed) for name in each}
    gains = {str(name): mean_of(each[MAP] - each[name], subjects, seed) for name in each if name != MAP}
    return len(each), values, gains


def _pooled(looked: Looked, figure: str, seed: int) -> tuple[int, dict[str, Estimate], dict[str, Estimate]]:
    """A figure of all pixels together; its interval, by fewer thresholds, is moved to where all of them put it."""
    ask, tallies = POOLED[figure], looked.tallies
    ours = tallies[MAP]
    with_any = np.stack(ours.each["marked"]).sum(1) > 0
    reason = too_few(looked.subjects[with_any])
    exact = {name: float(ask(each.marked, each.rest, each.found)) for name, each in tallies.items()}
    if reason:
        values = {name: Estimate(value, float("nan"), float("nan"), reason) for name, value in exact.items()}
        gains = {name: Estimate(exact[MAP] - exact[name], np.nan, np.nan, reason) for name in exact if name != MAP}
        return len(looked.subjects), values, gains
    kept = {name: [np.stack(each.each[part]) for part in each.each] for name, each in tallies.items()}

    def of(name: str, weights: np.ndarray) -> np.ndarray:
        found = ask(*(weights.astype(np.float32) @ counts for counts in kept[name]))
        return np.nan_to_num(found, nan=0.0)  # no draw of ten persons or more is likely to miss all that are ill

    values = {
        name: _moved(drawn(lambda weights, name=name: of(name, weights), looked.subjects, seed), exact[name])
        for name in tallies
    }
    gains = {
        name: _moved(
            drawn(lambda weights, name=name: of(MAP, weights) - of(name, weights), looked.subjects, seed),
            exact[MAP] - exact[name],
        )
        for name in tallies
        if name != MAP
    }
    return len(looked.subjects), values, gains


def _moved(estimate: Estimate, value: float) -> Estimate:
    by = value - estimate.value
    return Estimate(value, estimate.low + by, estimate.high + by, estimate.method, estimate.variance)


def _add_oracle(looked: Looked, limits: Mapping[str, float]) -> None:
    """Put the best Dice of each map, at one threshold for all images, into the table of images."""
    images = looked.images
    images[ORACLE] = np.nan
    for name, tally in looked.tallies.items():
        of_map = images["map"] == name
        at = thresholds.dice(np.stack(tally.each["marked"]), np.stack(tally.each["rest"]))
        fixed = [images.loc[of_map, f"dice_at_{limit}"].to_numpy()[:, None] for limit in limits]
        every = np.concatenate([at, *fixed], axis=1)
        images.loc[of_map, ORACLE] = every[:, int(np.argmax(np.nanmean(every, axis=0)))]


def threshold_of_oracle(tally: Tally) -> float:
    """The value of the map where its Dice is best over all images."""
    at = np.nanmean(thresholds.dice(np.stack(tally.each["marked"]), np.stack(tally.each["rest"])), axis=0)
    return float(tally.edges[:: tally.every][int(np.argmax(at))])


def _setting(looked: Looked) -> str:
    """How many images and how much of them is marked."""
    own = looked.images[looked.images["map"] == MAP]
    ill, share = int((own["lesions"] > 0).sum()), float(_share(looked.tallies[MAP]))
    empty = len(own) - ill
    rest = f" and {empty} whose truth is empty, which count as normals" if empty else ""
    return (
        f"{ill} images with {int(own['lesions'].sum())} lesions{rest}, of {len(np.unique(looked.subjects))} persons; "
        f"{100 * share:.2f} % of all {looked.pixel}s are marked, which is the average precision of a map that is all "
        "alike."
    )


def _share(tally: Tally) -> float:
    marked = int(tally.marked.sum())
    return marked / (marked + int(tally.rest.sum()))


def _of_normals(looked: Looked, limits: Mapping[str, float]) -> list[str]:
    """How much is marked of images whose truth is empty: whether the limits hold here."""
    own = looked.images[(looked.images["map"] == MAP) & (looked.images["lesions"] == 0)]
    if own.empty or not limits:
        return []
    shares = [f"{100 * own[f'marked_at_{name}'].mean():.2g} % at the limit for {name} %" for name in limits]
    return [f"Of the {looked.pixel}s of the {len(own)} images without a lesion the map marks {' and '.join(shares)}."]


def _caption(looked: Looked) -> str:
    least = min((tally.edges.size for tally in looked.tallies.values() if tally.edges.size), default=0)
    exact = (
        "exact" if least < thresholds.MOST else f"by {thresholds.MOST:,} thresholds at even shares of what is marked"
    )
    return (
        f"Figures over all thresholds are {exact}; 95 % intervals by drawing persons anew, none with fewer than ten. "
        "Means are over images whose truth marks anything. PRO: Bergmann et al. 2021. Floors, in the units of each "
        "image, between its 0.5 and 99.5 percentiles: raw image (bright counts), dark, the distance |x - mean| from "
        f"that image's own mean, and {ALIKE}. Where a figure takes a fixed limit, each floor marks as many "
        f"{looked.pixel}s of an image as the map does. The interval of the oracle does not count the choice of its "
        "threshold."
    )
