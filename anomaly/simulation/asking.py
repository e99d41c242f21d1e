"""What a user asks of a simulated cohort: checked before anything is drawn, or even imported."""

from collections.abc import Mapping
from typing import Any

from anomaly.errors import AnomalyError


def asked(kind: str, kinds: Mapping[str, Mapping[str, Any]], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a kind of cohort, each of the type that the kind takes; None leaves a setting as it is.

    Args:
        kind: what to draw.
        kinds: for every kind what it takes, by name, with its default.
        settings: what was asked for; `count` is the number of persons where a kind draws persons, else of images.

    Raises:
        AnomalyError: no such kind, or a setting that it does not have.
    """
    if kind not in kinds:
        raise AnomalyError(f"there is no kind {kind!r} of cohort; choose one of {', '.join(kinds)}")
    takes = {name: default for name, default in kinds[kind].items() if name != "out"}
    given = {name: value for name, value in settings.items() if value is not None}
    if "persons" in takes and "count" in given:
        given["persons"] = given.pop("count")
    for name, value in given.items():
        if name not in takes:
            raise AnomalyError(f"{kind} has no setting {name!r}; it has {', '.join(takes)}")
        given[name] = _fitting(name, value, takes[name])
    if kind == "lesions" and "normals" not in given:
        raise AnomalyError("lesions are put into images of yours: name their folder or table (--normals)")
    return given


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
