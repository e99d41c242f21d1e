"""Cohorts whose truth is known, drawn rather than photographed: everything in them says that it is simulated."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from anomaly.simulation.asking import asked
from anomaly.simulation.ellipses import simulate_ellipses
from anomaly.simulation.evolving import simulate_evolving
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
    "evolving": simulate_evolving,
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
    given = asked(kind, {name: takes(each) for name, each in KINDS.items()}, settings)
    return KINDS[kind](out=out, **given)


def takes(kind: Callable[..., Path]) -> dict[str, Any]:
    """What can be set of a kind of cohort, by name, with its default."""
    return {name: each.default for name, each in inspect.signature(kind).parameters.items()}
