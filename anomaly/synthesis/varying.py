"""`anomaly synthesize vary`: label maps like those given that nobody has, written as label maps."""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.cohorts.masks import counting
from anomaly.cohorts.results import some
from anomaly.errors import AnomalyError, CohortError
from anomaly.files import bare, write_whole
from anomaly.images.labels import Labels, write_labels
from anomaly.progress import progress
from anomaly.shown import Readable
from anomaly.synthesis.donating import Looked, donor_of, look, read_alone, reader_of
from anomaly.synthesis.listing import drawn_name, read_maps, refuse_alike, seed_of
from anomaly.synthesis.mapped import classes_among
from anomaly.synthesis.varied import Varying, varied

logger = logging.getLogger(__name__)
SAYS = "anomaly: label map varied by chance, of nobody"
TABLE, FACTS = "cohort.csv", "varied.json"


@dataclass(frozen=True, repr=False)
class Varied(Readable):
    """What a call of `vary_maps` did.

    Args:
        path: the table of the varied maps.
        count: how many.
        errors: the table of label maps that cannot be used, there if there are any.
        failed: how many of these.
    """

    path: Path
    count: int
    errors: Path
    failed: int

    def _in_short(self) -> tuple[str, dict[str, object]]:
        return f"{self.count} varied label maps", {"table": self.path, "errors": self.errors if self.failed else None}


def vary_maps(
    labels: Path | str | pd.DataFrame,
    out: Path | str,
    *,
    column: str | None = None,
    classes: str | None = None,
    lesions: Sequence[str] = (),
    varying: Varying | None = None,
    draws: int = 1,
    count: int | None = None,
    seed: int = 0,
    **whose: Any,
) -> Varied:
    """Write label maps like those given that nobody has; this is `anomaly synthesize vary`.

    Writes `ID_varied.png` or `.nii.gz` (`ID-2_varied` of a second one), with the numbers and on the grid of its map,
    and `cohort.csv`, the first draw of every map before the second: id, path, subject, varied_from, seed, draw,
    lesion_from (subjects whose lesions were laid in: who keeps people apart has to look at both) and made_of (SHA-256
    of the maps it hangs on). Lesions come from other subjects' maps of the same size. A second call makes what is
    missing, more draws too, and anew what hangs on a map that was edited.

    Args:
        labels, column: see `synthesize`.
        out: gets all that is written; an empty folder, or one that holds the same.
        classes: which numbers are which class; None makes each number its own.
        lesions: classes that may be laid from one map into another, by name.
        varying: what is done, beside the lesions.
        draws: maps of each map.
        count: of all these, so many alone: the first draws of the first maps.
        seed: of chance; a map has its own by its id.
        whose: subject, subject_pattern, where, match, exclude of `read_cohort`.

    Raises:
        AnomalyError: an unknown class, an axis to mirror that a map has not, or fewer draws than 1.
        CohortError: no label map can be used, or `out` holds other ones.
    """
    out = Path(out)
    if draws < 1:
        raise AnomalyError(f"draws is {draws}; give 1 or more")
    cohort = counting(read_maps(labels, column=column, **whose))
    refuse_alike(list(cohort["id"]), draws)
    maps, failed = look(cohort.to_dict("records"))
    if not maps:
        raise CohortError(f"none of the {len(cohort)} label maps can be used; the first: {failed[0]['error']}")
    known, rest = classes_among({number for each in maps for number in each.numbers}, classes)
    if rest:
        logger.info("label maps also hold %s, which are no class and become background", some(rest))
    if strange := [name for name in lesions if name not in known.names]:
        raise AnomalyError(f"there is no class {strange[0]!r} to lay in; classes are {', '.join(known.names)}")
    varying = dataclasses.replace(
        varying or Varying(), lesions=tuple(1 + known.names.index(name) for name in lesions)
    )  # fmt: skip
    _refuse_mirror(maps, varying)
    before = _claimed(out, {"varying": dataclasses.asdict(varying), "classes": known.as_json(), "seed": seed})
    made = _made(out, maps, known, varying, before, draws, seed, count)
    errors = out / "errors.csv"
    errors.unlink(missing_ok=True)
    if failed:
        write_whole(errors, pd.DataFrame(failed).to_csv(index=False))
    return Varied(out / TABLE, made, errors, len(failed))


def _refuse_mirror(maps: Sequence[Looked], varying: Varying) -> None:
    for each in maps:
        if lacking := [axis for axis in varying.mirror if axis >= len(each.space)]:
            raise AnomalyError(
                f"{each.row['path']} has {len(each.space)} axes, counted from 0, and axis {lacking[0]} is to be "
                "mirrored; leave it out of mirror"
            )


def _made(
    out: Path,
    maps: Sequence[Looked],
    labels: Labels,
    varying: Varying,
    before: Mapping[str, Any],
    draws: int,
    seed: int,
    count: int | None,
) -> int:
    """Make and write what is missing, draw by draw, and the table, whatever happens in between; how many there are."""
    rows, anew, read = list[dict[str, Any]](), list[str](), reader_of(labels)
    try:
        asked = [(one, draw) for draw in range(draws) for one in maps][:count]
        with progress("varying", len(asked), unit="label maps") as bar:
            for one, draw in asked:
                bar.advance()
                row, donors = _planned(one, draw, maps, labels, varying, seed)
                kept = _kept(out, row, before.get(row["id"]))
                if kept is None:
                    anew += [row["id"]] if row["id"] in before else []
                    kept = _one(out, one, row, labels, varying, donors, read)
                rows.append(kept)
    finally:
        if rows:
            write_whole(out / TABLE, pd.DataFrame(rows).to_csv(index=False))
    if anew:
        told = "%d varied maps were made anew: a map they hang on changed, or their file is gone (%s)"
        logger.info(told, len(anew), some(anew))
    return len(rows)


def _planned(
    one: Looked, draw: int, maps: Sequence[Looked], labels: Labels, varying: Varying, seed: int
) -> tuple[dict[str, Any], dict[int, Looked]]:
    """The row of a draw before it is made, and who gives lesions by the place of their class."""
    name = drawn_name(str(one.row["id"]), draw)
    found = {place: donor_of(one, f"{seed}:{name}", labels.numbers[place - 1], maps) for place in varying.lesions}
    donors = {place: each for place, each in found.items() if each is not None}
    told = ":".join([one.contents, *(f"{place}={each.contents}" for place, each in donors.items())])
    row = {
        "id": name, "path": "", "subject": one.row["subject"], "varied_from": one.row["path"],
        "seed": seed_of(seed, str(one.row["id"]), draw), "draw": draw + 1, "lesion_from": "",
        "made_of": hashlib.sha256(told.encode()).hexdigest(),
    }  # fmt: skip
    return row, donors


def _kept(out: Path, row: Mapping[str, Any], before: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The row of an earlier call, where it stands for the same and its file is there.

    Raises:
        CohortError: it was made of another file.
    """
    if before is None:
        return None
    if before["made_of"] == row["made_of"]:
        there = bool(before["path"]) and (out / before["path"]).is_file()
        return {**row, "path": before["path"], "lesion_from": before["lesion_from"]} if there else None
    if before["varied_from"] != row["varied_from"]:
        raise CohortError(
            f"{out} has {row['id']} varied from {before['varied_from']}, which now is {row['varied_from']}; choose "
            "another --out"
        )
    return None


def _one(
    out: Path,
    one: Looked,
    row: dict[str, Any],
    labels: Labels,
    varying: Varying,
    donors: Mapping[int, Looked],
    read: Callable[[str], np.ndarray],
) -> dict[str, Any]:
    """One varied map, written, and its row; numbers that are no class are background."""
    image, values = read_alone(one.row["path"])

    def donor(place: int) -> np.ndarray | None:
        return read(donors[place].row["path"]) if place in donors else None

    found, laid = varied(labels.places(values), np.random.default_rng(row["seed"]), varying, donor)
    path = write_labels(out / f"{row['id']}_varied", image, labels.values(found), SAYS)
    whose = sorted({str(donors[place].row["subject"]) for place in laid})
    return {**row, "path": path.name, "lesion_from": ";".join(whose)}


def _claimed(out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Take a folder for maps varied in one way; the rows of an earlier call by their id.

    Raises:
        CohortError: it holds others.
    """
    path, table = out / FACTS, out / TABLE
    if not path.is_file() and out.is_dir() and not bare(out):
        raise CohortError(f"{out} is not empty and holds no varied label maps; choose another --out")
    if not path.is_file():
        write_whole(path, json.dumps(settings, indent=1) + "\n")
        return {}
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        rows = pd.read_csv(table, dtype=str, keep_default_na=False) if table.is_file() else pd.DataFrame()
    except ValueError as error:
        raise CohortError(f"{out} cannot be gone on with ({error}); choose another --out") from error
    if held != json.loads(json.dumps(settings)) or (len(rows) and "made_of" not in rows):
        raise CohortError(f"{out} holds label maps varied otherwise; choose another --out, or the same settings")
    told: list[Any] = rows.to_dict("records")
    return {str(row["id"]): row for row in told}
