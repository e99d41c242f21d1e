"""`anomaly progress train | predict | evaluate`: each a thin wrapper of one public function."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from anomaly.commandline import asking, exits, options, tables
from anomaly.commandline.sources import Unknown
from anomaly.commandline.visits import ContrastOf, DatesOf, SideOf, UnitOf
from anomaly.errors import CohortError
from anomaly.runs.facts import FORECASTER

Run = Annotated[Path, typer.Argument(help="Run folder of `anomaly progress train`.", metavar="RUN")]
Visited = Annotated[
    Path | None,
    typer.Option(
        "--images", help="CSV of images, with a column of visits.", metavar="CSV", callback=options.images_there
    ),
]
Pairs = Annotated[
    Path | None,
    typer.Option(
        help="Instead, a CSV of pairs: id, path, baseline, subject, as `anomaly register visits` leaves it.",
        metavar="CSV", callback=options.there,
    ),
]  # fmt: skip
Maps = Annotated[
    str | None,
    typer.Option(
        help="Maps of the disease, one an image: a column, a folder, a pattern; left out, the images are maps.",
        metavar="COLUMN|DIR|GLOB",
    ),
]


VISIT = "visit"
_WHICH = options.one_of("first", "next", "last")


def forecasters() -> dict[str, Any]:
    """Every forecaster by its name, as its source says."""
    classes = asking.sources().find("anomaly.evolution.register", "CLASSES")
    if isinstance(classes, Unknown):
        from anomaly.evolution.register import CLASSES as classes
    return {cls.name: cls for cls in classes}


def timing(
    visits: Annotated[
        str | None, typer.Option(help="With --images: column that says when each was taken; or visit.", metavar="NAME")
    ] = None,
    which: Annotated[
        str | None,
        typer.Option(
            help="Pair each visit with the first (as left out), with the next before it, or the last with the first.",
            metavar="first|next|last", callback=lambda text: None if text is None else _WHICH(text),
        ),
    ] = None,
    unit: UnitOf = None,
    date: DatesOf = None,
    side: SideOf = None,
    contrast: ContrastOf = None,
) -> None:  # fmt: skip
    """Which images are two visits."""


def visited(images: Path | None, pairs: Path | None, maps: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """What `Visits` takes, of the options; refused at once where a table has not what is asked of it."""
    asked = {**options.whose(given), **options.chosen(given, "visits", "which", "unit", "date", "side", "contrast")}
    source = pairs if images is None else images
    if (images is None) == (pairs is None) or source is None:
        raise CohortError("give --images CSV with --visits COLUMN, or --pairs CSV; one of the two")
    if images is None and asked["visits"] is not None:
        raise CohortError("a table of pairs has its visits; leave --visits out")
    if images is not None and asked["visits"] is None:
        asked["visits"] = VISIT
    idle = [name for name in ("which", "unit", "date", "side", "contrast") if asked[name] is not None]
    if pairs is not None and idle:
        raise CohortError(
            f"{' and '.join(f'--{name}' for name in idle)} say which images are two visits, and a table of pairs has "
            f"these; leave {'them' if len(idle) > 1 else 'it'} out"
        )
    asked["which"] = asked["which"] or "first"
    column = maps if maps is not None and not Path(maps).exists() and not any(c in maps for c in "*?[/") else None
    names = [asked[name] for name in ("visits", "date", "side", "contrast")]
    tables.refuse_images(source, asked, *names, None if pairs is None else "baseline", column)
    return {"images": source, "maps": maps, **asked}


@options.shared(options.preparation, timing, options.persons, options.training)
def train(
    out: Annotated[Path, typer.Option(help="Run folder to make.", metavar="RUN")],
    images: Visited = None,
    pairs: Pairs = None,
    method: Annotated[
        str, typer.Option(help="See `anomaly methods`.", autocompletion=asking.completing(forecasters))
    ] = "dep-gan",
    maps: Maps = None,
    image: Annotated[
        str,
        typer.Option(
            help="beside: the image of the first visit is seen too; none: the map alone.",
            callback=options.one_of("none", "beside"),
        ),
    ] = "none",
    range_: Annotated[
        str | None,
        typer.Option("--range", help="LOW,HIGH: values of maps that count as 0 and 1, as 0,255.", metavar="LOW,HIGH"),
    ] = None,
    set_: options.Settings = None,
    steps: options.Steps = None,
    choose: Annotated[
        float, typer.Option(help="Share of subjects by whom the best weights are told.", callback=options.share)
    ] = 0.1,
    calibrate: Annotated[
        float, typer.Option(help="Share of subjects who calibrate the intervals.", callback=options.share)
    ] = 0.2,
    **given: Any,
) -> None:
    """Learn from persons seen twice how the map of a disease changes until the next visit."""
    with exits.alike():
        settings = options.settings(set_, steps)
        preprocessing, machine = options.preprocessing(given), options.machine(given)
        span = _span(range_)
        asking.refuse_method(forecasters, method, settings)
        asking.refuse_place(out, given["resume"], settings)
        asked = visited(images, pairs, maps, given)
    from anomaly.progression.learning import learn_progression
    from anomaly.progression.pairing import Visits

    run = learn_progression(
        Visits(**asked), out, method=method, settings=settings, preprocessing=preprocessing, image=image, span=span,
        choose=choose, calibrate=calibrate, machine=machine,
        **options.chosen(given, "seed", "resume", "save_every", "workers"),
    )  # fmt: skip
    if machine.leads:
        told = run.facts["held_out"]
        off = f"{told['off']:.4g} {run.unit}, if nothing changed {told['persistence']:.4g}"
        typer.echo(f"run: {run.folder}\nheld out: mean error of the volume {off}")
        if (run.folder / "left_out.csv").exists():
            typer.echo(f"images that stand in no pair: {run.folder / 'left_out.csv'}")
    exits.end_with(run.facts["data"]["unreadable"], run.folder / "errors.csv", told=machine.leads)


@options.shared(options.persons)
def predict(
    run: Run,
    images: options.Images,
    out: options.Out,
    years: Annotated[
        float | None, typer.Option(help="Until the next visit; left out, the mean of those learned from.")
    ] = None,
    maps: Maps = None,
    draws: Annotated[int, typer.Option(help="Draws whose mean and spread are told.", min=1)] = 10,
    allow_overlap: options.AllowOverlap = False,
    device: options.Device = "auto",
    workers: options.Workers = None,
    **given: Any,
) -> None:
    """Draw the map of the next visit of every image, and say how its volume will change, with an interval."""
    whose = options.whose(given)
    asking.refuse_run(run, FORECASTER)
    tables.refuse_images(images, whose)
    from anomaly.progression.predicting import predict_progression

    done = predict_progression(
        run, images, out, years=years, maps=maps, draws=draws, allow_overlap=allow_overlap, device=device,
        workers=workers, **whose,
    )  # fmt: skip
    typer.echo(f"predictions: {done.path} ({done.new} new, {done.before} from before, {done.failed} unreadable)")
    if done.why_none:
        typer.echo(done.why_none)
    exits.end_with(done.failed, done.errors)


@options.shared(timing, options.persons)
def evaluate(
    run: Run,
    out: options.Out,
    images: Visited = None,
    pairs: Pairs = None,
    maps: Maps = None,
    least: Annotated[
        float, typer.Option(help="Changes of volume smaller than this are neither growth nor shrinkage.", min=0)
    ] = 0.0,
    draws: Annotated[int, typer.Option(help="Draws whose mean and spread are told.", min=1)] = 10,
    allow_overlap: options.AllowOverlap = False,
    seed: options.Bootstrap = 0,
    device: options.Device = "auto",
    workers: options.Workers = None,
    **given: Any,
) -> None:
    """Say how near what is predicted comes to the next visit, beside what needs no network."""
    asking.refuse_run(run, FORECASTER)
    asked = visited(images, pairs, maps, given)
    from anomaly.progression.evaluating import evaluate_progression
    from anomaly.progression.pairing import Visits

    found = evaluate_progression(
        run, Visits(**asked), out, least=least, draws=draws, allow_overlap=allow_overlap, seed=seed, device=device,
        workers=workers,
    )  # fmt: skip
    typer.echo("\n".join([*found.sentences, f"page: {found.page}"]))
    exits.end_with(found.failed, found.errors)


def _span(text: str | None) -> tuple[float, float] | None:
    found = options.numbers("range", text, float)
    if found is not None and not (isinstance(found, tuple) and len(found) == 2 and found[0] < found[1]):
        raise typer.BadParameter(f"expected LOW,HIGH, low < high, as 0,255; got {text!r}", param_hint="--range")
    return found
