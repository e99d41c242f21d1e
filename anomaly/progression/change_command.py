"""`anomaly progress change`: a thin wrapper of one public function."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from anomaly.commandline import exits, options
from anomaly.progression.commands_evolution import Pairs, Visited, timing, visited

Maps = Annotated[
    str | None,
    typer.Option(
        help="What tells lesions: irregularity, made here; or maps or masks of both visits: a column, folder, pattern.",
        metavar="WHAT",
    ),
]


def telling(
    threshold: Annotated[
        float,
        typer.Option(
            help="Change in units of noise beyond which it is told. 5 finds few: large changes, most small ones not.",
            min=0.1,
        ),
    ] = 5.0,
    at: Annotated[
        float | None, typer.Option(help="Where maps are cut into lesions; of irregularity 0.8 if left out, else 0.5.")
    ] = None,
    smallest: Annotated[
        float, typer.Option(help="Least volume of a lesion or a region, in mm3 where files tell millimetres.", min=0)
    ] = 0.0,
    grown: Annotated[
        float, typer.Option(help="Relative change of volume beyond which a lesion grows or shrinks.", min=0)
    ] = 0.25,
    least: Annotated[
        float, typer.Option(help="Change of volume below which a lesion neither grows nor shrinks.", min=0)
    ] = 0.0,
    smooth: Annotated[float, typer.Option(help="Smoothing of the map (standard deviation, mm).", min=0)] = 1.2,
    matching: Annotated[
        str,
        typer.Option(
            help="How the later image comes to the intensities of the earlier: quantiles, line, none.",
            callback=options.one_of("quantiles", "line", "none"),
        ),
    ] = "quantiles",
    join: Annotated[
        str | None,
        typer.Option(
            help="Contrasts that make one map, the leading first; a minus where worse is darker, as FLAIR,T2w,-T1w.",
            metavar="NAMES",
        ),
    ] = None,
) -> None:
    """What counts as change."""


@options.shared(telling, timing, options.persons)
def change(
    out: options.Out,
    images: Visited = None,
    pairs: Pairs = None,
    maps: Maps = None,
    workers: options.Workers = None,
    **given: Any,
) -> None:
    """Draw what changed between two visits of each person, and list lesions that came, grew, shrank or went."""
    made = maps == "irregularity" and not Path(maps).exists()
    asked = {**visited(images, pairs, None if made else maps, given), "maps": maps}
    names = () if given["join"] is None else tuple(name.strip() for name in given["join"].split(","))
    if not all(name.lstrip("-") for name in names):
        raise typer.BadParameter(f"expected names with commas, got {given['join']!r}", param_hint="--join")
    from anomaly.progression.changing import change_between_visits
    from anomaly.progression.comparing import Asked
    from anomaly.progression.pairing import Visits

    wanted = options.chosen(given, "threshold", "at", "smallest", "grown", "least", "smooth")
    done = change_between_visits(
        Visits(**asked), out, asked=Asked(**wanted, match=given["matching"], join=names), workers=workers
    )
    typer.echo(
        f"changes: {done.path} ({done.new} new, {done.before} from before, {done.failed} unusable)\n"
        f"lesions: {done.lesions}"
    )
    if done.left_out:
        typer.echo(f"{done.left_out} images stand in no pair: {done.path.parent / 'left_out.csv'}")
    exits.end_with(done.failed, done.errors)
