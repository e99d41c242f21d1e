"""A growing table filled with rows of images, batch by batch: in this process, or by the workers of a cluster."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from anomaly.clusters.cluster import Elsewhere, for_all, joined
from anomaly.clusters.working import Task
from anomaly.cohorts.tables import GrowingTable
from anomaly.files import sweep
from anomaly.progress import progress

Rows = Sequence[Mapping[str, Any]]


def fill(
    table: GrowingTable,
    batches: Sequence[Rows],
    here: Callable[[Sequence[Rows]], Iterable[Rows]],
    task: Task,
    *,
    doing: str,
    total: int,
    done: int,
    drawn: str,
    cluster: Elsewhere | None = None,
    first: Iterable[Rows] = (),
) -> None:
    """Append rows to a table, in the order of the batches, as they are made.

    Args:
        table: as opened.
        batches: of images; rows of them that stand in the table already are passed over.
        here: gives the rows of batches in this process, one batch after another.
        task: the same for the workers of a cluster.
        doing: what the bar says.
        total: images of the call.
        done: of these, how many stand in the table already.
        drawn: the folder beside the table in which pictures are drawn.
        cluster: whose workers do it; None for this process.
        first: rows that this process makes before the others.

    Raises:
        ClusterError: see `anomaly.clusters.cluster`.
    """
    with table, ExitStack() as stack:
        many = None
        if cluster is not None and batches:
            many = stack.enter_context(joined(cluster.place, table.folder, cluster.needs, wait=cluster.wait))
        bar = stack.enter_context(progress(doing, total, done=done, unit="images"))

        def keep(rows: Rows) -> None:
            bar.advance(table.add(rows))

        for rows in first:
            keep(rows)
        for_all(here, task, batches, many, keep)
    if many is not None and not table.joined:
        sweep(table.folder / drawn)  # what workers that were killed left
