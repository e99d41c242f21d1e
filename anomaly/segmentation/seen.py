"""Whom the runs that segment have seen already: figures of those are too good for new ones, and that is told."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from anomaly.cohorts.results import some
from anomaly.errors import RunError
from anomaly.segmentation.annotations import UNLABELLED
from anomaly.segmentation.classes import CHOOSE, TRAIN
from anomaly.segmentation.run import SegmenterRun

SEEN, NEW = "seen", "new"
PARTS = {
    TRAIN: "learned from with their label maps",
    CHOOSE: "held out to choose weights by",
    UNLABELLED: "seen without their label maps",
}
"""The parts of a training's split, the one that says most first."""


def seen_by(runs: Sequence[Path], table: pd.DataFrame) -> list[str]:
    """Of each row the part that some run has its subject or its image in, or "new"; "" where no run can be asked.

    Args:
        runs: folders of the runs.
        table: subject and path (absolute) of images.
    """
    cohorts = []
    for folder in runs:
        try:
            cohorts.append(SegmenterRun.open(folder).cohort)
        except RunError:
            continue
    if not cohorts:
        return [""] * len(table)
    every = pd.concat(cohorts, ignore_index=True)
    known = {part: every[every["split"] == part] for part in PARTS}
    whose = {part: ({*rows["subject"]}, {*rows["path"]}) for part, rows in known.items()}
    return [
        next((part for part, (subjects, paths) in whose.items() if subject in subjects or path in paths), NEW)
        for subject, path in zip(table["subject"], table["path"], strict=True)
    ]


def told_of(table: pd.DataFrame, what: str = "") -> str:
    """Who of those judged was seen, in a sentence; "" where nobody was, or nothing tells.

    Args:
        table: subject and seen of the images that were judged.
        what: is told of, where that is not plain.
    """
    count = table["subject"].nunique()
    said = []
    for part, words in PARTS.items():
        names = sorted({*table.loc[table[SEEN] == part, "subject"]})
        said += [f"{len(names)} {words} ({some(names)})"] if names else []
    if not said:
        return ""
    good = table[SEEN].isin([TRAIN, CHOOSE]).any()
    told = f"{what}Of {count} subjects judged, {', '.join(said)}"
    return f"{told}: figures of those whose label maps were seen are too good for new ones." if good else f"{told}."
