"""What lies in a place: a run, a folder of results, or images with their formats, sizes, spacings, values, subjects."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import PIL.Image
import pydicom

from anomaly.checkup.findings import Finding
from anomaly.cohorts.cohort import read_cohort
from anomaly.errors import AnomalyError, UnreadableImage
from anomaly.images import own, read
from anomaly.images.image import Image
from anomaly.images.pictures import FORMATS
from anomaly.images.reading import suffix
from anomaly.runs.describing import images_in_short
from anomaly.runs.facts import kind_of, read_facts, verify

MOST, KINDS = 200, 4
"""Images that are read, evenly spread over more, and kinds that are told of each thing."""


def looked_at(place: str) -> Iterator[Finding]:
    """What is found in a place: what a run says of itself, or what images are there."""
    folder = Path(place)
    if (folder / "run.json").is_file():
        yield from _of_run(folder)
    elif made := own.told_by(folder) if folder.is_dir() else "":
        yield Finding("place", f"a folder that this program made ({made})")
        for table in sorted(folder.glob("*.csv")):
            yield Finding(table.name, f"{max(0, sum(1 for _ in table.open('rb')) - 1)} rows")
    else:
        yield from _of_images(place)


def _of_run(folder: Path) -> Iterator[Finding]:
    try:
        facts = read_facts(folder)
        settings = ", ".join(f"{name}={value}" for name, value in facts["settings"].items())
        yield Finding("run", f"a {kind_of(facts)}, {facts['method']}({settings}), of {facts['created']}")
        yield Finding("learned from", images_in_short(facts))
        prepared = ", ".join(f"{k} {v}" for k, v in facts["preprocessing"].items() if v is not None)
        yield Finding("prepared", prepared)
        yield Finding("made with", ", ".join(f"{name} {told}" for name, told in facts["versions"].items()))
        verify(folder, facts)
        yield Finding("files", "as they were written")
    except AnomalyError as error:
        yield Finding("run", str(error), wrong=True)


def _of_images(place: str) -> Iterator[Finding]:
    with _heard() as said:
        try:
            cohort = read_cohort(place, missing="keep")
        except AnomalyError as error:
            yield Finding("images", str(error), wrong=True)
            return
    yield Finding("images", f"{len(cohort)}: {_counted(suffix(Path(path)) or 'no ending' for path in cohort['path'])}")
    told_by = cohort.attrs["subjects_from"]
    yield Finding("subjects", f"{cohort['subject'].nunique()}, told by {told_by}")
    if further := [name for name in cohort.columns if name not in ("id", "path", "subject")]:
        yield Finding("columns", ", ".join(map(str, further[:20])))
    for line in said:
        yield Finding("passed over", line)
    chosen = np.unique(np.linspace(0, len(cohort) - 1, MOST).round().astype(int)) if len(cohort) > MOST else None
    paths = list(cohort["path"] if chosen is None else cohort["path"].iloc[chosen])
    yield from _of_files(paths, len(cohort))


def _of_files(paths: list[str], of: int) -> Iterator[Finding]:
    images, reasons = [], []
    for path in paths:
        try:
            images.append(_facts(read(Path(path))))
        except UnreadableImage as error:
            reasons.append(str(error))
    looked = "all" if len(paths) == of else f"{len(paths)} of {of}, evenly spread"
    yield Finding("read", f"{looked}: {len(images)} can be read, {len(reasons)} cannot", wrong=not images)
    for reason in reasons[:3]:
        yield Finding("unreadable", reason)
    for name in ("kind", "size", "spacing", "stored as", "axes"):
        if told := [each[name] for each in images if each[name]]:
            yield Finding(name, _counted(told))
    if images:
        low, high = min(each["low"] for each in images), max(each["high"] for each in images)
        middle = float(np.median([each["mean"] for each in images]))
        yield Finding("values", f"{low:g} to {high:g}, the mean of most about {middle:g}")


def _facts(image: Image) -> dict[str, Any]:
    edges = np.linalg.norm(image.affine[:3, : image.ndim], axis=0)
    grid = " x ".join(map(str, image.space))
    placed = image.ndim == 3 and image.measured
    return {
        "kind": f"{image.kind}, {len(image.pixels)} channel{'s' * (len(image.pixels) > 1)}",
        "size": grid,
        "spacing": " x ".join(f"{each:.3g}" for each in edges) + " mm" if image.kind != "picture" else "",
        "stored as": _stored(image),
        "axes": "".join(nib.aff2axcodes(image.affine)) if placed else "",
        "low": float(image.pixels.min()), "high": float(image.pixels.max()), "mean": float(image.pixels.mean()),
    }  # fmt: skip


def _stored(image: Image) -> str:
    """The type of the values in the file, where that is quickly told."""
    try:
        if image.kind == "nifti":
            return str(nib.load(image.path).get_data_dtype())  # type: ignore[attr-defined]
        if image.kind == "picture":
            with PIL.Image.open(image.path, formats=FORMATS) as picture:
                return f"{picture.mode} ({picture.format})"
        if image.kind == "dicom":
            path = min(image.path.iterdir()) if image.path.is_dir() else image.path
            tags = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            return f"{tags.get('BitsStored', '?')} bits, {tags.get('Modality', 'no modality')}"
    except Exception:  # the image itself was read; this line is left out
        return ""
    return ""


def _counted(words: Iterable[str]) -> str:
    """`.png 12, .nii.gz 3 and 2 more kinds`, the most frequent first."""
    found = Counter(words).most_common()
    rest = len(found) - KINDS
    told = ", ".join(f"{word} ({count})" for word, count in found[:KINDS])
    return told + (f" and {rest} more kinds" if rest > 0 else "")


@contextmanager
def _heard() -> Iterator[list[str]]:
    """What is logged meanwhile, instead of where it goes otherwise."""

    class Heard(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    said: list[str] = []
    logger, handler = logging.getLogger("anomaly"), Heard()
    before = logger.propagate, logger.level
    logger.addHandler(handler)
    logger.propagate, logger.level = False, logging.INFO
    try:
        yield said
    finally:
        logger.removeHandler(handler)
        logger.propagate, logger.level = before
