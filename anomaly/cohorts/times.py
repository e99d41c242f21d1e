"""When visits were: numbers, dates, and names such as m24, ses-02 or baseline, as times that can be ordered."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from anomaly.cohorts.results import plain_text, some
from anomaly.errors import CohortError

PER_YEAR = {"days": 365.25, "weeks": 365.25 / 7, "months": 12.0, "years": 1.0}
"""How many of each make a year."""
VISITS = "visits"
"""The unit of times that only tell an order, such as V1 and V2."""
_LETTERS = {"d": "days", "day": "days", "w": "weeks", "week": "weeks", "m": "months", "mo": "months"}
_LETTERS |= {"mon": "months", "month": "months", "y": "years", "yr": "years", "year": "years"}
_WORDS = {"bl": 0, "baseline": 0, "screening": 0, "pre": 0, "first": 0}
_LATER = {"fu": 1, "followup": 1, "post": 1, "second": 1, "third": 2, "fourth": 3}
_ORDINAL = re.compile(r"(?:ses|session|visit|v|tp|timepoint|t|wave|scan|study|exam|fu|followup)0*(\d+)")
_SPAN = re.compile(r"(?:ses|session|visit|v|fu|followup)?(?:([a-z]+?)s?0*(\d+(?:\.\d+)?)|0*(\d+(?:\.\d+)?)([a-z]+?)s?)")
_DATE = re.compile(r"(\d{4})([-/.]?)(\d{1,2})\2(\d{1,2})(?:[T ].*)?")
_COLUMN = re.compile(r"(?:^|_)(day|week|month|year)s?(?:$|_)", re.IGNORECASE)


@dataclass(frozen=True)
class Times:
    """Times of visits, in one unit.

    Args:
        values: (n,), NaN where a cell is empty or tells no time.
        unit: days, weeks, months, years; `VISITS` where only the order is known, "" where nobody says what a number is.
        untold: cells that were filled, but tell no time.
    """

    values: np.ndarray
    unit: str
    untold: tuple[str, ...] = ()

    @property
    def per_year(self) -> float:
        """How many units make a year; NaN where that is not known."""
        return PER_YEAR.get(self.unit, float("nan"))


def times_of(column: pd.Series, *, unit: str | None = None, order: Sequence[str] | None = None) -> Times:
    """What a column of visits says of time.

    Dates (2021-03-30, 2021/3/30, 20210330) become days. Numbers are of `unit`, or of what the column's name says, such
    as visit_month; else nobody knows of what. Names that hold a span (m24, 24 months, year 1) are of that unit, others
    (ses-02, V2, baseline, follow-up) tell an order alone; `baseline` is 0 among all of them.

    Args:
        column: a cell an image.
        unit: days, weeks, months or years, of numbers.
        order: names of the visits from the first to the last, where names alone do not tell.

    Raises:
        CohortError: an unknown unit, cells of different kinds, days and months that could change places, or no cell
            that tells a time.
    """
    if unit is not None and unit not in PER_YEAR:
        raise CohortError(f"the unit of visits is {unit!r}; expected one of {', '.join(PER_YEAR)}")
    name = str(column.name)
    texts = [None if pd.isna(cell) or plain_text(cell) == "" else plain_text(cell) for cell in column]
    known = [text for text in texts if text is not None]
    if not known:
        raise CohortError(f"no cell of the column {name} is filled; it says when each image was taken")
    found = _ordered(known, order, name) if order else _read(known, name)
    units = {kind for _, kind in found.values() if kind != "baseline"}
    if len(units) > 1:
        told = " and ".join(sorted(unit or "numbers without a unit" for unit in units))
        raise CohortError(f"the column {name} tells times in {told} ({some(known)}); use one")
    if units and (from_when := _calendar(found)):
        raise CohortError(f"the column {name} holds {from_when} beside names such as baseline, which is no date; write "
                          "its date as well")  # fmt: skip
    told = next(iter(units), VISITS)
    if told == "":
        from_name = _COLUMN.search(name)
        told = unit or (f"{from_name[1].lower()}s" if from_name else "")
    elif unit is not None and unit != told:
        raise CohortError(f"the column {name} tells times in {told} ({some(known)}), not in {unit}; leave the unit out")
    if not found:
        raise CohortError(f"no cell of the column {name} tells when an image was taken ({some(known)}); give dates as "
                          "2021-03-30, numbers, names such as m24 or ses-02, or the order of the names")  # fmt: skip
    values = np.array([found[text][0] if text is not None and text in found else np.nan for text in texts])
    return Times(values, told, tuple(sorted({text for text in known if text not in found})))


def _calendar(found: dict[str, tuple[float, str]]) -> str:
    """What stands beside a baseline but counts from no baseline: dates, or years of the calendar; "" where nothing."""
    kinds = {kind for _, kind in found.values()}
    if "baseline" not in kinds:
        return ""
    numbers = [time for time, kind in found.values() if kind == ""]
    years = bool(numbers) and min(numbers) >= 1800
    return "dates" if any(_date(text) is not None for text in found) else "years of the calendar" if years else ""


def _read(known: Sequence[str], name: str) -> dict[str, tuple[float, str]]:
    """The time and the unit of every cell that tells one."""
    found = {text: _one(text) for text in set(known)}
    # Eight digits are a date only where all numbers are: 20210330 is no month of a study.
    numbers = [text for text in found if _number(text) is not None]
    days = {text: day for text in numbers if len(text) == 8 and (day := _date(text)) is not None}
    if len(days) == len(numbers):
        found |= {text: (day, "days") for text, day in days.items()}
    slashed = [text for text in found if re.fullmatch(r"\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}", text)]
    if slashed:
        raise CohortError(
            f"dates in the column {name}, such as {slashed[0]}, do not say which number is the day; write them as "
            "2021-03-30"
        )
    return {text: one for text, one in found.items() if one is not None}


def _one(text: str) -> tuple[float, str] | None:
    number = _number(text)
    if number is not None:
        return number, ""
    day = _date(text)
    if day is not None:
        return day, "days"
    bare = re.sub(r"[\s_\-]+", "", text.lower())
    if bare in _WORDS or re.sub(r"^(?:ses|visit)", "", bare) in _WORDS:
        return 0.0, "baseline"
    if bare in _LATER:
        return float(_LATER[bare]), VISITS
    session = _date(re.sub(r"^(?:ses|session|visit|v)", "", bare))
    if session is not None:
        return session, "days"
    ordinal = _ORDINAL.fullmatch(bare)
    if ordinal:
        return float(ordinal[1]), VISITS
    span = _SPAN.fullmatch(bare)
    letters = (span[1] or span[4]) if span else ""
    return (float(span[2] or span[3]), _LETTERS[letters]) if span and letters in _LETTERS else None


def _ordered(known: Sequence[str], order: Sequence[str], name: str) -> dict[str, tuple[float, str]]:
    if len(set(order)) < len(order):
        raise CohortError(f"the order of visits names one twice ({some(order, 10)}); name each once")
    found = {text: (float(place), VISITS) for place, text in enumerate(order) if text in set(known)}
    if len(found) < 2:
        raise CohortError(
            f"of the order {some(order, 10)} the column {name} holds {some(found) or 'none'}; its values are "
            f"{some(sorted(set(known)), 10)}"
        )
    return found


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _date(text: str) -> float | None:
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    stamp = pd.to_datetime(f"{match[1]}-{int(match[3]):02d}-{int(match[4]):02d}", errors="coerce")
    return None if pd.isna(stamp) else float((stamp - pd.Timestamp(1900, 1, 1)).days)
