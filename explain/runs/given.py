"""Runs that an explainer is given: a target to explain, and a generator to draw with."""

from collections.abc import Callable
from dataclasses import dataclass
from math import pi, sqrt
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from anomaly.errors import AnomalyError, RunError
from anomaly.images.preprocessing import Preprocessing
from anomaly.runs.facts import CLASSIFIER, DETECTOR, A, expect, kind_of, read_facts, verify
from anomaly.runs.run import COHORT, WEIGHTS, Run, torch_device
from explain.base import Target
from explain.classifier import Classifier
from explain.latent.generator import Generator
from explain.sides.sides import TRAIN

UNUSUAL = 0.05


@dataclass(frozen=True)
class GivenRun:
    """What all of them have.

    Args:
        folder: where it lies.
        preprocessing: how images become tensors.
        identity: SHA-256 of its weights.
        trained: names of the subjects it was trained on.
    """

    folder: Path
    preprocessing: Preprocessing
    identity: str
    trained: frozenset[str]

    def check(self, preprocessing: Preprocessing, what: str) -> None:
        """Refuse images that were prepared otherwise than those it learned from.

        Raises:
            AnomalyError: they were; it names the settings that differ.
        """
        changed = [
            f"{name} {theirs} against {ours}"
            for (name, ours), theirs in zip(vars(preprocessing).items(), vars(self.preprocessing).values(), strict=True)
            if ours != theirs
        ]
        if changed:
            raise AnomalyError(
                f"{self.folder} was trained on images prepared otherwise than those of {what} ({'; '.join(changed)}); "
                "train both with the same options"
            )


@dataclass(frozen=True)
class TargetRun(GivenRun):
    """What is to be explained: a classifier's logit or a detector's value.

    Args:
        value: images (N, C, *space), prepared -> (N,).
        kind: `detector` or `classifier`.
        threshold: above it an image counts as a case: 0 for a logit; for a detector the value above which 5 % of
            normals lie.
        scale: what a difference in value is told by, so that sigmoid((value - threshold) / scale) is a probability: 1
            for a logit; for a detector that of a logistic distribution spread as the values of normals.
        mean: of a detector the mean of its normals (C, *space), for attributions to begin from.
        drawn: of a detector that draws images as if they were normal, how: (N, C, *space) -> the same.
        begins_there: whether attributions may begin there without being told: what it draws is normal to all of it.
    """

    value: Target
    kind: str
    threshold: float
    scale: float
    mean: np.ndarray | None = None
    drawn: Callable[[Tensor], Tensor] | None = None
    begins_there: bool = True


@dataclass(frozen=True)
class GeneratorRun(GivenRun):
    """What draws images from codes, and knows the code of an image: a detector that has both."""

    generator: Generator


def open_target(folder: Path | str, *, device: str = "cpu", method: str | None = None) -> TargetRun:
    """What a run says of an image, as a target.

    Args:
        folder: of a detector or of a classifier.
        device: "auto", "cpu", "cuda", ...
        method: FILE.py:CLASS again, for a detector of a user's own.

    Raises:
        RunError: no such run, a damaged one, or one of an explainer.
    """
    folder = Path(folder)
    kind = kind_of(read_facts(folder))
    if kind == DETECTOR:
        run = Run.open(folder, device=device, method=method).refuse_context()
        value: Callable[[Tensor], Tensor] = run.detector.value
        bounds = run.calibration.bound(UNUSUAL), run.calibration.spread * sqrt(3) / pi
        people, mean = trained_in(folder), run.calibration.mean_image
        return TargetRun(
            folder, run.preprocessing, run.identity, people, value, kind, *bounds, mean, drawing(run),
            run.detector.value_from_drawing,
        )  # fmt: skip
    if kind != CLASSIFIER:
        raise RunError(f"{folder} holds {A[kind]}; a target is a detector or a classifier: give such a run")
    facts = read_facts(folder)
    verify(folder, facts)
    logit = Classifier.load(folder / WEIGHTS, torch_device(device)).logit
    preprocessing, identity = Preprocessing(**facts["preprocessing"]), str(facts["files"][WEIGHTS])
    return TargetRun(folder, preprocessing, identity, trained_in(folder), logit, kind, 0.0, 1.0)


def drawing(run: Run) -> Callable[[Tensor], Tensor] | None:
    """How a detector draws images as if they were normal; None where it draws none, asked with the mean of its normals.

    What it draws differs from image to image (PCA, an autoencoder), or is the mean of its normals (mean-image).
    """
    mean = run.calibration.mean_image
    if mean is None:
        return None
    with torch.no_grad():
        seen = run.detector.reconstruct(torch.from_numpy(mean)[None].to(run.detector.device))
    return None if seen is None else cast(Callable[[Tensor], Tensor], run.detector.reconstruct)


def open_generator(folder: Path | str, *, device: str = "cpu", method: str | None = None) -> GeneratorRun:
    """A detector that draws images from codes.

    Args:
        folder: of a run of `anomaly train`.
        device: "auto", "cpu", "cuda", ...
        method: FILE.py:CLASS again, for a detector of a user's own.

    Raises:
        RunError: no such run, or a damaged one.
        AnomalyError: its method has no codes, or draws nothing from them.
    """
    folder = Path(folder)
    expect(folder, read_facts(folder), DETECTOR)
    run = Run.open(folder, device=device, method=method).refuse_context()
    if not run.detector.has_codes:
        raise AnomalyError(
            f"{folder} is a run of {run.detector.name}, which does not both find the code of an image and draw images "
            "from codes; train stylegan, or an autoencoder for latent-shift"
        )
    return GeneratorRun(folder, run.preprocessing, run.identity, trained_in(folder), cast(Generator, run.detector))


def trained_in(folder: Path) -> frozenset[str]:
    """Names of the subjects a run was trained on."""
    return frozenset(_trained_rows(folder)["subject"])


def files_trained_in(folder: Path) -> frozenset[str]:
    """Paths of the images a run was trained on."""
    return frozenset(_trained_rows(folder)["path"])


def _trained_rows(folder: Path) -> pd.DataFrame:
    # Which column says who was held out follows from what learned: a user's table may have the other one as well.
    known = pd.read_csv(folder / COHORT, dtype=str, keep_default_na=False)
    return known[known["split" if kind_of(read_facts(folder)) == DETECTOR else "part"] == TRAIN]
