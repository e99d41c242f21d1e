"""Whether lesions that were painted in help a segmenter find real ones: trained with them, and without."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from anomaly.painters.lesions import NORMAL
from anomaly.segmenters.supervised import Supervised
from anomaly.training.machine import Machine
from anomaly.translation.figures import Figure, mean_of_subjects
from explain.painting.judging import ASKED, JUDGE
from explain.painting.keeping import Kept
from explain.painting.painting import paint_image
from explain.painting.run import PainterRun
from explain.painting.shapes import laid, tissue

WITH, WITHOUT = "with painted", "without painted"
BATCH = 8
Pictures = Sequence[tuple[np.ndarray, np.ndarray]]
"""Images (C, *space) in [-1, 1] with the places of classes (*space)."""


class LabelledWindows:
    """An endless sequence of batches of windows with labels; every second one about a lesion.

    Args:
        pictures: images with labels.
        window: pixels a side.
        seed: of everything that chance decides.
    """

    def __init__(self, pictures: Pictures, window: Sequence[int], seed: int) -> None:
        self.pictures, self.window, self.seed = pictures, tuple(window), seed
        self.ill = [k for k, (_, places) in enumerate(pictures) if places.any()]

    def __getitem__(self, k: int) -> tuple[Tensor, Tensor]:
        """Batch k."""
        rng = np.random.default_rng([self.seed, k])
        found = [self._one(rng, bool(j % 2)) for j in range(BATCH)]
        x, places = (np.stack(each) for each in zip(*found, strict=True))
        return torch.from_numpy(x).float(), torch.from_numpy(places).long()

    def _one(self, rng: np.random.Generator, ill: bool) -> tuple[np.ndarray, np.ndarray]:
        which = self.ill[int(rng.integers(len(self.ill)))] if ill else int(rng.integers(len(self.pictures)))
        x, places = self.pictures[which]
        sides = zip(places.shape, self.window, strict=True)
        starts = [int(rng.integers(0, side - length + 1)) for side, length in sides]
        if ill:
            middle = np.argwhere(places)[int(rng.integers(int((places > 0).sum())))]
            ends = np.array(places.shape) - self.window
            starts = [
                int(min(max(m - rng.integers(1, w), 0), e)) for m, w, e in zip(middle, self.window, ends, strict=True)
            ]
        box = tuple(slice(a, a + w) for a, w in zip(starts, self.window, strict=True))
        x, places = x[(slice(None), *box)], places[box]
        axes = [int(a) for a in np.flatnonzero(rng.random(places.ndim) < 0.5)]
        return np.flip(x, tuple(a + 1 for a in axes)).copy(), np.flip(places, tuple(axes)).copy()


def helped(run: PainterRun, kept: Kept, steps: int, seed: int, device: str) -> list[Figure]:
    """Dice of real lesions of persons not seen, by a segmenter trained with painted ones and without.

    Both learn from the same real images of other persons, as many steps, from the same weights; the one sees those
    persons' normal images with a lesion painted in as well.
    """
    real, asked = _pictures(kept, JUDGE), [*_pictures(kept, ASKED)]
    added = painted_cases(run, kept, seed)
    whose = kept.table["subject"].to_numpy()[[row for row, _ in kept.items(ASKED)]]
    found: dict[str, np.ndarray] = {}
    ill = np.array([bool(places.any()) for _, places in asked])
    for name, pictures in ((WITHOUT, real), (WITH, [*real, *added])):
        segmenter = Supervised(steps=steps, batch=BATCH)
        segmenter.fit(
            LabelledWindows(pictures, run.window, seed), run.painter.shape_, 1 + len(run.names),
            machine=Machine(device=device), seed=seed,
        )  # fmt: skip
        found[name] = np.array([_dice(segmenter, *each) for each, sick in zip(asked, ill, strict=True) if sick])
    note = f"{sum(bool(p.any()) for _, p in real)} real images or slices with lesions, {len(added)} painted"
    figures = [mean_of_subjects("dice", name, values, whose[ill], note) for name, values in found.items()]
    return [*figures, mean_of_subjects("dice_gained", WITH, found[WITH] - found[WITHOUT], whose[ill], "by person")]


def painted_cases(run: PainterRun, kept: Kept, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Normal images of the judge's persons with a lesion of the training's shapes painted in, classes in turn."""
    found = list[tuple[np.ndarray, np.ndarray]]()
    for number, (row, s) in enumerate(kept.items(JUDGE)):
        x, places, around = (each[s] for each in kept.arrays_of(row))
        if places.any():
            continue
        place, rng = 1 + len(found) % len(run.names), np.random.default_rng([seed, number])
        shapes = [each for each in run.shapes if each.place == place]
        hole = laid(shapes[int(rng.integers(len(shapes)))], places.shape, rng, near=True, allowed=tissue(x))
        if hole is None:
            continue
        wanted = np.where(hole, place, NORMAL).astype(np.uint8)
        kinds = np.arange(1 + len(run.names))
        drawn = paint_image(run.painter, x[None], wanted[None], kinds, around[None], f"case {number}", seed=seed)
        found.append((drawn[0, 0], wanted))
    return found


def _pictures(kept: Kept, part: str) -> list[tuple[np.ndarray, np.ndarray]]:
    found = []
    for row, s in kept.items(part):
        x, places, _ = kept.arrays_of(row)
        found.append((x[s], places[s]))
    return found


def _dice(segmenter: Supervised, x: np.ndarray, places: np.ndarray) -> float:
    """Of all lesions together."""
    shares = segmenter.probabilities(torch.from_numpy(np.array(x))[None].float())[0]
    marked = shares[0].numpy() < 0.5
    both = (marked & (places > 0)).sum()
    return float(2 * both / (marked.sum() + (places > 0).sum()))
