"""The command line: each command is a thin wrapper of one public function of the library.

Nothing heavy is imported here; a command imports what it needs when it runs, so `--help` answers at once.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from anomaly.commandline import asking, everywhere, exits, log, options, tables, visits
from anomaly.progression.commands import commands as progress
from anomaly.progression.commands_evolution import forecasters
from anomaly.registration.commands import commands as registering
from anomaly.registration.training import registrars
from anomaly.restoration.commands import commands as restoring
from anomaly.restoration.commands import tables as restoration
from anomaly.runs.facts import DETECTOR, SYNTHESIZER, kind_of
from anomaly.segmentation.commands import commands as segmenting
from anomaly.segmentation.commands import segmenters
from anomaly.synthesis.commands import commands as synthesize
from anomaly.synthesis.commands import synthesizers
from anomaly.translation.commands import commands as translate
from anomaly.translation.commands import translators
from explain.commands import commands as explain
from explain.commands import explainers
from explain.painting.commands import commands as paint
from explain.painting.commands import painters

commands = typer.Typer(
    cls=exits.Commands,
    name="anomaly",
    help="Learn what normal images look like; then say of any image how far it departs, where, and what that predicts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
commands.add_typer(explain, name="explain")
commands.add_typer(paint, name="paint")
commands.add_typer(registering, name="register")
commands.add_typer(restoring, name="restore")
commands.add_typer(segmenting, name="segment")
commands.add_typer(synthesize, name="synthesize")
commands.add_typer(translate, name="translate")
commands.add_typer(progress, name="progress")


def _version(asked: bool) -> None:
    if asked:
        from anomaly import __version__

        typer.echo(f"anomaly {__version__}")
        raise typer.Exit


@commands.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", help="Say which version this is.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Learn what normal images look like; then say of any image how far it departs, where, and what that predicts."""


def app() -> None:
    """Run the program: `anomaly COMMAND ...`."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("nibabel", "pydicom", "matplotlib", "numexpr"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    with log.kept():
        _run()


def _run() -> None:
    try:
        commands()
    except OSError as error:
        hint = "what was done is kept, free the disk or mend the path and run the same command again"
        exits.tell(error, f"error: {error}; {hint}")
        raise SystemExit(1) from None
    except ValueError as error:
        code = getattr(error, "exit_code", None)
        if code is None:
            raise
        exits.tell(error, f"error: {error}")
        raise SystemExit(code) from None


@commands.command()
def demo(out: options.Out = Path("anomaly-demo")) -> None:
    """Train, score, evaluate and report on real chest X-rays that come with the program; a few minutes."""
    from anomaly.demonstration.demonstrate import demo as run

    page = run(out)
    typer.echo(f"report: {page}")


@commands.command()
def doctor(
    place: Annotated[
        Path | None,
        typer.Argument(help="Say what is found there too: images, a table of them, or a run.", metavar="DIR|CSV|RUN"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for a program to read.")] = False,
) -> None:
    """Say what this installation is and can do, try it, and look at your images; to be pasted into a report."""
    from anomaly.checkup import checkup

    found = checkup(place)
    typer.echo(found.as_json() if as_json else str(found))
    if not found.fine:
        raise typer.Exit(1)


@commands.command()
def methods(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Say all of this one: every setting and what it means.",
            autocompletion=asking.completing(
                asking.detectors,
                explainers,
                translators,
                registrars,
                segmenters,
                forecasters,
                synthesizers,
                painters,
                asking.kinds,
            ),
        ),
    ] = None,
) -> None:
    """List every method, degradation, analysis and simulated cohort; with a NAME, its settings and their meaning."""
    from anomaly.commandline.listing import about, listing

    tables = {
        "detectors": asking.detectors(),
        "explainers": explainers(),
        **restoration(),
        "translators": translators(),
        "registrars": registrars(),
        "segmenters": segmenters(),
        "forecasters": forecasters(),
        "synthesizers": synthesizers(),
        "painters": painters(),
    }
    typer.echo(listing(tables, asking.kinds()) if name is None else about(name, tables, asking.kinds()))


@commands.command()
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


@commands.command()
@options.shared(options.persons)
def score(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders; several are a calibrated ensemble.", metavar="RUN...")
    ],
    images: options.Images,
    out: options.Out,
    alpha: options.Alpha = 0.05,
    heatmaps: Annotated[
        str,
        typer.Option(
            help="nifti, png, dicom, none, auto; several with commas.",
        ),
    ] = "auto",
    shard: options.Shard = "1/1",
    cluster: options.Cluster = None,
    cluster_wait: options.ClusterWait = 300,
    allow_overlap: options.AllowOverlap = False,
    refuse_unlike: Annotated[
        bool, typer.Option("--refuse-unlike", help="Do not score images unlike what was learned; name them as errors.")
    ] = False,
    method: options.Own = None,
    device: options.Device = "auto",
    batch: Annotated[int, typer.Option(help="Images scored at once.", min=1)] = 32,
    workers: options.Workers = None,
    **given: Any,
) -> None:
    """Say of every image how far it departs from normal, and draw where."""
    kinds, part = options.words("heatmaps", heatmaps, "auto", "nifti", "png", "dicom", "none"), options.shard(shard)
    whose = options.whose(given)
    for each in runs:
        asking.refuse_run(each, DETECTOR)
    tables.refuse_images(images, whose)
    from anomaly.scoring.score import score as run

    scored = run(
        runs, images, out, alpha=alpha, heatmaps=kinds, shard=part, cluster=cluster, cluster_wait=cluster_wait,
        allow_overlap=allow_overlap, refuse_unlike=refuse_unlike, method=method, device=device, batch=batch,
        workers=workers, **whose,
    )  # fmt: skip
    typer.echo(f"scores: {scored.path} ({scored.new} new, {scored.before} from before, {scored.failed} unreadable)")
    if scored.unlike:
        typer.echo(scored.unlike)
    exits.end_with(scored.failed, scored.errors)


@commands.command()
@options.shared(options.comparison, options.further, visits.visited, visits.followed)
def evaluate(
    scores: Annotated[Path, typer.Argument(help="scores.csv, or the folder that holds it.", callback=options.there)],
    cohort: options.PerhapsTable = None,
    outcome: options.Outcome = None,
    truth: Annotated[
        str | None,
        typer.Option(
            help="Masks of the disease, for the maps: a column of the cohort, or a folder.", metavar="COLUMN|DIR"
        ),
    ] = None,
    labels: options.Labels = None,
    flags: options.Flags = None,
    out: Annotated[Path | None, typer.Option(help="Where the scores are by default.", metavar="DIR")] = None,
    seed: options.Bootstrap = 0,
    **given: Any,
) -> None:
    """Say with honest intervals whether scores tell cases from controls, and whether maps mark the disease."""
    compared = options.compared(given)
    counted = options.labels(labels)
    visits.refuse_mixed(given, truth=truth, labels=labels, flags=flags, outcome=outcome)
    if given["visits"]:
        from anomaly.longitudinal.commands import evaluate as of_visits

        of_visits(scores, cohort, outcome, out, seed, given)
        return
    options.refuse_unasked(cohort, truth, outcome or given["time"])
    if cohort is not None and (outcome or given["time"]):
        tables.refuse_question(cohort, outcome, {**given, **compared, "adjust": given["adjust"]})
    if truth is None:
        asking.refuse_folder(scores, "scores.csv")
    from anomaly.evaluation import evaluate as run
    from anomaly.reporting import report as draw

    out = out or (scores if scores.is_dir() else scores.parent)
    result = run(
        scores, cohort, outcome=outcome, truth=truth, labels=counted, flags=flags, out=out, seed=seed,
        strata=given["strata"] or (),
        compare=given["compare"] or (), **compared, **options.chosen(given, "time", "event", "at"),
    )  # fmt: skip
    typer.echo(result.headline)
    for section in result.sections:
        typer.echo("\n".join([f"\n{section.title}", *section.sentences]))
    typer.echo(f"\nreport: {draw(result.out)}")
    if (more := len(list(out.glob("*/evaluation.json")))) > 1:
        typer.echo(f"all {more} outcomes asked so far: {out / 'index.html'}")


@commands.command()
@options.shared(options.comparison, visits.visited)
def associate(
    maps: Annotated[
        Path,
        typer.Argument(
            help="Folder that `score --heatmaps nifti` wrote; a CSV or folder of maps.", callback=options.there
        ),
    ],
    cohort: options.Table,
    out: options.Out,
    outcome: options.Outcome = None,
    correction: Annotated[
        str, typer.Option(help="max-t, cluster or tfce.", callback=options.one_of("max-t", "cluster", "tfce"))
    ] = "max-t",
    permutations: Annotated[int, typer.Option(help="Shufflings beside the data as they are.", min=1)] = 1000,
    cluster_threshold: Annotated[
        float, typer.Option(help="With cluster: below 1 an uncorrected p, else a t, that voxels of a cluster pass.")
    ] = 0.001,
    smooth: Annotated[float, typer.Option(help="Width (FWHM, mm) of a Gaussian laid over each map.", min=0)] = 0.0,
    mask: Annotated[
        Path | None,
        typer.Option(
            help="Image that is not zero where voxels count, or none for all; else those of the body.",
            metavar="FILE|none",
            callback=options.there_or_none,
        ),
    ] = None,
    predict: Annotated[
        str | None, typer.Option(help="Outcomes that loads on the map are to predict, with commas.", metavar="COLUMNS")
    ] = None,
    beside: Annotated[
        str | None, typer.Option(help="Columns of numbers whose AUROC stands beside the load's.", metavar="COLUMNS")
    ] = None,
    folds: Annotated[int, typer.Option(help="Folds of persons for that prediction.", min=2)] = 5,
    alpha: Annotated[float, typer.Option(help="Family-wise error rate.", callback=options.share)] = 0.05,
    pooled: Annotated[bool, typer.Option("--pooled", help="One variance for cases and controls.")] = False,
    annual: Annotated[bool, typer.Option("--annual", help="With --visits: change a year.")] = False,
    outcome_at: visits.At = None,
    seed: Annotated[int, typer.Option(help="Of shufflings and folds.")] = 0,
    shard: Annotated[
        str, typer.Option(help="i/N: make the shufflings of one shard; the same without joins them.", metavar="i/N")
    ] = "1/1",
    **given: Any,
) -> None:
    """Draw where maps go with an outcome, corrected for all voxels, and ask whether that predicts others."""
    compared, part = options.compared(given), options.shard(shard)
    visits.refuse_lone(given, annual=annual, outcome_at=outcome_at)
    if not given["visits"] or outcome:
        tables.refuse_question(cohort, outcome, {**given, **compared, "adjust": given["adjust"]})
    tables.refuse_table(cohort, [given["visits"], given["date"]])
    from anomaly.reporting import report as draw
    from explain.association import associate as run

    found = run(
        maps, cohort, outcome=outcome, out=out, correction=correction, permutations=permutations,
        cluster_threshold=cluster_threshold, smooth=smooth, mask=mask, predict=predict or (), beside=beside or (),
        folds=folds, alpha=alpha, robust=not pooled, annual=annual, outcome_at=outcome_at, seed=seed, **compared,
        **visits.pairing(given), shard=part if part[1] > 1 else None,
    )  # fmt: skip
    if part[1] > 1:
        typer.echo(found.headline)
        return
    draw(out)
    pages = [f"picture: {out / 'association.png'}", f"report: {out / 'association.html'}"]
    typer.echo("\n".join([found.headline, *found.sentences, *pages]))
    exits.end_with(len(found.failed), out / "errors.csv")


@commands.command()
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


@commands.command()
@options.shared(options.persons)
def generate(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(help="Run folder of a method that draws images.", metavar="RUN")],
    out: options.Out,
    count: Annotated[int, typer.Option(help="Images to draw, those of earlier calls counted.", min=1)] = 64,
    seed: Annotated[
        int, typer.Option(help="Image i follows from the run, the seed, i and its class alone.", min=0)
    ] = 0,
    class_: options.Class = None,
    real: options.Real = None,
    features: options.Features = None,
    pairs: Annotated[int, typer.Option(help="Most pairs of images whose likeness is measured.", min=1)] = 1000,
    batch: Annotated[int, typer.Option(help="Images drawn at once.", min=1)] = 32,
    for_training: Annotated[
        bool,
        typer.Option(
            "--for-training",
            help="RUN draws from label maps: draw images with label maps to learn from; with --real, say their worth.",
        ),
    ] = False,
    labels: Annotated[
        str | None,
        typer.Option(help="With --for-training: label maps of --real, a column or a folder.", metavar="COLUMN|DIR"),
    ] = None,
    lesions: Annotated[
        str | None,
        typer.Option(help="With --for-training: classes laid from map to map, with commas.", metavar="CLASSES"),
    ] = None,
    allow_overlap: options.AllowOverlap = False,
    device: options.Device = "auto",
    method: options.Own = None,
    **given: Any,
) -> None:
    """Draw new images from a run, and measure how diverse, how like real ones and how new they are."""
    whose = options.whose(given)
    if for_training:
        asking.refuse_typed(
            context,
            ("class_", "features", "method", "batch", "pairs"),
            "is for runs that draw without label maps; leave it out",
        )
        if real is None:
            asking.refuse_typed(
                context,
                ("subject", "subject_pattern", "where", "match", "exclude", "mask", "allow_overlap"),
                "is of the images of --real; give these, or leave it out",
            )
        _draw_for_training(
            run, out, real, labels, whose, lesions, count=count, seed=seed, device=device, allow_overlap=allow_overlap
        )
        return
    asking.refuse_typed(
        context, ("labels", "lesions", "allow_overlap"), "is for --for-training; add it, or leave this out"
    )
    if kind_of(asking.refuse_run(run)) == SYNTHESIZER:
        told = f"{run} draws from label maps; add it, or give label maps to `anomaly synthesize apply`"
        raise typer.BadParameter(told, param_hint="--for-training")
    for each in (run, features):
        if each is not None:
            asking.refuse_run(each, DETECTOR)
    asking.refuse_still(run)
    tables.refuse_images(real, whose)
    from anomaly.generation.generate import generate as draw

    drawn = draw(
        run, out, count=count, seed=seed, classes=class_ or (), real=real, features=features, pairs=pairs, batch=batch,
        device=device, method=method, **whose,
    )  # fmt: skip
    typer.echo("\n".join([f"images: {drawn.table} ({drawn.new} new, {drawn.before} from before)", *drawn.sentences]))
    exits.end_with(drawn.unreadable, out / "errors.csv")


def _draw_for_training(
    run: Path, out: Path, real: Path | None, labels: str | None, whose: dict[str, Any], lesions: str | None, **how: Any
) -> None:
    asking.refuse_run(run, SYNTHESIZER)
    if (real is None) != (labels is None):
        told = "real images are put to use by their label maps; give --real and --labels, or neither"
        raise typer.BadParameter(told, param_hint="--labels")
    if real is not None:
        tables.refuse_images(real, whose)
    from anomaly.synthesis.for_training import draw_for_training
    from anomaly.synthesis.mapped import Mapped

    test = None if real is None or labels is None else Mapped(images=real, labels=labels, **whose)
    names = [name.strip() for name in (lesions or "").split(",") if name.strip()]
    drawn = draw_for_training(run, out, lesions=names, real=test, **how)
    typer.echo("\n".join([f"images with label maps: {drawn.cohort} ({drawn.count})", *drawn.sentences]))
    exits.end_with(drawn.failed, out / "errors.csv")


@commands.command()
def report(
    folder: Annotated[
        Path,
        typer.Argument(help="Folder with scores, explanations, a group map, an evaluation.", callback=options.there),
    ],
    title: Annotated[str | None, typer.Option(help="Of the study; the folder's name by default.")] = None,
) -> None:
    """Make one HTML page of what a folder holds; it opens anywhere, without a network."""
    from anomaly.reporting import report as run

    typer.echo(f"report: {run(folder, title=title)}")


@commands.command()
def info(run: Annotated[Path, typer.Argument(help="Run folder.", metavar="RUN")]) -> None:
    """Say what a run is: method, settings, data, versions."""
    from anomaly.runs.describing import describe

    typer.echo(describe(run))


@commands.command()
def export(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Run folder of a detector, a segmenter, a classifier or an explainer; several detectors or segmenters "
            "are one judge.",
            metavar="RUN...",
        ),
    ],
    onnx: Annotated[bool, typer.Option("--onnx", help="As an ONNX model, for onnxruntime and its like.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder to make; by default RUN/onnx, of a single run.", metavar="DIR")
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            help="Pixels a side of the images that the model takes, as 256 or 256,320, for a segmenter of images of "
            "any size."
        ),
    ] = None,
    method: options.Own = None,
) -> None:
    """Write a run as a model that other programs run, with all they need to know; compared with the run itself."""
    if not onnx:
        raise typer.BadParameter("say what to write; there is one form, ONNX", param_hint="--onnx")
    for run in runs:
        asking.refuse_run(run)
    sides = options.numbers("size", size, int)
    from explain.exporting.export import export as write

    exported = write(runs, out, method=method, size=sides)
    typer.echo(f"model: {exported.folder / 'model.onnx'}\n{exported.told}")


everywhere.furnish(commands, quick=("methods", "info", "doctor"), plain=("demo", "report"))
everywhere.furnish(explain, quick=())
everywhere.furnish(registering, quick=())
everywhere.furnish(restoring, quick=())
everywhere.furnish(segmenting, quick=())
everywhere.furnish(synthesize, quick=())
everywhere.furnish(translate, quick=())
everywhere.furnish(paint, quick=())
everywhere.furnish(progress, quick=())


if __name__ == "__main__":
    app()
