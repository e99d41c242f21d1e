"""The doors that a user's files go through, and what counts as which outcome."""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from anomaly import Preprocessing, Run
from anomaly.cohorts.cohort import read_cohort
from anomaly.errors import AnomalyError
from anomaly.images.reading import read
from anomaly.runs.describing import describe
from benchmarks.mutant_tables import matched

OUT_OF_MEMORY = (
    "Unable to allocate",
    "bad_alloc",
    "Failed to allocate",
    "not enough memory",
    "out of memory",
    "MemoryError",
)
"""What libraries that do not raise MemoryError say."""


def quiet() -> None:
    """Silence what libraries print of damaged files, and keep to one thread."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.dup2(nowhere, sys.stderr.fileno())


def image(path: Path) -> str:
    """Read an image and prepare it."""
    found = read(path)
    Preprocessing(dims=found.ndim, size=16, channels=len(found.pixels)).apply(found)
    return f"{found.pixels.shape}, sum {found.pixels.sum(dtype=float):.9g}"


def table(path: Path) -> str:
    """Read a cohort; where files that it names are not there, as a table for scoring is read."""
    try:
        found = read_cohort(path)
    except AnomalyError:
        found = read_cohort(path, missing="keep")
    return f"{found.shape}"


def run(folder: Path) -> str:
    """Open a run, and do what scoring, `anomaly info` and a notebook do with it."""
    found = Run.open(folder)
    blank = np.zeros((1, found.preprocessing.channels, *(found.preprocessing.shape or ())), dtype=np.float32)
    value = found.judge(blank).value.numpy()
    z, p = found.calibration.z(value), found.calibration.p_value(value)
    told = (describe(folder), repr(found), found.identity, len(found.normals), found.calibration.bound(0.05))
    return f"{len(str(told))} letters, z {z}, p {p}"


def mended_run(folder: Path) -> str:
    """The same once all checksums fit what lies there."""
    files = {one.name: one.read_bytes() for one in folder.iterdir()}
    for name, content in matched(files).items():
        (folder / name).write_bytes(content)
    return run(folder)


DOORS: dict[str, Callable[[Path], str]] = {"image": image, "table": table, "run": run, "run, mended": mended_run}


def classed(error: Exception) -> tuple[str, str]:
    """The outcome that an exception stands for, and its words."""
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    if any(isinstance(one, MemoryError) or any(word in str(one) for word in OUT_OF_MEMORY) for one in chain):
        return "memory", _words(error, chain)
    if isinstance(error, AnomalyError):
        return "refused", str(error)
    return "traceback", _words(error, chain)


def _words(error: Exception, chain: list[BaseException]) -> str:
    places = [f"{Path(one.filename).name}:{one.lineno}" for one in traceback.extract_tb(chain[-1].__traceback__)]
    return f"{type(chain[-1]).__name__}: {str(error)[:300]} ({' '.join(places[-4:])})"
