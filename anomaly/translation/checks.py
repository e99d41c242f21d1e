"""Whether structure is kept, whether a judge tells drawn from real, and what a detector says: floors always beside."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from anomaly.detectors import PCA
from anomaly.errors import AnomalyError, EvaluationError
from anomaly.generation.synthesis import likenesses
from anomaly.nets.losses import dissimilarity
from anomaly.runs.run import Run
from anomaly.statistics import auroc_interval
from anomaly.statistics.metrics import auroc
from anomaly.training.batches import chunks
from anomaly.translation.figures import STRANGER, TRANSLATED, TRUTH, Figure, mean_of_subjects
from anomaly.translation.reading import Heap
from anomaly.translators.judge import Judge
from anomaly.translators.structure import (
    changed,
    counted,
    dice,
    edges_kept,
    shared_information,
    told_by_brightness,
)

REAL = "real"
COMPONENTS = 64
NARROW = 1.5
Drawings = Mapping[str, np.ndarray]
Segmenter = Callable[[np.ndarray], np.ndarray]
"""Images (n, C, *space) in [-1, 1] -> segmentations (n, *space), 0 outside."""


def structure_kept(source: Heap, drawings: Drawings, *, masked: bool) -> tuple[list[Figure], dict[str, np.ndarray]]:
    """Edges, shared information and share of pixels changed; and the same of each translated image, by name.

    An image of somebody else stands beside them: so little is kept where another person is drawn. Where it is known,
    so does the true translation: what differs between the scanners, such as blur, takes so much.
    """
    inside = counted(source.pixels, masked)
    beside, found, of_images = dict(drawings), list[Figure](), dict[str, np.ndarray]()
    measures = ("edges_kept", "shared_information", "changed")
    if len(set(source.subjects)) > 1:
        beside[STRANGER] = source.pixels[_others(source.subjects)]
    else:
        alone = "there is one subject; nobody else stands beside"
        found += [Figure(measure, STRANGER, float("nan"), note=alone) for measure in measures]
    beside |= {} if source.twins is None else {TRUTH: source.twins}
    for name, images in beside.items():
        values = [measure(source.pixels, images, inside) for measure in (edges_kept, shared_information, changed)]
        told = dict(zip(measures, values, strict=True))
        found += [mean_of_subjects(measure, name, values, source.subjects) for measure, values in told.items()]
        of_images = told if name == TRANSLATED else of_images
    return found, of_images


def anatomy_kept(source: Heap, drawings: Drawings, segmenter: Segmenter | None, *, masked: bool) -> list[Figure]:
    """How well a structure is still told: by brightness, which needs no threshold, and by a segmenter, as Dice."""
    if source.structure is None:
        return []
    inside = counted(source.pixels, masked)
    found = []
    for name, images in drawings.items():
        told = told_by_brightness(images, source.structure, inside)
        found.append(mean_of_subjects("structure_by_brightness", name, told, source.subjects))
        if segmenter is not None:
            marked = np.asarray(segmenter(images))
            if marked.shape != source.structure.shape:
                raise AnomalyError(
                    f"the segmenter gave shape {marked.shape} for images {images.shape}; expected "
                    f"{source.structure.shape} (n, *space)"
                )
            found.append(mean_of_subjects("dice", name, dice(marked > 0.5, source.structure), source.subjects))
    return found


def true_to_twins(source: Heap, drawings: Drawings, *, masked: bool) -> list[Figure]:
    """Distance from how the same people look in truth in the other heap: root mean square, and 1 - SSIM."""
    if source.twins is None:
        return []
    inside = counted(source.twins, masked)
    found = []
    for name, images in drawings.items():
        squares = _mean_within(np.square(images - source.twins), inside)
        unlike = [
            dissimilarity(x, y, NARROW).numpy() for x, y in zip(chunks(source.twins), chunks(images), strict=True)
        ]
        told = {"rmse": np.sqrt(squares), "ssim": 1 - _mean_within(np.concatenate(unlike), inside)}
        found += [mean_of_subjects(measure, name, values, source.subjects) for measure, values in told.items()]
    return found


def told_apart(
    source: Heap, target: Heap, drawings: Drawings, settings: Mapping[str, Any], *, seed: int, device: str
) -> list[Figure]:
    """How well a judge tells drawn from real images of people it has not seen; 0.5 where it cannot.

    It learns from one half of the people and is asked of the other; a person who is in both heaps is in one half.
    Beside it the same judge for real against real images of other people.
    """
    random = np.random.default_rng(seed)
    first = _half({*source.subjects, *target.subjects}, random)
    ours, theirs = (np.isin(each.subjects, list(first)) for each in (source, target))
    second = _half({*target.subjects[theirs]}, random) | _half({*target.subjects[~theirs]}, random)
    other = np.isin(target.subjects, list(second))
    judged = {
        name: ((images, source.subjects, ours), (target.pixels, target.subjects, theirs))
        for name, images in drawings.items()
    }
    judged[REAL] = tuple((target.pixels[each], target.subjects[each], theirs[each]) for each in (other, ~other))  # type: ignore[assignment]
    return [_judged(name, *sides, settings, seed, device) for name, sides in judged.items()]


def _judged(name: str, drawn: Any, real: Any, settings: Mapping[str, Any], seed: int, device: str) -> Figure:
    from anomaly.training.machine import Machine

    (images, whose, learns), (others, of_others, learns_too) = drawn, real
    counts = [int(each.sum()) for each in (learns, ~learns, learns_too, ~learns_too)]
    if min(counts) < 2:
        return Figure("judge", name, float("nan"), note=f"too few images: {counts} to learn from and to ask, of each")
    judge = Judge(**settings).fit(others[learns_too], images[learns], machine=Machine(device=device), seed=seed)
    logits = [judge.logits(each).numpy() for each in (others[~learns_too], images[~learns])]
    outcome, logit = np.repeat([0, 1], [len(each) for each in logits]), np.concatenate(logits)
    subjects = np.concatenate([of_others[~learns_too], whose[~learns]])
    note = f"learned from {counts[0]} and {counts[2]} images of other people"
    return _auroc("judge", name, outcome, logit, subjects, note)


def _auroc(measure: str, name: str, outcome: np.ndarray, value: np.ndarray, subjects: np.ndarray, note: str) -> Figure:
    size, people = len(value), len(np.unique(subjects))
    try:
        area = auroc_interval(outcome, value, subjects, scale="logit")
    except EvaluationError:  # too few persons for an interval
        return Figure(measure, name, auroc(outcome, value), images=size, subjects=people, note=note)
    return Figure(measure, name, area.value, area.low, area.high, size, people, note)


def distances(target: Heap, drawings: Drawings, known: np.ndarray, *, seed: int) -> Iterator[Figure]:
    """Frechet distance, KID and MMD between drawn and real images, on principal components, as `generate` has them.

    Args:
        target: the real ones.
        drawings: by the way of drawing.
        known: images of "to" that components are taken of; those trained on.
        seed: of halves.
    """
    pca = PCA(components=max(1, min(COMPONENTS, len(known) - 1)))
    pca.net_, pca.shape_ = pca.build(known.shape[1:]), known.shape[1:]
    pca.settle(known)

    def codes(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.concatenate([pca.encode(x).double().numpy() for x in chunks(images)])

    real = codes(target.pixels)
    for name, images in drawings.items():
        for each in likenesses(codes(images), real, target.subjects, name=f"pca-{pca.components}", seed=seed):
            yield Figure(each.measure, name, each.generated, images=each.n_generated, note=each.note)
            if name == TRANSLATED:
                yield Figure(each.measure, REAL, each.real_against_real, images=each.n_real, note=each.note)


def detected(run: Run, source: Heap, target: Heap, drawings: Drawings) -> list[Figure]:
    """What a detector that learned the normals of "to" says: images flagged at 0.05, and whether it tells them from
    real ones of "to" (0.5: it does not)."""

    def values(images: np.ndarray) -> np.ndarray:
        return np.concatenate(
            [run.detector.score(x).value.float().cpu().numpy() for x in chunks(images, run.detector.device)]
        )

    real, found = values(target.pixels), list[Figure]()
    for name, images in {**drawings, REAL: target.pixels}.items():
        told, whose = values(images), target.subjects if name == REAL else source.subjects
        flagged = (run.calibration.p_value(told) <= 0.05).astype(float)
        found.append(mean_of_subjects("flagged", name, flagged, whose, "share with p at most 0.05"))
        if name != REAL:
            outcome, subjects = np.repeat([0, 1], [len(real), len(told)]), np.concatenate([target.subjects, whose])
            found.append(_auroc("detector", name, outcome, np.concatenate([real, told]), subjects, "against real ones"))
    return found


def _others(subjects: np.ndarray) -> np.ndarray:
    """For each image the place of one of somebody else; of two subjects or more."""
    names, which = np.unique(subjects, return_inverse=True)
    firsts = np.array([np.flatnonzero(which == k)[0] for k in range(len(names))])
    return np.asarray(firsts[(which + 1) % len(names)])


def _half(names: set[str], random: np.random.Generator) -> set[str]:
    return {str(name) for name in random.permutation(sorted(names))[: len(names) // 2]}


def _mean_within(values: np.ndarray, inside: np.ndarray | None) -> np.ndarray:
    """The mean (n,) of maps (n, C, *space) over what counts."""
    if inside is None:
        return np.asarray(values.reshape(len(values), -1).mean(1))
    weights = np.broadcast_to(inside, values.shape).reshape(len(values), -1)
    return np.asarray((values.reshape(len(values), -1) * weights).sum(1) / np.maximum(weights.sum(1), 1))
