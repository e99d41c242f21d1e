"""The figures of a translation in plain words: what was found, beside its floors, and what follows."""

from collections.abc import Sequence

import numpy as np

from anomaly.translation.figures import STRANGER, TRANSLATED, TRUTH, UNCHANGED, Figure, named

HISTOGRAM, REAL = "histogram", "real"
CHANCE = 0.5
ONE_TRAINING = (
    "Each judge was trained once: the intervals hold which persons were drawn, not the chance of its training; "
    "try other seeds."
)
GRID = (
    "All of this is of what the network draws, on the grid that images are prepared to; `translate apply` brings the "
    "change to the grid of the file and keeps what is finer there."
)


def sentences(figures: Sequence[Figure]) -> list[str]:
    """One for each question that figures answer."""
    told = [_structure(figures), _changed(figures), *_truth(figures), *_anatomy(figures), _judge(figures)]
    told += [_detector(figures), GRID, _conclusion(figures)]
    return [each for each in told if each]


def _structure(figures: Sequence[Figure]) -> str:
    edges, shared = named(figures, "edges_kept"), named(figures, "shared_information")
    of_truth = f", of the true translation {edges[TRUTH]}" if TRUTH in edges else ""
    return (
        f"Structure: edges of translated images agree with those of the originals by {edges[TRANSLATED]} (correlation; "
        f"after histogram matching {edges[HISTOGRAM]}, of an image of somebody else {edges[STRANGER]}{of_truth}), and "
        f"they share {shared[TRANSLATED]} of information (of 1 to 2; {shared[HISTOGRAM]} and {shared[STRANGER]})."
    )


def _changed(figures: Sequence[Figure]) -> str:
    found = named(figures, "changed")
    return (
        f"Changed: {found[TRANSLATED]} of the pixels move by more than 0.05 of a range of 2 (after histogram matching "
        f"{found[HISTOGRAM]})."
    )


def _truth(figures: Sequence[Figure]) -> list[str]:
    found = named(figures, "rmse")
    if not found:
        return []
    return [
        f"Truth: translated images are {found[TRANSLATED]} from how the same people look in the other heap (root mean "
        f"square, of a range of 2), unchanged ones {found[UNCHANGED]}, after histogram matching {found[HISTOGRAM]}."
    ]


def _anatomy(figures: Sequence[Figure]) -> list[str]:
    words = {
        "dice": "Anatomy: the segmenter finds the structure with a Dice of {} in translated images",
        "structure_by_brightness": "Anatomy: a pixel of the structure is brighter than one outside it with a chance of "
        "{} in translated images",
    }
    told = []
    for measure, start in words.items():
        if found := named(figures, measure):
            told.append(
                f"{start.format(found[TRANSLATED])}, {found[UNCHANGED]} in the originals, {found[HISTOGRAM]} after "
                "histogram matching."
            )
    return told


def _judge(figures: Sequence[Figure]) -> str:
    found = named(figures, "judge")
    return (
        f"Judge: it tells translated images from real ones with an AUROC of {found[TRANSLATED]}, untranslated ones "
        f"{found[UNCHANGED]}, histogram-matched ones {found[HISTOGRAM]}, real ones from real ones of other people "
        f"{found[REAL]}; 0.5: it cannot."
    )


def _detector(figures: Sequence[Figure]) -> str:
    flagged, told = named(figures, "flagged"), named(figures, "detector")
    if not flagged:
        return ""
    return (
        f"Detector: of translated images it flags {flagged[TRANSLATED]}, of untranslated ones {flagged[UNCHANGED]}, of "
        f"real ones {flagged[REAL]}; by its score translated images are told from real ones with an AUROC of "
        f"{told[TRANSLATED]}, untranslated ones {told[UNCHANGED]}."
    )


def _conclusion(figures: Sequence[Figure]) -> str:
    """What follows from the judge, as far as its intervals bear it: they hold chance in persons, not in training it."""
    found = named(figures, "judge")
    ours, plain, none = (found[name] for name in (TRANSLATED, HISTOGRAM, UNCHANGED))
    if not np.isfinite([ours.value, plain.value, none.value]).all():
        return "There are too few images for a judge: whether the heaps look alike is not known."
    if none.low <= CHANCE:
        return "The judge cannot tell the heaps apart as they are: there is nothing to translate, or too few images."
    if ours.high < plain.low:
        return f"For this judge it comes nearer to the other heap than histogram matching does. {ONE_TRAINING}"
    if plain.high < ours.low:
        return (
            "For this judge histogram matching alone comes nearer to the other heap, and it cannot paint anything: "
            f"take that. {ONE_TRAINING}"
        )
    return (
        "It comes no nearer to the other heap than histogram matching does, as far as this judge can tell; that cannot "
        f"paint anything, so take it unless the figures above say why not. {ONE_TRAINING}"
    )
