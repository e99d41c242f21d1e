"""`anomaly simulate` and `train`: a cohort to learn from, and a run; thin wrappers, imported when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from anomaly.commandline import asking, exits, options, tables


def simulate(
    kind: Annotated[str, typer.Argument(help="knees, squares, ellipses, lesions ...: see `anomaly methods`.")],
    out: options.Out,
    count: Annotated[int | None, typer.Option(help="Persons (knees) or images (toys) to draw.", min=1)] = None,
    dims: Annotated[int | None, typer.Option(help="knees, evolving: 2 (pictures) or 3 (volumes).")] = None,
    size: Annotated[int | None, typer.Option(help="Pixels a side.")] = None,
    normals: Annotated[
        Path | None,
        typer.Option(
            help="lesions: folder or CSV of real images to put them in.",
            metavar=options.SOURCE,
            callback=options.images_there,
        ),
    ] = None,
    where: options.Where = None,
    set_: options.Settings = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same bytes; 0 by default.")] = None,
) -> None:
    """Draw a cohort whose truth is known: images, masks, a table, and the best and the worst a score can do."""
    asked = {
        "count": count,
        "dims": dims,
        "size": size,
        "normals": normals,
        "where": options.conditions(where) or None,
        "seed": seed,
    }
    settings = options.settings(set_)
    if twice := [name for name, value in asked.items() if name in settings and value is not None]:
        raise typer.BadParameter(f"{twice[0]} is given by its own option as well; give it once", param_hint="--set")
    settings = {**asked, **settings}
    asking.refuse_kind(kind, settings)
    from anomaly.simulation import simulate as run

    table = run(kind, out, **settings)
    typer.echo(f"cohort: {table}")
    if (out / "errors.csv").is_file():
        typer.echo(f"some images could not be used; see {out / 'errors.csv'}", err=True)
        raise typer.Exit(exits.SOME_UNREADABLE)


@options.shared(options.preparation, options.persons, options.training)
def train(
    normals: Annotated[
        Path, typer.Option(help="Folder or CSV of normal images, or a glob in quotes.", metavar=options.SOURCE)
    ],
    out: Annotated[Path, typer.Option(help="Run folder to make.", metavar="RUN")],
    method: Annotated[
        str,
        typer.Option(
            help="See `anomaly methods`; or FILE.py:CLASS.", autocompletion=asking.completing(asking.detectors)
        ),
    ] = "auto",
    set_: options.Settings = None,
    steps: options.Steps = None,
    unlabelled: Annotated[
        Path | None,
        typer.Option(help="Images to come, for a method that looks at them; no label is read.", metavar=options.SOURCE),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(help="Column of classes to learn to draw apart, for a method that can.", metavar="COLUMN"),
    ] = None,
    choose: Annotated[
        float, typer.Option(help="Share of subjects held out to stop and scale by.", callback=options.share)
    ] = 0.1,
    calibrate: Annotated[
        float, typer.Option(help="Share of subjects held out to calibrate by.", callback=options.share)
    ] = 0.2,
    context: Annotated[
        int | None,
        typer.Option(
            help="Volumes slice by slice: show each slice its height and so many neighbours either side; 0 the height.",
            min=0,
        ),
    ] = None,
    dry_run: options.DryRun = False,
    **given: Any,
) -> None:
    """Learn what normal looks like from images of normal people."""
    with exits.alike():
        settings, whose = options.settings(set_, steps), options.whose(given)
        preprocessing, machine = options.preprocessing(given, context), options.machine(given)
        asking.refuse_method(asking.detectors, method, settings, classes=classes, looks=unlabelled is not None)
        asking.refuse_place(out, given["resume"], settings)
        options.images_there(normals)
        options.images_there(unlabelled)
        tables.refuse_images(normals, whose, classes)
    asked: dict[str, Any] = dict(
        method=method, settings=settings, preprocessing=preprocessing, unlabelled=unlabelled,
        classes=classes, choose=choose, calibrate=calibrate, machine=machine,
        **whose, **options.chosen(given, "seed", "resume", "save_every", "workers"),
    )  # fmt: skip
    if dry_run:
        from anomaly.runs.foreseeing import foresee

        typer.echo(foresee(normals, out, **asked).told())
        return
    from anomaly.runs.learning import learn

    run = learn(normals, out, **asked)
    if machine.leads:
        typer.echo(f"run: {run.folder}")
    exits.end_with(run.facts["data"]["unreadable"], run.folder / "errors.csv", told=machine.leads)
