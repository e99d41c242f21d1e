"""Whether a segmenter finds in drawn images what their label maps say, as it does in real ones."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from anomaly.cohorts.cohort import refuse_overlap
from anomaly.errors import AnomalyError
from anomaly.painters.mapped import NOWHERE
from anomaly.segmentation.run import SegmenterRun
from anomaly.segmenters.supervised import Supervised
from anomaly.synthesis.caching import MappedBatches
from anomaly.synthesis.holding import Held
from anomaly.synthesis.run import SynthesizerRun
from anomaly.training.batches import passes
from anomaly.training.machine import Machine
from anomaly.translation.figures import Figure, mean_of_subjects

logger = logging.getLogger(__name__)
SMALL = {"steps": 600, "width": 12, "levels": 4, "batch": 4, "lr": 4e-3}
SEEN = 0.2
"""Dice in real images below which a judge is blind to a class."""
FEWEST = 4
"""Subjects below which no segmenter is trained for the purpose."""
Finder = Callable[[np.ndarray], np.ndarray]
"""Images (n, C, *space) -> places of classes (n, *space)."""


def open_segmenter(
    folder: Path | str, run: SynthesizerRun, cohort: pd.DataFrame, device: str, *, allow_overlap: bool = False
) -> Finder:
    """A segmenter that knows the same classes of images prepared alike, and nobody whose images it is to judge.

    Args:
        folder: its run.
        run: of the synthesizer.
        cohort: the images, with their subject.
        device: where it runs.
        allow_overlap: take subjects that it was trained on as well.

    Raises:
        RunError: there is none.
        AnomalyError: it prepares images otherwise, or knows other classes.
        CohortError: it was trained on some of these subjects.
    """
    folder = Path(folder)
    judge = SegmenterRun.open(folder, device=device)
    facts = judge.facts
    ours, theirs = run.facts["preprocessing"], facts["preprocessing"]
    differ = [f"{name} {theirs.get(name)}, expected {each}" for name, each in ours.items() if theirs.get(name) != each]
    if differ:
        raise AnomalyError(f"{folder} was trained on images prepared otherwise ({'; '.join(differ)}); train one alike")
    if facts["classes"]["numbers"] != run.facts["classes"]["numbers"]:
        raise AnomalyError(
            f"{folder} knows the classes {facts['classes']['numbers']}, expected {run.facts['classes']['numbers']}; "
            "train one with the same --classes"
        )
    if not allow_overlap:
        refuse_overlap(judge.trained, cohort, folder)
    return lambda images: _found(judge.segmenter, images)


def trained_on(
    held: Held, pixels: np.ndarray, classes: int, settings: Mapping[str, Any], *, seed: int, device: str
) -> Finder:
    """A small supervised segmenter that learns from these images (n, C, *space) of the maps of `held`."""
    asked: dict[str, Any] = {**SMALL, **settings}
    segmenter = Supervised(**asked)
    places = np.where(held.places == NOWHERE, 0, held.places)
    source = MappedBatches(pixels, places, size=segmenter.batch, seed=seed)
    segmenter.fit(source, pixels.shape[1:], classes, machine=Machine(device=device), seed=seed)
    return lambda images: _found(segmenter, images)


def halves(subjects: np.ndarray, seed: int) -> np.ndarray:
    """Which images belong to a half of the subjects, drawn by chance."""
    names = np.unique(subjects)
    return np.isin(subjects, np.random.default_rng(seed).permutation(names)[: len(names) // 2])


def dice_of(find: Finder, images: np.ndarray, held: Held, classes: int) -> np.ndarray:
    """Dice (n, K - 1) of each class in each image against its label map; NaN where the map has none of it.

    What is found of a class that the map has not counts in `judged` alone, else its 0 would weigh as much as a lesion
    missed, and only where something was found.
    """
    return judged(find(images), held, classes)[0]


def judged(found: np.ndarray, held: Held, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Dice of classes that label maps have, and whether those that they have not are found all the same.

    Args:
        found: places of classes (n, *space).
        held: their label maps.
        classes: the background among them.

    Returns:
        Two times (n, K - 1): Dice, NaN where a map has none of the class; 1 or 0, NaN where it has some.
    """
    truth = np.where(held.places == NOWHERE, 0, held.places).reshape(len(held.places), -1)
    said = np.where(held.places == NOWHERE, 0, found).reshape(truth.shape)
    dice, falsely = np.full((2, len(truth), classes - 1), np.nan)
    for place in range(1, classes):
        there, seen = truth == place, said == place
        has, total = there.any(1), there.sum(1) + seen.sum(1)
        both = 2 * (there & seen).sum(1) / np.maximum(total, 1)
        dice[:, place - 1], falsely[:, place - 1] = np.where(has, both, np.nan), np.where(has, np.nan, seen.any(1))
    return dice, falsely


def false_finds(name: str, falsely: np.ndarray, names: Sequence[str], subjects: np.ndarray) -> list[Figure]:
    """Of each class, the share of images without it in which it is found."""
    note = "share of images whose map has none of it"
    return [mean_of_subjects(f"false_{n}", name, falsely[:, k], subjects, note) for k, n in enumerate(names)]


def seen_by(real: np.ndarray) -> np.ndarray:
    """Which classes (K - 1,) a judge finds in real images, by their Dice (n, K - 1): on average 0.2 or more."""
    told = np.isfinite(real)
    means = np.where(told, real, 0).sum(0) / np.maximum(told.sum(0), 1)
    return np.asarray(told.any(0) & (means >= SEEN))


def compared(
    dice: Mapping[str, np.ndarray], subjects: np.ndarray, *, drawn: str, real: str, means: str, seed: int
) -> list[Figure]:
    """Dice in drawn images as a share of that in real ones, and less that in class means; of classes that it sees.

    The interval is that of 2,000 draws of subjects with replacement, each with both of its means.

    Args:
        dice: (n, K - 1) by the way of drawing.
        subjects: of each image.
        drawn, real, means: ways of drawing; class means need not be there.
        seed: of the draws.
    """
    seen = seen_by(dice[real])
    note = "of the classes that are found in real images"
    if not seen.any():
        return [Figure("share_of_real", drawn, np.nan, note="no class is found in real images")]
    ours = {name: _over(values[:, seen]) for name, values in dice.items()}
    known = np.isfinite(ours[real])
    names, which = np.unique(subjects[known], return_inverse=True)
    counts = np.bincount(which)
    top, below = (np.bincount(which, ours[name][known]) / counts for name in (drawn, real))
    drawn_again = np.random.default_rng(seed).integers(len(names), size=(2000, len(names)))
    shares = top[drawn_again].mean(1) / np.maximum(below[drawn_again].mean(1), 1e-9)
    low, high = np.quantile(shares, (0.025, 0.975)) if len(names) > 1 else (np.nan, np.nan)
    value = float(top.mean() / max(below.mean(), 1e-9))
    share = Figure("share_of_real", drawn, value, float(low), float(high), int(known.sum()), len(names), note)
    gain = [mean_of_subjects("beyond_means", drawn, ours[drawn] - ours[means], subjects, note)] if means in ours else []
    return [share, *gain]


def _over(dice: np.ndarray) -> np.ndarray:
    """Means (n,) over the classes that an image has; NaN where it has none."""
    known = np.isfinite(dice)
    return np.where(known.any(1), np.where(known, dice, 0).sum(1) / np.maximum(known.sum(1), 1), np.nan)


def figures_of(name: str, dice: np.ndarray, names: Sequence[str], subjects: np.ndarray, note: str) -> list[Figure]:
    """The mean over classes, and each class, as figures."""
    found = [mean_of_subjects("dice", name, _over(dice), subjects, note)]
    return [*found, *(mean_of_subjects(f"dice_{n}", name, dice[:, k], subjects, note) for k, n in enumerate(names))]


def _found(segmenter: Any, images: np.ndarray) -> np.ndarray:
    size, found = passes(images.shape[1:]), []
    for start in range(0, len(images), size):
        x = torch.from_numpy(np.array(images[start : start + size], dtype=np.float32))
        found.append(segmenter.probabilities(x).argmax(1).numpy().astype(np.uint8))
    return np.concatenate(found)
