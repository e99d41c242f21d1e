"""`anomaly register train`: a thin wrapper of `learn_registration`, which is imported when it runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from anomaly.commandline import asking, exits, options, tables
from anomaly.commandline.sources import Unknown
from anomaly.commandline.visits import ContrastOf, DatesOf, SideOf, UnitOf


def registrars() -> dict[str, Any]:
    """Every registrar that learns, by its name, as its source says."""
    cls = asking.sources().find("anomaly.registrars.learned", "VoxelMorph")
    if isinstance(cls, Unknown):
        from anomaly.registrars.learned import VoxelMorph

        cls = VoxelMorph
    return {cls.name: cls}


def timing(
    date: DatesOf = None,
    unit: UnitOf = None,
    order: Annotated[
        str | None, typer.Option(help="Names of visits from the first to the last, with commas.", metavar="NAMES")
    ] = None,
    which: Annotated[
        str,
        typer.Option(
            help="Each visit onto the first, the next before it, or the last onto the first.",
            callback=options.one_of("first", "next", "last"),
        ),
    ] = "first",
    side: SideOf = None,
    contrast: ContrastOf = None,
) -> None:
    """Which images are two visits."""


def timed(given: Mapping[str, Any]) -> dict[str, Any]:
    """What `visit_pairs` takes, of the options of `timing`."""
    asked = options.chosen(given, "date", "unit", "order", "which", "side", "contrast")
    names = asked["order"]
    return {**asked, "order": names and [name.strip() for name in names.split(",") if name.strip()]}


@options.shared(timing, options.preparation, options.persons, options.training)
def train(
    images: options.Images,
    out: Annotated[Path, typer.Option(help="Run folder to make.", metavar="RUN")],
    visits: Annotated[
        str | None,
        typer.Option(help="Column of visits: later onto earlier ones of a person; else any two.", metavar="COLUMN"),
    ] = None,
    start: Annotated[
        str,
        typer.Option(
            help="rigid, affine, or none where images lie on one another already.",
            callback=options.one_of("rigid", "affine", "none"),
        ),
    ] = "affine",
    method: Annotated[
        str, typer.Option(help="See `anomaly methods`.", autocompletion=asking.completing(registrars))
    ] = "voxelmorph",
    set_: options.Settings = None,
    steps: options.Steps = None,
    choose: Annotated[
        float, typer.Option(help="Share of subjects held out, to judge by.", callback=options.share)
    ] = 0.15,
    **given: Any,
) -> None:
    """Learn to bring images onto one another in one pass of a network, without a truth."""
    with exits.alike():
        settings, whose, times = options.settings(set_, steps), options.whose(given), timed(given)
        preprocessing, machine = options.preprocessing(given), options.machine(given)
        asking.refuse_method(registrars, method, settings)
        asking.refuse_place(out, given["resume"], settings)
        tables.refuse_images(images, whose, visits, times["date"], times["side"], times["contrast"])
    from anomaly.registration.learning import learn_registration
    from anomaly.registration.pairing import Pairing

    pairing = Pairing(images=images, visits=visits, start=start, **times, **whose)
    run = learn_registration(
        pairing, out, method=method, settings=settings, preprocessing=preprocessing, choose=choose, machine=machine,
        **options.chosen(given, "seed", "resume", "save_every", "workers"),
    )  # fmt: skip
    if machine.leads:
        told = run.facts["held_out"]
        typer.echo(
            f"run: {run.folder}\nheld out: local correlation {told['correlation']:.3f}, with the start alone "
            f"{told['correlation_start']:.3f}, before {told['correlation_before']:.3f}; {100 * told['folded']:.2g} % "
            "of pixels folded"
        )
    exits.end_with(run.facts["data"]["unreadable"], run.folder / "errors.csv", told=machine.leads)
