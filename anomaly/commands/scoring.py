"""`anomaly score`, `evaluate` and `report`: thin wrappers of public functions, imported when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from anomaly.commandline import asking, exits, options, tables, visits
from anomaly.runs.facts import DETECTOR


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
