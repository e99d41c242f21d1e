"""Cohorts whose truth is known, drawn rather than photographed: everything in them says that it is simulated."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from anomaly.errors import AnomalyError
from anomaly.simulation.ellipses import simulate_ellipses
from anomaly.simulation.knees import simulate_knees
from anomaly.simulation.lesions import simulate_lesions
from anomaly.simulation.squares import simulate_growing_squares, simulate_squares, simulate_squares_anywhere

KINDS: dict[str, Callable[..., Path]] = {
    "knees": simulate_knees,
    "squares": simulate_squares,
    "squares-anywhere": simulate_squares_anywhere,
    "growing-squares": simulate_growing_squares,
    "ellipses": simulate_ellipses,
    "lesions": simulate_lesions,
}


def simulate(kind: str, out: Path | str, /, **settings: Any) -> Path:
    """Draw a cohort of a kind into a folder; this is `anomaly simulate`.

    Args:
        kind: one of `KINDS`.
        out: gets images, masks, cohort.csv, truth.json and a preview.
        settings: those of the kind's own function (`KINDS[kind]`); None leaves a setting as it is. `count` is the
            number of persons where a kind draws persons, else of images.

    Returns:
        The table, cohort.csv.

    Raises:
        AnomalyError: no such kind, or a setting that it does not have.
    """
    if kind not in KINDS:
        raise AnomalyError(f"there is no kind {kind!r} of cohort; choose one of {', '.join(KINDS)}")
    takes = {name: each.default for name, each in inspect.signature(KINDS[kind]).parameters.items() if name != "out"}
    given = {name: value for name, value in settings.items() if value is not None}
    if "persons" in takes and "count" in given:
        given["persons"] = given.pop("count")
    for name, value in given.items():
        if name not in takes:
            raise AnomalyError(f"{kind} has no setting {name!r}; it has {', '.join(takes)}")
        given[name] = _fitting(name, value, takes[name])
    if kind == "lesions" and "normals" not in given:
        raise AnomalyError("lesions are put into images of yours: name their folder or table (--normals)")
    return KINDS[kind](out=out, **given)


def _fitting(name: str, value: Any, default: Any) -> Any:
    """A value of the kind that a setting takes, as its default tells; a single number serves for a list of them."""
    if isinstance(default, tuple) and isinstance(value, int | float) and not isinstance(value, bool):
        return (value,)
    if isinstance(default, float) and type(value) is int:
        return float(value)
    wanted = list | tuple if isinstance(default, tuple) else type(default)
    if isinstance(default, bool | int | float | str | tuple) and not isinstance(value, wanted):
        raise AnomalyError(f"{name} is {value!r}; expected something like {default!r}")
    if isinstance(value, bool) and not isinstance(default, bool):
        raise AnomalyError(f"{name} is {value!r}; expected something like {default!r}")
    return value
