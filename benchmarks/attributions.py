"""Which attribution points at what hurts: a classifier's and a detector's maps on simulated knees, beside floors.

    python -m benchmarks.attributions --out OUT [--persons 240] [--size 64] [--steps 300] [--on val|test] [--most 60]

Half of the persons are to learn from, a fifth to choose settings on (`val`), the others to report on (`test`). Cases
are knees with an effusion or a marrow lesion, as in `benchmarks.explained_knees`. The detector learns from painless
knees alone. Pixels are ranked by the map as it is, with its sign: what speaks for the target comes first, what speaks
against it last. CPU time is a slice's or an image's, in one process with one thread.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from anomaly.detectors import DETECTORS
from anomaly.images import read
from anomaly.training.machine import Machine
from benchmarks.coverage import heading, line
from benchmarks.explained_knees import HURTING, SEVERE
from benchmarks.twins import pixels, prepared, twins
from explain import EXPLAINERS, Classifier
from explain.base import Explainer, Target
from explain.measures import metrics

SHARES = (0.5, 0.2)
TRIED: dict[str, tuple[str, dict[str, Any]]] = {
    "window, 0.1": ("occlusion", {"window": 0.1, "stride": 0.05}),
    "window, 0.2": ("occlusion", {}),
    "superpixels, 0.2 and 0.1": ("superpixel-occlusion", {}),
    "superpixels, 0.2": ("superpixel-occlusion", {"scales": 1}),
    "superpixels, 0.1": ("superpixel-occlusion", {"size": 0.1, "scales": 1}),
    "superpixels, 0.1 and 0.05": ("superpixel-occlusion", {"size": 0.1}),
    "superpixels, 0.2 to 0.05": ("superpixel-occlusion", {"scales": 3}),
    "superpixels, 0.2 and 0.1, compact": ("superpixel-occlusion", {"compactness": 1.0}),
    "superpixels, 0.2 and 0.1, stiff": ("superpixel-occlusion", {"compactness": 0.3}),
    "lrp": ("lrp", {}),
    "lrp, gamma 0": ("lrp", {"gamma": 0.0}),
    "deep-lift": ("deep-lift", {}),
    "integrated gradients": ("integrated-gradients", {}),
}  # fmt: skip
REPORTED = ("window, 0.1", "window, 0.2", "superpixels, 0.2 and 0.1", "lrp", "deep-lift", "integrated gradients")
BASELINES = ("zero", "mean", "blur", "counterfactual")


def main() -> None:
    """Simulate, train, and print the tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmark_out/attributions"))
    parser.add_argument("--persons", type=int, default=240)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--on", choices=("val", "test"), default="val")
    parser.add_argument("--most", type=int, default=60)
    parser.add_argument("--detector", default="autoencoder")
    given = parser.parse_args()
    torch.set_num_threads(1)
    learning, others = cohorts(given)
    x, hurts = pixels(learning["path"], prepared(given.size)), learning["hurts"].to_numpy() == 1
    machine = Machine(device="cpu")
    classifier = Classifier(width=8, steps=given.steps).fit(x[~hurts], x[hurts], machine=machine)
    cases = others[others["hurts"] == 1].head(given.most)
    images, masks = pixels(cases["path"], prepared(given.size)), marked(cases)
    controls = pixels(others.loc[others["hurts"] == 0, "path"].head(len(cases)), prepared(given.size))
    print(
        f"\n{len(cases)} cases of {given.on}; AUROC of the classifier {auroc(classifier.logit, images, controls):.3f}\n"
    )
    heading(["of the classifier", "baseline", "AP", "pointing game", "CPU, ms an image"])
    floors(images, x[~hurts], masks)
    for label in TRIED if given.on == "val" else REPORTED:
        name, settings = TRIED[label]
        for baseline in ("mean", "blur") if given.on == "val" else ("mean",):
            explainer = EXPLAINERS[name](target=classifier.logit, **{"baseline": baseline, **settings})
            judged(label, baseline, explainer.fit(x[~hurts]), images, masks)
    cls: Any = DETECTORS[given.detector]
    detector = cls(steps=given.steps).fit(x[~hurts], machine=machine)
    print(f"\nAUROC of the detector {auroc(detector.value, images, controls):.3f}\n")
    heading(["of the detector", "baseline", "AP", "pointing game", "CPU, ms an image", "value of the baseline, in sd"])
    with torch.no_grad():
        normal = detector.value(controls)
    for name in ("integrated-gradients", "deep-lift", "superpixel-occlusion", "occlusion"):
        for baseline in BASELINES:
            explainer = EXPLAINERS[name](target=detector.value, baseline="zero")
            explainer.begin_from_normal(x[~hurts].mean(0), detector.reconstruct, asked=True)
            explainer.baseline = baseline
            told = judged(name, baseline, explainer, images, masks, last="|")
            print(f" {float((told - normal.mean()) / normal.std()):.1f} |", flush=True)


def cohorts(given: argparse.Namespace) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The knees to learn from, and those of the part asked for."""
    table = twins(given.out / "knees", persons=given.persons, size=given.size)
    table["hurts"] = (table[["true_effusion", "true_marrow"]].max(axis=1) >= SEVERE).astype(int)
    people = np.random.default_rng(0).permutation(np.array(sorted(table["subject"].unique())))
    first, second = (round(len(people) * share) for share in (SHARES[0], sum(SHARES)))
    part = people[first:second] if given.on == "val" else people[second:]
    return table[table["subject"].isin(people[:first])], table[table["subject"].isin(part)]


def marked(cases: pd.DataFrame) -> np.ndarray:
    """Where it hurts, bool (n, *space)."""
    return np.stack([read(Path(path)).pixels[0].astype(np.uint8) & HURTING for path in cases["masks"]]) > 0


def auroc(value: Target, cases: torch.Tensor, controls: torch.Tensor) -> float:
    """How often a case is above a control."""
    with torch.no_grad():
        return float((value(cases)[:, None] > value(controls)).float().mean())


def floors(images: torch.Tensor, normals: torch.Tensor, masks: np.ndarray) -> None:
    """Print what the raw image and its distance from the mean reach."""
    for label, maps in {"floor: raw image": images, "floor: |image - mean|": (images - normals.mean(0)).abs()}.items():
        precision, hits = quality(maps[:, 0].numpy(), masks)
        line([label, "", f"{precision:.3f}", f"{hits:.2f}", ""])


def quality(maps: np.ndarray, masks: np.ndarray) -> tuple[float, float]:
    """Average precision of the pixels and how often the peak lies in the mask, means over images."""
    return tuple(float(np.nanmean(f(maps, masks))) for f in (metrics.pixel_average_precision, metrics.pointing_game))  # type: ignore[return-value]


def judged(
    label: str, baseline: str, explainer: Explainer, images: torch.Tensor, masks: np.ndarray, last: str = "|\n"
) -> torch.Tensor:
    """Print how well its maps find what hurts, highest value first; the mean target of the baselines."""
    before = time.process_time()
    explanation = explainer.explain(images)
    took = (time.process_time() - before) / len(images)
    precision, hits = quality(explanation.map[:, 0].numpy(), masks)
    told = [label, baseline, f"{precision:.3f}", f"{hits:.2f}", f"{1000 * took:.0f}"]
    print("| " + " | ".join(told), end=f" {last}", flush=True)
    return explanation.diagnostics["baseline"].mean()


if __name__ == "__main__":
    main()
