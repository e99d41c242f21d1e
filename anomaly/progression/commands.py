"""`anomaly progress ...`: each command a thin wrapper of one public function, which is imported when it runs."""

from __future__ import annotations

import typer

from anomaly.commandline import exits
from anomaly.progression.change_command import change
from anomaly.progression.commands_evolution import evaluate, predict, train

commands = typer.Typer(
    cls=exits.Commands,
    no_args_is_help=True,
    help="From one visit to the next: what changed and where, and who will change, and by how much.",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
# Each command stands in a file of its own and is a plain function there.
for command in (train, predict, evaluate, change):
    commands.command()(command)
