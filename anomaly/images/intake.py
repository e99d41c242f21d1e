"""Images read and prepared ahead of the batch that is in work, so that memory stays bounded and nothing waits."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anomaly.errors import UnreadableImage
from anomaly.images import Image, read
from anomaly.images.image import alone
from anomaly.images.masking import FEWEST, masked
from anomaly.images.prepared import Prepared
from anomaly.streams import ordered

AHEAD = 4
BATCH_BYTES = 64 * 2**20
"""Images are read in smaller batches where they are large, so that memory stays bounded."""
Prepare = Callable[[Image], tuple[Prepared, ...]]


@dataclass(frozen=True)
class Ready:
    """An image read and prepared, for every run that asks for it, or the reason why not."""

    row: Mapping[str, Any]
    image: Image | None
    prepared: tuple[Prepared, ...]
    error: str = ""

    @property
    def about(self) -> dict[str, Any]:
        """Its id, subject and path, and its mask where there are such."""
        return {name: self.row[name] for name in ("id", "subject", "path", "mask") if name in self.row}


def intake(
    rows: Sequence[Mapping[str, Any]], prepare: Prepare, pool: ThreadPoolExecutor, batch: int, *, fewest: int = FEWEST
) -> Iterator[list[Ready]]:
    """Read a batch ahead of the one in work; one task reads a whole batch, since tasks cost time too.

    Args:
        rows: with `path`, perhaps `mask`, and whatever else is to be known of an image.
        prepare: image -> what each run takes; UnreadableImage where it does not suit.
        pool: of the threads that read.
        batch: images at once, or less where the first readable one says that so many would be too large.
        fewest: pixels that a mask has to leave.
    """
    yield from taken_in(in_batches(rows, prepare, batch, fewest=fewest), prepare, pool, fewest=fewest)


def in_batches(
    rows: Sequence[Mapping[str, Any]],
    prepare: Prepare,
    batch: int,
    *,
    fewest: int = FEWEST,
    of: Sequence[Mapping[str, Any]] | None = None,
    refused: Collection[str] = (),
) -> list[Sequence[Mapping[str, Any]]]:
    """Rows in batches, as `intake` takes them; wherever a batch is then computed, its numbers are the same.

    The last bits of a number depend on who else is in its batch. So what goes on where it was stopped needs the batches
    of one that was not, whole, and passes over what it has.

    Args:
        rows, prepare, batch, fewest: as of `intake`.
        of: all rows, where some of them are done; the batches are of these, as many as hold one of `rows`.
        refused: paths that could not be used before; where no others of a batch are wanted, they are tried without it.
    """
    if not rows:
        return []
    every, wanted = rows if of is None else of, {row["path"] for row in rows}
    batch = _fitting(batch, every, prepare, fewest)
    found = list[Sequence[Mapping[str, Any]]]()
    for whole in (every[start : start + batch] for start in range(0, len(every), batch)):
        left = [row for row in whole if row["path"] in wanted]
        if left:
            found.append(left if all(row["path"] in refused for row in left) else whole)
    return found


def taken_in(
    batches: Sequence[Sequence[Mapping[str, Any]]], prepare: Prepare, pool: ThreadPoolExecutor, *, fewest: int = FEWEST
) -> Iterator[list[Ready]]:
    """The images of each batch, read ahead as `intake` reads them."""
    yield from ordered(pool, lambda rows: [_ready(row, prepare, fewest) for row in rows], batches, ahead=AHEAD)


def _ready(row: Mapping[str, Any], prepare: Prepare, fewest: int) -> Ready:
    try:
        image = masked(read(Path(row["path"])), row.get("mask"), fewest)
        return Ready(row, image, alone(image.path, lambda: prepare(image)))
    except UnreadableImage as error:
        return Ready(row, None, (), str(error))


def _fitting(batch: int, rows: Sequence[Mapping[str, Any]], prepare: Prepare, fewest: int) -> int:
    for row in rows:
        ready = _ready(row, prepare, fewest)
        if ready.image is not None:
            shared = {id(one): one.pixels.nbytes for one in ready.prepared}
            size = ready.image.pixels.nbytes + sum(shared.values())
            return max(1, min(batch, BATCH_BYTES // size))
    return batch
