"""The maps of explainers trained anew beside those of the real one, on images that none of them was trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from anomaly.errors import AnomalyError, CohortError
from anomaly.pictures.scales import FINEST
from anomaly.statistics import Estimate
from anomaly.training.batches import chunks, evenly
from explain.base import Explainer, Explanation
from explain.checking.findings import Floor, Shown, columns, counts, floor_of, mean, ratio
from explain.checking.holding import by_person
from explain.checking.images import Row, middle, spread, streamed
from explain.measures.metrics import similarity
from explain.runs.shrinking import changes
from explain.runs.source import Source

SAMPLED = 32
"""Images whose real maps say how alike maps of different images are."""
SHOWN = 6


@dataclass(frozen=True)
class Compared:
    """Maps of other explainers beside the real ones, an image a column; a volume taken apart is one, not its slices.

    Every mean that is told is one over persons, each the mean of that person's images; but for those of `floor`, which
    are over pairs of images. A change is |image -
    counterfactual|, in which those of two channels do not cancel; |map| where there is no counterfactual.

    Args:
        subjects: (n,).
        real: mean change by the real explainer, (n,).
        largest: the largest change by the real explainer in each image, (n,).
        other: of the k others, (k, n).
        raw_real, raw_other: the same as they are drawn, where something is taken away of maps of a run.
        signed, absolute: rank correlation of their maps, and of the sizes of these, with the real ones, (k, n).
        floor: how alike real maps of different persons are, in pairs of up to 32 of the images, evenly spread, of a
            volume taken apart its middle slice alone; beside `signed` and `absolute` for comparison, and in no verdict.
        shown: a few images with all their maps.
        errors: id, path and error of images that cannot be read.
    """

    subjects: np.ndarray
    real: np.ndarray
    largest: np.ndarray
    other: np.ndarray
    raw_real: np.ndarray
    raw_other: np.ndarray
    signed: np.ndarray
    absolute: np.ndarray
    floor: Floor
    shown: Shown
    errors: list[dict[str, Any]]

    def size(self, which: int | None = None) -> Estimate:
        """Mean change by one of the others, or by all, over that by the real one."""
        return self._ratio(self.other, self.real, which)

    def raw_size(self, which: int | None = None) -> Estimate:
        """The same of maps as they are drawn."""
        return self._ratio(self.raw_other, self.raw_real, which)

    def alike(self, which: int) -> tuple[Estimate, Estimate]:
        """Mean rank correlations of one of the others, of maps and of their sizes."""
        signed, absolute = (self._persons(each[which]) for each in (self.signed, self.absolute))
        return mean(signed, np.arange(len(signed))), mean(absolute, np.arange(len(absolute)))

    def _ratio(self, other: np.ndarray, real: np.ndarray, which: int | None) -> Estimate:
        changed, beside = self._persons(other.mean(0) if which is None else other[which]), self._persons(real)
        return ratio(changed, beside, np.arange(len(beside)))

    def _persons(self, values: np.ndarray) -> np.ndarray:
        """Of figures of images, (n,), the mean of each person, (m,)."""
        return by_person(values[:, None], self.subjects)[:, 0]

    def row(self, which: int) -> dict[str, Any]:
        """All that is to be told of one of the others, for the table."""
        signed, absolute = self.alike(which)
        sizes = columns("ratio", self.size(which)) | {"ratio_as_drawn": self.raw_size(which).value}
        figures = sizes | columns("signed", signed) | columns("absolute", absolute)
        return counts(self.subjects) | figures | self.floor.columns


def compared(
    source: Source, others: Mapping[str, Explainer], table: pd.DataFrame, workers: int | None = None
) -> Compared:
    """Explain images by the real explainer and by others.

    Args:
        source: the real one.
        others: by name, on the same device; none, to look at the real maps alone before anything is trained.
        table: of the images, with id, subject and path.
        workers: threads that read.

    Raises:
        CohortError: no image can be read.
        AnomalyError: the real maps are 0 everywhere, so nothing of the others could be smaller.
    """
    rows: list[Any] = table.to_dict("records")
    kept = {row["id"] for row in spread(rows, SAMPLED)}
    errors: list[dict[str, Any]] = []
    parts: list[_Part] = []
    for group in streamed(source, rows, workers, errors):
        parts.append(_part(source, others, group, kept))
    if not any(part.kept[0] for part in parts):
        raise CohortError(f"{len(errors)} of {len(rows)} images held out cannot be read; first: {errors[0]['error']}")
    figures = {name: np.concatenate([part.figures[name] for part in parts], axis=-1) for name in parts[0].figures}
    if others and not figures["real"].any():
        raise AnomalyError(
            f"the maps of {source.identities['source'][:12]} are 0 in all {len(figures['real'])} images held out, so "
            "there is nothing to check; train longer, or with less weight on small changes"
        )
    subjects = np.concatenate([part.subjects for part in parts])
    whose, images, maps = (np.concatenate([each for part in parts for each in part.kept[k]]) for k in range(3))
    few = evenly(len(images), SHOWN)
    sliced = any(part.sliced for part in parts)
    limit = max(float(source.run.facts["held_out"]["limit"]), FINEST) if source.run else None
    rows_of_maps = {name: maps[few, k] for k, name in enumerate(["real", *others])}
    shown = Shown(images[few], rows_of_maps, limit, sliced, "intensity: original less counterfactual")
    floor = floor_of(maps[:, 0], whose)
    return Compared(subjects, **figures, floor=floor, shown=shown, errors=errors)


@dataclass(frozen=True)
class _Part:
    """Of some images: whose they are, figures by name, and of those kept whose, a slice's pixels and (1 + k) maps."""

    subjects: np.ndarray
    figures: dict[str, np.ndarray]
    kept: tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]
    sliced: bool


def _part(
    source: Source, others: Mapping[str, Explainer], group: Sequence[tuple[Row, np.ndarray]], kept: set[str]
) -> _Part:
    pixels = np.concatenate([each for _, each in group])
    found: list[list[np.ndarray]] = []
    sizes: list[list[np.ndarray]] = []
    for x in chunks(pixels, source.device):
        drawn = [source.as_drawn(x), *(source.within_masks(other.explain(x), x) for other in others.values())]
        left = [source.calibrated(one, x) for one in drawn]
        found.append([one.map.float().cpu().numpy() for one in left])
        sizes.append([_sizes(one, x) for one in (*left, *drawn)])
    real, *rest = (np.concatenate(maps) for maps in zip(*found, strict=True))
    of_left, of_drawn = np.split(np.array([np.concatenate(each, axis=1) for each in zip(*sizes, strict=True)]), 2)
    pairs = np.array([similarity(maps, real) for maps in rest]).reshape(len(rest), 2, len(real))
    figures = {
        **{"real": of_left[0, 0], "largest": of_left[0, 1], "other": of_left[1:, 0]},
        **{"raw_real": of_drawn[0, 0], "raw_other": of_drawn[1:, 0]},
        **{"signed": pairs[:, 0], "absolute": pairs[:, 1]},
    }
    subjects = np.array([row["subject"] for row, _ in group], dtype=object)
    places = list(pairwise(np.cumsum([0, *(len(each) for _, each in group)])))
    every = np.stack([real, *rest], axis=1)
    keeps: tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]] = ([], [], [])
    for i, ((row, _), (a, b)) in enumerate(zip(group, places, strict=True)):
        if row["id"] in kept:
            for parts, part in zip(keeps, (subjects[i : i + 1], pixels[a:b], every[a:b]), strict=True):
                parts.append(middle(part))
    of_images = {name: _of_images(name, values, places) for name, values in figures.items()}
    return _Part(subjects, of_images, keeps, len(pixels) > len(group))


def _of_images(name: str, values: np.ndarray, places: Sequence[tuple[int, int]]) -> np.ndarray:
    """Figures of images, (..., n), of those of their slices: the largest of what is largest, else the mean."""
    parts = [values[..., a:b] for a, b in places]
    return np.stack([part.max(-1) if name == "largest" else part.mean(-1) for part in parts], axis=-1)


def _sizes(explanation: Explanation, x: Tensor) -> np.ndarray:
    """The mean and the largest change of each image or slice, (2, N)."""
    changed = changes(explanation, x).flatten(1).double()
    return np.stack([changed.mean(1).cpu().numpy(), changed.amax(1).cpu().numpy()])
