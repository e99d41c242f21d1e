"""What the held-out images say of a training: how much is changed in cases and in controls, or the AUROC."""

from typing import Any

import numpy as np
import torch

from anomaly.errors import EvaluationError
from anomaly.images.caching import CachedImages
from anomaly.pictures.scales import FINEST
from anomaly.statistics import auroc_interval
from anomaly.statistics.metrics import auroc
from anomaly.training.batches import chunks, evenly
from anomaly.training.learned import Images
from explain.classifier import Classifier
from explain.latent.walk import LatentWalk
from explain.pictures.pictures import limit_of
from explain.sides.sides import CASE, CHOOSE, CONTROL
from explain.trained import TrainedExplainer

SAMPLED = 64
"""Images whose maps set the end of the colour scale."""


def judged(learner: TrainedExplainer | Classifier, images: CachedImages) -> dict[str, Any]:
    """Figures on the images held out, for `run.json` and the model card."""
    controls, cases = (images.part(f"{CHOOSE} {side}") for side in (CONTROL, CASE))
    if isinstance(learner, Classifier):
        return _separation(learner, images, controls, cases)
    shown = set(evenly(len(cases), SAMPLED).tolist())
    of_cases, largest, told, maps = _explained(learner, cases, shown)
    of_controls = _explained(learner, controls, set())[0]
    # What is unlike others is told by the very images that are looked at here: one in twenty of them, always.
    told.pop("unlike", None)
    found: dict[str, Any] = {
        "limit": limit_of(maps, FINEST),
        "largest_change_in_cases": largest,
        "change_in_cases": float(of_cases.mean()),
        "change_in_controls": float(of_controls.mean()),
        **{f"{name}_in_cases": float(values.mean()) for name, values in told.items()},
    }
    if isinstance(learner, LatentWalk):
        found |= {f"{name}_told_from_codes_{each.measure}": each.value for name, each in learner.told_.items()}
    return found


def _explained(
    explainer: TrainedExplainer, images: Images, shown: set[int]
) -> tuple[np.ndarray, float, dict[str, np.ndarray], list[np.ndarray]]:
    """Mean |map| of each image (n,), the largest of all, what the method says by name, and the maps of those shown."""
    sizes: list[torch.Tensor] = []
    largest = 0.0
    told: dict[str, list[torch.Tensor]] = {}
    maps: list[np.ndarray] = []
    for x in chunks(images, explainer.device):
        first = sum(map(len, sizes))
        each = explainer.explain(x)
        sizes.append(each.map.flatten(1).abs().mean(1).cpu())
        largest = max(largest, float(each.map.abs().max()))
        for name, values in each.diagnostics.items():
            told.setdefault(name, []).append(values.float().cpu())
        maps += [each.map[k : k + 1].cpu().numpy() for k in range(len(x)) if first + k in shown]
    return torch.cat(sizes).numpy(), largest, {name: torch.cat(parts).numpy() for name, parts in told.items()}, maps


def _separation(
    classifier: Classifier, images: CachedImages, controls: np.ndarray, cases: np.ndarray
) -> dict[str, Any]:
    """AUROC of the logit, an image of a volume's slices each, persons counted together."""
    with torch.no_grad():
        logits = [
            torch.cat([classifier.logit(x) for x in chunks(side, classifier.device)]).float().cpu().numpy()
            for side in (controls, cases)
        ]
    table = images.table
    whose = [
        np.repeat(table["subject"], table["slices"])[np.repeat(table["split"] == f"{CHOOSE} {side}", table["slices"])]
        for side in (CONTROL, CASE)
    ]
    outcome, logit = np.repeat([0, 1], [len(controls), len(cases)]), np.concatenate(logits)
    try:
        area = auroc_interval(outcome, logit, np.concatenate(whose))
    except EvaluationError:  # too few persons for an interval, which is no reason to lose a training
        return {"auroc": auroc(outcome, logit)}
    if not np.isfinite(area.low):
        return {"auroc": area.value}
    return {"auroc": area.value, "auroc_low": area.low, "auroc_high": area.high}
