"""Settings of a degradation and of what undoes it, told apart by their names; nothing heavy is imported."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from anomaly.errors import AnomalyError
from anomaly.runs.settings import checked, nearest


def told_apart(
    settings: Mapping[str, Any], restorer: Any, degradation: Any | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of the restorer, and of the degradation, each checked against the fields of its class.

    Args:
        settings: by name.
        restorer, degradation: classes, or what their source says of them; no degradation where pairs are given.

    Raises:
        AnomalyError: neither has such a setting, or a value is of another type.
    """
    of_degradation = _fields(degradation)
    of_restorer = _fields(restorer)
    for name in settings:
        if name not in (*of_degradation, *of_restorer):
            told = f"{nearest(name, (*of_degradation, *of_restorer))}"
            beside = f"{degradation.name} has {', '.join(of_degradation) or 'none'}; " if degradation else ""
            raise AnomalyError(f"there is no setting {name!r}; {told}{beside}the restorer has {', '.join(of_restorer)}")
    mine = {name: value for name, value in settings.items() if name in of_restorer}
    theirs = {name: value for name, value in settings.items() if name in of_degradation}
    return checked(restorer, mine), checked(degradation, theirs) if degradation else {}


def refuse_source(degrade: str | None, pairs: str | None, known: Mapping[str, Any]) -> None:
    """Say plainly when nothing, or too much, tells poor images from good ones.

    Raises:
        AnomalyError: so.
    """
    if degrade is not None and pairs is not None:
        raise AnomalyError(
            f"--degrade {degrade} and --pairs {pairs} were both given; give one of the two: images that have a good "
            "counterpart are not made poor once more"
        )
    if degrade is None and pairs is None:
        raise AnomalyError(
            "say what makes images poor: by --degrade NAME, which is done to good images, or by --pairs COLUMN, which "
            "names the good image of each poor one"
        )
    if degrade is not None and degrade not in known:
        raise AnomalyError(f"degradation {degrade!r} is unknown; {nearest(degrade, known)}there are {', '.join(known)}")


def _fields(cls: Any) -> list[str]:
    return [] if cls is None else [each.name for each in dataclasses.fields(cls) if each.init and each.repr]
