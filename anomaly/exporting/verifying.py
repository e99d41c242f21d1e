"""Whether a graph says what the run says: the same images through both."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from anomaly.errors import AnomalyError, UnreadableImage
from anomaly.images import read
from anomaly.images.masking import masked
from anomaly.levels import DARKEST, OUTSIDE
from anomaly.runs.run import Run

TOLERANCE = 1e-4
"""Of the largest number of its kind: how far onnxruntime may be from PyTorch."""
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


def differences(given: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The largest difference of each result as a share of the largest number expected of it; infinite beside a NaN."""
    found = {}
    for name, right in expected.items():
        size = max(float(np.abs(right).max()), float(np.finfo(np.float32).tiny))
        apart = float(np.abs(given[name] - right).max()) / size
        found[name] = apart if np.isfinite(apart) else float("inf")
    return found


def verified(content: bytes, images: np.ndarray, expected: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The largest differences between a model under onnxruntime and what the run says; a batch, and one by one.

    Raises:
        AnomalyError: they differ by more than 1e-4, or onnxruntime cannot run the model.
    """
    names = list(expected)
    try:
        ran = session(content)
        whole = dict(zip(names, ran.run(names, {"image": images}), strict=True))
        first = dict(zip(names, ran.run(names, {"image": images[:1]}), strict=True))
    except Exception as error:  # onnxruntime has a class of errors for each reason, and no common one
        reason = (str(error).strip().splitlines() or [""])[0]
        raise AnomalyError(f"onnxruntime cannot run the graph ({reason}); nothing was written") from error
    found = differences(whole, expected)
    alone = differences(first, {name: each[:1] for name, each in whole.items()})
    worst = max(*found.values(), *alone.values())
    if not worst <= TOLERANCE:
        told = ", ".join(f"{name} {each:.2g}" for name, each in found.items())
        raise AnomalyError(
            f"the graph does not say what the run says (largest difference of {told}, of the largest; expected "
            f"{TOLERANCE:g} or less); nothing was written"
        )
    return found
