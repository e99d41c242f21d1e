"""What a target learned, taken out of it layer by layer: does the map go as well? (Adebayo et al. 2018.)"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from torch import nn

from anomaly.errors import AnomalyError
from anomaly.progress import progress
from anomaly.statistics import Estimate
from explain.attributions.masked import WithinMask
from explain.attributions.networks import network_behind
from explain.base import Target
from explain.checking.again import drawn_seed
from explain.checking.findings import OTHERS, Finding, Floor, Shown, columns, counts, floor_of, mean, over
from explain.checking.images import Sample, maps_of
from explain.measures.faithfulness import randomised
from explain.measures.metrics import similarity
from explain.runs.source import Source

CHECK = "target randomised"
SHOWN, DEPTHS = 6, 6
"""Images, and depths of the cascade, in the picture."""
TOLERATED = 0.1
"""A difference of rank correlations below which no reader would see it in two maps."""
MOSTLY = 0.5
"""Where so many real maps show nothing at all the check can tell nothing."""
UNIT = "each row by its own end; above 0 raises the target"


def check_target(source: Source, sample: Sample, *, seed: int = 0) -> Finding:
    """Draw the target's layers anew, from its output down, and explain the same images at each depth.

    Passes where, with all layers drawn anew, a map is not shown to be more like the intact target's map of its own
    image than like those of other people's images (the 95 % interval of the mean difference of rank correlations
    goes below 0.1), and the sizes of maps alone, which show whatever in the image raises gradients, are on the mean no
    more alike than 95 % of pairs of maps of different images. No verdict where half the real maps are flat.

    Args:
        source: explains the target whenever it explains an image.
        sample: of images.
        seed: of the new weights.

    Raises:
        CohortError: fewer than 8 images, or 2 subjects.
    """
    sample.require()
    real, rows = maps_of(source, sample.pixels), list[dict[str, Any]]()
    floor, few = floor_of(real, sample.subjects), np.linspace(0, len(real) - 1, SHOWN).round().astype(int)
    depths = len(layers_of(network_of(source)))
    drawn = set(np.linspace(1, depths, DEPTHS).round().astype(int))
    shown = {"intact": real[few]}
    with progress("randomising", depths, unit="layers") as bar:
        for depth, (layer, target) in enumerate(randomised_targets(source, seed), start=1):
            with asked(source, target):
                maps = maps_of(source, sample.pixels)
            rows.append(_row(depth, layer, maps, real, sample, floor))
            if depth in drawn:
                shown[f"{depth}: {layer}"] = maps[few]
            bar.advance()
    told = own_rather_than_others(maps, real, sample.subjects)
    passed, sentence = _judged(rows, sample, told, floor) if (flat := _flat(real)) < MOSTLY else _untold(flat)
    rows[-1]["passed"] = passed
    return Finding(
        CHECK, passed, sentence, rows, Shown(sample.pixels[few], shown, None, sample.sliced, UNIT), sample.errors
    )


def _row(depth: int, layer: str, maps: np.ndarray, real: np.ndarray, sample: Sample, floor: Floor) -> dict[str, Any]:
    signed, absolute = (mean(values, sample.subjects) for values in similarity(maps, real))
    about = {"check": CHECK, "number": depth, "layer": layer, **counts(sample.subjects)}
    return about | columns("signed", signed) | columns("absolute", absolute) | floor.columns


def own_rather_than_others(maps: np.ndarray, real: np.ndarray, subjects: np.ndarray) -> Estimate:
    """How much more alike each map is to the real map of its own image than to those of other people's, on the mean.

    Args:
        maps, real: (n, 1, *space).
        subjects: (n,).
    """
    total, others = np.zeros(len(maps)), np.zeros(len(maps))
    for shift in range(1, min(OTHERS, len(maps) - 1) + 1):
        apart = subjects != np.roll(subjects, shift)
        others += apart
        total += similarity(maps, np.roll(real, shift, axis=0))[0] * apart
    known = others > 0
    more = similarity(maps, real)[0] - total / np.maximum(others, 1)
    return mean(more[known], subjects[known])


def _judged(rows: list[dict[str, Any]], sample: Sample, more: Estimate, floor: Floor) -> tuple[bool, str]:
    signed, absolute = rows[-1]["signed"], rows[-1]["absolute"]
    passed = not more.low > TOLERATED and not absolute > floor.absolute_bound
    told = (
        f"rank correlation with the real maps {signed:.2f}, more than with those of other images by {more.value:.2f} "
        f"({more.low:.2f} to {more.high:.2f}); of sizes alone {absolute:.2f}, where 95 % of pairs of different images "
        f"are below {floor.absolute_bound:.2f}; {over(sample.subjects, 'images')}"
    )
    drawn = f"with all {len(rows)} layers of the target drawn anew, maps"
    if passed:
        return True, f"PASSED: {drawn} are no more like the real ones than like those of other images: {told}."
    return False, (
        f"FAILED: {drawn} stay like the real ones: {told}. What they show comes from the image, or from the way "
        "networks of this kind are built, more than from what the target learned."
    )


def _flat(maps: np.ndarray) -> float:
    """Share of the maps that are the same everywhere: no other map could be unlike them."""
    return float((np.ptp(maps.reshape(len(maps), -1), axis=1) == 0).mean())


def _untold(flat: float) -> tuple[None, str]:
    return None, (
        f"CANNOT TELL: the real maps are the same everywhere in {100 * flat:.0f} % of the images, so there is nothing "
        "that could change; give images that the target says something of, or another target."
    )


def network_of(source: Source) -> nn.Module:
    """The network behind what is explained.

    Raises:
        AnomalyError: there is none.
    """
    network = None if source.explainer.target is None else network_behind(source.explainer.target)
    if network is None:
        raise AnomalyError("no network is found behind the target, so there is nothing to draw anew")
    return network


def layers_of(network: nn.Module) -> list[str]:
    """Names of what holds parameters of its own."""
    return [name for name, layer in network.named_modules() if list(layer.parameters(recurse=False))]


def randomised_targets(source: Source, seed: int) -> Iterator[tuple[str, Target]]:
    """The target with ever more layers of its network drawn anew, and the last of these."""
    target = source.explainer.target
    assert target is not None
    for layer, network in randomised(network_of(source), seed=drawn_seed(seed)):
        yield layer, with_network(target, network)


def with_network(target: Target, network: nn.Module) -> Target:
    """The target of a run with another network in it.

    Raises:
        AnomalyError: it is no method of what holds a network as `net_`, as classifiers and detectors do.
    """
    if isinstance(target, WithinMask):
        return WithinMask(with_network(target.value, network))
    owner: Any = getattr(target, "__self__", None)
    if not isinstance(getattr(owner, "net_", None), nn.Module):
        raise AnomalyError("the target is no method of a classifier or a detector, so its network cannot be exchanged")
    other = copy.copy(owner)
    other.net_ = network
    changed: Target = getattr(other, target.__name__)
    return changed


@contextmanager
def asked(source: Source, target: Target) -> Iterator[None]:
    """Explain another target for a while."""
    before = source.explainer.target
    source.explainer.target = target
    try:
        yield
    finally:
        source.explainer.target = before
