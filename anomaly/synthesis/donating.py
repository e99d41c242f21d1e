"""Label maps looked at once: what each holds, and whose lesions are laid into which, chosen by names."""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from anomaly.errors import UnreadableImage
from anomaly.images import Image, read
from anomaly.images.labels import Labels, read_labels
from anomaly.progress import progress
from anomaly.synthesis.listing import contents_of
from anomaly.synthesis.reading import ITSELF

KEPT = 32
"""Maps of donors that are kept in memory."""


@dataclass(frozen=True)
class Looked:
    """A label map that can be used.

    Args:
        row: id, path, subject.
        contents: SHA-256 of its file.
        space: its sides.
        numbers: what it holds.
    """

    row: dict[str, Any]
    contents: str
    space: tuple[int, ...]
    numbers: frozenset[int]


def look(rows: Sequence[Any]) -> tuple[list[Looked], list[dict[str, str]]]:
    """Read every label map once: those that can be used, and id, path and error of the rest."""
    found, failed = list[Looked](), list[dict[str, str]]()
    with progress("reading label maps", len(rows), unit="maps") as bar:
        for row in rows:
            bar.advance()
            try:
                image, values = read_alone(row["path"])
            except UnreadableImage as error:
                failed.append({"id": row["id"], "path": row["path"], "error": str(error)})
                continue
            held = frozenset(int(number) for number in np.unique(values))
            found.append(Looked(row, contents_of(row), image.space, held))
    return found, failed


def read_alone(path: str) -> tuple[Image, np.ndarray]:
    """A label map that stands for itself, and its numbers (*space).

    Raises:
        UnreadableImage: it cannot be read, or is none.
    """
    image = read(Path(path))
    return image, read_labels(image.path, dataclasses.replace(image, path=Path(ITSELF.format(image.path.name))))


def donor_of(one: Looked, name: str, numbers: Sequence[int], all_of_them: Sequence[Looked]) -> Looked | None:
    """Whose lesion a draw gets, if it gets one: of another subject, with such a lesion and the same size.

    The lowest SHA-256 of both names is taken: another row changes little for those that were there before.

    Args:
        one: into which it is laid.
        name: of the draw.
        numbers: of the class of the lesion.
        all_of_them: from whom it may come.
    """
    having = [
        other
        for other in all_of_them
        if other.row["subject"] != one.row["subject"] and other.space == one.space and other.numbers & set(numbers)
    ]
    return min(having, key=lambda other: hashlib.sha256(f"{name}:{other.row['id']}".encode()).digest(), default=None)


def reader_of(labels: Labels) -> Callable[[str], np.ndarray]:
    """A way to read places of classes (*space) by path, which keeps the last ones."""

    @lru_cache(maxsize=KEPT)
    def places(path: str) -> np.ndarray:
        return labels.places(read_alone(path)[1])

    return places
