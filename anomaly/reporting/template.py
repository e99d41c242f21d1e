"""The pages to be filled in, and how numbers are written in them."""

from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from jinja2.filters import do_mark_safe as safe

from anomaly.reporting import words

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
"""Pages are in English, whatever language a program around this one has set for dates."""


def written(name: str, title: str, **facts: Any) -> str:
    """A page of this folder, filled in, with its contents and a glossary of the words it uses.

    Args:
        name: of the template; it extends `layout.html`.
        title: what the study is called.
        facts: what the template asks for.
    """
    made = datetime.now().astimezone()
    told = {"title": title, "made": made.isoformat(timespec="minutes"), "version": _version()}
    return template(name).render(told | facts | {"day": day(made)})


def day(moment: datetime) -> str:
    """A date as a person reads it."""
    return f"{moment.day} {MONTHS[moment.month - 1]} {moment.year}"


def template(name: str) -> jinja2.Template:
    """A page of this folder, with the filters `p`, `figure` and `percent`, and those of words."""
    places = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=places, autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {"p": p_value, "figure": figure, "percent": percent, "thousands": "{:,}".format}
    environment.filters |= {"chapters": _chapters, "used": words.used}
    for each in (words.linked, words.explained, words.once):
        environment.filters[each.__name__] = _safe(each)
    environment.trim_blocks = environment.lstrip_blocks = True
    return environment.get_template(name)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # slow to import

    try:
        return version("anomaly-explain")
    except PackageNotFoundError:
        return "not installed"


def _safe(write: Any) -> Any:
    return lambda *given: safe(write(*given))


def _chapters(body: str) -> list[tuple[str, str]]:
    return [(name, safe(title)) for name, title in words.chapters(body)]


def figure(value: Any, digits: int = 2) -> str:
    """A number with so many decimals; a dash for none."""
    return "–" if value is None or not np.isfinite(value) else f"{value:.{digits}f}"


def percent(share: Any) -> str:
    """A share as a person reads it; a dash for none."""
    return "–" if share is None or not np.isfinite(share) else f"{100 * share:.3g} %"


def p_value(value: Any) -> str:
    """A p-value as a person reads it; a dash for none."""
    if value is None or not np.isfinite(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
