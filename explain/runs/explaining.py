"""Explain prepared images: arrays and figures of each, whatever number of slices it has."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from anomaly.errors import UnreadableImage
from anomaly.images import Image
from anomaly.images.prepared import Prepared, scaled
from anomaly.training.batches import chunks
from explain.measures.metrics import proximity, sparsity
from explain.runs.given import TargetRun
from explain.runs.nothing import AS_DRAWN, LARGEST, IfNothing
from explain.runs.records import Record, Walks
from explain.runs.source import Source


def prepare(image: Image, source: Source) -> tuple[Prepared, ...]:
    """The image as the explainer takes it.

    Raises:
        UnreadableImage: it does not suit the preprocessing, or has another shape than those learned from.
    """
    prepared = scaled(source.preprocessing.apply(image), image.path)
    shape, expected = prepared.pixels.shape[1:], getattr(source.explainer, "shape_", prepared.pixels.shape[1:])
    if shape != expected:
        raise UnreadableImage(f"{image.path}: has shape {shape} once prepared; expected {expected} (C, *space)")
    return (prepared,)


def records(source: Source, prepared: Sequence[Prepared], images: Sequence[Image] | None = None) -> list[Record]:
    """Explain prepared images; figures of a volume taken slice by slice are means over its slices (of the
    largest change the largest).

    Walks are kept where the images are given as well, to draw them.
    """
    pixels = np.concatenate([each.pixels for each in prepared])
    walks = None if images is None else Walks(images, prepared, source.target)
    parts = [_part(source, x, walks) for x in chunks(pixels, source.device)]
    nothing = IfNothing.of(source)
    ends = np.cumsum([0, *(len(each.pixels) for each in prepared)])
    figures = {name: np.concatenate([part[1][name] for part in parts]) for name in parts[0][1]}

    def joined(name: str) -> Any:
        return None if parts[0][0][name] is None else np.concatenate([part[0][name] for part in parts])

    map, change, field, spread = (joined(name) for name in ("map", "change", "field", "spread"))
    return [
        Record(
            map[a:b],
            None if change is None else change[a:b],
            None if field is None else field[a:b],
            None if spread is None else spread[a:b],
            nothing.beside(_flips(source, {name: _of_slices(name, each[a:b]) for name, each in figures.items()})),
            None if walks is None else walks.of(i),
        )
        for i, (a, b) in enumerate(pairwise(ends))
    ]


def _of_slices(name: str, values: np.ndarray) -> float:
    """A figure of an image from those of its slices: the largest of what is largest, else the mean."""
    return float(values.max() if name == LARGEST else values.mean())


def _part(source: Source, x: torch.Tensor, walks: Walks | None) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Arrays and figures (n,) of a few images; their walks are given away."""
    as_drawn = source.as_drawn(x)
    explanation = source.calibrated(as_drawn, x)
    drawn = explanation.counterfactual
    figures: dict[str, np.ndarray] = {}
    if drawn is not None:
        ours, theirs = _numpy(x), _numpy(drawn)
        largest = np.abs(ours - theirs).reshape(len(ours), -1).max(1)
        figures = {"change": proximity(ours, theirs), LARGEST: largest, "unchanged": sparsity(ours, theirs)}
        if source.calibration is not None and as_drawn.counterfactual is not None:
            figures[AS_DRAWN] = proximity(ours, _numpy(as_drawn.counterfactual))
    for name, run in asking(source):
        figures |= _asked(name, run, x, drawn)
    figures |= {name: _numpy(each) for name, each in explanation.diagnostics.items() if name not in figures}
    if walks is not None and explanation.walk is not None:
        walks.add(explanation, figures.get("target_before"), figures.get("target_after"))
    arrays = {
        "map": _numpy(explanation.map),
        "change": None if drawn is None else _numpy(x - drawn),
        "field": None if explanation.field is None else _numpy(explanation.field),
        "spread": None if explanation.spread is None else _numpy(explanation.spread),
    }
    return arrays, figures


def _asked(name: str, run: TargetRun, x: torch.Tensor, drawn: torch.Tensor | None) -> dict[str, np.ndarray]:
    with torch.no_grad():
        told = {f"{name}_before": _numpy(run.value(x))}
        return told if drawn is None else told | {f"{name}_after": _numpy(run.value(drawn))}


def _flips(source: Source, figures: dict[str, float]) -> dict[str, float]:
    """Whether target and judge took the image for a case, and its counterfactual for a control."""
    for name, run in asking(source):
        if f"{name}_after" in figures:
            flipped = figures[f"{name}_before"] > run.threshold >= figures[f"{name}_after"]
            figures[f"{name}_flipped"] = int(flipped)
    return figures


def asking(source: Source) -> list[tuple[str, TargetRun]]:
    """The target and the judge, where there are such."""
    there = (("target", source.target), ("judge", source.judge))
    return [(name, run) for name, run in there if run is not None]


def _numpy(x: torch.Tensor) -> np.ndarray:
    return x.detach().float().cpu().numpy()
