"""Which images have lesions, where, and of which class: by columns of a table, or by folders of masks."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from anomaly.cohorts.cohort import fingerprint, read_cohort, split
from anomaly.cohorts.labels import COLUMN, base_of, with_labels
from anomaly.cohorts.results import plain_text, some
from anomaly.errors import AnomalyError, CohortError
from anomaly.images.finding import Globs
from anomaly.images.labels import Labels

LESION, CLASS, TISSUES = "lesion_file", "lesion_class", "tissue_file"
"""Columns with the files of lesions and of tissues, "" where there is none, and the class of the lesions."""
TRAIN, CHOOSE = "train", "choose"
NORMAL = "normal"


@dataclass(frozen=True, kw_only=True)
class Lesions:
    """Where lesions are, and what says their class.

    Args:
        given: column of their masks, or a folder of these.
        column: column of the class of an image's lesions.
        classes: instead, which numbers of the masks are which class.
        any_class: nobody asks for the class, as of what is painted out.
        tissues: column of label maps of the tissues around, or a folder; None for none.
        of_tissues: which numbers of these are tissues.

    Raises:
        AnomalyError: column and classes are both given, or neither is, or one class is called normal.
    """

    given: str | None
    column: str | None = None
    classes: Labels | None = None
    any_class: bool = False
    tissues: str | None = None
    of_tissues: Labels | None = None

    def __post_init__(self) -> None:
        if self.given is not None and not self.any_class and (self.column is None) == (self.classes is None):
            raise AnomalyError(
                "say of which class lesions are by --class COLUMN (one class an image), or by --classes NAME=NUMBER "
                "(numbers of the masks); one of the two"
            )
        if self.classes is not None and NORMAL in self.classes.names:
            raise AnomalyError(f"a class of lesions is called {NORMAL}, which is painted out; name it otherwise")


def lesion_cohort(
    images: Path | str | pd.DataFrame,
    lesions: Lesions,
    *,
    subject: str | None = None,
    subject_pattern: str | None = None,
    where: Mapping[str, str] | None = None,
    match: Globs = None,
    exclude: Globs = None,
    missing: str = "error",
) -> pd.DataFrame:
    """A table of images with the columns `lesion_file`, `lesion_class` and `tissue_file`.

    Args:
        images: a folder or a table.
        lesions: where they are.
        subject, subject_pattern, where, match, exclude: see `read_cohort`.
        missing: "error" refuses a table where no image has lesions; "keep" does not.

    Raises:
        CohortError: no such column or folder, or no image has lesions.
    """
    table = read_cohort(
        images, subject=subject, subject_pattern=subject_pattern, where=where, match=match, exclude=exclude, mask="none"
    )  # fmt: skip
    told, base = dict(table.attrs), base_of(images)
    name = "the table" if isinstance(images, pd.DataFrame) else str(images)
    files = {LESION: "", TISSUES: ""}
    found: dict[str, pd.Series] = {}
    for column, given in ((LESION, lesions.given), (TISSUES, lesions.tissues)):
        if given is not None:
            refuse = missing if column == LESION else "error"
            labelled = with_labels(table, given, base, name, missing=refuse)
            found[column] = labelled.set_index("id")[COLUMN]
            table = table[table["id"].isin(labelled["id"])]
    table = table.reset_index(drop=True)
    for column in files:
        table[column] = table["id"].map(found[column]).fillna("") if column in found else ""
    table[CLASS] = _classes(table, lesions.column, name) if lesions.column is not None else ""
    table.attrs = told
    return table


def names_of(table: pd.DataFrame, lesions: Lesions) -> tuple[str, ...]:
    """The classes of lesions of a table, in order; normal is none of them.

    Raises:
        CohortError: no image has lesions with a class.
    """
    if lesions.classes is not None:
        return lesions.classes.names
    found = sorted({*table.loc[table[LESION] != "", CLASS]} - {"", NORMAL})
    if not found:
        raise CohortError(f"no image has lesions and a class in the column {lesions.column}; fill in both")
    return tuple(found)


def parted(table: pd.DataFrame, choose: float) -> pd.DataFrame:
    """The table with a column `split`, nobody on both sides."""
    if not 0 < choose < 1:
        raise AnomalyError(f"choose must be above 0 and below 1, got {choose}")
    told = dict(table.attrs)
    table = table.assign(split=split(list(table["subject"]), choose=choose, calibrate=0))
    table.attrs = told
    return table


def marks_of(cohort: pd.DataFrame) -> str:
    """Sum up in one SHA-256 which images have lesions, of which class, and their files, tissues among them."""
    files = (cohort[column].where(cohort[column] != "", "none") for column in (LESION, TISSUES))
    told = [fingerprint(cohort.assign(path=each)) for each in files]
    classes = sorted(f"{name}\t{each}" for name, each in zip(cohort["id"], cohort[CLASS], strict=True))
    return hashlib.sha256("\n".join([*told, *classes]).encode()).hexdigest()


def refuse_unknown(names: Sequence[str], known: Sequence[str], run: object) -> None:
    """Say plainly when a class is none that a run has learned.

    Raises:
        AnomalyError: so.
    """
    if unknown := [name for name in names if name not in known]:
        raise AnomalyError(f"{run} has not learned the class {unknown[0]!r}; it knows {', '.join(known)}")


def _classes(table: pd.DataFrame, column: str, name: str) -> list[str]:
    if column not in table:
        raise CohortError(f"{name}: has no column {column!r} of classes; its columns are {some(table.columns, 20)}")
    cells: list[Any] = list(table[column])
    return ["" if pd.isna(cell) else plain_text(cell).strip() for cell in cells]
