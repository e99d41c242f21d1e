"""The command that compares visits: `anomaly evaluate --visits`."""

from pathlib import Path
from typing import Any

import typer

from anomaly.commandline import asking, options, tables, visits
from anomaly.longitudinal.evaluating import evaluate_visits
from anomaly.reporting import report


def evaluate(
    scores: Path, cohort: Path | None, outcome: str | None, out: Path | None, seed: int, given: dict[str, Any]
) -> None:
    """Evaluate scores of several visits, as the options of `evaluate` (`given`) ask, and say what was found."""
    if cohort is None:
        raise typer.BadParameter("visits are a column of a table; give it", param_hint="--cohort")
    compared = options.compared(given)
    named = [given[name] for name in ("visits", "date", "time", "event")]
    tables.refuse_table(cohort, [*filter(None, [*named, outcome])], compared["where"])
    asking.refuse_folder(scores, "scores.csv")
    del compared["match"]
    result = evaluate_visits(
        scores, cohort, outcome=outcome, out=out or (scores if scores.is_dir() else scores.parent), seed=seed,
        time_unit=given["time_unit"] or "years", smallest=given["smallest"] or 0.0, **compared, **visits.pairing(given),
        **options.chosen(given, "time", "event", "stable", "outcome_at", "limit"),
    )  # fmt: skip
    typer.echo(result.headline)
    for section in result.sections:
        typer.echo("\n".join([f"\n{section.title}", *section.sentences]))
    typer.echo(f"\nreport: {report(result.out)}")
