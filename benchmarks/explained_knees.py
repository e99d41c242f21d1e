"""Which maps point at what hurts: simulated knees with their painless twins, beside floors, ceilings and attributions.

    python -m benchmarks.explained_knees --out OUT [--persons 700] [--size 64] [--seed 0] [--permuted 1]

With --permuted, `additive` is trained so many times more on permuted labels, which calibrates it, and once more on
others, which checks that: what is drawn where labels mean nothing, before and after.

Cases are knees with an effusion or a marrow lesion (true severity 0.05 or more), whose twin is the same scan without
them; osteophytes harm nobody and stay. Six persons in ten are to learn from (of these some to stop by), the others to
report on. Runs that are in OUT are not trained again, and a stopped training goes on.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from anomaly.images import read
from anomaly.simulation.knee_files import FLAGS
from anomaly.training.machine import Machine
from benchmarks.coverage import heading, line
from benchmarks.twins import halves, pixels, prepared, twins
from explain import EXPLAINERS
from explain.base import Explanation
from explain.checking import calibrate, check
from explain.measures import metrics
from explain.measures.area import pain_area
from explain.runs.learning import learn
from explain.runs.run import LearnedRun
from explain.sides.sides import Sides

SEVERE = 0.05
LEARN = 0.6
HURTING = FLAGS["effusion"] | FLAGS["marrow"]
PAIRED = {"steps": 1000, "lr": 1e-3}
ADDITIVE = {"steps": 1000, "lr": 1e-3, "critic_turns": 3, "width": 12, "critic_width": 12, "warm_up": 200, "batch": 16,
            "sparsity": 60.0, "decay": 0.4}  # fmt: skip


def main() -> None:
    """Simulate, train what is not there, and print two tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmark_out/explained_knees"))
    parser.add_argument("--persons", type=int, default=700)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--permuted", type=int, default=0)
    arguments = parser.parse_args()
    learning, others = cohorts(arguments)
    runs = {
        "paired": trained(arguments, "paired", Sides(cohort=learning[learning["hurts"] == 1], pair="twin"), PAIRED),
        "additive": trained(arguments, "additive", Sides(cohort=learning, outcome="hurts"), ADDITIVE),
        "target": trained(arguments, "classifier", Sides(cohort=learning, outcome="hurts"), {}),
        "judge": trained(
            arguments, "classifier", Sides(cohort=learning, outcome="hurts"), {"architecture": "plain"}, seed=1
        ),
    }
    images = {kind: pixels(others[kind], prepared(arguments.size)) for kind in ("path", "twin")}
    masks = np.stack([read(Path(path)).pixels[0].astype(np.uint8) for path in others["masks"]])
    hurts = others["hurts"].to_numpy() == 1
    maps, drawn = explained(runs, images, hurts)
    if arguments.permuted:
        calibrated(arguments, runs["additive"], images["path"], hurts, maps, drawn)
    quality(maps, masks[hurts], others[hurts])
    changed(runs, drawn, images["path"], masks & HURTING > 0, hurts)


def cohorts(arguments: argparse.Namespace) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The images to learn from and those to report on, with whole paths and the column `hurts`."""
    table = twins(arguments.out / "knees", persons=arguments.persons, size=arguments.size)
    table["hurts"] = (table[["true_effusion", "true_marrow"]].max(axis=1) >= SEVERE).astype(int)
    people = np.random.default_rng(0).permutation(np.array(sorted(table["subject"].unique())))
    return halves(table, people, LEARN)


def trained(
    arguments: argparse.Namespace, method: str, sides: Sides, settings: Mapping[str, Any], seed: int | None = None
) -> LearnedRun:
    """A run, trained now or before."""
    seed = arguments.seed if seed is None else seed
    return learn(
        sides, arguments.out / f"{method}-seed{seed}", method=method, settings=settings, seed=seed, resume=True,
        preprocessing=prepared(arguments.size),
        machine=Machine(device=arguments.device, precision=arguments.precision),
    )  # fmt: skip


def explained(
    runs: Mapping[str, LearnedRun], images: Mapping[str, torch.Tensor], hurts: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, Explanation]]:
    """Maps of the cases by every method, and the explanations of all images by those that draw counterfactuals."""
    x, twins = images["path"], images["twin"][hurts]
    drawn = {name: runs[name].explainer.explain(x) for name in ("paired", "additive")}
    cases, target = x[hurts], runs["target"].learned.logit  # type: ignore[attr-defined]
    baseline = drawn["paired"].counterfactual
    assert baseline is not None
    gradients = EXPLAINERS["integrated-gradients"](target=target)
    healthy, sick = x[~hurts].mean(0, keepdim=True), cases.mean(0, keepdim=True)
    found = {
        "paired": drawn["paired"].map[hurts],
        "additive": drawn["additive"].map[hurts],
        "integrated gradients from black": gradients.explain(cases).map,
        "integrated gradients from the counterfactual": gradients.explain(cases, baseline=baseline[hurts]).map,
        "GradCAM": EXPLAINERS["grad-cam"](target=target).explain(cases).map,
        "floor: mean difference": (sick - healthy).expand_as(cases),
        "floor: raw image": cases,
        "ceiling: image less twin": cases - twins,
    }
    maps = {name: each[:, 0].numpy() for name, each in found.items()}
    area = pain_area(cases[:, 0].numpy(), baseline[hurts][:, 0].numpy())
    return maps | {"pain-associated area (paired)": area.astype(float)}, drawn


def calibrated(
    arguments: argparse.Namespace,
    run: LearnedRun,
    x: torch.Tensor,
    hurts: np.ndarray,
    maps: dict[str, np.ndarray],
    drawn: dict[str, Explanation],
) -> None:
    """Add the maps of `additive` without what it draws of nothing, and print how much that is, before and after."""
    calibration = calibrate(run.folder, permuted=arguments.permuted, device=arguments.device).calibration
    left = calibration.applied(drawn["additive"], x)
    maps["additive, calibrated"], drawn["additive, calibrated"] = left.map[hurts][:, 0].numpy(), left
    print(f"\n{calibration.told()}")
    if calibration.holds:
        print(check(run.folder, arguments.out / "check", device=arguments.device).sentence)


def quality(maps: Mapping[str, np.ndarray], masks: np.ndarray, people: pd.DataFrame) -> None:
    """Print how well each map finds what hurts, and whether it falls for what does not."""
    kinds = {"effusion": FLAGS["effusion"], "marrow lesion": FLAGS["marrow"], "both": HURTING}
    kinds["osteophyte (harmless)"] = FLAGS["osteophytes"]
    marked = {name: (masks & flag) > 0 for name, flag in kinds.items()}
    counts = {name: int(each.reshape(len(each), -1).any(1).sum()) for name, each in marked.items()}
    print(f"\n{len(people)} cases; with a mask: {', '.join(f'{name} {count}' for name, count in counts.items())}\n")
    heading(["map", *(f"AP, {name}" for name in kinds), "pointing game, both", "mass, both"])
    for name, values in maps.items():
        size = np.abs(values) if name != "floor: raw image" else values
        precision = [np.nanmean(metrics.pixel_average_precision(size, mask)) for mask in marked.values()]
        rest = [np.nanmean(each(size, marked["both"])) for each in (metrics.pointing_game, metrics.relevance_mass)]
        line([name, *(f"{value:.3f}" for value in (*precision, *rest))])
    flat = [mask.reshape(len(mask), -1).mean(1) for mask in marked.values()]
    line(["prevalence", *(f"{share[share > 0].mean():.3f}" for share in flat), "", ""])


def changed(
    runs: Mapping[str, LearnedRun],
    drawn: Mapping[str, Explanation],
    x: torch.Tensor,
    masks: np.ndarray,
    hurts: np.ndarray,
) -> None:
    """Print whether the independent judge changes sides, and what is changed where."""
    judge = runs["judge"].learned.logit  # type: ignore[attr-defined]
    print()
    heading(
        [
            "counterfactual",
            "taken for cases by the judge",
            "of these flipped",
            "L1 in lesions",
            "L1 outside",
            "L1 in controls",
        ]
    )
    with torch.no_grad():
        before = judge(x).numpy()
        for name, explanation in drawn.items():
            assert explanation.counterfactual is not None
            after = judge(explanation.counterfactual).numpy()
            told = hurts & (before > 0)
            inside, outside = (
                np.nanmean(metrics.proximity(x[hurts], explanation.counterfactual[hurts], where[hurts][:, None]))
                for where in (masks, ~masks)
            )
            controls = metrics.proximity(x[~hurts], explanation.counterfactual[~hurts]).mean()
            flips = metrics.validity(before, after)[told].mean()
            told_cases = f"{told.sum()} of {hurts.sum()}"
            line([name, told_cases, f"{flips:.1%}", *(f"{value:.4f}" for value in (inside, outside, controls))])


if __name__ == "__main__":
    main()
