"""What the commands of `anomaly explain` share: their table, options of several, and which runs they take."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from anomaly.commandline import asking, exits
from anomaly.commandline.sources import Unknown
from anomaly.runs.facts import DETECTOR, EXPLAINER

commands = typer.Typer(
    cls=exits.Commands,
    no_args_is_help=True,
    help="Show what in an image speaks for disease, and how it would look without.",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

Target = Annotated[
    Path | None, typer.Option(help="Run folder of what is explained: a classifier or a detector.", metavar="RUN")
]
Generator = Annotated[
    Path | None, typer.Option(help="Run folder of what draws: for latent-walk and latent-shift.", metavar="RUN")
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


def refuse_runs(runs: dict[str, Path | None]) -> None:
    """Say at once when one of the runs that take part is none, or of a kind that its option does not take."""
    kinds = {"--generator": DETECTOR, "--baseline": EXPLAINER}  # what is explained and what judges may be either
    for name, folder in runs.items():
        if folder is not None:
            asking.refuse_run(folder, kinds.get(name))
