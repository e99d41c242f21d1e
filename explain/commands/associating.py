"""`anomaly associate`: a thin wrapper of a public function, imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from anomaly.commandline import exits, options, tables, visits


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
