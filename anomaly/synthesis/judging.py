"""Whether a segmenter finds in drawn images what their label maps say, as it does in real ones."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anomaly.errors import AnomalyError
from anomaly.painters.mapped import NOWHERE
from anomaly.runs.facts import SEGMENTER, opened
from anomaly.runs.run import WEIGHTS, torch_device
from anomaly.segmenters.losses import hard_dice
from anomaly.segmenters.register import SEGMENTERS
from anomaly.segmenters.supervised import Supervised
from anomaly.synthesis.caching import MappedBatches
from anomaly.synthesis.holding import Held
from anomaly.synthesis.run import SynthesizerRun
from anomaly.training.batches import passes
from anomaly.training.machine import Machine
from anomaly.translation.figures import Figure, mean_of_subjects

logger = logging.getLogger(__name__)
SMALL = {"steps": 600, "width": 12, "levels": 4, "batch": 4, "lr": 4e-3}
FEWEST = 4
"""Subjects below which no segmenter is trained for the purpose."""
Finder = Callable[[np.ndarray], np.ndarray]
"""Images (n, C, *space) -> places of classes (n, *space)."""


def open_segmenter(folder: Path | str, run: SynthesizerRun, device: str) -> Finder:
    """A segmenter that knows the same classes of images prepared alike.

    Raises:
        RunError: there is none.
        AnomalyError: it prepares images otherwise, or knows other classes.
    """
    folder = Path(folder)
    facts = opened(folder, SEGMENTER)
    ours, theirs = run.facts["preprocessing"], facts["preprocessing"]
    differ = [f"{name} {theirs.get(name)}, expected {each}" for name, each in ours.items() if theirs.get(name) != each]
    if differ:
        raise AnomalyError(f"{folder} was trained on images prepared otherwise ({'; '.join(differ)}); train one alike")
    if facts["classes"]["numbers"] != run.facts["classes"]["numbers"]:
        raise AnomalyError(
            f"{folder} knows the classes {facts['classes']['numbers']}, expected {run.facts['classes']['numbers']}; "
            "train one with the same --classes"
        )
    segmenter = SEGMENTERS[facts["method"]].load(folder / WEIGHTS, torch_device(device))
    return lambda images: _found(segmenter, images)


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
    """Dice (n, K - 1) of each class in each image against its label map; NaN where neither has any of it."""
    found = find(images)
    told = []
    for one, places in zip(found, held.places, strict=True):
        inside = places != NOWHERE
        shares = np.eye(classes, dtype=np.float32)[np.where(inside, one, 0)]
        hot, truth = torch.from_numpy(np.moveaxis(shares, -1, 0)[None]), np.where(inside, places, 0)[None]
        told.append(hard_dice(hot, torch.from_numpy(truth.astype(np.int64))).numpy())
    return np.stack(told)


def figures_of(name: str, dice: np.ndarray, names: Sequence[str], subjects: np.ndarray, note: str) -> list[Figure]:
    """The mean over classes, and each class, as figures."""
    known = np.isfinite(dice)
    counted = np.where(known.any(1), np.where(known, dice, 0).sum(1) / np.maximum(known.sum(1), 1), np.nan)
    found = [mean_of_subjects("dice", name, counted, subjects, note)]
    return [*found, *(mean_of_subjects(f"dice_{n}", name, dice[:, k], subjects, note) for k, n in enumerate(names))]


def _found(segmenter: Any, images: np.ndarray) -> np.ndarray:
    size, found = passes(images.shape[1:]), []
    for start in range(0, len(images), size):
        x = torch.from_numpy(np.array(images[start : start + size], dtype=np.float32))
        found.append(segmenter.probabilities(x).argmax(1).numpy().astype(np.uint8))
    return np.concatenate(found)
