"""Any number of pairs registered, several at once, and only what is missing."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from anomaly.cohorts.tables import Form, GrowingTable
from anomaly.errors import RunError
from anomaly.files import write_whole
from anomaly.progress import progress
from anomaly.registration.jobs import TAKEN
from anomaly.registration.opening import Way
from anomaly.registration.sharing import Room, one_thread_a_call
from anomaly.registration.writing import FIELDS, PICTURES, REGISTERED, finished
from anomaly.shown import Readable
from anomaly.streams import ordered

PAIRS = Form("pairs", "register.json", ("id", "path", "subject", "files"), files="files")
KNOWN = ("side", "contrast", "visit", "baseline_visit", "baseline", "baseline_id", "interval", "years")
QUALITY = (
    *("overlap", "correlation_before", "correlation_after", "mutual_information_before", "mutual_information_after"),
    *("folded", "inverse_consistency", "moved"),
)
BESIDE_IT = {
    "fixed_mask": "mask", "fixed_map": "baseline_map", "fixed_labels": "baseline_labels", "moving_mask": "moving_mask",
    "moving_map": "moving_map", "moving_labels": "moving_labels",
}  # fmt: skip
"""What lies beside the two images of a pair, and the column of the table that names it."""
LEFT_OUT = "left_out.csv"
FOREIGN = ("changes.csv", "predictions.csv", "scores.csv")
BESIDE = {"map": ("map", "baseline_map"), "labels": ("labels", "baseline_labels", "dice_before", "dice_after")}


@dataclass(frozen=True, repr=False)
class Registered(Readable):
    """What a call of `anomaly register` did.

    Args:
        path: the table of pairs.
        errors: the table of pairs that could not be registered, there if there are any.
        new, before, failed: pairs registered now, by an earlier call, and that could not be.
        warned: pairs that were registered, with a warning.
        images, fields, pictures: folders.
        left_out: the table of images that stand in no pair, and why.
        unpaired: how many these are.
    """

    path: Path
    errors: Path
    new: int
    before: int
    failed: int
    warned: int
    images: Path
    fields: Path
    pictures: Path
    left_out: Path
    unpaired: int

    def _in_short(self) -> tuple[str, dict[str, object]]:
        title = f"{self.new} pairs new, {self.before} from before, {self.failed} failed, {self.warned} with a warning"
        told = {"table": self.path, "images": self.images, "fields": self.fields, "pictures": self.pictures}
        return title, {
            **told,
            "errors": self.errors if self.failed else None,
            "left out": f"{self.unpaired} images, {self.left_out}" if self.unpaired else None,
        }


def register_jobs(
    jobs: pd.DataFrame,
    out: Path,
    way: Way,
    facts: Mapping[str, Any],
    *,
    left_out: Callable[[], pd.DataFrame] | pd.DataFrame | None = None,
    workers: int | None = None,
) -> Registered:
    """Register each row of a table of `anomaly.registration.jobs`, and keep `OUT/pairs.csv` of what is done.

    Threads share the work, for SimpleITK computes beside Python; each pair is done by one, so that its field does not
    depend on how many there are.

    Args:
        jobs: a row a pair.
        out: the folder.
        way: how.
        facts: further settings that all rows of the table share.
        left_out: images that stand in no pair, id, path, subject, reason, for `OUT/left_out.csv`; or what is to be done
            once the settings are known to be those of the folder, and then gives them.
        workers: pairs at once, as long as the memory has room for them; None takes one a core.

    Raises:
        RunError: the folder holds pairs registered otherwise, or the table of another command.
    """
    _refuse_foreign(out)
    deformable = way.deformable()
    table = GrowingTable(PAIRS, out, settings={**way.told(deformable), **facts}, columns=columns_of(jobs))
    rows: list[Any] = jobs.to_dict("records")
    left = _left(table, rows)
    others = left_out() if callable(left_out) else left_out
    if others is not None:
        write_whole(out / LEFT_OUT, others.to_csv(index=False))
    threads = workers or os.cpu_count() or 1
    with (
        ThreadPoolExecutor(threads) as pool, table, one_thread_a_call(),
        progress("registering", len(rows), done=len(rows) - len(left), unit="pairs") as bar,
    ):  # fmt: skip
        work = partial(finished, out=out, way=way, deformable=deformable, room=Room())
        for row in ordered(pool, work, left, ahead=threads):
            table.add([row])
            bar.advance()
    kept = pd.read_csv(table.path, dtype=str, keep_default_na=False)
    return Registered(
        table.path, table.errors, table.added, len(rows) - len(left), table.failed, int((kept["warning"] != "").sum()),
        out / REGISTERED, out / FIELDS, out / PICTURES, out / LEFT_OUT, 0 if others is None else len(others),
    )  # fmt: skip


def _refuse_foreign(out: Path) -> None:
    """Refuse a folder in which another command writes: both would name what failed in one `errors.csv`.

    Raises:
        RunError: it holds the table of another command.
    """
    found = [name for name in FOREIGN if (out / name).exists()]
    if found:
        raise RunError(f"{out} holds {found[0]}, the table of another command; choose another --out")


def columns_of(jobs: pd.DataFrame) -> list[str]:
    """Columns of the table behind the usual ones, by what is known of the pairs."""
    known = [name for name in KNOWN if name in jobs]
    beside = [each for name, columns in BESIDE.items() if f"moving_{name}" in jobs for each in columns]
    masks = ["mask"] if "fixed_mask" in jobs else []
    masks += ["registered_mask"] if "moving_mask" in jobs else []
    own = [f"moving_{name}" for name in TAKEN if f"moving_{name}" in jobs]
    return [*known, "moving", *masks, *beside, *own, *QUALITY, "warning"]


def _left(table: GrowingTable, rows: list[Any]) -> list[Any]:
    """The pairs that are not in the table yet.

    Raises:
        RunError: an id stands there for other images, or with other masks, maps or labels.
    """
    before = pd.read_csv(table.path, dtype=str, keep_default_na=False) if table.done else pd.DataFrame()
    known: dict[str, Any] = {row["id"]: row for row in before.to_dict("records")}
    for row in rows:
        if row["id"] not in known:
            continue
        there = known[row["id"]]
        still = os.path.abspath(table.folder / there["baseline"])
        if (there["moving"], still) != (row["moving"], os.path.abspath(row["fixed"])):
            raise RunError(f"{table.path} has {row['id']} of other images ({there['moving']}); choose another --out")
        for name, column in BESIDE_IT.items():
            if there.get(column, "") != (row.get(name) or ""):
                told = f"{there.get(column) or 'none'} there, {row.get(name) or 'none'} now"
                raise RunError(f"{table.path} has {row['id']} with another {column} ({told}); choose another --out")
    return [row for row in rows if row["id"] not in known]
