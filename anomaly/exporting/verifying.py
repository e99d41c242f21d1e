"""Whether a graph says what the run says: the same images through both."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from anomaly.errors import AnomalyError, UnreadableImage
from anomaly.images import read
from anomaly.images.masking import masked
from anomaly.levels import DARKEST, OUTSIDE
from anomaly.runs.run import Run

TOLERANCE = 1e-4
"""Of the largest number of its kind of the same image: how far onnxruntime may be from PyTorch."""
FAINT = 0.1
"""Of the largest among normals: one whose own largest is less is compared by that. Made images are compared by the
largest among them: of the mean image nothing may be left but what cancels, and that is rounding."""
APART, ROUNDING = 0.01, 1e-5
"""How far z of a value may be, beside what a change of the value by this share makes of it (values that are alike)."""
MOST = 6  # images of people that both are shown
MADE = 4


def shown(run: Run) -> tuple[np.ndarray, str]:
    """Prepared images (N, C, *space) that both are to judge, and in words what they are.

    Held-out normals of the run, where their files are still there, and last four images made of its mean image.
    """
    made, real = _made(run), _held_out(run)
    if not len(real):
        return made, f"{len(made)} made images; the held-out normals of the run are not here"
    return np.concatenate([real, made]), f"{len(real)} held-out normals and {len(made)} made images"


def _held_out(run: Run) -> np.ndarray:
    """Up to six prepared images of the held-out normals; none where no file can be read."""
    found: list[np.ndarray] = []
    rows = run.normals
    rows = rows[rows["split"] == "calibrate"]
    for row in rows.to_dict("records"):
        if sum(map(len, found)) >= MOST:
            break
        try:
            pixels = run.preprocessing.apply(masked(read(row["path"]), row.get("mask"))).pixels
        except (UnreadableImage, OSError):
            continue
        middle = len(pixels) // 2
        found.append(pixels[middle : middle + 2])
    fitting = [each for each in found if each.shape[1:] == run.detector.shape_]
    return np.concatenate(fitting)[:MOST] if fitting else np.zeros((0, *run.detector.shape_), np.float32)


def _made(run: Run) -> np.ndarray:
    """The mean image, and the same with smooth and rough changes and a bright box; masks of several sizes."""
    random, shape = np.random.default_rng(0), run.detector.shape_
    images = np.repeat(run.calibration.mean_image[None], MADE, axis=0).astype(np.float32)
    images[1:] += 0.2 * random.standard_normal((MADE - 1, *shape), dtype=np.float32)
    box = tuple(slice(side // 4, side // 4 + max(1, side // 3)) for side in shape[1:])
    images[(slice(2, None), slice(None), *box)] += 0.8
    images = np.clip(images, -1, 1)
    if not run.detector.masked_:
        return images
    own = run.preprocessing.channels
    images[:, :own] = np.maximum(images[:, :own], DARKEST)
    for k in range(MADE):
        images[(k, slice(0, own), Ellipsis, slice(0, 1 + k))] = OUTSIDE
    return images


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
) -> dict[str, float]:
    """The largest difference of each result as a share of the largest number expected of it; infinite beside a NaN.

    Each image is compared by its own numbers (`FAINT`), so that what stands out hides nothing of what is usual.

    Args:
        given: of each result (N, ...).
        expected: of each result (N, ...).
        groups: images of one kind, and below which share of the largest among them none is compared by itself.
    """
    found = {}
    for name, right in expected.items():
        shares = [0.0]
        for group, faint in groups:
            sizes, apart = (_largest(each[group]) for each in (right, given[name] - right))
            least = max(faint * sizes.max(initial=0), float(np.finfo(np.float32).tiny))
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
    content: bytes, images: np.ndarray, expected: Mapping[str, np.ndarray], z: Callable[[np.ndarray], np.ndarray]
) -> dict[str, float]:
    """The largest differences between a model under onnxruntime and what the run says; a batch, and one by one.

    Args:
        content: the model.
        images: (N, C, *space), the made ones last, as `shown` gives them.
        expected: what the run says of them.
        z: of values (N,), by the run.

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
    found = differences(whole, expected, ((slice(None, -MADE), FAINT), (slice(-MADE, None), 1.0)))
    alone = differences(first, {name: each[:1] for name, each in whole.items()})
    worst = max(*found.values(), *alone.values())
    if not worst <= TOLERANCE:
        told = ", ".join(f"{name} {each:.2g}" for name, each in found.items())
        raise AnomalyError(
            f"the graph does not say what the run says (largest difference of {told}, of the largest of the same "
            f"image; expected {TOLERANCE:g} or less); nothing was written"
        )
    if not (apart := _of_z(whole["value"], expected["value"], z)) <= APART:
        raise AnomalyError(
            f"the values of held-out normals lie too close for the graph (z differs from that of the run by "
            f"{apart:.2g}; expected {APART:g} or less); nothing was written"
        )
    return found
