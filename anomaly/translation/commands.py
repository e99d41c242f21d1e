"""`anomaly translate ...`: each command a thin wrapper of one public function, which is imported when it runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from anomaly.commandline import asking, exits, options, tables
from anomaly.commandline.sources import Unknown
from anomaly.runs.facts import DETECTOR, TRANSLATOR

commands = typer.Typer(
    cls=exits.Commands,
    no_args_is_help=True,
    help="Draw images of one hospital or scanner as those of another, learned without pairs.",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

Run = Annotated[Path, typer.Argument(help="Run folder of a translator.", metavar="RUN")]
From = Annotated[
    Path,
    typer.Option(
        "--from", help="Folder or CSV of images to translate, or a glob in quotes.", metavar=options.SOURCE,
        callback=options.images_there,
    ),
]  # fmt: skip
To = Annotated[
    Path,
    typer.Option(
        "--to", help="Folder or CSV of images as which they are drawn.", metavar=options.SOURCE,
        callback=options.images_there,
    ),
]  # fmt: skip
FromWhere = Annotated[
    list[str] | None, typer.Option(help="As --where, of --from alone, as site=0; repeatable.", metavar="COLUMN=VALUE")
]
ToWhere = Annotated[
    list[str] | None, typer.Option(help="As --where, of --to alone, as site=1; repeatable.", metavar="COLUMN=VALUE")
]


def translators() -> dict[str, Any]:
    """Every translator by its name, as its source says."""
    cls = asking.sources().find("anomaly.translators.cycle", "CycleGAN")
    if isinstance(cls, Unknown):
        from anomaly.translators.cycle import CycleGAN

        cls = CycleGAN
    return {cls.name: cls}


def _heaps(given: Mapping[str, Any], source: Path, target: Path) -> dict[str, Any]:
    """What `Heaps` takes, of the options; refused at once where a table has not what is asked of it."""
    whose = options.whose(given)
    own = {
        "source_where": options.conditions(given["from_where"]),
        "target_where": options.conditions(given["to_where"]),
    }
    for place, where in ((source, own["source_where"]), (target, own["target_where"])):
        tables.refuse_images(place, {**whose, "where": {**whose["where"], **where}})
    return {"source": source, "target": target, **own, **whose}


@commands.command()
@options.shared(options.preparation, options.persons, options.training)
def train(
    source: From,
    target: To,
    out: Annotated[Path, typer.Option(help="Run folder to make.", metavar="RUN")],
    method: Annotated[
        str, typer.Option(help="See `anomaly methods`.", autocompletion=asking.completing(translators))
    ] = "cyclegan",
    set_: options.Settings = None,
    steps: options.Steps = None,
    from_where: FromWhere = None,
    to_where: ToWhere = None,
    choose: Annotated[
        float, typer.Option(help="Share of subjects held out, to watch by.", callback=options.share)
    ] = 0.15,
    **given: Any,
) -> None:
    """Learn from two heaps of images, without pairs, to draw each as the other."""
    with exits.alike():
        settings = options.settings(set_, steps)
        preprocessing, machine = options.preprocessing(given), options.machine(given)
        asking.refuse_method(translators, method, settings)
        asking.refuse_place(out, given["resume"], settings)
        asked = _heaps({**given, "from_where": from_where, "to_where": to_where}, source, target)
    from anomaly.translation.heaps import Heaps
    from anomaly.translation.learning import learn_translation

    run = learn_translation(
        Heaps(**asked), out, method=method, settings=settings, preprocessing=preprocessing, choose=choose,
        machine=machine, **options.chosen(given, "seed", "resume", "save_every", "workers"),
    )  # fmt: skip
    if machine.leads:
        told = ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in run.facts["held_out"].items())
        typer.echo(f"run: {run.folder}\nheld out: {told}")
    exits.end_with(run.facts["data"]["unreadable"], run.folder / "errors.csv", told=machine.leads)


@commands.command()
@options.shared(options.persons)
def apply(
    run: Run,
    images: options.Images,
    out: options.Out,
    back: Annotated[bool, typer.Option("--back", help="The other way: images of --to as of --from.")] = False,
    allow_overlap: options.AllowOverlap = False,
    device: options.Device = "auto",
    batch: Annotated[int, typer.Option(help="Images translated at once.", min=1)] = 32,
    workers: options.Workers = None,
    **given: Any,
) -> None:
    """Draw images as of the other heap, on their own grid; what is there already is kept."""
    whose = options.whose(given)
    asking.refuse_run(run, TRANSLATOR)
    tables.refuse_images(images, whose)
    from anomaly.translation.translating import translate

    done = translate(
        run, images, out, back=back, allow_overlap=allow_overlap, device=device, batch=batch, workers=workers, **whose
    )
    typer.echo(
        f"translations: {done.path} ({done.new} new, {done.before} from before, {done.failed} unreadable)\n"
        f"images: {done.cohort}"
    )
    exits.end_with(done.failed, done.errors)


@commands.command()
@options.shared(options.persons)
def evaluate(
    run: Run,
    source: From,
    target: To,
    out: options.Out,
    from_where: FromWhere = None,
    to_where: ToWhere = None,
    back: Annotated[bool, typer.Option("--back", help="The other way: images of --to as of --from.")] = False,
    structure: Annotated[
        str | None, typer.Option(help="Column of files of a segmentation that is to be kept.", metavar="COLUMN")
    ] = None,
    twin: Annotated[
        str | None, typer.Option(help="Column of files of the same people in the other heap.", metavar="COLUMN")
    ] = None,
    detector: Annotated[
        Path | None, typer.Option(help="Detector of normals of the other heap, prepared alike.", metavar="RUN2")
    ] = None,
    allow_overlap: options.AllowOverlap = False,
    seed: Annotated[int, typer.Option(help="Of the judge and of halves.")] = 0,
    device: options.Device = "auto",
    workers: options.Workers = None,
    **given: Any,
) -> None:
    """Say whether structure is kept, and whether a judge tells translated from real; floors beside."""
    asking.refuse_run(run, TRANSLATOR)
    if detector is not None:
        asking.refuse_run(detector, DETECTOR)
    asked = _heaps({**given, "from_where": from_where, "to_where": to_where}, source, target)
    tables.refuse_images(target if back else source, {}, structure, twin)
    from anomaly.translation.evaluating import evaluate_translation
    from anomaly.translation.heaps import Heaps

    found = evaluate_translation(
        run, Heaps(**asked), out, back=back, structure=structure, twin=twin, detector=detector,
        allow_overlap=allow_overlap, seed=seed, device=device, workers=workers,
    )  # fmt: skip
    typer.echo("\n".join([*found.sentences, "", f"table: {found.path}"]))
    exits.end_with(found.unreadable, found.errors)
