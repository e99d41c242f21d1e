"""What a run says of prepared images, whatever it is, with all that is written down beside it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from anomaly.errors import UnreadableImage
from anomaly.images import read
from anomaly.images.masking import masked
from anomaly.images.preprocessing import Preprocessing
from anomaly.levels import DARKEST, OUTSIDE

MOST = 6  # images of people that graph and run are shown
MADE = 4
LARGEST = "an image's largest"
LARGEST_DRAWN = "the largest drawn among the images compared, held-out and made ones apart"

Said = Mapping[str, Tensor]
"""Results by name, each (N, ...)."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What is to become a graph, what it is to be compared with, and what has to be known beside.

    Args:
        kind: "detector", "classifier", ...
        method: its name; of several runs, those of all.
        settings: of the method.
        weights: SHA-256 of the weights; of several runs a list.
        preprocessing: how images become tensors.
        shape: (C, *space) of one of them.
        masked: whether pixels outside of a mask are -1.
        say: prepared images (N, C, *space) to results by name, in a form that can be written down.
        expected: the same by the run itself, of arrays.
        outputs: what each result is, in words.
        numbers: results that are one number an image, which become columns of a table.
        arrays: results that `score.py` writes as files.
        held_out: images that the run did not learn from: `path`, and `mask` where there is one.
        held_out_are: what these are called.
        base: an image of no person (C, *space), of which images are made.
        least: of results that may be next to nothing, by how large a number at least they are compared.
        drawn: results that are compared by the largest among the images compared, and not by each image's own.
        z: of results that are numbers, how they lie among held-out normals.
        facts: further ones.
    """

    kind: str
    method: str
    settings: Any
    weights: Any
    preprocessing: Preprocessing
    shape: tuple[int, ...]
    masked: bool
    say: Callable[[Tensor], Said]
    expected: Callable[[np.ndarray], Mapping[str, np.ndarray]]
    outputs: Mapping[str, str]
    numbers: tuple[str, ...]
    arrays: tuple[str, ...]
    held_out: Iterable[Mapping[Any, Any]]
    held_out_are: str
    base: np.ndarray
    least: Mapping[str, float] = field(default_factory=dict)
    drawn: tuple[str, ...] = ()
    z: Mapping[str, Callable[[np.ndarray], np.ndarray]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shares_of(self) -> dict[str, str]:
        """Of what differences of each result are told as a share, in words."""
        found = {}
        for name in self.outputs:
            least = f" (of {self.least[name]:g} where that is more)" if name in self.least else ""
            found[name] = (LARGEST_DRAWN if name in self.drawn else LARGEST) + least
        return found


def shown(judged: Judgement) -> tuple[np.ndarray, str]:
    """Prepared images (N, C, *space) that both are to judge, and in words what they are.

    Those held out, where their files are still there, and last four images that were made.
    """
    made, real = made_images(judged), real_images(judged)
    if not len(real):
        return made, f"{len(made)} made images; the {judged.held_out_are} of the run are not here"
    return np.concatenate([real, made]), f"{len(real)} {judged.held_out_are} and {len(made)} made images"


def real_images(judged: Judgement) -> np.ndarray:
    """Up to six prepared images of those held out; none where no file can be read."""
    found: list[np.ndarray] = []
    for row in judged.held_out:
        if sum(map(len, found)) >= MOST:
            break
        try:
            pixels = judged.preprocessing.apply(
                masked(read(row["path"]), row.get("mask") if judged.masked else None)
            ).pixels
        except (UnreadableImage, OSError):
            continue
        if pixels.shape[1:] == judged.shape:
            middle = len(pixels) // 2
            found.append(pixels[middle : middle + 2])
    return np.concatenate(found)[:MOST] if found else np.zeros((0, *judged.shape), np.float32)


def made_images(judged: Judgement) -> np.ndarray:
    """The base, and the same with smooth and rough changes and a bright box; masks of several sizes."""
    random, shape = np.random.default_rng(0), judged.shape
    images = np.repeat(judged.base[None], MADE, axis=0).astype(np.float32)
    images[1:] += 0.2 * random.standard_normal((MADE - 1, *shape), dtype=np.float32)
    box = tuple(slice(side // 4, side // 4 + max(1, side // 3)) for side in shape[1:])
    images[(slice(2, None), slice(None), *box)] += 0.8
    images = np.clip(images, -1, 1)
    if not judged.masked:
        return images
    own = judged.preprocessing.channels
    images[:, :own] = np.maximum(images[:, :own], DARKEST)
    for k in range(MADE):
        images[(k, slice(0, own), Ellipsis, slice(0, 1 + k))] = OUTSIDE
    return images


def bright_middle(shape: tuple[int, ...]) -> np.ndarray:
    """An image of nobody (C, *space): dark at its edges, bright in its middle, for runs that keep no mean image."""
    image = np.ones(shape[1:])
    for axis, side in enumerate(shape[1:]):
        along = np.sin(np.pi * (np.arange(side) + 0.5) / side)
        image = image * along.reshape([-1 if each == axis else 1 for each in range(len(shape) - 1)])
    return np.broadcast_to(2 * image - 1, shape).astype(np.float32)
