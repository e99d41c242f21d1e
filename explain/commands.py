"""`anomaly explain ...`: each command a thin wrapper of one public function, which is imported when it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from anomaly.commandline import asking, exits, options, tables
from anomaly.commandline.sources import Unknown
from anomaly.errors import AnomalyError, RunError
from anomaly.runs.facts import DETECTOR, EXPLAINER, PAINTER, REGISTRAR, RESTORER, TRANSLATOR, A, kind_of

commands = typer.Typer(
    cls=exits.Commands,
    no_args_is_help=True,
    help="Show what in an image speaks for disease, and how it would look without.",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

Source = Annotated[str, typer.Argument(help="Run folder of an explainer, or an attribution's name.", metavar="RUN")]
Target = Annotated[
    Path | None, typer.Option(help="Run folder of what is explained: a classifier or a detector.", metavar="RUN")
]
Generator = Annotated[
    Path | None, typer.Option(help="Run folder of what draws: for latent-walk and latent-shift.", metavar="RUN")
]
Baseline = Annotated[
    Path | None, typer.Option(help="Explainer whose counterfactuals an attribution starts from.", metavar="RUN")
]
Raw = Annotated[
    bool, typer.Option("--raw", help="Calibrated runs: maps as they are drawn, nothing taken away of them.")
]
Moved = Annotated[
    Path | None,
    typer.Option(help="Folder that now holds the run's images, if they were moved.", metavar="DIR"),
]
MeanOf = Annotated[
    Path | None,
    typer.Option(
        "--controls",
        help="Controls for gradient-shap, and for attributions with --set baseline=mean.",
        metavar=options.SOURCE,
        callback=options.images_there,
    ),
]


def explainers() -> dict[str, Any]:
    """Every explainer by its name, as its source says."""
    places: Mapping[str, str] | Unknown = asking.sources().find("explain", "_EXPLAINERS")
    if isinstance(places, Unknown):
        from explain import EXPLAINERS

        return dict(EXPLAINERS)
    return {cls.name: cls for name, module in places.items() for cls in [asking.sources().find(module, name)]}


def classifiers() -> dict[str, Any]:
    """The classifier by its name, as its source says."""
    cls = asking.sources().find("explain.classifier", "Classifier")
    if isinstance(cls, Unknown):
        from explain.classifier import Classifier

        cls = Classifier
    return {cls.name: cls}


def sides(
    cases: Annotated[
        Path | None, typer.Option(help="Folder or CSV of cases, or a glob in quotes.", metavar=options.SOURCE)
    ] = None,
    controls: Annotated[
        Path | None, typer.Option(help="Folder or CSV of controls, or a glob in quotes.", metavar=options.SOURCE)
    ] = None,
    cohort: Annotated[Path | None, typer.Option(help="Instead: one table of both.", metavar="CSV")] = None,
    outcome: options.Outcome = None,
    positive: options.Positive = None,
    set_: options.Settings = None,
    steps: options.Steps = None,
    choose: Annotated[
        float, typer.Option(help="Share of subjects held out, to watch and to stop by.", callback=options.share)
    ] = 0.15,
    dry_run: options.DryRun = False,
) -> None:
    """Cases and controls to learn from, and by which settings."""


@commands.command()
@options.shared(sides, options.preparation, options.persons, options.training)
def train(
    out: Annotated[Path, typer.Option(help="Run folder to make.", metavar="RUN")],
    method: Annotated[
        str, typer.Option(help="See `anomaly methods`; or FILE.py:CLASS.", autocompletion=asking.completing(explainers))
    ] = "additive",
    pair: Annotated[
        str | None,
        typer.Option(help="With --cohort: column with each image's counterpart, for pairs.", metavar="COLUMN"),
    ] = None,
    target: Target = None,
    generator: Generator = None,
    nuisance: Annotated[
        str | None, typer.Option(help="latent-walk: columns not to change, with commas, as age,sex.", metavar="COLUMNS")
    ] = None,
    permuted: Annotated[
        int,
        typer.Option(
            help="Afterwards so many trainings as long on permuted labels: what they draw is taken off all maps.", min=0
        ),
    ] = 0,
    **given: Any,
) -> None:
    """Learn from cases and controls how a case would look as a control.

    With --permuted the run is finished and of use before the trainings on permuted labels begin. Stopped there, the
    same command with --resume goes on, or `anomaly explain calibrate`.
    """
    _learn(
        lambda: {**explainers(), **classifiers()},
        out,
        method=method,
        pair=pair,
        target=target,
        generator=generator,
        nuisance=nuisance,
        permuted=permuted,
        **given,
    )


@commands.command()
@options.shared(sides, options.preparation, options.persons, options.training)
def classifier(
    out: Annotated[Path, typer.Option(help="Run folder to make.", metavar="RUN")],
    **given: Any,
) -> None:
    """Learn to tell cases from controls: to be explained, or to judge what explainers draw."""
    _learn(classifiers, out, method="classifier", **given)


def _learn(
    methods: Callable[[], Mapping[str, Any]],
    out: Path,
    *,
    method: str,
    pair: str | None = None,
    target: Path | None = None,
    generator: Path | None = None,
    nuisance: str | None = None,
    permuted: int = 0,
    **given: Any,
) -> None:
    """Train what was asked for, with the options that both commands have."""
    with exits.alike():
        settings, whose = options.settings(given["set_"], given["steps"]), options.whose(given)
        preprocessing, machine = options.preprocessing(given), options.machine(given)
        asking.refuse_method(methods, method, settings, trained=True)
        _refuse_runs({"--target": target, "--generator": generator})
        asking.refuse_place(out, given["resume"], settings)
        for side in ("cases", "controls", "cohort"):
            options.images_there(given[side])
        tables.refuse_sides({**given, **whose}, pair)
        _refuse_beside(methods, method, pair=pair, target=target, generator=generator)
        if permuted:
            _refuse_permuted(methods, method, machine.processes * machine.nodes)
    from explain.sides.sides import Sides

    sides = Sides(pair=pair, **whose, **options.chosen(given, "cases", "controls", "cohort", "outcome", "positive"))
    asked: dict[str, Any] = dict(
        method=method, settings=settings, preprocessing=preprocessing, target=target, generator=generator,
        nuisance=nuisance or (), machine=machine,
        **options.chosen(given, "choose", "seed", "resume", "save_every", "workers"),
    )  # fmt: skip
    if given["dry_run"]:
        from explain.runs.foreseeing import foresee

        typer.echo(foresee(sides, out, **asked).told())
        if permuted:
            typer.echo(f"and {permuted} more as long, on permuted labels")
        return
    from explain.runs.learning import learn

    run = learn(sides, out, **asked)
    if machine.leads:
        told = ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in run.facts["held_out"].items())
        typer.echo(f"run: {run.folder}\nheld out: {told}")
    if permuted:
        from explain.checking import calibrate as calibrate_

        own = method if ":" in method else None
        options_ = options.chosen(given, "seed", "device", "save_every", "workers")
        found = calibrate_(run.folder, permuted=permuted, method=own, **options_)
        typer.echo(f"{found.calibration.told()}\ncalibration: {found.path}")
    exits.end_with(run.facts["data"]["unreadable"], run.folder / "errors.csv", told=machine.leads)


def _refuse_permuted(methods: Callable[[], Mapping[str, Any]], method: str, processes: int) -> None:
    """Say at once when trainings on permuted labels would say nothing of a method, or cannot be done as asked."""
    cls = methods().get(method)
    if getattr(cls, "paired", False) or getattr(cls, "takes_target", False) or method in classifiers():
        raise AnomalyError(
            f"{method} does not learn from cases and controls alone how to draw them, so permuted labels say nothing "
            "of it; leave --permuted out"
        )
    if processes > 1:
        raise AnomalyError(
            f"labels are permuted in one process, and {processes} were asked for; leave --permuted out, and calibrate "
            "the finished run by `anomaly explain calibrate`"
        )


def _refuse_runs(runs: dict[str, Path | None]) -> None:
    """Say at once when one of the runs that take part is none, or of a kind that its option does not take."""
    kinds = {"--generator": DETECTOR, "--baseline": EXPLAINER}  # what is explained and what judges may be either
    for name, folder in runs.items():
        if folder is not None:
            asking.refuse_run(folder, kinds.get(name))


def _refuse_beside(methods: Callable[[], Mapping[str, Any]], method: str, **given: str | Path | None) -> None:
    """Say at once when a method that is trained lacks what it learns from beside images, or is given too much."""
    cls = methods().get(method)
    if cls is None:  # FILE.py:CLASS
        return
    if getattr(cls, "paired", False) and given["pair"] is None:
        raise AnomalyError(
            f"{method} learns from pairs; give --cohort with --pair, the column that names each image's counterpart"
        )
    takes = getattr(cls, "takes_target", False)
    if not takes and given["target"] is not None:
        raise AnomalyError(f"{method} learns from cases and controls alone and takes no target; leave it out")
    if takes and given["target"] is None:
        raise AnomalyError(f"{method} explains a target; give --target, the run folder of a classifier or a detector")
    if given["generator"] is not None and not getattr(cls, "takes_generator", False):
        raise AnomalyError(f"{method} takes no generator; leave --generator out, or take latent-walk")


DRAWN_BY = {
    RESTORER: "restore apply",
    TRANSLATOR: "translate apply",
    REGISTRAR: "register pair --by",
    PAINTER: "paint out",
}
"""Runs that no explanation is of, and what takes them."""


def _refuse_source(source: str, settings: dict[str, Any], target: Path | None) -> None:
    """Say at once when what explains is neither a run of an explainer nor the name of one that is not trained."""
    if Path(source).is_dir():
        facts = asking.refuse_run(Path(source))
        if kind_of(facts) in DRAWN_BY:
            raise RunError(
                f"{source} holds {A[kind_of(facts)]} ({facts['method']}), which is neither an explainer nor what is "
                f"explained; `anomaly {DRAWN_BY[kind_of(facts)]} {source}` draws with it"
            )
        if kind_of(facts) != EXPLAINER:
            raise RunError(
                f"{source} holds {A[kind_of(facts)]}, which is what is explained: give it by --target, and before it "
                f"an explainer, as in `anomaly explain map grad-cam --target {source}`"
            )
    else:
        asking.refuse_method(explainers, source, settings, trained=False)
        if target is None and ":" not in source:
            raise AnomalyError(
                f"{source} explains a target; give --target, the run folder of a classifier or a detector"
            )


@commands.command("map")
@options.shared(options.persons)
def map_(
    source: Source,
    images: options.Images,
    out: options.Out,
    target: Target = None,
    generator: Generator = None,
    judge: Annotated[
        Path | None, typer.Option(help="Another classifier, to say whether counterfactuals flip.", metavar="RUN")
    ] = None,
    baseline: Baseline = None,
    controls: MeanOf = None,
    set_: options.Settings = None,
    outputs: Annotated[str, typer.Option(help="nifti, png, none, auto (both); several with commas.")] = "auto",
    shard: options.Shard = "1/1",
    allow_overlap: options.AllowOverlap = False,
    raw: Raw = False,
    method: options.Own = None,
    device: options.Device = "auto",
    batch: Annotated[int, typer.Option(help="Images explained at once.", min=1)] = 32,
    workers: options.Workers = None,
    **given: Any,
) -> None:
    """Draw of every image its map, and how it would look without disease."""
    settings, whose = options.settings(set_), options.whose(given)
    kinds, part = options.words("outputs", outputs, "auto", "nifti", "png", "none"), options.shard(shard)
    _refuse_source(source, settings, target)
    _refuse_runs({"--target": target, "--generator": generator, "--judge": judge, "--baseline": baseline})
    tables.refuse_images(images, whose)
    from explain.runs.mapping import map_images

    mapped = map_images(
        source, images, out, settings=settings, target=target, generator=generator, judge=judge, baseline=baseline,
         controls=controls, outputs=kinds, allow_overlap=allow_overlap, raw=raw, method=method, device=device,
         batch=batch, workers=workers, shard=part, **whose,
    )  # fmt: skip
    typer.echo(
        f"explanations: {mapped.path} ({mapped.new} new, {mapped.before} from before, {mapped.failed} unreadable)"
        + (f"\n{mapped.remark}" if mapped.remark else "")
    )
    exits.end_with(mapped.failed, mapped.errors)


@commands.command()
@options.shared(options.persons)
def check(
    source: Source,
    out: options.Out,
    target: Target = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Attributions: folder or CSV of images. Runs: folder that now holds their images, if they were moved.",
            metavar=options.SOURCE,
            callback=options.images_there,
        ),
    ] = None,
    count: Annotated[int, typer.Option(help="So many images are explained again and again.", min=1)] = 32,
    baseline: Baseline = None,
    controls: MeanOf = None,
    set_: options.Settings = None,
    limit: Annotated[
        float, typer.Option(help="Share of the real map below which a map has vanished.", callback=options.share)
    ] = 0.10,
    permutations: Annotated[
        int | None, typer.Option(help="Runs: trainings on permuted labels; 1 unless given.", min=1)
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Runs: shorter trainings; else as long as the real one.", min=1)
    ] = None,
    raw: Raw = False,
    seed: Annotated[int, typer.Option(help="Of permutations and new weights.")] = 0,
    method: options.Own = None,
    device: options.Device = "auto",
    save_every: Annotated[int, typer.Option(help="Steps between two checkpoints.", min=1)] = 500,
    workers: options.Workers = None,
    **given: Any,
) -> None:
    """Ask whether maps vanish with the labels permuted, or change with the target randomised.

    A failed check is a finding, not an error: the exit code is 0 either way, and the answer is printed. Trainings
    shorter than the run's own, and maps of next to nothing, get no verdict. When stopped, the same command goes on.
    """
    settings, whose = options.settings(set_), options.whose(given)
    _refuse_source(source, settings, target)
    _refuse_runs({"--target": target, "--baseline": baseline})
    from explain.checking import check as check_

    checked = check_(
        source, out, target=target, images=images, count=count, settings=settings, baseline=baseline,
        controls=controls, limit=limit, permutations=permutations, steps=steps, raw=raw, seed=seed, method=method,
        device=device, save_every=save_every, workers=workers, **whose,
    )  # fmt: skip
    typer.echo(f"{checked.sentence}\ncheck: {checked.path}")
    exits.end_with(checked.unreadable, checked.errors)


@commands.command()
def calibrate(
    run: Annotated[Path, typer.Argument(help="Run folder of an explainer of cases and controls.", metavar="RUN")],
    permuted: Annotated[int, typer.Option(help="Trainings on permuted labels; each must hold.", min=1)] = 1,
    allowed: Annotated[
        float,
        typer.Option(help="Share of the real maps that maps of nothing may keep.", callback=options.share),
    ] = 0.05,
    images: Moved = None,
    seed: Annotated[int | None, typer.Option(help="Of the permutations; as begun, or 0, unless given.")] = None,
    method: options.Own = None,
    device: options.Device = "auto",
    save_every: Annotated[int, typer.Option(help="Steps between two checkpoints.", min=1)] = 500,
    workers: options.Workers = None,
) -> None:
    """Measure how much is drawn if labels mean nothing, and take it off all maps.

    Trains as long again on permuted labels, in the run folder. That nothing holds is a finding, not an error. When
    stopped, the run is as it was, and the same command goes on.
    """
    asking.refuse_run(run, EXPLAINER)
    from explain.checking import calibrate as calibrate_

    found = calibrate_(
        run, permuted=permuted, allowed=allowed, images=images, seed=seed, method=method, device=device,
        save_every=save_every, workers=workers,
    )  # fmt: skip
    typer.echo(f"{found.calibration.told()}\ncalibration: {found.path}")
    exits.end_with(found.unreadable, found.errors)


@commands.command()
def evaluate(
    maps: Annotated[
        Path, typer.Argument(help="Folder that `explain map` wrote.", metavar="MAPS", callback=options.there)
    ],
    cohort: Annotated[
        Path | None,
        typer.Option(
            help="Table with what is asked below, joined on id or path.", metavar="CSV", callback=options.there
        ),
    ] = None,
    outcome: options.Outcome = None,
    positive: options.Positive = None,
    subject: options.Subject = None,
    where: options.Where = None,
    missing: options.Missing = None,
    mask: Annotated[str | None, typer.Option(help="Column of masks of the disease.", metavar="COLUMN")] = None,
    flags: options.Flags = None,
    labels: options.Labels = None,
    truth: Annotated[
        str | None, typer.Option(help="Column of files of healthy image minus case.", metavar="COLUMN")
    ] = None,
    twin: Annotated[str | None, typer.Option(help="Column of files of the healthy image.", metavar="COLUMN")] = None,
    sign: Annotated[
        str,
        typer.Option(
            help="What of the map is evidence: absolute, positive, negative.",
            callback=options.one_of("absolute", "positive", "negative"),
        ),
    ] = "absolute",
    threshold: Annotated[float | None, typer.Option(help="Of the map, for Dice; half its colours by default.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where the maps are by default.", metavar="DIR")] = None,
    seed: options.Bootstrap = 0,
) -> None:
    """Say how good explanations are: whether they flip, what they change, where they point."""
    counted = options.labels(labels)
    asking.refuse_folder(maps, "explanations.csv")
    from anomaly.reporting import report
    from explain.evaluating import evaluate as run

    found = run(
        maps, cohort, outcome=outcome, positive=positive, subject=subject, where=options.conditions(where),
        missing=options.codes(missing), mask=mask, flags=flags, labels=counted, truth=truth, twin=twin,
        sign=sign, threshold=threshold, out=out, seed=seed,
    )  # fmt: skip
    for section in found.sections:
        typer.echo("\n".join([section.title, *section.sentences, ""]))
    typer.echo(f"report: {report(found.out)}")
