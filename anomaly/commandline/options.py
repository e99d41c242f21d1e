"""What the commands of the program have in common: options, said once each, and how their texts are read.

A text that cannot be meant is refused while the command line is parsed, before anything heavy is imported.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anomaly.clusters.addresses import place
from anomaly.errors import CohortError
from anomaly.images.globs import fits_anything, is_glob
from anomaly.runs.settings import parse_settings

if TYPE_CHECKING:
    from anomaly.images.preprocessing import Preprocessing
    from anomaly.training.machine import Machine

SMALLEST = 8  # pixels of a side


def one_of(*names: str) -> Callable[[str], str]:
    """Take one of these words."""

    def read(text: str) -> str:
        if text not in names:
            raise typer.BadParameter(f"expected {', '.join(names[:-1])} or {names[-1]}, got {text!r}")
        return text

    return read


def device(text: str) -> str:
    """Take a device, a GPU with its number (cuda:1) or without."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", text):
        raise typer.BadParameter(f"expected auto, cpu, cuda or mps, got {text!r}")
    return text


def words(name: str, text: str, *names: str) -> list[str]:
    """`nifti,png` -> ["nifti", "png"], each of them one of the names."""
    found = [word.strip() for word in text.split(",")]
    if unknown := [word for word in found if word not in names]:
        told = f"expected {', '.join(names)}, several with commas; got {', '.join(map(repr, unknown))}"
        raise typer.BadParameter(told, param_hint=f"--{name}")
    return found


def numbers(name: str, text: str | None, kind: Callable[[str], Any]) -> Any:
    """`64` -> 64, `64,96` -> (64, 96), None -> None."""
    if text is None:
        return None
    try:
        found = tuple(kind(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"expected numbers with commas, got {text!r}", param_hint=f"--{name}") from None
    return found[0] if len(found) == 1 else found


def conditions(pairs: list[str] | None) -> dict[str, str]:
    """`["split=train"]` -> {"split": "train"}."""
    asked: dict[str, str] = {}
    for pair in pairs or []:
        column, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"expected COLUMN=VALUE, got {pair!r}", param_hint="--where")
        if asked.get(column, value) != value:
            told = f"{column} is asked to be {asked[column]!r} and {value!r} at once; give each column once"
            raise typer.BadParameter(told, param_hint="--where")
        asked[column] = value
    return asked


def shard(text: str) -> tuple[int, int]:
    """`3/16` -> (3, 16)."""
    which, slash, of = text.partition("/")
    if not (slash and which.isdigit() and of.isdigit() and 1 <= int(which) <= int(of)):
        raise typer.BadParameter(f"expected i/N with 1 <= i <= N, as 1/8; got {text!r}", param_hint="--shard")
    return int(which), int(of)


def cluster(text: str | None) -> str | None:
    """Where a cluster is, refused here where it can be none."""
    if text is not None:
        place(text)
    return text


def share(number: float) -> float:
    """A share between 0 and 1, these two left out."""
    if not 0 < number < 1:
        raise typer.BadParameter(f"expected a number between 0 and 1, got {number}")
    return number


def there(path: Path | None) -> Path | None:
    """A file or folder that is there; CohortError where it is not."""
    if path is not None and not path.exists():
        raise CohortError(f"{path}: no such file or folder; correct the path")
    return path


def there_or_none(path: Path | None) -> Path | None:
    """The same, or the word none."""
    return path if path is not None and str(path) == "none" else there(path)


def images_there(path: Path | None) -> Path | None:
    """A folder, a table or an image that is there, or a glob that fits something; CohortError where not."""
    if path is None or not is_glob(path):
        return there(path)
    if not fits_anything(path):
        raise CohortError(f"{path}: no file fits this pattern; mend it, and write it in quotes")
    return path


def all_there(paths: Iterable[Path | None] | None) -> list[Path] | None:
    """The same of several."""
    return None if paths is None else [path for path in map(there, paths) if path is not None]


Out = Annotated[Path, typer.Option("--out", help="Folder for what is made.", metavar="DIR")]
Subject = Annotated[str | None, typer.Option(help="Column that says whose image it is.", metavar="COLUMN")]
Pattern = Annotated[
    str | None, typer.Option(help="Regular expression; its first group, in the path, is the subject.", metavar="REGEX")
]
Where = Annotated[list[str] | None, typer.Option(help="Keep only rows of the table where COLUMN=VALUE; repeatable.")]
Outcome = Annotated[str | None, typer.Option(help="Column of the outcome, 0 or 1.", metavar="COLUMN")]
Positive = Annotated[str | None, typer.Option(help="The value that counts as 1 when the column holds words.")]
Missing = Annotated[
    str | None,
    typer.Option(
        help="Cells of the cohort table that mean that nothing is known, with commas, as -9,999.", metavar="CODES"
    ),
]
Table = Annotated[
    Path,
    typer.Option("--cohort", help="Table with the outcome, joined on id or path.", metavar="CSV", callback=there),
]
PerhapsTable = Annotated[
    Path | None,
    typer.Option("--cohort", help="Table with the outcome, joined on id or path.", metavar="CSV", callback=there),
]
Flags = Annotated[
    int | None, typer.Option(help="Of masks that hold sums of flags, those that count (knees: 3 is what hurts).")
]
Labels = Annotated[str | None, typer.Option(help="Of masks that hold labels, those that count, as 1,2.")]
SOURCE = "DIR|CSV|GLOB"
Images = Annotated[
    Path,
    typer.Option(
        help="Folder or CSV of images, one image, or a glob in quotes.", metavar=SOURCE, callback=images_there
    ),
]
AllowOverlap = Annotated[
    bool, typer.Option("--allow-overlap", help="Take subjects of the training too; what is said of them is too good.")
]
Own = Annotated[str | None, typer.Option(help="FILE.py:CLASS again, for a method of your own.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting of the method or kind; repeatable.", metavar="NAME=VALUE"),
]
Steps = Annotated[int | None, typer.Option(help="Short for --set steps=N.", min=1)]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what it would be and take, time and memory; train and write nothing.")
]
Class = Annotated[list[str] | None, typer.Option("--class", help="Draw this class alone; repeatable.", metavar="NAME")]
Real = Annotated[
    Path | None,
    typer.Option(
        help="Real images to compare with; else the normals it chose by.", metavar=SOURCE, callback=images_there
    ),
]
Features = Annotated[Path | None, typer.Option(help="Another run whose codes of images are compared.", metavar="RUN2")]
Bootstrap = Annotated[int, typer.Option("--seed", help="Of the bootstrap.")]
Alpha = Annotated[float, typer.Option(help="Flag an image when its p-value is at most this.", callback=share)]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.", callback=device)]
Shard = Annotated[
    str, typer.Option(help="i/N: take the images whose ids' hash falls to the i-th of N shards.", metavar="i/N")
]
Cluster = Annotated[
    str | None,
    typer.Option(
        help="Have a Dask cluster do it: tcp://HOST:PORT, scheduler file, slurm:JOBS or local:PROCESSES.",
        metavar="WHERE",
        callback=cluster,
    ),
]
ClusterWait = Annotated[float, typer.Option(help="Seconds that its first worker may take to come.", min=1)]
Workers = Annotated[int | None, typer.Option(help="Threads that read images; one a core by default.", min=1)]


def shared(*groups: Callable[..., object]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the options of these groups as well; they reach it by name, in its `**given`."""

    def around(command: Callable[..., Any]) -> Callable[..., Any]:
        own = [
            each
            for each in inspect.signature(command, eval_str=True).parameters.values()
            if each.kind != each.VAR_KEYWORD
        ]
        further = [each for group in groups for each in inspect.signature(group, eval_str=True).parameters.values()]
        by_name = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*own, *further)]

        @functools.wraps(command)
        def called(**given: Any) -> Any:
            return command(**given)

        called.__signature__ = inspect.Signature(by_name)  # type: ignore[attr-defined]
        called.__annotations__ = {each.name: each.annotation for each in by_name}
        return called

    return around


def comparison(
    positive: Positive = None,
    subject: Subject = None,
    where: Where = None,
    adjust: Annotated[
        str | None, typer.Option(help="Columns to adjust for, with commas, as age,sex,bmi.", metavar="COLUMNS")
    ] = None,
    match: Annotated[
        str | None, typer.Option(help="Column of matched sets: cases are compared within these.", metavar="COLUMN")
    ] = None,
    missing: Missing = None,
) -> None:
    """Who is compared with whom."""


def further(
    strata: Annotated[
        str | None, typer.Option(help="Columns within whose values all is said again, with commas.", metavar="COLUMNS")
    ] = None,
    time: Annotated[
        str | None, typer.Option(help="Column of the time to the event or to the last visit.", metavar="COLUMN")
    ] = None,
    event: Annotated[
        str | None, typer.Option(help="With --time: column that is 1 where the event was seen.", metavar="COLUMN")
    ] = None,
    at: Annotated[float | None, typer.Option(help="With --time: until when survival is told.")] = None,
    compare: Annotated[
        list[Path] | None,
        typer.Option(help="Further scores of the same images; repeatable.", metavar="CSV", callback=all_there),
    ] = None,
) -> None:
    """What an evaluation says beyond how well a score tells cases from controls."""


def persons(
    subject: Subject = None,
    subject_pattern: Pattern = None,
    where: Where = None,
    match: Annotated[
        list[str] | None,
        typer.Option(
            help="Take only files whose path, from the folder, fits, as '*_T1w.nii.gz'; repeatable.", metavar="GLOB"
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Leave out what fits, as derivatives; repeatable.", metavar="GLOB")
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option(
            help="Masks of what counts, as brains: a folder, a pattern, a column; none: not even the column mask.",
            metavar="DIR|GLOB|COLUMN",
        ),
    ] = None,
) -> None:
    """Whose images, and which."""


def preparation(
    dims: Annotated[int, typer.Option(help="2 (pictures, or volumes slice by slice) or 3 (volumes).")] = 2,
    size: Annotated[str, typer.Option(help="Pixels a side, as 64 or 64,96; 0 keeps each image's own.")] = "64",
    fit: Annotated[str, typer.Option(help="How an image comes to that size: pad, resize or crop.")] = "pad",
    spacing: Annotated[str | None, typer.Option(help="Millimetres a pixel, as 1 or 1,1,2.")] = None,
    orientation: Annotated[str, typer.Option(help="Axes of volumes, as RAS; or keep.")] = "RAS",
    slices: Annotated[str, typer.Option(help="With --dims 2 on volumes: axial, sagittal, coronal.")] = "axial",
    intensity: Annotated[
        str, typer.Option(help="What becomes black and white: percentile, range, window, zscore, none.")
    ] = "percentile",
    window: Annotated[
        str | None,
        typer.Option(help="LOW,HIGH for --intensity window, as -1000,400."),
    ] = None,
    foreground: Annotated[str, typer.Option(help="none, or otsu to blacken the background.")] = "none",
    channels: Annotated[int, typer.Option(help="Channels of the images: 1 grey, 3 colour.", min=1)] = 1,
) -> None:
    """How images are prepared."""


def training(
    seed: Annotated[int, typer.Option(help="Of weights, batches and noise.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on exactly where a stopped training stood.")] = False,
    save_every: Annotated[int, typer.Option(help="Steps between two checkpoints.", min=1)] = 500,
    device: Device = "auto",
    precision: Annotated[str, typer.Option(help="32, bf16 or 16.")] = "32",
    processes: Annotated[int, typer.Option(help="Processes on this computer, one a GPU.", min=1)] = 1,
    nodes: Annotated[int, typer.Option(help="Computers that take part.", min=1)] = 1,
    workers: Workers = None,
) -> None:
    """How and where a training runs."""


def whose(given: Mapping[str, Any]) -> dict[str, Any]:
    """Whose images are taken, by the options of `persons`."""
    globs = {name: given[name] or None for name in ("match", "exclude")}
    return {**chosen(given, "subject", "subject_pattern", "mask"), "where": conditions(given["where"]), **globs}


def preprocessing(given: Mapping[str, Any], context: int | None = None) -> Preprocessing:
    """How images are prepared, by the options of `preparation`."""
    from anomaly.images.preprocessing import Preprocessing

    asked = chosen(given, *inspect.signature(preparation).parameters)
    kinds = (("size", int), ("spacing", float), ("window", float))
    read = {name: numbers(name, asked[name], kind) for name, kind in kinds}
    if (
        read["size"]
        and 0 < (least := min(read["size"] if isinstance(read["size"], tuple) else (read["size"],))) < SMALLEST
    ):
        told = f"images of {least} pixels a side hold nothing to learn from; give {SMALLEST} or more, as 64"
        raise typer.BadParameter(told, param_hint="--size")
    read["context"] = context
    return Preprocessing(**{**asked, **read, "size": None if asked["size"].strip() == "0" else read["size"]})


def machine(given: Mapping[str, Any]) -> Machine:
    """Where a training runs, by the options of `training`."""
    from anomaly.training.machine import Machine

    return Machine(**chosen(given, "device", "precision", "processes", "nodes"))


def compared(given: Mapping[str, Any]) -> dict[str, Any]:
    """Who is compared with whom, by the options of `comparison`."""
    where, adjust = conditions(given["where"]), given["adjust"] or ()
    missing = codes(given["missing"])
    return {**chosen(given, "positive", "subject", "match"), "where": where, "adjust": adjust, "missing": missing}


def refuse_unasked(cohort: Path | None, truth: str | None, outcome: str | None) -> None:
    """Refuse to evaluate without a question, or without the table that a column is in."""
    if not outcome and truth is None:
        told = "name the outcome, or the columns of time and event, or the truth of the maps"
        raise typer.BadParameter(told, param_hint="--outcome")
    if outcome and cohort is None:
        raise typer.BadParameter("the outcome is a column of a table; give it", param_hint="--cohort")
    if truth is not None and cohort is None and not Path(truth).is_dir():
        told = f"there is no folder {truth!r}; give one, or --cohort with the table that has this column"
        raise typer.BadParameter(told, param_hint="--truth")


def codes(text: str | None) -> tuple[str, ...]:
    """`-9,999` -> ("-9", "999"): what a table has where nothing is known."""
    return tuple(code for part in (text or "").split(",") if (code := part.strip()))


def labels(text: str | None) -> tuple[int, ...]:
    """`1,2` -> (1, 2)."""
    found = numbers("labels", text, int)
    return () if found is None else found if isinstance(found, tuple) else (found,)


def settings(pairs: Iterable[str] | None, steps: int | None = None) -> dict[str, Any]:
    """What `--set` and `--steps` ask of a method."""
    return parse_settings([*(pairs or [])]) | ({} if steps is None else {"steps": steps})


def chosen(given: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Some of the options of a command, by name."""
    return {name: given[name] for name in names}
