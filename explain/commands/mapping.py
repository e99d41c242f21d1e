"""`anomaly explain map`, `check` and `evaluate`: thin wrappers of public functions, imported when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from anomaly.commandline import asking, exits, options, tables
from anomaly.errors import AnomalyError, RunError
from anomaly.runs.facts import EXPLAINER, PAINTER, REGISTRAR, RESTORER, TRANSLATOR, A, kind_of
from explain.commands.shared import Generator, Target, commands, explainers, refuse_runs

Source = Annotated[str, typer.Argument(help="Run folder of an explainer, or an attribution's name.", metavar="RUN")]
Baseline = Annotated[
    Path | None, typer.Option(help="Explainer whose counterfactuals an attribution starts from.", metavar="RUN")
]
Raw = Annotated[
    bool, typer.Option("--raw", help="Calibrated runs: maps as they are drawn, nothing taken away of them.")
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
DRAWN_BY = {
    RESTORER: "restore apply",
    TRANSLATOR: "translate apply",
    REGISTRAR: "register pair --by",
    PAINTER: "paint out",
}
"""Runs that no explanation is of, and what takes them."""


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
    cluster: options.Cluster = None,
    cluster_wait: options.ClusterWait = 300,
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
    refuse_runs({"--target": target, "--generator": generator, "--judge": judge, "--baseline": baseline})
    tables.refuse_images(images, whose)
    from explain.runs.mapping import map_images

    mapped = map_images(
        source, images, out, settings=settings, target=target, generator=generator, judge=judge, baseline=baseline,
         controls=controls, outputs=kinds, allow_overlap=allow_overlap, raw=raw, method=method, device=device,
         batch=batch, workers=workers, shard=part, cluster=cluster, cluster_wait=cluster_wait, **whose,
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
    count: Annotated[
        int | None,
        typer.Option(help="Attributions: so many images are explained at each depth; 32 unless given.", min=1),
    ] = None,
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
    refuse_runs({"--target": target, "--baseline": baseline})
    from explain.checking import check as check_

    checked = check_(
        source, out, target=target, images=images, count=count, settings=settings, baseline=baseline,
        controls=controls, limit=limit, permutations=permutations, steps=steps, raw=raw, seed=seed, method=method,
        device=device, save_every=save_every, workers=workers, **whose,
    )  # fmt: skip
    typer.echo(f"{checked.sentence}\ncheck: {checked.path}")
    exits.end_with(checked.unreadable, checked.errors)


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
