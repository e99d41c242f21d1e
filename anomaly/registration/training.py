"""`anomaly register train`: a thin wrapper of `learn_registration`, which is imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from anomaly.commandline import asking, exits, options, tables
from anomaly.commandline.sources import Unknown


def registrars() -> dict[str, Any]:
    """Every registrar that learns, by its name, as its source says."""
    cls = asking.sources().find("anomaly.registrars.learned", "VoxelMorph")
    if isinstance(cls, Unknown):
        from anomaly.registrars.learned import VoxelMorph

        cls = VoxelMorph
    return {cls.name: cls}


@options.shared(options.preparation, options.persons, options.training)
def train(
    images: Annotated[
        Path, typer.Argument(help="Folder or CSV of images, or a glob in quotes.", metavar=options.SOURCE)
    ],
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
    date: Annotated[str | None, typer.Option(help="Column of dates of visits.", metavar="COLUMN")] = None,
    which: Annotated[
        str, typer.Option(help="first, next or last.", callback=options.one_of("first", "next", "last"))
    ] = "first",
    **given: Any,
) -> None:
    """Learn to bring images onto one another in one pass of a network, without a truth."""
    with exits.alike():
        settings, whose = options.settings(set_, steps), options.whose(given)
        preprocessing, machine = options.preprocessing(given), options.machine(given)
        asking.refuse_method(registrars, method, settings)
        asking.refuse_place(out, given["resume"], settings)
        options.images_there(images)
        tables.refuse_images(images, whose, visits, date)
    from anomaly.registration.learning import learn_registration
    from anomaly.registration.pairing import Pairing

    pairing = Pairing(images=images, visits=visits, start=start, date=date, which=which, **whose)
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
