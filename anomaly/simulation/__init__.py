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
    takes = [name for name in inspect.signature(KINDS[kind]).parameters if name != "out"]
    given = {name: value for name, value in settings.items() if value is not None}
    if "persons" in takes and "count" in given:
        given["persons"] = given.pop("count")
    for name in given:
        if name not in takes:
            raise AnomalyError(f"{kind} has no setting {name!r}; it has {', '.join(takes)}")
    if kind == "lesions" and "normals" not in given:
        raise AnomalyError("lesions are put into images of yours: name their folder or table (--normals)")
    return KINDS[kind](out=out, **given)
