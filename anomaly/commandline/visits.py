"""Options of commands that compare the visits of a person, and what they may not be asked together with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from anomaly.commandline import options

Visits = Annotated[
    str | None,
    typer.Option(help="Column of visits (dates, numbers, names): compare those of a person.", metavar="COLUMN"),
]
Unit = Annotated[
    str | None, typer.Option(help="With --visits that are numbers: days, weeks, months or years.", metavar="UNIT")
]
Order = Annotated[
    str | None,
    typer.Option(help="With --visits: names from the first to the last, with commas.", metavar="NAMES"),
]
Dated = Annotated[
    str | None, typer.Option(help="With --visits that are names: column of their dates.", metavar="COLUMN")
]
DatesOf = Annotated[str | None, typer.Option(help="Column of dates, where visits are names.", metavar="COLUMN")]
UnitOf = Annotated[
    str | None, typer.Option(help="Of visits that are numbers: days, weeks, months, years.", metavar="UNIT")
]
SideOf = Annotated[str | None, typer.Option(help="Column of sides, which are paired apart.", metavar="COLUMN")]
ContrastOf = Annotated[str | None, typer.Option(help="Column of contrasts, which are paired apart.", metavar="COLUMN")]
At = Annotated[
    str | None,
    typer.Option(
        help="With --visits: whether --outcome is told at each visit, or once of a person.",
        metavar="visit|person",
        callback=lambda text: text if text is None else options.one_of("visit", "person")(text),
    ),
]
_ALONE = ("visit_unit", "visit_order", "date", "stable", "outcome_at", "time_unit", "limit", "smallest", "annual")
_NEVER = ("strata", "match", "compare", "at", "truth", "labels", "flags")


def visited(visits: Visits = None, visit_unit: Unit = None, visit_order: Order = None, date: Dated = None) -> None:
    """Which visits are compared."""


def followed(
    stable: Annotated[
        str | None,
        typer.Option(
            help="With --visits: who did not change, or which are rescans, for the least detectable change.",
            metavar="COLUMN[=VALUE]",
        ),
    ] = None,
    outcome_at: At = None,
    time_unit: Annotated[
        str | None, typer.Option(help="With --visits: unit of --time; years by default.", metavar="UNIT")
    ] = None,
    limit: Annotated[
        float | None, typer.Option(help="With --visits: what a map exceeds in a lesion; else as normals fixed it.")
    ] = None,
    smallest: Annotated[
        float | None,
        typer.Option(help="With --visits: leave lesions out below this volume, in mm3 (mm2, pixels).", min=0),
    ] = None,
) -> None:
    """What is asked of the change between visits."""


def refuse_mixed(given: Mapping[str, Any], **more: Any) -> None:
    """Refuse options of visits where none are asked for, and questions of single images where they are."""
    asked = {**given, **more}
    wrong = _NEVER if asked.get("visits") else _ALONE
    # 0 is asked for too; what is not is None, False or empty.
    found = [name for name in wrong if asked.get(name) is not None and asked[name] is not False and asked[name] != ()]
    if found:
        told = "asks about single images; ask it without --visits" if asked.get("visits") else "goes with --visits"
        raise typer.BadParameter(told, param_hint="--" + found[0].replace("_", "-"))
    for name, other in (("time_unit", "time"), ("outcome_at", "outcome")):
        if asked.get(name) is not None and other in asked and asked[other] is None:
            raise typer.BadParameter(f"goes with --{other}", param_hint="--" + name.replace("_", "-"))


def refuse_lone(given: Mapping[str, Any], **more: Any) -> None:
    """Refuse options of visits where none are asked for."""
    if not given.get("visits"):
        refuse_mixed(given, **more)


def pairing(given: Mapping[str, Any]) -> dict[str, Any]:
    """How visits are paired, by the options of `visited`."""
    return {
        **options.chosen(given, "visits", "visit_unit", "date"),
        "visit_order": [name.strip() for name in (given["visit_order"] or "").split(",") if name.strip()],
    }
