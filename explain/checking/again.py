"""An explainer's training done again, with the images it learned from and one thing changed."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from anomaly.cohorts.cohort import fingerprint
from anomaly.cohorts.results import some
from anomaly.errors import AnomalyError, CohortError
from anomaly.training.machine import Machine
from explain.runs.learning import learn
from explain.runs.run import LearnedRun
from explain.sides.sides import CASE, CHOOSE, CONTROL, TRAIN, Sides

FEWEST_SUBJECTS = 10
"""To train with, or a permutation is too often close to the truth."""


@dataclass(frozen=True, kw_only=True)
class Again:
    """How the training of a run is repeated.

    Args:
        run: whose settings, preprocessing and seed are taken.
        out: gets a run folder for each repetition.
        method: FILE.py:CLASS again, for a method of a user's own.
        steps: another number of steps; None takes as many.
        device: "auto", "cpu", "cuda", ...
        save_every: steps between two checkpoints.
        workers: threads that read.
    """

    run: LearnedRun
    out: Path
    method: str | None
    steps: int | None
    device: str
    save_every: int
    workers: int | None

    def train(self, number: int, table: pd.DataFrame, changed: str, purpose: str = "a check") -> LearnedRun:
        """Train once more in `permuted_NUMBER`, or go on where a stopped training stood; a finished one is only opened.

        The first has the seed of the run, so that labels alone are different. Each further one has the next seed, so
        that several differ as trainings do, weights and batches among them.

        Args:
            number: of the repetition, from 1.
            table: the images, as `images_of` gives them.
            changed: what is different, in words, for the run's card; another word is another training.
            purpose: what the run serves, in words.
        """
        facts = self.run.facts
        # As the run was opened: the file of an older one lacks settings that its method has by now.
        settings = self.run.learned.settings() | ({} if self.steps is None else {"steps": self.steps})
        out = self.out / f"permuted_{number}"
        told = f"{facts['data']['subjects_from']}. This run serves {purpose} alone: {changed}"
        learn(
            _given(table, told),
            out, method=self.method or facts["method"], settings=settings,
            preprocessing=self.run.preprocessing, choose=facts["choose"], seed=facts["seed"] + number - 1,
            machine=Machine(device=self.device, precision=facts["precision"]), resume=True,
            save_every=self.save_every, workers=self.workers,
        )  # fmt: skip
        return LearnedRun.open(out, device=self.device, method=self.method)


class _Given(Sides):
    """Images whose part and label are known already."""

    def read(self, choose: float) -> pd.DataFrame:
        """The table as it is."""
        assert isinstance(self.cohort, pd.DataFrame)
        return self.cohort


def _given(table: pd.DataFrame, told: str) -> Sides:
    """The images with their parts, and word of where subjects come from."""
    table = table.copy()
    table["split"] = table["part"] + " " + table["label"].map({0: CONTROL, 1: CASE})
    table.attrs["subjects_from"] = told
    return _Given(cohort=table, outcome="label")


def images_of(run: LearnedRun, folder: Path | str | None = None) -> pd.DataFrame:
    """The images a run was made with: id, path, subject, label, part and whatever else was known.

    Args:
        run: of an explainer.
        folder: where they lie now, if they were moved: what the folder was that held all of them.

    Raises:
        CohortError: images are not there, or are others; or too few subjects to permute labels among.
    """
    table = run.cohort
    held = os.path.commonpath([Path(path).parent for path in table["path"]])
    if folder is not None:
        table["path"] = [str(Path(folder).resolve() / os.path.relpath(path, held)) for path in table["path"]]
    gone = [path for path in table["path"] if not Path(path).exists()]
    if gone:
        raise CohortError(
            f"{len(gone)} of the {len(table)} images that {run.folder} was made with are not there ({some(gone)}); "
            f"give --images, the folder that now holds what {held} held"
        )
    if not run.facts["data"]["unreadable"] and fingerprint(table) != run.facts["data"]["fingerprint"]:
        raise CohortError(
            f"the images are not those that {run.folder} was made with: names or sizes of files differ; give --images, "
            f"the folder that now holds what {held} held"
        )
    subjects = table.loc[table["part"] == TRAIN, "subject"].nunique()
    if subjects < FEWEST_SUBJECTS:
        raise CohortError(
            f"{run.folder} was trained on {subjects} subjects; labels permuted among fewer than {FEWEST_SUBJECTS} are "
            "too often close to the truth, so there is nothing to check by"
        )
    return table


def refuse_method(run: LearnedRun) -> None:
    """Say why labels permuted say nothing of a method, where they do not.

    Raises:
        AnomalyError: it learned from pairs, or against a target.
    """
    if run.explainer.paired:
        raise AnomalyError(
            f"{run.folder} learned from pairs, of which permuted labels take no meaning away: what is to be removed "
            "stands in one of the two alone, whichever is called the case; judge it by `explain map --judge`"
        )
    if run.explainer.takes_target:
        raise AnomalyError(
            f"{run.folder} was trained against a target, which labels do not make; check the target by an attribution, "
            "`explain check integrated-gradients --target RUN`, and what is drawn by `explain map --judge`"
        )


def held_out_cases(table: pd.DataFrame) -> pd.DataFrame:
    """The cases that no training saw."""
    return table[(table["part"] == CHOOSE) & (table["label"] == 1)]


def drawn_seed(*numbers: int) -> int:
    """A seed that depends on all the numbers, far from those of others."""
    return int(np.random.default_rng(numbers).integers(2**31))
