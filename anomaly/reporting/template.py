"""The pages to be filled in, and how numbers are written in them."""

from pathlib import Path
from typing import Any

import jinja2
import numpy as np


def template(name: str) -> jinja2.Template:
    """A page of this folder, with the filters `p`, `figure` and `percent`."""
    places = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=places, autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {"p": _p_value, "figure": _figure, "percent": percent}
    environment.trim_blocks = environment.lstrip_blocks = True
    return environment.get_template(name)


def _figure(value: Any, digits: int = 2) -> str:
    return "–" if value is None or not np.isfinite(value) else f"{value:.{digits}f}"


def percent(share: Any) -> str:
    """A share as a person reads it; a dash for none."""
    return "–" if share is None or not np.isfinite(share) else f"{100 * share:.3g} %"


def _p_value(value: Any) -> str:
    if value is None or not np.isfinite(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
