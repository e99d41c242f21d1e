"""What the commands of the program have in common: options, and how their texts are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from anomaly.machine import Machine
    from anomaly.preprocessing import Preprocessing

Out = Annotated[Path, typer.Option("--out", help="Folder for what is made.", metavar="DIR")]
Subject = Annotated[str | None, typer.Option(help="Column that says whose image it is.", metavar="COLUMN")]
Pattern = Annotated[
    str | None, typer.Option(help="Regular expression; its first group, in the path, is the subject.", metavar="REGEX")
]
Where = Annotated[list[str] | None, typer.Option(help="Keep only rows of the table where COLUMN=VALUE; repeatable.")]
Outcome = Annotated[str | None, typer.Option(help="Column of the outcome, 0 or 1.", metavar="COLUMN")]
Positive = Annotated[str | None, typer.Option(help="The value that counts as 1 when the column holds words.")]
Adjust = Annotated[
    str | None, typer.Option(help="Columns to adjust for, with commas, as age,sex,bmi.", metavar="COLUMNS")
]
Match = Annotated[
    str | None, typer.Option(help="Column of matched sets: cases are compared within these.", metavar="COLUMN")
]
Strata = Annotated[
    str | None, typer.Option(help="Columns within whose values all is said again, with commas.", metavar="COLUMNS")
]
Time = Annotated[
    str | None, typer.Option(help="Column of the time to the event or to the last visit.", metavar="COLUMN")
]
Event = Annotated[
    str | None, typer.Option(help="With --time: column that is 1 where the event was seen.", metavar="COLUMN")
]
Compare = Annotated[
    list[Path] | None, typer.Option(help="Further scores of the same images; repeatable.", metavar="CSV")
]
Predict = Annotated[
    str | None, typer.Option(help="Outcomes that loads on the map are to predict, with commas.", metavar="COLUMNS")
]
Beside = Annotated[
    str | None, typer.Option(help="Columns of numbers whose AUROC stands beside the load's.", metavar="COLUMNS")
]
Normals = Annotated[
    Path | None, typer.Option(help="lesions: folder or CSV of real images to put them in.", metavar="DIR|CSV")
]
Real = Annotated[
    Path | None, typer.Option(help="Real images to compare with; else the normals it chose by.", metavar="DIR|CSV")
]
Features = Annotated[Path | None, typer.Option(help="Another run whose codes of images are compared.", metavar="RUN2")]
Own = Annotated[str | None, typer.Option(help="FILE.py:CLASS again, for a method of your own.")]
Classes = Annotated[
    str | None, typer.Option(help="Column of classes to learn to draw apart, for a method that can.", metavar="COLUMN")
]
Class = Annotated[list[str] | None, typer.Option("--class", help="Draw this class alone; repeatable.", metavar="NAME")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="A setting of the method or kind; repeatable.", metavar="NAME=VALUE")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Workers = Annotated[int | None, typer.Option(help="Threads that read images; one a core by default.", min=1)]

Dims = Annotated[int, typer.Option(help="2 (pictures, or volumes slice by slice) or 3 (volumes).")]
Size = Annotated[str, typer.Option(help="Pixels a side, as 64 or 64,96; 0 keeps each image's own.")]
Fit = Annotated[str, typer.Option(help="How an image comes to that size: pad, resize or crop.")]
Spacing = Annotated[str | None, typer.Option(help="Millimetres a pixel, as 1 or 1,1,2.")]
Orientation = Annotated[str, typer.Option(help="Axes of volumes, as RAS; or keep.")]
Slices = Annotated[str, typer.Option(help="With --dims 2 on volumes: axial, sagittal, coronal.")]
Intensity = Annotated[str, typer.Option(help="What becomes black and white: percentile, range, window, zscore, none.")]
Window = Annotated[str | None, typer.Option(help="LOW,HIGH for --intensity window, as -1000,400.")]
Foreground = Annotated[str, typer.Option(help="none, or otsu to blacken the background.")]
Channels = Annotated[int, typer.Option(help="Channels of the images: 1 grey, 3 colour.", min=1)]
Seed = Annotated[int, typer.Option(help="Of weights, batches and noise.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on exactly where a stopped training stood.")]
SaveEvery = Annotated[int, typer.Option(help="Steps between two checkpoints.", min=1)]
Precision = Annotated[str, typer.Option(help="32, bf16 or 16.")]
Processes = Annotated[int, typer.Option(help="Processes on this computer, one a GPU.", min=1)]
Nodes = Annotated[int, typer.Option(help="Computers that take part.", min=1)]


def preprocessing(given: Mapping[str, Any]) -> Preprocessing:
    """How images are prepared, by the options of a command that trains."""
    from anomaly.preprocessing import Preprocessing

    names = ("dims", "fit", "orientation", "slices", "intensity", "foreground", "channels")
    return Preprocessing(
        size=numbers("size", given["size"], int) if given["size"] != "0" else None,
        spacing=numbers("spacing", given["spacing"], float),
        window=numbers("window", given["window"], float),
        **{name: given[name] for name in names},
    )


def machine(given: Mapping[str, Any]) -> Machine:
    """Where a training runs, by the options of a command that trains."""
    from anomaly.machine import Machine

    return Machine(**{name: given[name] for name in ("device", "precision", "processes", "nodes")})


def numbers(name: str, text: str | None, kind: Callable[[str], Any]) -> Any:
    """`64` -> 64, `64,96` -> (64, 96), None -> None."""
    if text is None:
        return None
    try:
        numbers = tuple(kind(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"expected numbers with commas, got {text!r}", param_hint=f"--{name}") from None
    return numbers[0] if len(numbers) == 1 else numbers


def conditions(pairs: list[str] | None) -> dict[str, str]:
    """`["split=train"]` -> {"split": "train"}."""
    for pair in pairs or []:
        if "=" not in pair:
            raise typer.BadParameter(f"expected COLUMN=VALUE, got {pair!r}", param_hint="--where")
    return dict(pair.split("=", 1) for pair in pairs or [])


def shard(text: str) -> tuple[int, int]:
    """`3/16` -> (3, 16)."""
    which, slash, of = text.partition("/")
    if not (slash and which.isdigit() and of.isdigit()):
        raise typer.BadParameter(f"expected i/N, as 1/8, got {text!r}", param_hint="--shard")
    return int(which), int(of)
