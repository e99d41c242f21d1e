"""Who was imaged: a folder or a table becomes one row an image, with its id, its file and its subject."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from anomaly.cohorts.identities import filled, identified
from anomaly.cohorts.masks import COLUMN as MASK
from anomaly.cohorts.masks import NONE, Given, said_by_column, with_masks
from anomaly.cohorts.patterns import pattern_of
from anomaly.cohorts.results import PATH_COLUMNS, some
from anomaly.cohorts.sheets import HOW, NoTable, read_sheet, refuse_twice
from anomaly.errors import CohortError
from anomaly.images import contents, find, globs
from anomaly.images.finding import Globs, as_typed, asked
from anomaly.images.names import located, spelled

FILE_NAMES = "the file names, each taken for another subject"
NO_SUBJECTS = (
    "nothing says whose image is whose, so each file is taken for another subject; if a person has several, "
    "give --subject COLUMN or --subject-pattern REGEX, or "
)
TELL_APART = "where one name means two people, tell them apart by --subject or --subject-pattern"
BIDS_SUBJECT = re.compile(r"(?:^|[/_])(sub-[A-Za-z0-9]+)")


def read_cohort(
    source: Path | str | pd.DataFrame | Sequence[Path | str],
    *,
    subject: str | None = None,
    subject_pattern: str | None = None,
    where: Mapping[str, str] | None = None,
    match: Globs = None,
    exclude: Globs = None,
    mask: Given = None,
    missing: str = "error",
) -> pd.DataFrame:
    """List the images of a folder (searched to its depths), a glob, a table or its file, or a list of files; or one.

    Columns: id (unique, safe as a file name), path (absolute), subject, and those of the table. A table needs
    `path` (or `image`, `file`, `filename`), relative to its file. Ids and subjects stay text: leading zeros are kept.
    Ids are made by `anomaly.cohorts.identities` where a table has none. Names of files that are not UTF-8 stand in
    ids, paths and subjects as `anomaly.images.names.spelled` writes them, and `read` finds the file by that.

    subject: the column that names the subject; else it is the first group of `subject_pattern` (a regular
    expression) in the path, else the column `subject`, else the path's BIDS entity `sub-...`, else the id.
    where: keeps the rows whose columns have these values; 0 means "0" and 0.0 alike.
    match, exclude: patterns of paths from the folder, or of those that a table names: see `anomaly.images.finding`.
    mask: a folder of masks, a pattern of their paths, or a column of the table; "none" takes none. Left out, the column
    `mask` counts where each row has one. See `anomaly.cohorts.masks`.
    missing: "error", or "keep" to leave it to the reader to report files that do not exist.

    `attrs["subjects_from"]` says in words what told the subjects; `FILE_NAMES` where nothing better did.
    `attrs["masks_from"]` says what told the masks, which then stand in the column `mask`; "" where there are none.

    Raises CohortError for whatever makes the source unusable.
    """
    if missing not in MISSING:
        raise CohortError(f"missing is {missing!r}; expected one of {', '.join(MISSING)}")
    if subject and subject_pattern:
        raise CohortError("both subject and subject_pattern are given; give one of them")
    source = listed(source)
    name = "the table" if isinstance(source, pd.DataFrame) else str(source)
    table, base, folder = _table(source, subject, match, exclude)
    if table.empty:
        raise CohortError(f"{name}: has no rows; add one row an image")
    table = identified(table, name, None if isinstance(source, pd.DataFrame) else base)
    table["subject"], told_by = _subjects(table, subject, subject_pattern, name)
    if mask is None:
        mask = MASK if not folder and said_by_column(table) else NONE
    table = keep(table if folder else _asked_for(table, base, match, exclude, name), where or {}, name)
    twice = table["id"][table["id"].duplicated()].unique()
    if len(twice):
        raise CohortError(f"{name}: {len(twice)} ids are there twice ({some(twice)}); give every image its own id")
    table["path"] = [_whereabouts(base, path) for path in table["path"]]
    table = with_masks(table, mask, base, name)
    MISSING[missing](table["path"], name)
    first = ["id", "path", "subject"]
    masks_from = table.attrs["masks_from"]
    table = table[[*first, *(c for c in table.columns if c not in first)]].reset_index(drop=True)
    table.attrs |= {"subjects_from": told_by, "masks_from": masks_from}
    return table


def listed(source: Path | str | pd.DataFrame | Sequence[Path | str]) -> Path | str | pd.DataFrame:
    """A list of files as a table of their paths; whatever else lists images as it is.

    Raises CohortError for what lists none, such as an array.
    """
    if isinstance(source, str | os.PathLike | pd.DataFrame):
        return source
    if not isinstance(source, list | tuple) or not all(isinstance(each, str | os.PathLike) for each in source):
        raise CohortError(
            f"got {type(source).__name__} for images; expected a folder, a CSV, a table or a list of files. Arrays are "
            "scored by anomaly.Run.open(RUN).score(ARRAYS)"
        )
    if not source:
        raise CohortError("got an empty list for images; give at least one file")
    return pd.DataFrame({"path": [os.path.abspath(each) for each in source]})


def split(subjects: Sequence[str], *, choose: float = 0.1, calibrate: float = 0.1) -> np.ndarray:
    """Set subjects aside: give "train", "choose" or "calibrate" for every image, never two for one subject.

    It depends on nothing but the set of names (their order by SHA-256), so that a second training finds the
    same split. A share above 0 gets one subject at least. Raises CohortError for too few subjects or shares
    that leave nothing to train on.
    """
    if min(choose, calibrate) < 0 or not choose + calibrate < 1:
        raise CohortError(f"shares are choose {choose}, calibrate {calibrate}; expected 0 or more, below 1 in sum")
    names = sorted(set(map(str, subjects)), key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    fewest = 1 + (choose > 0) + (calibrate > 0)
    if len(names) < fewest:
        raise CohortError(f"there are {len(names)} subjects; expected {fewest} or more: add others")
    chosen = _share(choose, len(names), len(names) - fewest + 1)
    calibrating = _share(calibrate, len(names), len(names) - 1 - chosen)
    parts = ["choose"] * chosen + ["calibrate"] * calibrating
    part = dict(zip(names, parts + ["train"] * (len(names) - len(parts)), strict=True))
    return np.array([part[str(name)] for name in subjects])


def refuse_overlap(known: Iterable[str], cohort: pd.DataFrame, run: Path, files: Iterable[str] = ()) -> None:
    """Refuse images of subjects that a run knows, and the very images it knows, unless whoever asks allows it.

    Args:
        known: names of these subjects.
        cohort: the images, with their subject.
        run: its folder, for the message.
        files: paths of the images it knows, whatever their subjects are called now.

    Raises:
        CohortError: there are some.
    """
    both = sorted(set(map(str, known)) & set(map(str, cohort["subject"])))
    if both:
        raise CohortError(
            f"{len(both)} subjects are in both the training images and those given now ({some(both)}); leave them out "
            f"of one ({run}); {TELL_APART}; or give --allow-overlap"
        )
    if same := sorted(set(files) & set(cohort.get("path", ()))):
        raise CohortError(
            f"{run} knows {len(same)} of these images ({same[0]}, ...); leave them out, say whose each is as in the "
            "training (--subject, --subject-pattern), or give --allow-overlap"
        )


def fingerprint(cohort: pd.DataFrame) -> str:
    """Sum up a cohort's images in one SHA-256, the same on every machine: ids, file names, sizes, and masks."""
    rows = [[str(i), Path(p).name, _bytes(Path(p))] for i, p in zip(cohort["id"], cohort["path"], strict=True)]
    if "mask" in cohort and cohort.attrs.get("masks_from"):
        rows = [[*row, Path(m).name, _bytes(Path(m)) if m else ""] for row, m in zip(rows, cohort["mask"], strict=True)]
    rows.sort()
    return hashlib.sha256("\n".join("\t".join(map(str, row)) for row in rows).encode()).hexdigest()


def keep(table: pd.DataFrame, where: Mapping[str, str], name: str) -> pd.DataFrame:
    """Rows of a table whose columns have these values; 0 means "0" and 0.0 alike.

    Raises CohortError for a column that is not there, or where no row is left.
    """
    for column, value in where.items():
        if column not in table:
            raise CohortError(f"{name}: has no column {column!r}; its columns are {some(table.columns, 20)}")
        told = table[column]
        kept = table[_equal(told, str(value))]
        if kept.empty:
            there = some(sorted({str(one) for one in told}), 10)
            raise CohortError(f"{name}: no row is left with {column} {value}; its values there are {there}")
        table = kept
    return table


def _share(share: float, of: int, most: int) -> int:
    return min(max(1, round(share * of)), most) if share > 0 else 0


def _bytes(path: Path) -> int:
    """Give the size of a file or of all files in a folder; -1 where there is none."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    return path.stat().st_size if path.exists() else -1


def _table(
    source: Path | str | pd.DataFrame, subject: str | None, match: Globs, exclude: Globs
) -> tuple[pd.DataFrame, Path, bool]:
    """Give the rows with a column `path`, the folder these paths start from, and whether it is what was given."""
    if isinstance(source, pd.DataFrame):
        return _with_path(source.copy(), "the table"), Path(), False
    path = Path(os.path.abspath(source))
    if globs.is_glob(path):
        return *_listed(*globs.found(path, match, exclude)), True
    if path.is_file() and globs.is_image(path):
        return *_listed(path.parent, globs.one(path, match, exclude)), True
    if path.is_dir() or not path.suffix:
        found = find(path, match, exclude)
        return *_listed(path.parent if found == [path] else path, found), True
    if not path.exists():
        raise CohortError(f"{path}: no such file; correct the path")
    try:
        table = read_sheet(path, [*PATH_COLUMNS, "id", "subject", *([subject] if subject else [])])
    except NoTable as error:
        raise CohortError(f"{path}: is no CSV that can be read: {error}") from error
    except (ValueError, OSError, EOFError) as error:  # pandas' own errors and bad encodings are ValueErrors
        reason = (str(error).splitlines() or [""])[0]
        raise CohortError(f"{path}: is no CSV that can be read ({reason}); {HOW}") from error
    return _with_path(table, str(path)), path.parent, False


def _listed(base: Path, found: Sequence[Path]) -> tuple[pd.DataFrame, Path]:
    """Images as rows, with the folder that their paths start from."""
    return pd.DataFrame({"path": [spelled(file.relative_to(base).as_posix()) for file in found]}), base


def _asked_for(table: pd.DataFrame, base: Path, match: Globs, exclude: Globs, name: str) -> pd.DataFrame:
    """The rows of a table whose paths, from its folder, are to be taken."""
    paths = [Path(path) for path in table["path"]]
    below = [path.relative_to(base) if path.is_absolute() and path.is_relative_to(base) else path for path in paths]
    kept = [asked(path.as_posix(), match, exclude) for path in below]
    if not any(kept):
        raise CohortError(f"{name}: none of its {len(table)} paths fits {as_typed(match, exclude)}; mend the pattern")
    return table[kept]


def _whereabouts(base: Path, path: str) -> str:
    """The absolute path of a file, as its name is on the disk."""
    whole = os.path.abspath(base / path)
    return spelled(str(located(Path(whole)))) if "\\" in whole or not whole.isascii() else whole


def _with_path(table: pd.DataFrame, name: str) -> pd.DataFrame:
    try:
        refuse_twice(table)
    except NoTable as error:
        raise CohortError(f"{name}: {error}") from error
    column = next((one for one in PATH_COLUMNS if one in table), None)
    if column is None:
        raise CohortError(f"{name}: has no column 'path'; its columns are {some(table.columns, 20)}: rename one")
    table = table.rename(columns={column: "path"})
    table["path"] = filled(table, "path", name)
    return table


def _subjects(table: pd.DataFrame, subject: str | None, pattern: str | None, name: str) -> tuple[pd.Series[str], str]:
    """Whose each image is, and what tells so."""
    column = subject or ("subject" if "subject" in table and not pattern else None)
    if column is not None and column not in table:
        raise CohortError(f"{name}: has no column {column!r}; its columns are {some(table.columns, 20)}")
    if column is not None:
        return filled(table, column, name), f"the column {column}"
    paths = [Path(path).as_posix() for path in table["path"]]
    if pattern:
        return pd.Series(_matches(pattern, paths, name), index=table.index), f"the pattern {pattern}"
    found = [BIDS_SUBJECT.findall(path) for path in paths]
    named = [f[-1] if f else i for f, i in zip(found, table["id"], strict=True)]
    return pd.Series(named, index=table.index), "the BIDS entity sub-" if all(found) else FILE_NAMES


def _matches(pattern: str, paths: Sequence[str], name: str) -> list[str]:
    compiled = pattern_of(pattern)
    found = [compiled.search(path) for path in paths]
    bare = [path for path, match in zip(paths, found, strict=True) if match is None or not match[1]]
    if bare:
        raise CohortError(f"{name}: subject_pattern {pattern!r} does not match {len(bare)} paths ({some(bare)})")
    return [match[1] for match in found if match is not None]


def _equal(column: pd.Series, value: str) -> pd.Series[bool]:
    """Compare numbers as numbers (0 is 0.0), everything else as text."""
    number = pd.to_numeric(pd.Series([value]), errors="coerce").iloc[0]
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column) and not pd.isna(number):
        return column == number
    return column.astype(str) == value


def _refuse_missing(paths: pd.Series[str], name: str) -> None:
    gone = [path for path in paths if not os.path.exists(located(Path(path)))]
    fetch = contents.pointer(located(Path(gone[0]))) if gone else ""
    if gone:
        raise CohortError(
            f"{name}: {len(gone)} of {len(paths)} files do not exist ({some(gone)}); "
            + (f"they are links to content that is not here: {fetch}" if fetch else "correct the paths, ")
            + ("" if fetch else "which start from the table's folder")
        )


def _keep_missing(paths: pd.Series[str], name: str) -> None:
    """Leave files that do not exist in the cohort."""


MISSING: dict[str, Callable[[pd.Series, str], None]] = {"error": _refuse_missing, "keep": _keep_missing}
