"""Windows of lesions: every class as often as the others, whatever the batch and however many processes share it."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from anomaly.errors import AnomalyError
from explain.painting.keeping import Kept
from explain.painting.windows import LesionWindows

SIDE = 8


def kept(classes: int) -> Kept:
    """Two images with a pixel of each class, and two without any."""
    places = [1 + k % classes for k in range(2 * classes)] + [0, 0]
    lesions = np.zeros((len(places), SIDE, SIDE), dtype=np.uint8)
    lesions[:, 3, 4] = places
    x = np.random.default_rng(0).normal(0, 0.1, lesions.shape).astype(np.float32)
    names = [str(k) for k in range(len(places))]
    table = pd.DataFrame({"id": names, "subject": names, "path": names, "split": "train", "slices": 1})
    arrays = {"images": x.ravel(), "lesions": lesions.ravel(), "tissues": np.zeros(x.size, dtype=np.uint8)}
    return Kept(table, np.full((len(places), 2), SIDE), 1, arrays, {})


@pytest.mark.parametrize("even", [False, True])
@pytest.mark.parametrize(
    ("size", "classes", "processes"),
    [(2, 2, 1), (2, 3, 1), (4, 4, 1), (6, 2, 1), (3, 2, 1), (8, 3, 1), (8, 2, 4), (8, 3, 2), (9, 2, 3), (4, 2, 4)],
)
def test_every_class_is_seen_as_often(size: int, classes: int, processes: int, even: bool) -> None:
    images, seen, batches = kept(classes), Counter[int](), 12
    for which in range(processes):
        source = LesionWindows(
            images, "train", 1 + classes, 0, size=size, window=(4, 4), share=(which, processes), even=even
        )  # fmt: skip
        for k in range(batches):
            holes = source[k]
            assert len(holes.classes) == size // processes
            seen.update(holes.classes.tolist())
    total = size * batches
    assert sum(seen.values()) == total
    for place in range(1 + classes):
        share = total / (1 + classes) if even else total / 2 if place == 0 else total / 2 / classes
        assert abs(seen[place] - share) <= 1, (place, seen)


def test_a_batch_of_one_is_refused() -> None:
    with pytest.raises(AnomalyError, match="got batch=1; half of a batch are lesions"):
        LesionWindows(kept(2), "train", 3, 0, size=1, window=(4, 4))
