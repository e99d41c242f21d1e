"""The folder that a trained explainer or classifier leaves: written last, checked first, and nothing in it is code."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import pandas as pd

from anomaly.errors import AnomalyError, RunError
from anomaly.images.preprocessing import Preprocessing
from anomaly.runs.describing import left_out, method_in_short, preprocessing_in_short
from anomaly.runs.facts import CLASSIFIER, EXPLAINER, opened
from anomaly.runs.methods import find_among, method_of
from anomaly.runs.run import COHORT, WEIGHTS, torch_device
from anomaly.shown import Readable
from anomaly.training.learned import Learned
from explain.classifier import Classifier
from explain.runs.calibration import Calibration, read_calibration
from explain.runs.given import GeneratorRun, GivenRun, TargetRun, open_generator, open_target, trained_in
from explain.runs.untold import Untold, read_untold
from explain.sides.sides import CASE, CHOOSE, CONTROL, TRAIN
from explain.trained import TrainedExplainer

Opened = TypeVar("Opened", bound=GivenRun)


@dataclass(frozen=True, repr=False)
class LearnedRun(Readable):
    """A trained explainer or classifier with what it needs to take an image.

    Args:
        folder: where it lies.
        facts: what `run.json` says.
        learned: the explainer, with its target if it has one, or the classifier.
        preprocessing: how images become tensors.
        target, generator: what it was trained with, where there is such.
    """

    folder: Path
    facts: Mapping[str, Any]
    learned: Learned
    preprocessing: Preprocessing
    target: TargetRun | None = None
    generator: GeneratorRun | None = None

    def _in_short(self) -> tuple[str, dict[str, object]]:
        given = {"target": self.target, "generator": self.generator}
        beside = "".join(f"; {what} {run.folder}" for what, run in given.items() if run is not None)
        return method_in_short(self.learned) + beside, {
            "learned": _sides(self.facts["data"]),
            "prepared": preprocessing_in_short(self.preprocessing),
            "held out": _held_out(self.facts["held_out"]),
            "folder": self.folder,
        }

    @property
    def identity(self) -> str:
        """SHA-256 of the weights: the same for a moved or renamed folder."""
        return str(self.facts["files"][WEIGHTS])

    @property
    def explainer(self) -> TrainedExplainer:
        """The explainer."""
        assert isinstance(self.learned, TrainedExplainer)
        return self.learned

    @property
    def vanishing(self) -> bool:
        """Whether its maps ought to vanish with labels permuted: it learned from cases and controls alone."""
        learned = self.learned
        return isinstance(learned, TrainedExplainer) and not learned.paired and not learned.takes_target

    @property
    def calibration(self) -> Calibration | None:
        """What it would draw if labels meant nothing; None where that was not measured of these weights."""
        return read_calibration(self.folder, self.identity) if self.vanishing else None

    @property
    def untold(self) -> Untold | None:
        """That it cannot be told what it would draw then, as `calibrate` found of these weights; None where not."""
        return read_untold(self.folder, self.identity) if self.vanishing else None

    @property
    def cohort(self) -> pd.DataFrame:
        """The images it was made with: id, subject, path, label, part, slices; names as text."""
        texts = {"id": str, "subject": str, "path": str}
        return pd.read_csv(self.folder / COHORT, dtype=texts, keep_default_na=False)

    @property
    def trained(self) -> frozenset[str]:
        """Names of the subjects it was trained on; those held out are not among them."""
        return trained_in(self.folder)

    @classmethod
    def open(
        cls,
        folder: Path | str,
        kind: str = EXPLAINER,
        *,
        device: str = "cpu",
        method: str | None = None,
        target: Path | str | None = None,
        generator: Path | str | None = None,
    ) -> Self:
        """Load a run after checking every file against what `run.json` recorded.

        Args:
            folder: what training left.
            kind: what is expected there.
            device: "auto", "cpu", "cuda", ...
            method: FILE.py:CLASS again, for an explainer of a user's own.
            target, generator: run folder of the target and of the generator, where it was moved since training.

        Raises:
            RunError: no run there, one of another kind, a damaged one, or one whose target or generator is gone or
                another.
        """
        folder = Path(folder)
        facts = opened(folder, kind)
        found: type[Learned] = Classifier if kind == CLASSIFIER else find_explainer(method_of(facts, method, folder))
        learned = found.load(folder / WEIGHTS, torch_device(device))
        run, drawing = None, None
        if facts.get("target"):
            place = _found(folder, facts, "target", target)
            run = _same(folder, facts, "target", open_target(place, device=device))
            learned.target = run.value  # type: ignore[attr-defined]
        if facts.get("generator"):
            place = _found(folder, facts, "generator", generator)
            drawing = _same(folder, facts, "generator", open_generator(place, device=device))
            learned.generator = drawing.generator  # type: ignore[attr-defined]
        return cls(folder, facts, learned, Preprocessing(**facts["preprocessing"]), run, drawing)


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


def _sides(data: Mapping[str, Any]) -> str:
    """Cases and controls, and how many of both are held out."""
    trained, held_out = ([data["split"][f"{part} {side}s"] for side in (CASE, CONTROL)] for part in (TRAIN, CHOOSE))
    return (
        f"from {trained[0]} cases and {trained[1]} controls; {held_out[0]} and {held_out[1]} held out; "
        f"{data['subjects']} subjects in all{left_out(data)}"
    )


def _held_out(told: Mapping[str, Any]) -> str:
    """The figures on the images held out: the AUROC of a classifier, how much an explainer changes."""
    if "auroc" in told:
        between = f" ({told['auroc_low']:.3f} to {told['auroc_high']:.3f})" if "auroc_low" in told else ""
        return f"AUROC {told['auroc']:.3f}{between}, on images that also said when to stop"
    return f"mean change {told['change_in_cases']:.4f} in cases, {told['change_in_controls']:.4f} in controls"


def _found(folder: Path, facts: Mapping[str, Any], what: str, given: Path | str | None) -> Path:
    place = Path(given or (folder / facts[what]["folder"]))
    if not (place / "run.json").is_file():
        raise RunError(f"{folder} was trained with the {what} {place}, which is not there; give its folder by --{what}")
    return place


def _same(folder: Path, facts: Mapping[str, Any], what: str, run: Opened) -> Opened:
    if run.identity != facts[what]["identity"]:
        raise RunError(f"{run.folder} is not the {what} that {folder} was trained with; give that by --{what}")
    return run
