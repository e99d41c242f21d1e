"""What classifiers and trained explainers say of prepared images, in a form that can be written down."""

from copy import copy
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from anomaly.exporting.judgement import Judgement, Said, bright_middle
from anomaly.exporting.verifying import TOLERANCE
from anomaly.runs.facts import CLASSIFIER, EXPLAINER
from explain.base import Explainer, Explanation, apart
from explain.classifier import Classifier
from explain.runs.nothing import IfNothing
from explain.runs.run import LearnedRun
from explain.runs.source import Source
from explain.sides.sides import CHOOSE
from explain.trained import TrainedExplainer

DRAWN = ("map", "change", "spread")
FLOOR = 1e-6 * 2 / TOLERANCE
"""Of what is drawn: an image of the range 2 may be rounded by 1e-6 of that, and so may what is taken away from it."""
SMALL = {"logit": 1.0, "counterfactual": 1.0, "field": 1.0, **dict.fromkeys(DRAWN, FLOOR)}
"""By how large a number each is compared at least: a logit of 0, or a field of what does not move, tells no unit."""
OUTPUTS = {
    "change": "mean absolute change of each image, in units of [-1, 1] (n,)",
    "counterfactual": "each image as a control would look (n, C, *space)",
    "map": "image minus counterfactual, the mean over channels (n, 1, *space)",
    "field": "where each pixel comes from, in pixels (n, dims, *space)",
    "spread": "standard deviation over draws, in units of [-1, 1] (n, 1, *space)",
}


class Unasked:
    """An explainer without the questions that it asks of images first, which no graph can follow.

    Args:
        explainer: that was trained.
    """

    def __init__(self, explainer: TrainedExplainer) -> None:
        self.explainer = copy(explainer)
        if explainer.target is not None:
            self.explainer.ask = explainer.target  # type: ignore[assignment, method-assign]

    @property
    def target(self) -> Any:
        """What it was trained against, or None."""
        return self.explainer.target

    def explain(self, x: Tensor) -> Explanation:
        """The explanation of prepared images (N, C, *space)."""
        with apart(0, x.device), torch.no_grad():  # what it draws by chance it draws as `explain` does
            return self.explainer.counterfactual(x)


def of_classifier(run: LearnedRun) -> Judgement:
    """The judgement of a classifier: "logit" and "probability", each (N,)."""
    classifier = cast(Classifier, run.learned)

    def say(x: Tensor) -> Said:
        logit = classifier.logit(x)
        return {"logit": logit, "probability": logit.sigmoid()}

    def expected(images: np.ndarray) -> dict[str, np.ndarray]:
        x = torch.from_numpy(images)
        with torch.no_grad():
            return {"logit": classifier.logit(x).numpy(), "probability": classifier.probability(x).numpy()}

    return Judgement(
        kind=CLASSIFIER, say=say, expected=expected,
        outputs={
            "logit": "evidence that an image is a case, above 0 where it is likely (n,)",
            "probability": "chance that it is, were there as many cases as controls: the sigmoid of the logit; of a "
            "volume slice by slice that of the mean logit (n,)",
        },
        numbers=("logit", "probability"), arrays=(), least=SMALL,
        facts={"sigmoid_of": {"probability": "logit"}}, **_shared(run),
    )  # fmt: skip


def of_explainer(source: Source) -> Judgement:
    """The judgement of a trained explainer, as `explain map` draws it: what labels that mean nothing would draw is
    taken away where that was measured."""
    run = source.run
    assert run is not None
    shared = _shared(run)
    plain = replace(source, explainer=cast(Explainer, Unasked(run.explainer)))
    first = source.explain(torch.from_numpy(shared["base"][None]))
    arrays = tuple(name for name in OUTPUTS if getattr(first, name, None) is not None)
    numbers = () if first.counterfactual is None else ("change",)

    def told(explanation: Explanation, x: Tensor) -> dict[str, Tensor]:
        drawn = explanation.counterfactual
        change = {} if drawn is None else {"change": (x - drawn).abs().flatten(1).mean(1)}
        return {**change, **{name: getattr(explanation, name) for name in arrays}}

    def expected(images: np.ndarray) -> dict[str, np.ndarray]:
        parts = []
        for x in torch.from_numpy(images).split(1):
            parts.append(told(source.explain(x), x))
        return {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}

    return Judgement(
        kind=EXPLAINER, say=lambda x: told(plain.explain(x), x), expected=expected,
        outputs={name: OUTPUTS[name] for name in (*numbers, *arrays)}, numbers=numbers, arrays=arrays, least=SMALL,
        drawn=DRAWN, facts={"says": IfNothing.of(source).remark}, **shared,
    )  # fmt: skip


def _shared(run: LearnedRun) -> dict[str, Any]:
    """What is told of every run of these."""
    shape = tuple(int(side) for side in run.facts["shape"])
    cohort = run.cohort
    rows: list[Any] = cohort[cohort["part"] == CHOOSE].to_dict("records")
    return {
        "method": run.learned.name, "settings": run.learned.settings(), "weights": run.identity,
        "preprocessing": run.preprocessing, "shape": shape, "masked": run.preprocessing.mask != "none",
        "held_out": rows, "held_out_are": "held-out images", "base": bright_middle(shape),
    }  # fmt: skip
