"""The folder that a trained explainer or classifier leaves: written last, checked first, and nothing in it is code."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pandas as pd
from torch import Tensor

from anomaly.errors import AnomalyError, RunError
from anomaly.facts import CLASSIFIER, DETECTOR, EXPLAINER, expect, kind_of, read_facts, verify
from anomaly.learned import Learned
from anomaly.methods import find_among
from anomaly.preprocessing import Preprocessing
from anomaly.run import COHORT, WEIGHTS, Run, torch_device
from explain.base import Target
from explain.classifier import Classifier
from explain.counterfactuals.trained import TrainedExplainer
from explain.sides import TRAIN

UNUSUAL = 0.05


@dataclass(frozen=True)
class TargetRun:
    """What is to be explained, from a run folder: a classifier's logit or a detector's value.

    Args:
        value: images (N, C, *space), prepared -> (N,).
        kind: `detector` or `classifier`.
        threshold: above it an image counts as a case: 0 for a logit; for a detector the value above which 5 % of
            normals lie.
        trained: names of the subjects it was trained on.
    """

    folder: Path
    value: Target
    preprocessing: Preprocessing
    kind: str
    identity: str
    threshold: float
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
        run = Run.open(folder, device=device, method=method)
        value: Callable[[Tensor], Tensor] = run.detector.value
        threshold = run.calibration.bound(UNUSUAL)
        normals = run.normals
        trained = frozenset(normals.loc[normals["split"] == TRAIN, "subject"])
        return TargetRun(folder, value, run.preprocessing, kind, run.identity, threshold, trained)
    if kind != CLASSIFIER:
        raise RunError(f"{folder} holds an {kind}; a target is a detector or a classifier: give such a run")
    learned = LearnedRun.open(folder, CLASSIFIER, device=device)
    assert isinstance(learned.learned, Classifier)
    value = learned.learned.logit
    return TargetRun(folder, value, learned.preprocessing, kind, learned.identity, 0.0, learned.trained)


@dataclass(frozen=True)
class LearnedRun:
    """A trained explainer or classifier with what it needs to take an image.

    Args:
        folder: where it lies.
        facts: what `run.json` says.
        learned: the explainer, with its target if it has one, or the classifier.
        preprocessing: how images become tensors.
    """

    folder: Path
    facts: Mapping[str, Any]
    learned: Learned
    preprocessing: Preprocessing

    @property
    def identity(self) -> str:
        """SHA-256 of the weights: the same for a moved or renamed folder."""
        return str(self.facts["files"][WEIGHTS])

    @property
    def explainer(self) -> TrainedExplainer:
        """The explainer."""
        assert isinstance(self.learned, TrainedExplainer)
        return self.learned

    def target_run(self, device: str = "cpu") -> TargetRun | None:
        """The run of the target it was trained against, where there is one and where it was then."""
        told = self.facts.get("target")
        place = self.folder / told["folder"] if told else None
        return open_target(place, device=device) if place is not None and (place / "run.json").is_file() else None

    @property
    def cohort(self) -> pd.DataFrame:
        """The images it was made with: id, subject, path, label, part, slices; names as text."""
        texts = {"id": str, "subject": str, "path": str}
        return pd.read_csv(self.folder / COHORT, dtype=texts, keep_default_na=False)

    @property
    def trained(self) -> frozenset[str]:
        """Names of the subjects it was trained on; those held out are not among them."""
        known = self.cohort
        return frozenset(known.loc[known["part"] == TRAIN, "subject"])

    @classmethod
    def open(
        cls,
        folder: Path | str,
        kind: str = EXPLAINER,
        *,
        device: str = "cpu",
        method: str | None = None,
        target: Path | str | None = None,
    ) -> Self:
        """Load a run after checking every file against what `run.json` recorded.

        Args:
            folder: what training left.
            kind: what is expected there.
            device: "auto", "cpu", "cuda", ...
            method: FILE.py:CLASS again, for an explainer of a user's own.
            target: run folder of the target, where it was moved since training.

        Raises:
            RunError: no run there, one of another kind, a damaged one, or one whose target is gone or another.
        """
        folder = Path(folder)
        facts = read_facts(folder)
        expect(folder, facts, kind)
        verify(folder, facts)
        found: type[Learned] = Classifier if kind == CLASSIFIER else find_explainer(method or facts["method"])
        learned = found.load(folder / WEIGHTS, torch_device(device))
        if isinstance(learned, TrainedExplainer) and facts["target"]:
            learned.target = _target_of(folder, facts, target, device)
        return cls(folder, facts, learned, Preprocessing(**facts["preprocessing"]))


def find_explainer(method: str) -> type[TrainedExplainer]:
    """The class of an explainer that is trained, by its name or as FILE.py:CLASS.

    Raises:
        AnomalyError: no such explainer, or one that learns nothing.
    """
    from explain import EXPLAINERS, Explainer

    cls: type[Any] = find_among(EXPLAINERS, Explainer, method)
    if not issubclass(cls, TrainedExplainer):
        able = ", ".join(name for name, each in EXPLAINERS.items() if issubclass(each, TrainedExplainer))
        raise AnomalyError(
            f"{method} is not trained: use `anomaly explain map {method} --target RUN`; to train there are {able}"
        )
    return cls


def _target_of(folder: Path, facts: Mapping[str, Any], target: Path | str | None, device: str) -> Target:
    place = Path(target or (folder / facts["target"]["folder"]))
    if not (place / "run.json").is_file():
        raise RunError(f"{folder} was trained against {place}, which is not there; give its folder by --target")
    opened = open_target(place, device=device)
    if opened.identity != facts["target"]["identity"]:
        raise RunError(f"{place} is not the target that {folder} was trained against; give that by --target")
    return opened.value
