"""The command line: each command is a thin wrapper of one public function of the library.

Nothing heavy is imported here; a command imports what it needs when it runs, so `--help` answers at once.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from anomaly import exits, options
from explain.commands import commands as explain

commands = typer.Typer(
    cls=exits.Commands,
    name="anomaly",
    help="Learn what normal images look like; then say of any image how far it departs, where, and what that predicts.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
commands.add_typer(explain, name="explain")


def app() -> None:
    """Run the program: `anomaly COMMAND ...`."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("nibabel", "pydicom", "matplotlib", "numexpr"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
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
    from anomaly.demonstration import demo as run

    page = run(out)
    typer.echo(f"report: {page}")


@commands.command()
def methods() -> None:
    """List every detector, explainer, analysis and simulated cohort: what it is for, its settings, how to cite it."""
    from anomaly.analyses import listing
    from anomaly.detectors import DETECTORS
    from explain import EXPLAINERS

    typer.echo(listing({"detectors": DETECTORS, "explainers": EXPLAINERS}))


@commands.command()
def train(
    normals: Annotated[Path, typer.Option(help="Folder or CSV of normal images.", metavar="DIR|CSV")],
    out: Annotated[Path, typer.Option(help="Run folder to make.", metavar="RUN")],
    method: Annotated[str, typer.Option(help="See `anomaly methods`; or FILE.py:CLASS.")] = "autoencoder",
    set_: options.Settings = None,
    steps: Annotated[int | None, typer.Option(help="Short for --set steps=N.", min=1)] = None,
    dims: options.Dims = 2,
    size: options.Size = "64",
    fit: options.Fit = "pad",
    spacing: options.Spacing = None,
    orientation: options.Orientation = "RAS",
    slices: options.Slices = "axial",
    intensity: options.Intensity = "percentile",
    window: options.Window = None,
    foreground: options.Foreground = "none",
    channels: options.Channels = 1,
    subject: options.Subject = None,
    subject_pattern: options.Pattern = None,
    where: options.Where = None,
    classes: options.Classes = None,
    choose: Annotated[float, typer.Option(help="Share of subjects held out to stop and scale by.")] = 0.1,
    calibrate: Annotated[float, typer.Option(help="Share of subjects held out to calibrate by.")] = 0.2,
    seed: options.Seed = 0,
    resume: options.Resume = False,
    save_every: options.SaveEvery = 500,
    device: options.Device = "auto",
    precision: options.Precision = "32",
    processes: options.Processes = 1,
    nodes: options.Nodes = 1,
    workers: options.Workers = None,
) -> None:
    """Learn what normal looks like from images of normal people."""
    given = locals()
    from anomaly.learning import learn
    from anomaly.methods import parse_settings

    settings = parse_settings(set_ or []) | ({} if steps is None else {"steps": steps})
    preprocessing, machine = options.preprocessing(given), options.machine(given)
    run = learn(
        normals, out, method=method, settings=settings, preprocessing=preprocessing, subject=subject,
        subject_pattern=subject_pattern, where=options.conditions(where), classes=classes, choose=choose,
        calibrate=calibrate, seed=seed, machine=machine, resume=resume, save_every=save_every, workers=workers,
    )  # fmt: skip
    if machine.leads:
        typer.echo(f"run: {run.folder}")
    exits.end_with(run.facts["data"]["unreadable"], run.folder / "errors.csv", told=machine.leads)


@commands.command()
def score(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders; several are a calibrated ensemble.", metavar="RUN...")
    ],
    images: Annotated[Path, typer.Option(help="Folder or CSV of images.", metavar="DIR|CSV")],
    out: options.Out,
    alpha: Annotated[float, typer.Option(help="Flag an image when its p-value is at most this.")] = 0.05,
    heatmaps: Annotated[str, typer.Option(help="nifti, png, none, auto; several with commas.")] = "auto",
    shard: Annotated[str, typer.Option(help="i/N: take every N-th image from the i-th.", metavar="i/N")] = "1/1",
    subject: options.Subject = None,
    subject_pattern: options.Pattern = None,
    where: options.Where = None,
    allow_overlap: Annotated[
        bool, typer.Option("--allow-overlap", help="Score subjects of the training too; their scores come out too low.")
    ] = False,
    method: options.Own = None,
    device: options.Device = "auto",
    batch: Annotated[int, typer.Option(help="Images scored at once.", min=1)] = 32,
    workers: options.Workers = None,
) -> None:
    """Say of every image how far it departs from normal, and draw where."""
    from anomaly.scoring import score as run

    scored = run(
        runs, images, out, alpha=alpha, heatmaps=heatmaps.split(","), shard=options.shard(shard), subject=subject,
        subject_pattern=subject_pattern, where=options.conditions(where), allow_overlap=allow_overlap, method=method,
        device=device, batch=batch, workers=workers,
    )  # fmt: skip
    typer.echo(f"scores: {scored.path} ({scored.new} new, {scored.before} from before, {scored.failed} unreadable)")
    exits.end_with(scored.failed, scored.errors)


@commands.command()
def evaluate(
    scores: Annotated[Path, typer.Argument(help="scores.csv, or the folder that holds it.")],
    cohort: Annotated[Path, typer.Option(help="Table with the outcome, joined on id or path.", metavar="CSV")],
    outcome: options.Outcome = None,
    out: Annotated[Path | None, typer.Option(help="Where the scores are by default.", metavar="DIR")] = None,
    positive: options.Positive = None,
    subject: options.Subject = None,
    where: options.Where = None,
    adjust: options.Adjust = None,
    match: options.Match = None,
    strata: options.Strata = None,
    time: options.Time = None,
    event: options.Event = None,
    at: Annotated[float | None, typer.Option(help="With --time: until when survival is told.")] = None,
    compare: options.Compare = None,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
) -> None:
    """Say with honest intervals whether the scores tell cases from controls."""
    from anomaly.evaluation import evaluate as run
    from anomaly.reporting import report as draw

    out = out or (scores if scores.is_dir() else scores.parent)
    result = run(
        scores, cohort, outcome=outcome, positive=positive, subject=subject, where=options.conditions(where),
        adjust=adjust or (), match=match, strata=strata or (), time=time, event=event, at=at,
        compare=compare or (), out=out, seed=seed,
    )  # fmt: skip
    typer.echo(result.headline)
    for section in result.sections:
        typer.echo("\n".join([f"\n{section.title}", *section.sentences]))
    typer.echo(f"\nreport: {draw(out)}")


@commands.command()
def associate(
    maps: Annotated[Path, typer.Argument(help="Folder that `score --heatmaps nifti` wrote; a CSV or folder of maps.")],
    cohort: Annotated[Path, typer.Option(help="Table with the outcome, joined on id or path.", metavar="CSV")],
    outcome: Annotated[str, typer.Option(help="Column of the outcome, 0 or 1.", metavar="COLUMN")],
    out: options.Out,
    positive: options.Positive = None,
    subject: options.Subject = None,
    where: options.Where = None,
    adjust: options.Adjust = None,
    match: options.Match = None,
    correction: Annotated[str, typer.Option(help="max-t, cluster or tfce.")] = "max-t",
    permutations: Annotated[int, typer.Option(help="Shufflings beside the data as they are.", min=1)] = 1000,
    cluster_threshold: Annotated[
        float, typer.Option(help="With cluster: below 1 an uncorrected p, else a t, that voxels of a cluster pass.")
    ] = 0.001,
    smooth: Annotated[float, typer.Option(help="Width (FWHM, mm) of a Gaussian laid over each map.", min=0)] = 0.0,
    mask: Annotated[Path | None, typer.Option(help="Image that is not zero where voxels count.")] = None,
    predict: options.Predict = None,
    beside: options.Beside = None,
    folds: Annotated[int, typer.Option(help="Folds of persons for that prediction.", min=2)] = 5,
    alpha: Annotated[float, typer.Option(help="Family-wise error rate.")] = 0.05,
    pooled: Annotated[bool, typer.Option("--pooled", help="One variance for cases and controls.")] = False,
    seed: Annotated[int, typer.Option(help="Of shufflings and folds.")] = 0,
) -> None:
    """Draw where maps go with an outcome, corrected for all voxels, and ask whether that predicts others."""
    from explain.association import associate as run

    found = run(
        maps, cohort, outcome=outcome, out=out, subject=subject, positive=positive, adjust=adjust or (),
        match=match, where=options.conditions(where), correction=correction, permutations=permutations,
        cluster_threshold=cluster_threshold, smooth=smooth, mask=mask, predict=predict or (),
        beside=beside or (), folds=folds, alpha=alpha, robust=not pooled, seed=seed,
    )  # fmt: skip
    typer.echo("\n".join([found.headline, *found.sentences, f"picture: {out / 'association.png'}"]))
    exits.end_with(len(found.failed), out / "errors.csv")


@commands.command()
def simulate(
    kind: Annotated[str, typer.Argument(help="knees, squares, ellipses, lesions ...: see `anomaly methods`.")],
    out: options.Out,
    count: Annotated[int | None, typer.Option(help="Persons (knees) or images (toys) to draw.", min=1)] = None,
    dims: Annotated[int | None, typer.Option(help="knees: 2 (sagittal slices) or 3 (volumes).")] = None,
    size: Annotated[int | None, typer.Option(help="Pixels a side.")] = None,
    normals: options.Normals = None,
    where: options.Where = None,
    set_: options.Settings = None,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
) -> None:
    """Draw a cohort whose truth is known: images, masks, a table, and the best and the worst a score can do."""
    from anomaly.methods import parse_settings
    from anomaly.simulation import simulate as run

    chosen = options.conditions(where) or None
    settings = parse_settings(set_ or [])
    table = run(kind, out, count=count, dims=dims, size=size, normals=normals, where=chosen, seed=seed, **settings)
    typer.echo(f"cohort: {table}")
    if (out / "errors.csv").is_file():
        typer.echo(f"some images could not be used; see {out / 'errors.csv'}", err=True)
        raise typer.Exit(exits.SOME_UNREADABLE)


@commands.command()
def generate(
    run: Annotated[Path, typer.Argument(help="Run folder of a method that draws images.", metavar="RUN")],
    out: options.Out,
    count: Annotated[int, typer.Option(help="Images to draw, those of earlier calls counted.")] = 64,
    seed: Annotated[int, typer.Option(help="Image i follows from the run, the seed, i and its class alone.")] = 0,
    class_: options.Class = None,
    real: options.Real = None,
    subject: options.Subject = None,
    subject_pattern: options.Pattern = None,
    where: options.Where = None,
    features: options.Features = None,
    pairs: Annotated[int, typer.Option(help="Most pairs of images whose likeness is measured.")] = 1000,
    batch: Annotated[int, typer.Option(help="Images drawn at once.")] = 32,
    device: options.Device = "auto",
    method: options.Own = None,
) -> None:
    """Draw new images from a run, and measure how diverse, how like real ones and how new they are."""
    from anomaly.generation import generate as draw

    drawn = draw(
        run, out, count=count, seed=seed, classes=class_ or (), real=real, subject=subject,
        subject_pattern=subject_pattern, where=options.conditions(where), features=features, pairs=pairs, batch=batch,
        device=device, method=method,
    )  # fmt: skip
    typer.echo("\n".join([f"images: {drawn.table} ({drawn.new} new, {drawn.before} from before)", *drawn.sentences]))
    exits.end_with(drawn.unreadable, out / "errors.csv")


@commands.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder with scores, and an evaluation if there is one.")],
) -> None:
    """Make one HTML page of what a folder holds; it opens anywhere, without a network."""
    from anomaly.reporting import report as run

    typer.echo(f"report: {run(folder)}")


@commands.command()
def info(run: Annotated[Path, typer.Argument(help="Run folder.", metavar="RUN")]) -> None:
    """Say what a run is: method, settings, data, versions."""
    from anomaly.run import describe

    typer.echo(describe(run))


if __name__ == "__main__":
    app()
