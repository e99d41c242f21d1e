"""What segmenters say of prepared images, in a form that can be written down: windows laid over one another by sums."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from anomaly.errors import RunError
from anomaly.exporting.graph import Refused
from anomaly.exporting.judgement import Judgement, Said, bright_middle
from anomaly.images.labels import Labels
from anomaly.images.preprocessing import Preprocessing
from anomaly.nets.whole import OVERLAP, starts_of, weights_of
from anomaly.runs.facts import SEGMENTER, opened
from anomaly.runs.run import COHORT, WEIGHTS
from anomaly.segmenters.base import Segmenter
from anomaly.segmenters.register import SEGMENTERS

MOST_WINDOWS = 1024


@dataclass(frozen=True)
class Opened:
    """A segmenter with what a graph takes of its run.

    Args:
        folder: where the run lies.
        segmenter: fitted.
        labels: names and numbers of its classes.
        preprocessing: how images become tensors.
        identity: SHA-256 of the weights.
    """

    folder: Path
    segmenter: Segmenter
    labels: Labels
    preprocessing: Preprocessing
    identity: str

    @property
    def held_out(self) -> list[Any]:
        """Images that it was chosen by, and did not learn from: path, and mask where there is one."""
        table = pd.read_csv(self.folder / COHORT, dtype=str, keep_default_na=False)
        return table[table["split"] == "choose"].to_dict("records")


def open_segmenters(folders: Sequence[Path]) -> list[Opened]:
    """Runs that segment together, each file checked against what its `run.json` recorded.

    Raises:
        RunError: one cannot be used, was given twice, or has other classes or another preprocessing than the first.
    """
    runs = []
    for folder in folders:
        facts = opened(folder, SEGMENTER)
        if facts["method"] not in SEGMENTERS:
            raise RunError(f"{folder} was trained by {facts['method']!r}, which this version does not have")
        segmenter = SEGMENTERS[facts["method"]].load(folder / WEIGHTS, torch.device("cpu"))
        labels, preprocessing = Labels.from_json(facts["classes"]), Preprocessing(**facts["preprocessing"])
        runs.append(Opened(folder, segmenter, labels, preprocessing, str(facts["files"][WEIGHTS])))
    for run in runs[1:]:
        if (run.labels, run.preprocessing) != (runs[0].labels, runs[0].preprocessing):
            raise RunError(
                f"{run.folder} and {runs[0].folder} have other classes or prepare images otherwise; runs that segment "
                "together have the same: export each by itself"
            )
    if len({run.identity for run in runs}) < len(runs):
        raise RunError("a run was given twice, which would count it double; give each once")
    return runs


def of_segmenters(runs: Sequence[Opened], size: Sequence[int] | None = None) -> Judgement:
    """The judgement of one segmenter, or of several whose probabilities are averaged.

    Args:
        runs: of the same classes and preprocessing.
        size: pixels along each axis of the images that the model is to take, for runs that keep images' own size.

    Raises:
        RunError: a size where the run has one, or none where it has none.
    """
    first, space = runs[0], _space(runs[0], size)
    shape = (first.segmenter.shape_[0], *space)

    def say(x: Tensor) -> Said:
        shares = [by_windows(run.segmenter.probabilities, x, run.segmenter.shape_[1:]) for run in runs]
        return {"probabilities": sum(shares[1:], shares[0]) / len(shares)}

    def expected(images: np.ndarray) -> dict[str, np.ndarray]:
        shares = [run.segmenter.whole(torch.from_numpy(images)) for run in runs]
        return {"probabilities": (sum(shares[1:], shares[0]) / len(shares)).numpy()}

    names = ("background", *first.labels.names)
    return Judgement(
        kind=SEGMENTER, method=", ".join(run.segmenter.name for run in runs),
        settings=[run.segmenter.settings() for run in runs] if len(runs) > 1 else first.segmenter.settings(),
        weights=[run.identity for run in runs] if len(runs) > 1 else first.identity,
        preprocessing=first.preprocessing, shape=shape, masked=first.segmenter.masked_, say=say, expected=expected,
        outputs={"probabilities": f"share of each class at each pixel, {', '.join(names)}, which add up to 1 "
                 f"(n, {len(names)}, *space)"},
        numbers=(), arrays=("probabilities",), held_out=first.held_out, held_out_are="held-out images",
        base=bright_middle(shape),
        facts={"labels": {"names": list(first.labels.names), "numbers": [each[0] for each in first.labels.numbers]}},
    )  # fmt: skip


def _space(run: Opened, size: Sequence[int] | None) -> tuple[int, ...]:
    """Pixels along each axis of an image."""
    own, dims = run.preprocessing.shape, run.preprocessing.dims
    if own is not None:
        if size is not None:
            raise RunError(f"{run.folder} prepares images at {'x'.join(map(str, own))} pixels; leave --size out")
        return own
    if size is None:
        raise RunError(
            f"{run.folder} takes images of any size, and a graph those of one: say which, as --size "
            f"{','.join(['256'] * dims)} (pixels along each axis)"
        )
    given = tuple(size) * (dims if len(size) == 1 else 1)
    if len(given) != dims or min(given) < 1:
        raise RunError(f"--size {','.join(map(str, size))}: expected one number or {dims}, each 1 or more")
    return given


def by_windows(draw: Callable[[Tensor], Tensor], x: Tensor, window: Sequence[int]) -> Tensor:
    """As `anomaly.nets.whole.whole`, without a place that is written to: each window is padded, and all are added.

    Args:
        draw: images (N, C, *space) to (N, K, *space).
        x: (N, C, *space).
        window: sides of the windows.

    Raises:
        Refused: there are so many windows that a graph of all of them would be of no use.
    """
    space = tuple(x.shape[2:])
    sides = tuple(map(min, window, space))
    if sides == space:
        return draw(x)
    overlap = OVERLAP[len(space)]
    starts = [starts_of(side, w, overlap) for side, w in zip(space, sides, strict=True)]
    weights = [weights_of(side, w, overlap) for side, w in zip(space, sides, strict=True)]
    if (count := prod(map(len, starts))) > MOST_WINDOWS:
        raise Refused(
            f"images of {'x'.join(map(str, space))} pixels take {count} windows of {'x'.join(map(str, sides))}, and a "
            f"graph holds {MOST_WINDOWS} at most; give a smaller --size"
        )
    total = None
    for which in product(*(range(len(each)) for each in starts)):
        begin = [each[i] for each, i in zip(starts, which, strict=True)]
        along = [each[i] for each, i in zip(weights, which, strict=True)]
        cut = tuple(slice(a, a + len(w)) for a, w in zip(begin, along, strict=True))
        weight = along[0]
        for each in along[1:]:
            weight = weight[..., None] * each
        part = draw(x[(slice(None), slice(None), *cut)]) * weight.to(x)
        around = [n for a, w, side in zip(begin, along, space, strict=True) for n in (side - a - len(w), a)][::-1]
        part = F.pad(part, around)
        total = part if total is None else total + part
    assert total is not None  # there is a window at least
    return total
