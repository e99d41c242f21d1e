"""Shapes of lesions that were seen in training, and where they lay: to be laid elsewhere."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anomaly.errors import RunError
from anomaly.files import write_whole

MOST = 1000
"""Shapes that are kept with a run, chosen by chance but always the same."""
FILE = "shapes.npz"
JITTER = 0.08
"""Of a side, how far a lesion is moved from where a training lesion lay (standard deviation)."""
TRIES = 60
DARK = -0.98
"""What is darker, of -1 to 1, is air."""


@dataclass(frozen=True)
class Shape:
    """One lesion: its outline in its bounding box, where its centre lay as shares of the sides, and its class."""

    outline: np.ndarray
    centre: np.ndarray
    place: int


def shape_of(lesion: np.ndarray, place: int) -> Shape | None:
    """The shape of a lesion (*space) bool; None where there is none."""
    found = np.argwhere(lesion)
    if not len(found):
        return None
    low, high = found.min(0), found.max(0) + 1
    outline = lesion[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    return Shape(np.array(outline, dtype=bool), (low + high) / 2 / np.array(lesion.shape), place)


def laid(
    shape: Shape,
    space: Sequence[int],
    rng: np.random.Generator,
    *,
    near: bool,
    allowed: np.ndarray,
    flips: bool = True,
) -> np.ndarray | None:
    """A lesion's outline at a place of an image, (*space) bool; None where there is none that may hold it.

    Args:
        shape: what is laid.
        space: of the image.
        rng: where chance comes from.
        near: about where it lay, else anywhere.
        allowed: (*space) bool; the whole of the outline lies within.
        flips: whether the outline is mirrored by chance.
    """
    outline = shape.outline
    if flips:
        outline = np.flip(outline, tuple(int(a) for a in np.flatnonzero(rng.random(outline.ndim) < 0.5)))
    sides, size = np.array(space), np.array(outline.shape)
    if (size > sides).any():
        return None
    for k in range(TRIES):
        middle = shape.centre * sides + rng.normal(0, JITTER * (1 + k / TRIES), len(sides)) * sides
        start = np.rint(middle - size / 2).astype(int) if near else rng.integers(0, sides - size + 1)
        if (start < 0).any() or (start + size > sides).any():
            continue
        box = tuple(slice(int(a), int(a + n)) for a, n in zip(start, size, strict=True))
        if allowed[box][outline].all():
            found = np.zeros(tuple(space), dtype=bool)
            found[box] = outline
            return found
    return None


def tissue(x: np.ndarray) -> np.ndarray:
    """Where an image (C, *space) in [-1, 1] is not air, (*space) bool; everywhere where most of it is dark."""
    found: np.ndarray = x.max(0) > DARK
    return found if found.mean() > 0.02 else np.ones_like(found)


def write_shapes(shapes: Sequence[Shape], folder: Path) -> None:
    """Keep shapes in one file, at most `MOST` of them."""
    kept = np.sort(np.random.default_rng(0).permutation(len(shapes))[:MOST])
    chosen = [shapes[k] for k in kept]
    held = {f"o{k}": np.packbits(each.outline, axis=None) for k, each in enumerate(chosen)}
    held |= {
        "sizes": np.array([each.outline.shape for each in chosen], dtype=np.int32),
        "centres": np.array([each.centre for each in chosen], dtype=np.float32),
        "places": np.array([each.place for each in chosen], dtype=np.int32),
    }
    stream = io.BytesIO()
    np.savez_compressed(stream, **held)  # type: ignore[arg-type]
    write_whole(folder / FILE, stream.getvalue())


def read_shapes(folder: Path) -> list[Shape]:
    """What `write_shapes` wrote.

    Raises:
        RunError: the file is damaged.
    """
    try:
        with np.load(folder / FILE, allow_pickle=False) as held:
            found = zip(held["sizes"], held["centres"], held["places"], strict=True)
            return [
                Shape(
                    np.unpackbits(held[f"o{k}"], count=int(np.prod(size))).reshape(size).astype(bool),
                    np.array(centre, dtype=float),
                    int(place),
                )
                for k, (size, centre, place) in enumerate(found)
            ]
    except Exception as error:  # of a damaged file numpy and zipfile raise almost anything
        raise RunError(f"{folder / FILE} cannot be read ({error}); copy the run again, or train again") from error
