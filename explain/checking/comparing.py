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
from explain.base import Explainer
from explain.checking.findings import Floor, Shown, columns, counts, floor_of, mean, ratio
from explain.checking.images import Row, middle, spread, streamed
from explain.measures.metrics import similarity
from explain.runs.source import Source

SAMPLED = 32
"""Images whose real maps say how alike maps of different images are."""
SHOWN = 6


@dataclass(frozen=True)
class Compared:
    """Maps of other explainers beside the real ones, an image a column; a slice of a volume counts as one.

    Args:
        subjects: (n,).
        real: mean |map| of the real explainer, (n,).
        largest: the largest |map| of the real explainer in each image, (n,).
        other: of the k others, (k, n).
        raw_real, raw_other: the same as they are drawn, where something is taken away of maps of a run.
        signed, absolute: rank correlation of their maps, and of the sizes of these, with the real ones, (k, n).
        floor: how alike real maps of different images are.
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
        """Mean |map| of one of the others, or of all, over that of the real one."""
        changed = self.other.mean(0) if which is None else self.other[which]
        return ratio(changed, self.real, self.subjects)

    def raw_size(self, which: int | None = None) -> Estimate:
        """The same of maps as they are drawn."""
        changed = self.raw_other.mean(0) if which is None else self.raw_other[which]
        return ratio(changed, self.raw_real, self.subjects)

    def alike(self, which: int) -> tuple[Estimate, Estimate]:
        """Mean rank correlations of one of the others, of maps and of their sizes."""
        return mean(self.signed[which], self.subjects), mean(self.absolute[which], self.subjects)

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
        others: by name, on the same device.
        table: of the images, with id, subject and path.
        workers: threads that read.

    Raises:
        CohortError: no image can be read.
        AnomalyError: the real maps are 0 everywhere, so nothing could be smaller.
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
    if not figures["real"].any():
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
    """Of some images: whose they are, figures by name, and of those kept whose, pixels and (n, 1 + k) maps."""

    subjects: np.ndarray
    figures: dict[str, np.ndarray]
    kept: tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]
    sliced: bool


def _part(
    source: Source, others: Mapping[str, Explainer], group: Sequence[tuple[Row, np.ndarray]], kept: set[str]
) -> _Part:
    pixels = np.concatenate([each for _, each in group])
    found: list[list[np.ndarray]] = []
    drawn: list[list[np.ndarray]] = []
    for x in chunks(pixels, source.device):
        each = [source.as_drawn(x), *(source.within_masks(other.explain(x), x) for other in others.values())]
        drawn.append([_sizes(explanation.map) for explanation in each])
        found.append([source.calibrated(one, x).map.float().cpu().numpy() for one in each])
    real, *rest = (np.concatenate(maps) for maps in zip(*found, strict=True))
    raw_real, *raw_rest = (np.concatenate(sizes) for sizes in zip(*drawn, strict=True))
    pairs = [similarity(maps, real) for maps in rest]
    figures = {
        "real": _size(real),
        "largest": np.abs(real).reshape(len(real), -1).max(1),
        "other": np.array([_size(maps) for maps in rest]).reshape(len(rest), len(real)),
        "raw_real": raw_real,
        "raw_other": np.array(raw_rest).reshape(len(rest), len(real)),
        "signed": np.array([signed for signed, _ in pairs]).reshape(len(rest), len(real)),
        "absolute": np.array([absolute for _, absolute in pairs]).reshape(len(rest), len(real)),
    }
    lengths = [len(each) for _, each in group]
    subjects = np.repeat(np.array([row["subject"] for row, _ in group], dtype=object), lengths)
    every = np.stack([real, *rest], axis=1)
    keeps: tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]] = ([], [], [])
    for (row, _), (a, b) in zip(group, pairwise(np.cumsum([0, *lengths])), strict=True):
        if row["id"] in kept:
            for parts, whole in zip(keeps, (subjects, pixels, every), strict=True):
                parts.append(middle(whole[a:b]))
    return _Part(subjects, figures, keeps, max(lengths) > 1)


def _sizes(maps: Tensor) -> np.ndarray:
    return _size(maps.float().cpu().numpy())


def _size(maps: np.ndarray) -> np.ndarray:
    return np.abs(maps).mean(axis=tuple(range(1, maps.ndim)), dtype=np.float64)
