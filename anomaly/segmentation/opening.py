"""Runs that segment together: of the same classes and preprocessing, or refused by name."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from anomaly.errors import RunError
from anomaly.segmentation.run import SegmenterRun


def open_runs(folders: Sequence[Path | str], *, device: str = "cpu") -> list[SegmenterRun]:
    """The runs of an ensemble.

    Raises:
        RunError: none, one given twice, or one that has other classes or prepares images otherwise than the first.
    """
    if not folders:
        raise RunError("no run was given; give one or more folders made by `anomaly segment train`")
    runs = [SegmenterRun.open(folder, device=device) for folder in folders]
    first = runs[0]
    for run in runs[1:]:
        if run.labels != first.labels:
            raise RunError(
                f"{run.folder} has the classes {_classes(run)}, {first.folder} has {_classes(first)}; runs that "
                "segment together have the same"
            )
        if run.preprocessing != first.preprocessing:
            told = [
                f"{each.name} {getattr(run.preprocessing, each.name)} and {getattr(first.preprocessing, each.name)}"
                for each in dataclasses.fields(run.preprocessing)
                if getattr(run.preprocessing, each.name) != getattr(first.preprocessing, each.name)
            ]
            raise RunError(
                f"{run.folder} and {first.folder} prepare images otherwise ({'; '.join(told)}); runs that segment "
                "together prepare them alike"
            )
    if len({run.identity for run in runs}) < len(runs):
        raise RunError("a run was given twice, which would count it double; give each once")
    return runs


def _classes(run: SegmenterRun) -> str:
    return ", ".join(f"{name}={'+'.join(map(str, numbers))}" for name, numbers in run.classes.items())
