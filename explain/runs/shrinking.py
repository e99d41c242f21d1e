"""Explanations of which every change is made smaller by what would be changed if there were nothing to be seen."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from anomaly.nets.fields import folded_share, length, warp
from anomaly.nets.losses import gaussian_blur
from explain.base import Explanation
from explain.trained import difference


def changes(explanation: Explanation, x: Tensor) -> Tensor:
    """|image - counterfactual|, (N, C, *space), in which changes of two channels do not cancel; |map| without one."""
    drawn = explanation.counterfactual
    return (explanation.map if drawn is None else x - drawn).abs().float()


def strength(explanation: Explanation, x: Tensor, smoothing: float = 0.0) -> Tensor:
    """How much is changed around each pixel, (N, 1, *space): how far it moves, in pixels, where things move; else the
    mean of |image - counterfactual| over channels.

    Args:
        explanation: of the images, with a counterfactual or a field.
        x: images (N, C, *space).
        smoothing: of the Gaussian window that says what is around, a standard deviation in pixels; 0: the pixel alone.
    """
    if explanation.field is not None:
        size = length(explanation.field)
    else:
        size = changes(explanation, x).mean(1, keepdim=True)
    return gaussian_blur(size.float(), smoothing)


def shrunk(explanation: Explanation, x: Tensor, threshold: float | None, smoothing: float = 0.0) -> Explanation:
    """The explanation with all its changes times (1 - t / a)+, where a is how much is changed around the pixel.

    Without smoothing that is the soft threshold, sign(M) (|M| - t)+, and of a displacement the same of its length. The
    counterfactual goes with it: x' = x - (1 - t / a)+ (x - x'), or the image moved by the shorter field, of which
    `displacement` and `folded` are told anew.

    Args:
        explanation: of the images.
        x: images (N, C, *space).
        threshold: t, in the units of `strength`; None leaves nothing.
        smoothing: as of `strength`.
    """
    if threshold == 0:
        return explanation
    factor = factors(strength(explanation, x, smoothing), threshold)
    spread = None if explanation.spread is None else explanation.spread * factor
    drawn, told = explanation.counterfactual, explanation.diagnostics
    if explanation.field is not None:
        field = explanation.field * factor
        drawn = warp(x, field)
        told = {**told, "displacement": length(field).flatten(1).mean(1), "folded": folded_share(field)}
        told = {name: values for name, values in told.items() if name in explanation.diagnostics}
        return replace(
            explanation, map=difference(x, drawn), counterfactual=drawn, field=field, spread=spread, diagnostics=told
        )
    drawn = None if drawn is None else x - factor * (x - drawn)
    return replace(explanation, map=explanation.map * factor, counterfactual=drawn, spread=spread)


def factors(size: Tensor, threshold: float | None) -> Tensor:
    """(1 - t / a)+ of sizes a, 0 where a is 0; for None 0 everywhere."""
    if threshold is None:
        return torch.zeros_like(size)
    return torch.where(size > threshold, 1 - threshold / size.clamp_min(torch.finfo(size.dtype).tiny), 0)


def sizes_at(explanation: Explanation, x: Tensor, tried: Sequence[float] | np.ndarray, smoothing: float) -> np.ndarray:
    """Mean |image - counterfactual| of each image at each threshold that is tried, over pixels and channels, (N, T).

    That is the `change` of a table of explanations.
    """
    return left_at(explanation, x, tried, smoothing)[0]


def left_at(
    explanation: Explanation, x: Tensor, tried: Sequence[float] | np.ndarray, smoothing: float
) -> tuple[np.ndarray, np.ndarray]:
    """What is left of |image - counterfactual| of each image at each threshold: its mean and its largest, (N, T) each.

    They are the `change` and the `largest_change` of a table of explanations.
    """
    size, changed = strength(explanation, x, smoothing), changes(explanation, x)
    means, largest = [], []
    for threshold in np.asarray(tried, dtype=float).tolist():
        if explanation.field is None:
            left = changed * factors(size, threshold)
        else:
            left = (x - warp(x, explanation.field * factors(size, threshold))).abs()
        means.append(left.flatten(1).double().mean(1).cpu().numpy())
        largest.append(left.flatten(1).double().amax(1).cpu().numpy())
    return np.stack(means, axis=1), np.stack(largest, axis=1)
