"""Classes that a method may learn to draw apart: which there are, who is of which, and which are asked for.

They serve to draw images. No score asks for them; but a critic that learned them apart has features of them, and a
value that rests on these features (the default of adversarial methods) may tell the classes for that reason alone.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.cohorts.results import plain_text, some
from anomaly.errors import AnomalyError, CohortError

logger = logging.getLogger(__name__)
CLASS = "class"
FEWEST, MOST, FEWEST_SUBJECTS = 2, 100, 2


@dataclass(frozen=True)
class Classes:
    """The classes of a run.

    Args:
        column: of the table of normals, that told them.
        names: in the order of their numbers, from 0.
    """

    column: str
    names: tuple[str, ...]

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Classes | None:
        """Those of a plan or a `run.json`; None where no classes were learned."""
        told = facts.get("classes")
        return None if told is None else cls(told["column"], tuple(told["names"]))

    def facts(self, cohort: pd.DataFrame) -> dict[str, Any]:
        """What a plan and a `run.json` say of them: column, names, and a SHA-256 of which image is of which."""
        rows = sorted("\t".join(row) for row in zip(cohort["id"], cohort[CLASS], strict=True))
        return {
            "column": self.column,
            "names": list(self.names),
            "labels": hashlib.sha256("\n".join(rows).encode()).hexdigest(),
        }

    def numbers(self, table: pd.DataFrame) -> np.ndarray:
        """The class of each prepared image, int64 (n,): those of a row's `slices` are of the row's class."""
        number = {name: k for k, name in enumerate(self.names)}
        rows = np.array([number[name] for name in table[CLASS]], dtype=np.int64)
        return np.repeat(rows, table["slices"])

    def counts(self, table: pd.DataFrame) -> dict[str, int]:
        """How many images of each are there to train on."""
        found = table.loc[table["split"] == "train", CLASS].value_counts()
        return {name: int(found.get(name, 0)) for name in self.names}

    def check(self, table: pd.DataFrame) -> None:
        """Refuse a class that too few subjects are there to train on.

        Raises:
            CohortError: it has fewer than 2.
        """
        people = table[table["split"] == "train"].groupby(CLASS)["subject"].nunique()
        few = {name: int(people.get(name, 0)) for name in self.names if people.get(name, 0) < FEWEST_SUBJECTS}
        if few:
            told = some((f"{name}: {count}" for name, count in few.items()), 6)
            raise CohortError(
                f"too few subjects to train on have these classes of {self.column} ({told}); expected "
                f"{FEWEST_SUBJECTS} or more of each, the held-out ones not counted: add some, or leave the class out"
            )

    def among(self, table: pd.DataFrame, asked: Sequence[str]) -> pd.DataFrame:
        """Other images with a column `class`, by the same column as those to train on; empty where it is not known.

        Where classes are asked for and any image has one, those of these classes alone.
        """
        texts = _texts(table[self.column]) if self.column in table else pd.Series(index=table.index, dtype=object)
        told = table.assign(**{CLASS: texts.where(texts.isin(self.names), "")})
        known = told[CLASS] != ""
        if len(told) and not known.any():
            logger.warning(
                "no real image has one of the classes %s in a column %s; all are compared, whatever their class",
                some(self.names, 6), self.column,
            )  # fmt: skip
        return told[told[CLASS].isin(asked)] if asked and known.any() else told


def classed(cohort: pd.DataFrame, column: str) -> tuple[pd.DataFrame, Classes]:
    """Take the classes from a column of a cohort: its rows that have one, named in a column `class`, and the classes.

    Numbers are sorted as numbers, all else as text. Rows without a value are left out, which a warning counts.

    Raises:
        CohortError: there is no such column, nothing in it, or fewer than 2 or more than 100 classes.
    """
    if column not in cohort:
        raise CohortError(f"the normals have no column {column!r}; their columns are {some(cohort.columns, 20)}")
    texts = _texts(cohort[column])
    known = texts.notna()
    if not known.any():
        raise CohortError(f"no image of the normals has a {column}; fill that column in")
    if not known.all():
        logger.warning("%d of %d images of the normals have no %s and are left out", (~known).sum(), len(known), column)
    numeric = pd.api.types.is_numeric_dtype(cohort[column])
    order = (cohort[column] if numeric else texts)[known].sort_values().index
    names = tuple(dict.fromkeys(texts[order]))
    if not FEWEST <= len(names) <= MOST:
        raise CohortError(
            f"{column} has {len(names)} values ({some(names)}); expected {FEWEST} to {MOST} classes: "
            "give another column"
        )
    kept = cohort.assign(**{CLASS: texts})[known].reset_index(drop=True)
    kept.attrs.update(cohort.attrs)
    return kept, Classes(column, names)


def chosen(classes: Classes | None, asked: Sequence[str] | str, run: Path) -> tuple[str, ...]:
    """Which classes are to be drawn, in the run's own order: those asked for, or all; none where it has none.

    Raises:
        AnomalyError: the run does not have them.
    """
    if classes is None:
        if asked:
            raise AnomalyError(f"{run} learned no classes apart; leave them out, or train one with --classes COLUMN")
        return ()
    asked = [asked] if isinstance(asked, str) else asked
    unknown = [name for name in asked if name not in classes.names]
    if unknown:
        raise AnomalyError(
            f"{run} has no class {unknown[0]!r}; its classes, by {classes.column}, are {some(classes.names, MOST)}"
        )
    return tuple(name for name in classes.names if not asked or name in asked)


def _texts(column: pd.Series[Any]) -> pd.Series[str]:
    """Values as a person would type them; NaN where there is none."""
    texts = column.astype(object).map(plain_text)
    return texts.where(column.notna() & (texts != ""))
