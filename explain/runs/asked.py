"""What is asked for, before anything is read or trained: the method, its settings, and the runs that it is given."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from anomaly.cohorts.joining import columns
from anomaly.cohorts.masks import COLUMN as MASK
from anomaly.cohorts.masks import suited
from anomaly.cohorts.results import some
from anomaly.errors import AnomalyError, CohortError
from anomaly.images.preprocessing import Preprocessing
from anomaly.runs.facts import CLASSIFIER, read_facts
from anomaly.runs.methods import make
from anomaly.training.learned import Learned
from anomaly.training.machine import Machine
from explain.classifier import Classifier
from explain.counterfactuals.targeted import Targeted
from explain.latent.walk import LatentWalk
from explain.runs.given import GeneratorRun, TargetRun, open_generator, open_target
from explain.runs.run import find_explainer
from explain.sides.sides import CHOOSE, Sides
from explain.trained import TrainedExplainer

logger = logging.getLogger(__name__)
UNMASKED = (Targeted, LatentWalk)
"""Methods that ask their target of what they draw, where a mask would be lost."""


def _masks_of(*given: Path | str | None) -> str | None:
    """Whether the runs that take part were trained with masks, "given" or "none"; None where there is no run."""
    runs = [Path(folder) for folder in given if folder is not None and (Path(folder) / "run.json").is_file()]
    told = [read_facts(run)["preprocessing"].get("mask", "none") for run in runs]  # what is none says so when opened
    return told[0] if told else None


def asked_of(
    sides: Sides,
    machine: Machine,
    *,
    method: str,
    settings: Mapping[str, Any] | None,
    preprocessing: Preprocessing | None,
    target: Path | str | None,
    generator: Path | str | None,
    nuisance: str | Sequence[str],
) -> tuple["TrainedExplainer | Classifier", Preprocessing, TargetRun | None, GeneratorRun | None]:
    """What is to learn, how images are prepared for it, and the runs that it is given; arguments as of `learn`."""
    learner = _create(method, settings, sides)
    if preprocessing is not None and preprocessing.context is not None:
        raise AnomalyError(f"{learner.name} makes nothing of context; leave it out of the preprocessing")
    _takes_target(learner, target)  # before it is read
    given = _masks_of(target, generator)
    preprocessing = dataclasses.replace(preprocessing or Preprocessing(), mask=given or "none")
    if given == "given" and isinstance(learner, UNMASKED):
        raise AnomalyError(
            f"{learner.name} makes nothing of masks, with which what it was given was trained; take another method, or "
            "train that without masks"
        )
    opened = _targeted(learner, target, preprocessing, machine)
    return learner, preprocessing, opened, _drawing(learner, generator, columns(nuisance), preprocessing, machine)


def parted(
    sides: Sides,
    choose: float,
    preprocessing: Preprocessing,
    target: Path | str | None,
    generator: Path | str | None,
) -> tuple[pd.DataFrame, Preprocessing]:
    """The table with its split, and how its images are prepared."""
    cohort, given = sides.read(choose), _masks_of(target, generator)
    if given is not None or sides.mask is None:  # a column that nobody named may mark the disease of cases
        cohort = suited(cohort, sides.mask, given or "none", str(target or generator or "this"))
    return cohort, dataclasses.replace(preprocessing, mask="given" if MASK in cohort else "none")


def _create(method: str, settings: Mapping[str, Any] | None, sides: Sides) -> "TrainedExplainer | Classifier":
    cls: type[Any] = Classifier if method == CLASSIFIER else find_explainer(method)
    learner: TrainedExplainer | Classifier = make(cls, settings)
    paired = isinstance(learner, TrainedExplainer) and learner.paired
    if paired and sides.pair is None:
        raise AnomalyError(
            f"{method} learns from pairs; give --cohort with --pair, the column that names each image's counterpart"
        )
    return learner


def _takes_target(learner: Learned, target: Path | str | None) -> bool:
    """Whether a method takes a target; AnomalyError where it is given one and takes none."""
    takes = isinstance(learner, TrainedExplainer) and learner.takes_target
    if not takes and target is not None:
        raise AnomalyError(f"{learner.name} learns from cases and controls alone and takes no target; leave it out")
    return takes


def _targeted(
    learner: Learned, target: Path | str | None, preprocessing: Preprocessing, machine: Machine
) -> TargetRun | None:
    """Open the target of a method that takes one."""
    if not _takes_target(learner, target):
        return None
    if target is None:
        raise AnomalyError(
            f"{learner.name} explains a target; give --target, the run folder of a classifier or a detector"
        )
    opened = open_target(target, device=str(machine.torch_device))
    opened.check(preprocessing, "this training")
    learner.target = opened.value  # type: ignore[attr-defined]
    if isinstance(learner, LatentWalk):
        learner.threshold, learner.scale = opened.threshold, opened.scale
    return opened


def _drawing(
    learner: Learned,
    generator: Path | str | None,
    nuisance: Sequence[str],
    preprocessing: Preprocessing,
    machine: Machine,
) -> GeneratorRun | None:
    """Open the generator of a method that walks in its codes."""
    if not isinstance(learner, LatentWalk):
        given = "generator" if generator is not None else "nuisance" if nuisance else None
        if given:
            raise AnomalyError(f"{learner.name} takes no {given}; leave --{given} out, or take latent-walk")
        return None
    if generator is None:
        raise AnomalyError(
            f"{learner.name} walks in the codes of a generator; give --generator, the run folder of `anomaly train "
            "--method stylegan`"
        )
    opened = open_generator(generator, device=str(machine.torch_device))
    opened.check(preprocessing, "this training")
    learner.generator = opened.generator
    return opened


def refuse_unknown(nuisance: Sequence[str], cohort: pd.DataFrame) -> None:
    """Name the columns to keep as they are that the table does not have."""
    missing = [name for name in nuisance if name not in cohort]
    if missing:
        raise CohortError(
            f"the cohort has no column {some(missing)} to keep as it is; its columns are {some(cohort.columns, 20)}"
        )


def warn_of_known(cohort: pd.DataFrame, generator: GeneratorRun) -> None:
    """Say so where people held out here are some that the generator was trained on, and draws the better for it."""
    held_out = set(cohort.loc[cohort["part"] == CHOOSE, "subject"])
    known = sorted(held_out & generator.trained)
    if known:
        logger.warning(
            "%d of the %d subjects held out here (%s) are among those that %s was trained on, so walks of new people "
            "will be worse than is told; train both on one table, by the same --subject, with --choose here no more "
            "than --choose and --calibrate there", len(known), len(held_out), some(known), generator.folder,
        )  # fmt: skip
