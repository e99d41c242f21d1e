"""Who was seen more than once: each image beside an earlier one of the same person, side and contrast."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from anomaly.cohorts.results import number, plain_text, some
from anomaly.cohorts.times import Times, times_of
from anomaly.errors import CohortError

SIDES = ("side", "laterality", "eye", "knee", "hip")
CONTRASTS = ("contrast", "sequence", "modality", "suffix")
BIDS_SUFFIX = re.compile(r"(?:^|/)sub-[^/]*_([A-Za-z0-9]+)\.[^/]*$")
WHICH = ("first", "next", "last")


@dataclass(frozen=True)
class VisitPairs:
    """Images of two visits, the later beside the earlier, and what could not be paired.

    Args:
        pairs: one row a pair: id and path of the later image, subject, side and contrast where these are known, visit
            and baseline_visit as a person would type them, baseline (path) and baseline_id of the earlier image,
            interval (in `unit`), years (NaN where the unit is not known), row and baseline_row (places in the table,
            from 0).
        left_out: images that stand in no pair: id, path, subject, reason.
        unit: of the interval: days, weeks, months, years, visits, or "" where nobody says.
        single: subjects of which there is one visit only.
        repeats: one row an image that repeats another one, with the columns of `pairs`, beside the one that it repeats.
    """

    pairs: pd.DataFrame
    left_out: pd.DataFrame
    unit: str
    single: tuple[str, ...]
    repeats: pd.DataFrame = field(default_factory=pd.DataFrame)

    def told(self) -> list[str]:
        """Sentences for a report or the log: how many pairs, and who stands in none, by reason."""
        people = self.pairs["subject"].nunique()
        said = [f"{number(len(self.pairs), 'pair')} of visits of {number(people, 'person')}."]
        if not self.unit:
            said.append("Nobody says what the numbers of visits count, so nothing is told a year; give their unit.")
        if self.single:
            alone, they = ("has", "it tells") if len(self.single) == 1 else ("have", "they tell")
            one = f"{number(len(self.single), 'person')} {alone} one visit only"
            said.append(f"{one} ({some(self.single)}); {they} no change.")
        others = self.left_out[~self.left_out["subject"].isin(self.single)]
        for reason, rows in others.groupby("reason", sort=False):
            are = "is" if len(rows) == 1 else "are"
            said.append(f"{number(len(rows), 'image')} {are} left out ({some(rows['id'])}): {reason}.")
        return said


def visit_pairs(
    table: pd.DataFrame,
    *,
    visit: str = "visit",
    subject: str = "subject",
    side: str | None = None,
    contrast: str | None = None,
    date: str | None = None,
    unit: str | None = None,
    order: Sequence[str] | None = None,
    which: str = "first",
    repeats: ArrayLike | None = None,
) -> VisitPairs:
    """Pair the images of each person by their visits; whoever cannot be paired is named, the rest goes on.

    Only images of one side and one contrast are paired. Where two images of a person, side and contrast have one time,
    or their dates run against their visits, none of that person's, side's and contrast's is, for nobody could say
    which came first.

    Args:
        table: one row an image, with id, path and subject, as `anomaly.cohorts.cohort.read_cohort` gives.
        visit: its column of visits: numbers, dates, or names (see `anomaly.cohorts.times.times_of`).
        subject: its column of persons.
        side: its column of sides; None takes side, laterality, eye, knee or hip where there is one, "" none.
        contrast: its column of contrasts; None takes contrast, sequence, modality or suffix where there is one, else
            the suffix of BIDS names (FLAIR, T1w), "" none.
        date: its column of dates, where visits are names: intervals come from it, and it must run with the visits.
        unit: of visits that are numbers: days, weeks, months or years.
        order: names of the visits from first to last.
        which: "first" pairs every later visit with the first one, "next" each with the one before it, "last" the last
            with the first.
        repeats: (n,) of images that may be rescans, also at the visit of another image. They stand in no pair, but each
            beside the latest other image that is no later. Where all first images of a person, side and contrast are
            such, none of its images is one.

    Raises:
        CohortError: a column is missing, tells no time, or nobody has two visits.
    """
    if which not in WHICH:
        raise CohortError(f"which is {which!r}; expected one of {', '.join(WHICH)}")
    _need(table, [visit, subject, *(name for name in (side, contrast, date) if name)])
    times = times_of(table[visit], unit=unit, order=order)
    dated = times if date is None else _dated(table[date])
    known = _known(table, times, dated, visit, subject)
    known["again"] = False if repeats is None else np.asarray(repeats, dtype=bool)
    kinds = _kinds(table, known, side, contrast)
    pairs, again, reasons = _paired(known, kinds, which, visit, date)
    if not pairs:
        raise CohortError(
            f"nobody has two visits that can be compared: {len(known)} images of {known['subject'].nunique()} persons, "
            f"visits {some(known['visit'].dropna().unique(), 6) or 'none'}"
            + (f"; {next(iter(reasons.values()))}" if reasons else "")
        )
    return _found(
        known, _table(known, pairs, kinds, dated), _table(known, again, kinds, dated), reasons, dated.unit
    )  # fmt: skip


def _known(table: pd.DataFrame, times: Times, dated: Times, visit: str, subject: str) -> pd.DataFrame:
    """A row an image: whose it is, and when it was taken."""
    return pd.DataFrame(
        {
            "row": np.arange(len(table)),
            "id": table["id"].to_numpy(),
            "path": table["path"].to_numpy(),
            "subject": table[subject].astype(object).where(table[subject].notna(), None).to_numpy(),
            "visit": [None if pd.isna(cell) else plain_text(cell) for cell in table[visit]],
            "time": times.values,
            "day": dated.values,
        }
    )


def _dated(column: pd.Series) -> Times:
    """The dates of a column; CohortError where it holds something else."""
    dated = times_of(column)
    if dated.unit != "days":
        raise CohortError(
            f"the column {column.name} holds no dates ({some(column.dropna())}); write them as 2021-03-30"
        )
    return dated


def _found(
    known: pd.DataFrame, found: pd.DataFrame, again: pd.DataFrame, reasons: dict[int, str], unit: str
) -> VisitPairs:
    """The pairs, with whoever stands in none and why."""
    seen = known.dropna(subset=["time", "subject"]).groupby("subject", sort=False)["time"].nunique()
    single = tuple(map(str, seen.index[seen == 1]))
    left = known[~known["row"].isin({*found["row"], *found["baseline_row"], *again["row"]})]
    compared, repeated = set(found["subject"]), set(again["baseline_row"])
    otherwise = [
        BETWEEN if subject in compared and row not in repeated else RESCANNED if row in repeated else SINGLE
        for subject, row in zip(left["subject"], left["row"], strict=True)
    ]
    told = [reasons.get(row, why) for row, why in zip(left["row"], otherwise, strict=True)]
    left = left.assign(reason=told)[["id", "path", "subject", "reason"]]
    return VisitPairs(found, left.reset_index(drop=True), unit, single, again)


SINGLE = "there is no other visit that it could be compared with"
BETWEEN = "it lies between the visits that are compared"
RESCANNED = "there is no other visit of it, only a rescan"


def _kinds(table: pd.DataFrame, known: pd.DataFrame, side: str | None, contrast: str | None) -> list[str]:
    """Put side and contrast beside what is known, where they are; their names."""
    sides = side if side is not None else next((name for name in SIDES if name in table), "")
    contrasts = contrast if contrast is not None else next((name for name in CONTRASTS if name in table), "")
    if sides:
        known["side"] = table[sides].astype(object).where(table[sides].notna(), None).to_numpy()
    if contrasts:
        known["contrast"] = table[contrasts].astype(object).where(table[contrasts].notna(), None).to_numpy()
    elif contrast is None:
        told = [BIDS_SUFFIX.search(Path(str(path)).as_posix()) for path in table["path"]]
        if all(told):
            known["contrast"] = [match[1] for match in told if match is not None]
    return [name for name in ("side", "contrast") if name in known]


def _paired(
    known: pd.DataFrame, kinds: Sequence[str], which: str, visit: str, date: str | None
) -> tuple[list[tuple[int, int]], list[tuple[int, int]], dict[int, str]]:
    """Rows (earlier, later) of each pair and of each repeat, and for rows that can be in none the reason."""
    pairs: list[tuple[int, int]] = []
    repeats: list[tuple[int, int]] = []
    reasons: dict[int, str] = {}
    empty = known[["subject", "time", *kinds]].isna()
    for name, told in (("subject", "nothing says whose it is"), ("time", f"its {visit} tells no time")):
        reasons |= dict.fromkeys(known.loc[empty[name], "row"], told)
    for name in kinds:
        reasons |= dict.fromkeys(known.loc[empty[name], "row"], f"its {name} is not told")
    if date is not None:
        undated = known["day"].isna() & ~known["row"].isin(reasons)
        reasons |= dict.fromkeys(known.loc[undated, "row"], f"its {date} tells no date")
    good = known[~known["row"].isin(reasons)]
    for _, rows in good.groupby(["subject", *kinds], sort=False):
        ordered = rows.sort_values("time", kind="stable")
        seen, again, unclear = _apart(ordered, visit)
        reasons |= unclear
        wrong = _wrong(seen, visit)
        if wrong:
            reasons |= dict.fromkeys(ordered["row"], wrong)
        else:
            pairs.extend(_of_one(list(seen["row"]), which))
            places = np.searchsorted(seen["time"], again["time"], side="right") - 1
            repeats.extend(zip(seen["row"].to_numpy()[places].tolist(), again["row"].tolist(), strict=True))
    used = {row for pair in (*pairs, *repeats) for row in pair}
    return pairs, repeats, reasons | _of_other_kinds(good, kinds, used, reasons)


def _apart(ordered: pd.DataFrame, visit: str) -> tuple[pd.DataFrame, pd.DataFrame, dict[int, str]]:
    """Images of one person, side and contrast without their repeats; the repeats; and why some can be neither."""
    again = ordered["again"]
    if not again.any() or again[ordered["time"] == ordered["time"].min()].all():
        return ordered, ordered[:0], {}
    alike = again & ordered["time"].duplicated(keep=False) & ~ordered["time"].isin(ordered.loc[~again, "time"])
    told = f"all images of this {visit} are marked as rescans; mark the repeated ones alone"
    return ordered[~again], ordered[again & ~alike], dict.fromkeys(ordered.loc[alike, "row"], told)


def _wrong(seen: pd.DataFrame, visit: str) -> str:
    """Why the images of one person, side and contrast tell no order; "" where they do."""
    twice = seen["time"].duplicated(keep=False)
    if twice.any():
        return f"{int(twice.sum())} images have the same {visit} {seen['visit'][twice].iloc[0]}; keep one of each"
    steps = np.diff(seen["day"].to_numpy(dtype=float))
    if (steps == 0).any():
        return "two visits have one date; correct the dates"
    if (steps < 0).any():
        place = int(np.argmax(steps < 0))
        before, after = seen["visit"].iloc[place : place + 2]
        return f"visit {after} is dated before visit {before}; correct the dates or the visits"
    return ""


def _of_one(rows: Sequence[int], which: str) -> Iterator[tuple[int, int]]:
    if len(rows) > 1 and which == "last":
        yield rows[0], rows[-1]
    elif which == "next":
        yield from pairwise(rows)
    else:
        yield from ((rows[0], row) for row in rows[1:])


def _of_other_kinds(good: pd.DataFrame, kinds: Sequence[str], used: set[int], told: dict[int, str]) -> dict[int, str]:
    """Why images of persons with several visits found no other one of their own side and contrast."""
    reasons: dict[int, str] = {}
    for _, rows in good.groupby("subject", sort=False):
        alone = [row for row in rows["row"] if row not in used and row not in told]
        for name in kinds:
            if alone and rows["time"].nunique() > 1 and rows[name].nunique() > 1:
                reasons |= dict.fromkeys(alone, f"there is no other visit of it with the same {name}")
    return reasons


def _table(known: pd.DataFrame, pairs: Sequence[tuple[int, int]], kinds: Sequence[str], times: Times) -> pd.DataFrame:
    before, after = (known.iloc[[pair[i] for pair in pairs]].reset_index(drop=True) for i in (0, 1))
    interval = (after["day"] - before["day"]).astype(float)
    return pd.DataFrame(
        {
            **{name: after[name] for name in ("id", "path", "subject", *kinds, "visit")},
            "baseline_visit": before["visit"],
            "baseline": before["path"],
            "baseline_id": before["id"],
            "interval": interval,
            "years": interval / times.per_year,
            "row": after["row"],
            "baseline_row": before["row"],
        }
    )


def _need(table: pd.DataFrame, columns: Sequence[str]) -> None:
    missing = [name for name in columns if name not in table]
    if missing:
        raise CohortError(f"the table has no column {', '.join(missing)}; its columns are {some(table.columns, 20)}")
