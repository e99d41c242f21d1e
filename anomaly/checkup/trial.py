"""A small training and scoring from end to end, in a temporary folder."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import PIL.Image

from anomaly.checkup.findings import Finding
from anomaly.images.preprocessing import Preprocessing
from anomaly.runs.learning import learn
from anomaly.scoring.score import score
from anomaly.training.machine import Machine

SIDE, NORMALS, OTHERS = 16, 16, 2
METHODS = ("mean-image", "texture")


def tried() -> Iterator[Finding]:
    """Train on sixteen small images, score two others, and say how long it took."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="anomaly-doctor-") as made, quietly():
        home = Path(made)
        _draw(home / "normals", NORMALS, seed=0)
        _draw(home / "others", OTHERS, seed=1)
        for method in METHODS:
            run = learn(
                home / "normals", home / method, method=method, preprocessing=Preprocessing(size=SIDE),
                machine=Machine(device="cpu"), workers=1,
            )  # fmt: skip
            scored = score(run.folder, home / "others", home / f"{method} scores", device="cpu", workers=1)
            if scored.new != OTHERS or scored.failed:
                raise RuntimeError(f"{method} scored {scored.new} of {OTHERS} images, {scored.failed} were unreadable")
    yield Finding("self test", f"{' and '.join(METHODS)} trained and scored in {time.monotonic() - began:.1f} s")


def _draw(folder: Path, count: int, seed: int) -> None:
    folder.mkdir()
    random = np.random.default_rng(seed)
    bright = np.hypot(*(np.indices((SIDE, SIDE)) - SIDE / 2)) < SIDE / 3
    for k in range(count):
        values = 60 + 120 * bright + 20 * random.normal(size=(SIDE, SIDE))
        PIL.Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(folder / f"{seed}{k:02d}.png")


@contextmanager
def quietly() -> Iterator[None]:
    """Nothing is logged meanwhile: few images are warned of, and they are few on purpose."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
