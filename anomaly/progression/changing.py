"""What changed from one visit to the next in any number of persons: maps, pictures, lesions, and a row a pair."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from anomaly.cohorts.results import some
from anomaly.cohorts.tables import Form, GrowingTable
from anomaly.errors import AnomalyError, CohortError, UnreadableImage
from anomaly.files import write_whole
from anomaly.images.image import alone
from anomaly.progress import progress
from anomaly.progression.comparing import COLUMNS, COUNTED, IRREGULARITY, Asked, compared
from anomaly.progression.inputs import INPUTS, inputs_of, left_of, refuse_others
from anomaly.progression.pairing import BEFORE, Visits
from anomaly.shown import Readable
from anomaly.streams import ordered

logger = logging.getLogger(__name__)
CHANGES = Form("changes", "change.json", ("id", "subject", "path", "baseline", "file"), "file")
TIMES = ("visit", "baseline_visit", "years")
AHEAD = 4


@dataclass(frozen=True, repr=False)
class Changed(Readable):
    """What a call of `change_between_visits` did.

    Args:
        path: the table of pairs.
        lesions: the table of lesions of all pairs.
        errors: the table of pairs that cannot be used, there if there are any.
        new, before, failed: pairs compared now, by an earlier call, and that cannot be used.
        left_out: images that stand in no pair; `left_out.csv` says why.
    """

    path: Path
    lesions: Path
    errors: Path
    new: int
    before: int
    failed: int
    left_out: int

    def _in_short(self) -> tuple[str, dict[str, object]]:
        title = f"{self.new} pairs new, {self.before} from before, {self.failed} unusable"
        return title, {"table": self.path, "lesions": self.lesions, "errors": self.errors if self.failed else None}


def change_between_visits(
    visits: Visits, out: Path | str, *, asked: Asked | None = None, workers: int | None = None
) -> Changed:
    """Say what changed between two visits of each person; this is `anomaly progress change`.

    Writes for each pair, by the id of its later image: `ID_change.nii.gz`, the map of change in units of noise on the
    grid of the images; `ID.png`, both visits and the change; `ID_lesions.csv`; and with maps of irregularity
    `ID_before.nii.gz` and `ID_after.nii.gz`. `changes.csv` has a row a pair, `lesions.csv` a row a lesion,
    `left_out.csv` the images that stand in no pair, with the reason, `errors.csv` the pairs that cannot be used. A
    second call with the same arguments compares only what is missing.

    Args:
        visits: where pairs are found. Its `maps` are maps of the disease or masks of lesions; the word "irregularity"
            has them made from the images.
        out: gets all that is written.
        asked: thresholds, and how.
        workers: threads; None takes one a core.

    Raises:
        CohortError: nobody has two visits, or a contrast that is to be joined is in no pair.
        RunError: `out` holds what was made with other settings, of other files or times, or by another command.
    """
    out, asked = Path(out), asked or Asked()
    visits, asked = _with_maps(visits, asked)
    pairs = visits.found()
    left_out = pairs.attrs["left_out"]
    groups = _groups(pairs, asked.join)
    out.mkdir(parents=True, exist_ok=True)
    settings = {**asdict(asked), "join": list(asked.join), **_paired_by(visits)}
    columns = [*TIMES, *COLUMNS, *(COUNTED if asked.maps else ()), INPUTS]
    refuse_others(CHANGES, out)
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        table = GrowingTable(CHANGES, out, settings=settings, columns=columns)
        left = {row["path"] for row in left_of(table, [_about(group) for group in groups])}
        todo = [group for group in groups if group[0]["path"] in left]
        before = len(groups) - len(todo)
        work = ordered(pool, partial(_one, asked=asked, out=out), todo, ahead=AHEAD)
        with table, progress("comparing visits", len(groups), done=before, unit="pairs") as bar:
            for row in work:
                table.add([row])
                bar.advance(1)
    write_whole(out / "left_out.csv", left_out.to_csv(index=False))
    lesions = _all_lesions(out, table.path)
    return Changed(table.path, lesions, table.errors, table.added, before, table.failed, len(left_out))


def _with_maps(visits: Visits, asked: Asked) -> tuple[Visits, Asked]:
    """What tells lesions, and where pairs are found once that is known."""
    if str(visits.maps or "") == IRREGULARITY and not Path(IRREGULARITY).exists():
        return replace(visits, maps=None), replace(asked, maps=IRREGULARITY)
    return visits, replace(asked, maps="given" if visits.maps is not None else "")


def _paired_by(visits: Visits) -> dict[str, str]:
    """What says which images are two visits, with which masks and maps: rows made otherwise are not to be mixed."""
    names = ("visits", "which", "date", "side", "contrast", "unit")
    files = {"mask": visits.mask, "maps_from": visits.maps}
    kept = {name: "" if value is None else os.path.abspath(value) if Path(value).exists() else str(value)
            for name, value in files.items()}  # fmt: skip
    return {**{name: str(getattr(visits, name) or "") for name in names}, **kept}


def _groups(pairs: pd.DataFrame, join: Sequence[str]) -> list[list[dict[str, Any]]]:
    """The rows of each pair of visits, one a contrast, the leading one first; without contrasts to join, one row each.

    Raises:
        CohortError: the table tells no contrasts, or not those that are asked for.
    """
    rows: list[Any] = pairs.to_dict("records")
    names = [name.lstrip("-") for name in join]
    if not names:
        return [[row] for row in rows]
    if "contrast" not in pairs:
        raise CohortError("contrasts are to be joined, but nothing tells them; give the column of contrasts")
    there = [str(each) for each in pairs["contrast"].unique()]
    names = [_spelled(name, there) for name in names]
    if unknown := [name for name in names if name not in there]:
        raise CohortError(f"no pair of visits is of the contrast {unknown[0]}; there are {some(there)}")
    keys = [name for name in ("subject", "side", "visit", "baseline_visit") if name in pairs]
    found: dict[tuple[str, ...], dict[str, dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(tuple(str(row[key]) for key in keys), {})[str(row["contrast"])] = row
    return [_told(group, names) for group in found.values()]


def _spelled(name: str, there: Sequence[str]) -> str:
    """A contrast as the table spells it: flair and FLAIR are one, unless both are there."""
    alike = [each for each in there if each.lower() == name.lower()]
    return alike[0] if name not in alike and len(alike) == 1 else name


def _told(group: Mapping[str, dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a pair of visits, marked where contrasts are missing, so that the pair is named and the rest goes on.

    Also where the leading contrast is missing, or all: another row then stands for the pair.
    """
    missing = [name for name in names if name not in group]
    rows = [group[name] for name in names if name in group] or [*group.values()][:1]
    if missing:
        there, needed = ", ".join(group), ", ".join(missing)
        rows[0]["missing"] = f"there is no pair of {needed} of these visits, only of {there}; add it, or join less"
    return rows


def _about(group: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the row of a pair of visits says of it before they are compared."""
    told = {name: group[0].get(name, "") for name in ("id", "subject", "path", BEFORE, *TIMES)}
    return {**told, INPUTS: inputs_of(*group, also=TIMES)}


def _one(group: Sequence[Mapping[str, Any]], asked: Asked, out: Path) -> dict[str, Any]:
    """The row of one pair, or why there is none."""
    row, about = group[0], _about(group)
    if row.get("missing"):
        return {**about, "error": f"{row['path']}: {row['missing']}"}
    try:
        found = alone(Path(row["path"]), partial(_plainly, group, asked, out), "compared")
    except UnreadableImage as error:
        return {**about, "error": str(error)}
    return {**about, **found}


def _plainly(group: Sequence[Mapping[str, Any]], asked: Asked, out: Path) -> dict[str, Any]:
    """Compare; what cannot be is said with the name of the file."""
    try:
        return compared(group, asked, out)
    except UnreadableImage:
        raise
    except AnomalyError as error:
        raise UnreadableImage(f"{group[0]['path']}: {error}") from error


def _all_lesions(out: Path, table: Path) -> Path:
    """`lesions.csv`: the lesions of all pairs, each with its id and subject."""
    done = pd.read_csv(table, dtype={"id": str, "subject": str}, keep_default_na=False)
    parts = list(_parts(done, out))
    found = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["id", "subject"])
    path = out / "lesions.csv"
    write_whole(path, found.to_csv(index=False))
    return path


def _parts(done: pd.DataFrame, out: Path) -> Iterator[pd.DataFrame]:
    for row in done.to_dict("records"):
        part = pd.read_csv(out / f"{row['id']}_lesions.csv")
        part.insert(0, "id", row["id"])
        part.insert(1, "subject", row["subject"])
        yield part
