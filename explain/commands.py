"""`anomaly explain ...`: each command a thin wrapper of one public function, which is imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from anomaly import exits, options

commands = typer.Typer(
    cls=exits.Commands,
    no_args_is_help=True,
    help="Show what in an image speaks for disease, and how it would look without.",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

Cases = Annotated[Path | None, typer.Option(help="Folder or CSV of cases.", metavar="DIR|CSV")]
Controls = Annotated[Path | None, typer.Option(help="Folder or CSV of controls.", metavar="DIR|CSV")]
Cohort = Annotated[Path | None, typer.Option(help="Instead: one table of both.", metavar="CSV")]
Pair = Annotated[
    str | None, typer.Option(help="With --cohort: column with each image's counterpart, for pairs.", metavar="COLUMN")
]
Run = Annotated[Path, typer.Option("--out", help="Run folder to make.", metavar="RUN")]
Target = Annotated[
    Path | None, typer.Option(help="Run folder of what is explained: a classifier or a detector.", metavar="RUN")
]
Generator = Annotated[
    Path | None, typer.Option(help="Run folder of what draws: for latent-walk and latent-shift.", metavar="RUN")
]
Nuisance = Annotated[
    str | None, typer.Option(help="latent-walk: columns not to change, with commas, as age,sex.", metavar="COLUMNS")
]
Choose = Annotated[float, typer.Option(help="Share of subjects held out, to watch and to stop by.")]


@commands.command()
def train(
    out: Run,
    method: Annotated[str, typer.Option(help="See `anomaly methods`; or FILE.py:CLASS.")] = "additive",
    cases: Cases = None,
    controls: Controls = None,
    cohort: Cohort = None,
    outcome: options.Outcome = None,
    positive: options.Positive = None,
    pair: Pair = None,
    target: Target = None,
    generator: Generator = None,
    nuisance: Nuisance = None,
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
    choose: Choose = 0.15,
    seed: options.Seed = 0,
    resume: options.Resume = False,
    save_every: options.SaveEvery = 500,
    device: options.Device = "auto",
    precision: options.Precision = "32",
    processes: options.Processes = 1,
    nodes: options.Nodes = 1,
    workers: options.Workers = None,
) -> None:
    """Learn from cases and controls how a case would look as a control."""
    _learn(**locals())


@commands.command()
def classifier(
    out: Run,
    cases: Cases = None,
    controls: Controls = None,
    cohort: Cohort = None,
    outcome: options.Outcome = None,
    positive: options.Positive = None,
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
    choose: Choose = 0.15,
    seed: options.Seed = 0,
    resume: options.Resume = False,
    save_every: options.SaveEvery = 500,
    device: options.Device = "auto",
    precision: options.Precision = "32",
    processes: options.Processes = 1,
    nodes: options.Nodes = 1,
    workers: options.Workers = None,
) -> None:
    """Learn to tell cases from controls: to be explained, or to judge what explainers draw."""
    _learn(**locals(), method="classifier", pair=None, target=None, generator=None, nuisance=None)


def _learn(**given: Any) -> None:
    """Train what was asked for, with the options that both commands have."""
    from anomaly.methods import parse_settings
    from explain.learning import learn
    from explain.sides import Sides

    settings = parse_settings(given["set_"] or []) | ({} if given["steps"] is None else {"steps": given["steps"]})
    sides = Sides(
        cases=given["cases"], controls=given["controls"], cohort=given["cohort"], outcome=given["outcome"],
        positive=given["positive"], pair=given["pair"], subject=given["subject"],
        subject_pattern=given["subject_pattern"], where=options.conditions(given["where"]),
    )  # fmt: skip
    machine = options.machine(given)
    run = learn(
        sides, given["out"], method=given["method"], settings=settings, preprocessing=options.preprocessing(given),
        target=given["target"], generator=given["generator"], nuisance=given["nuisance"] or (),
        choose=given["choose"], seed=given["seed"], machine=machine, resume=given["resume"],
        save_every=given["save_every"], workers=given["workers"],
    )  # fmt: skip
    if machine.leads:
        told = ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in run.facts["held_out"].items())
        typer.echo(f"run: {run.folder}\nheld out: {told}")
    exits.end_with(run.facts["data"]["unreadable"], run.folder / "errors.csv", told=machine.leads)


@commands.command("map")
def map_(
    source: Annotated[str, typer.Argument(help="Run folder of an explainer, or an attribution's name.", metavar="RUN")],
    images: Annotated[Path, typer.Option(help="Folder or CSV of images.", metavar="DIR|CSV")],
    out: options.Out,
    target: Target = None,
    generator: Generator = None,
    judge: Annotated[
        Path | None, typer.Option(help="Another classifier, to say whether counterfactuals flip.", metavar="RUN")
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="Explainer whose counterfactuals an attribution starts from.", metavar="RUN")
    ] = None,
    controls: Annotated[
        Path | None, typer.Option(help="Controls for attributions with --set baseline=mean.", metavar="DIR|CSV")
    ] = None,
    set_: options.Settings = None,
    outputs: Annotated[str, typer.Option(help="nifti, png, none, auto (both); several with commas.")] = "auto",
    subject: options.Subject = None,
    subject_pattern: options.Pattern = None,
    where: options.Where = None,
    allow_overlap: Annotated[
        bool, typer.Option("--allow-overlap", help="Explain subjects of the training too.")
    ] = False,
    method: options.Own = None,
    device: options.Device = "auto",
    batch: Annotated[int, typer.Option(help="Images explained at once.", min=1)] = 32,
    workers: options.Workers = None,
) -> None:
    """Draw of every image its map, and how it would look without disease."""
    from anomaly.methods import parse_settings
    from explain.mapping import map_images

    mapped = map_images(
        source, images, out, settings=parse_settings(set_ or []), target=target, generator=generator, judge=judge,
        baseline=baseline, controls=controls, outputs=outputs.split(","), subject=subject,
        subject_pattern=subject_pattern, where=options.conditions(where), allow_overlap=allow_overlap, method=method,
        device=device, batch=batch, workers=workers,
    )  # fmt: skip
    typer.echo(
        f"explanations: {mapped.path} ({mapped.new} new, {mapped.before} from before, {mapped.failed} unreadable)"
    )
    exits.end_with(mapped.failed, mapped.errors)


@commands.command()
def check(
    source: Annotated[str, typer.Argument(help="Run folder of an explainer, or an attribution's name.", metavar="RUN")],
    out: options.Out,
    target: Target = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Attributions: folder or CSV of images. Runs: folder that now holds their images, if they were moved.",
            metavar="DIR|CSV",
        ),
    ] = None,
    count: Annotated[int, typer.Option(help="So many images are explained again and again.", min=1)] = 32,
    baseline: Annotated[
        Path | None, typer.Option(help="Explainer whose counterfactuals an attribution starts from.", metavar="RUN")
    ] = None,
    controls: Annotated[
        Path | None, typer.Option(help="Controls for attributions with --set baseline=mean.", metavar="DIR|CSV")
    ] = None,
    set_: options.Settings = None,
    limit: Annotated[float, typer.Option(help="Share of the real map below which a map has vanished.")] = 0.10,
    permutations: Annotated[
        int | None, typer.Option(help="Runs: trainings on permuted labels; 1 unless given.", min=1)
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Runs: shorter trainings; else as long as the real one.", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of permutations and new weights.")] = 0,
    subject: options.Subject = None,
    subject_pattern: options.Pattern = None,
    where: options.Where = None,
    method: options.Own = None,
    device: options.Device = "auto",
    save_every: options.SaveEvery = 500,
    workers: options.Workers = None,
) -> None:
    """Ask whether maps vanish with the labels permuted, or change with the target randomised.

    A failed check is a finding, not an error: the exit code is 0 either way, and the answer is printed. When stopped,
    the same command goes on.
    """
    from anomaly.methods import parse_settings
    from explain.checking import check as check_

    checked = check_(
        source, out, target=target, images=images, count=count, settings=parse_settings(set_ or []), baseline=baseline,
        controls=controls, limit=limit, permutations=permutations, steps=steps, seed=seed, subject=subject,
        subject_pattern=subject_pattern, where=options.conditions(where), method=method, device=device,
        save_every=save_every, workers=workers,
    )  # fmt: skip
    typer.echo(f"{checked.sentence}\ncheck: {checked.path}")
    exits.end_with(checked.unreadable, checked.errors)


@commands.command()
def evaluate(
    maps: Annotated[Path, typer.Argument(help="Folder that `explain map` wrote.", metavar="MAPS")],
    cohort: Annotated[
        Path | None, typer.Option(help="Table with what is asked below, joined on id or path.", metavar="CSV")
    ] = None,
    outcome: options.Outcome = None,
    positive: options.Positive = None,
    subject: options.Subject = None,
    where: options.Where = None,
    mask: Annotated[str | None, typer.Option(help="Column of masks of the disease.", metavar="COLUMN")] = None,
    flags: Annotated[
        int | None, typer.Option(help="Of masks that hold sums of flags, those that count (knees: 3 is what hurts).")
    ] = None,
    labels: Annotated[str | None, typer.Option(help="Of masks that hold labels, those that count, as 1,2.")] = None,
    truth: Annotated[
        str | None, typer.Option(help="Column of files of healthy image minus case.", metavar="COLUMN")
    ] = None,
    twin: Annotated[str | None, typer.Option(help="Column of files of the healthy image.", metavar="COLUMN")] = None,
    sign: Annotated[str, typer.Option(help="What of the map is evidence: absolute, positive, negative.")] = "absolute",
    threshold: Annotated[float | None, typer.Option(help="Of the map, for Dice; half its colours by default.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where the maps are by default.", metavar="DIR")] = None,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
) -> None:
    """Say how good explanations are: whether they flip, what they change, where they point."""
    from anomaly.reporting import report
    from explain.evaluating import evaluate as run

    found = run(
        maps, cohort, outcome=outcome, positive=positive, subject=subject, where=options.conditions(where), mask=mask,
        flags=flags, labels=_labels(labels), truth=truth, twin=twin, sign=sign, threshold=threshold, out=out, seed=seed,
    )  # fmt: skip
    for section in found.sections:
        typer.echo("\n".join([section.title, *section.sentences, ""]))
    typer.echo(f"report: {report(found.out)}")


def _labels(text: str | None) -> tuple[int, ...]:
    """`1,2` -> (1, 2)."""
    numbers = options.numbers("labels", text, int)
    return () if numbers is None else numbers if isinstance(numbers, tuple) else (numbers,)
