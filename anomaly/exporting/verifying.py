"""Whether a graph says what the run says: the same images through both."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from anomaly.errors import AnomalyError
from anomaly.exporting.judgement import MADE

TOLERANCE = 1e-4
"""Of the largest number of its kind of the same image: how far onnxruntime may be from PyTorch."""
FAINT = 0.1
"""Of the largest among normals: one whose own largest is less is compared by that. Made images are compared by the
largest among them: of the mean image nothing may be left but what cancels, and that is rounding."""
APART, ROUNDING = 0.01, 1e-5
"""How far z of a value may be, beside what a change of the value by this share makes of it (values that are alike)."""


def session(content: bytes | str) -> Any:
    """A model as onnxruntime runs it, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def differences(
    given: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    groups: Sequence[tuple[slice, float]] = ((slice(None), FAINT),),
    smallest: Mapping[str, float] | None = None,
    drawn: Sequence[str] = (),
) -> dict[str, float]:
    """The largest difference of each result as a share of the largest number expected of it; infinite beside a NaN.

    Each image is compared by its own numbers (`FAINT`), so that what stands out hides nothing of what is usual.

    Args:
        given: of each result (N, ...).
        expected: of each result (N, ...).
        groups: images of one kind, and below which share of the largest among them none is compared by itself.
        smallest: of a result, by how large a number at least it is compared.
        drawn: results of which every image is compared by the largest among those of its kind.
    """
    found = {}
    for name, right in expected.items():
        shares = [0.0]
        for group, faint in groups:
            sizes, apart = (_largest(each[group]) for each in (right, given[name] - right))
            faint = 1.0 if name in drawn else faint
            least = max(faint * sizes.max(initial=0), float(np.finfo(np.float32).tiny), (smallest or {}).get(name, 0))
            shares.extend((apart / np.maximum(sizes, least)).tolist())
        found[name] = max(shares) if np.isfinite(shares).all() else float("inf")
    return found


def _largest(numbers: np.ndarray) -> np.ndarray:
    """Of each image (N, ...) the largest number without its sign."""
    return np.abs(numbers.astype(np.float64)).max(axis=tuple(range(1, numbers.ndim)), initial=0)


def _of_z(given: np.ndarray, expected: np.ndarray, z: Callable[[np.ndarray], np.ndarray]) -> float:
    """How far z of values is at most from those between z of values that are a rounding less and a rounding more."""
    right, reach = expected.astype(np.float64), ROUNDING * np.abs(expected.astype(np.float64))
    low, high, found = z(right - reach), z(right + reach), z(given.astype(np.float64))
    return float(np.maximum(low - found, found - high).max(initial=0))


def verified(
    content: bytes,
    images: np.ndarray,
    expected: Mapping[str, np.ndarray],
    z: Mapping[str, Callable[[np.ndarray], np.ndarray]],
    smallest: Mapping[str, float] | None = None,
    drawn: Sequence[str] = (),
) -> dict[str, float]:
    """The largest differences between a model under onnxruntime and what the run says; a batch, and one by one.

    Args:
        content: the model.
        images: (N, C, *space), the made ones last, as `shown` gives them.
        expected: what the run says of them.
        z: of results that are values (N,), by the run.
        smallest: see `differences`.
        drawn: see `differences`.

    Raises:
        AnomalyError: they differ by more than 1e-4 of an image's largest, z by more than 0.01, or onnxruntime cannot
            run the model.
    """
    names = list(expected)
    try:
        ran = session(content)
        whole = dict(zip(names, ran.run(names, {"image": images}), strict=True))
        first = dict(zip(names, ran.run(names, {"image": images[:1]}), strict=True))
    except Exception as error:  # onnxruntime has a class of errors for each reason, and no common one
        reason = (str(error).strip().splitlines() or [""])[0]
        raise AnomalyError(f"onnxruntime cannot run the graph ({reason}); nothing was written") from error
    found = differences(whole, expected, ((slice(None, -MADE), FAINT), (slice(-MADE, None), 1.0)), smallest, drawn)
    alone = differences(first, {name: each[:1] for name, each in whole.items()}, smallest=smallest)
    worst = max(*found.values(), *alone.values())
    if not worst <= TOLERANCE:
        told = ", ".join(f"{name} {each:.2g}" for name, each in found.items())
        raise AnomalyError(
            f"the graph does not say what the run says (largest difference of {told}, each as a share "
            f"of its own largest; expected {TOLERANCE:g} or less); nothing was written"
        )
    if not (apart := max((_of_z(whole[name], expected[name], each) for name, each in z.items()), default=0)) <= APART:
        raise AnomalyError(
            f"the values of held-out normals lie too close for the graph (z differs from that of the run by "
            f"{apart:.2g}; expected {APART:g} or less); nothing was written"
        )
    return found
