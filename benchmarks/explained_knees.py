"""Which maps point at what hurts: simulated knees with their painless twins, beside floors, ceilings and attributions.

    python -m benchmarks.explained_knees --out OUT [--persons 700] [--size 64] [--seed 0] [--precision bf16]
        [--only paired additive] [--maps-only] [--permuted 1]

With --permuted, `additive` is trained so many times more on permuted labels, which calibrates it, and once more on
others, which checks that: what is drawn where labels mean nothing, before and after.

Cases are knees with an effusion or a marrow lesion (true severity 0.05 or more), whose twin is the same scan without
them; osteophytes harm nobody and stay. Six persons in ten are to learn from (of these some to stop by), the others to
report on. Runs that are in OUT are not trained again, and a stopped training goes on.
"""

import argparse
import time
from collections.abc import Callable, Mapping
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
ADDITIVE: dict[str, Any] = {"steps": 600}
DRAWERS: dict[str, dict[str, Any]] = {
    "paired": PAIRED,
    "additive": ADDITIVE,
    "red-cnn": {"steps": 1200, "lr": 1e-3, "width": 32},
    "medgan": {"steps": 800, "batch": 4, "width": 16, "blocks": 3, "critic_width": 32},
    "diffusion-counterfactual": {"steps": 1000, "width": 16, "lr": 5e-4, "inference_steps": 20},
}
"""Methods that draw counterfactuals, with settings for two cores."""
LEARNING_FROM_PAIRS = ("paired", "red-cnn", "medgan")


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
    parser.add_argument("--only", nargs="+", default=["paired", "additive"], choices=list(DRAWERS))
    parser.add_argument("--maps-only", action="store_true", help="no classifiers: no gradients of one, and no judge")
    arguments = parser.parse_args()
    learning, others = cohorts(arguments)
    twinned = Sides(cohort=learning[learning["hurts"] == 1], pair="twin")
    apart = Sides(cohort=learning, outcome="hurts")
    runs: dict[str, LearnedRun] = {}
    if not arguments.maps_only:
        runs["target"] = trained(arguments, "classifier", apart, {})
        runs["judge"] = trained(arguments, "classifier", apart, {"architecture": "plain"}, seed=1)
    for name in arguments.only:
        sides = twinned if name in LEARNING_FROM_PAIRS else apart
        runs[name] = trained(arguments, name, sides, DRAWERS[name])
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
    began = time.perf_counter(), time.process_time()
    run = learn(
        sides, arguments.out / f"{method}-seed{seed}", method=method, settings=settings, seed=seed, resume=True,
        preprocessing=prepared(arguments.size),
        machine=Machine(device=arguments.device, precision=arguments.precision),
    )  # fmt: skip
    took = ((now - then) / 60 for now, then in zip((time.perf_counter(), time.process_time()), began, strict=True))
    print("{}: {:.1f} minutes, {:.1f} of the processor".format(method, *took), flush=True)
    return run


def explained(
    runs: Mapping[str, LearnedRun], images: Mapping[str, torch.Tensor], hurts: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, Explanation]]:
    """Maps of the cases by every method, and the explanations of all images by those that draw counterfactuals."""
    x, twins = images["path"], images["twin"][hurts]
    drawn = {name: run.explainer.explain(x) for name, run in runs.items() if name in DRAWERS}
    cases = x[hurts]
    first = next(iter(drawn))
    baseline = drawn[first].counterfactual
    assert baseline is not None
    healthy, sick = x[~hurts].mean(0, keepdim=True), cases.mean(0, keepdim=True)
    found = {name: each.map[hurts] for name, each in drawn.items()}
    if "target" in runs:
        target = runs["target"].learned.logit  # type: ignore[attr-defined]
        gradients = EXPLAINERS["integrated-gradients"](target=target)
        found["integrated gradients from black"] = gradients.explain(cases).map
        name = f"integrated gradients from the counterfactual of {first}"
        found[name] = gradients.explain(cases, baseline=baseline[hurts]).map
        found["GradCAM"] = EXPLAINERS["grad-cam"](target=target).explain(cases).map
    found |= {
        "floor: mean difference": (sick - healthy).expand_as(cases),
        "floor: raw image": cases,
        "ceiling: image less twin": cases - twins,
    }
    maps = {name: each[:, 0].numpy() for name, each in found.items()}
    area = pain_area(cases[:, 0].numpy(), baseline[hurts][:, 0].numpy())
    return maps | {f"pain-associated area of {first}": area.astype(float)}, drawn


def calibrated(
    arguments: argparse.Namespace,
    run: LearnedRun,
    x: torch.Tensor,
    hurts: np.ndarray,
    maps: dict[str, np.ndarray],
    drawn: dict[str, Explanation],
) -> None:
    """Add the maps of `additive` without what it draws of nothing, and print how much that is, before and after."""
    found = calibrate(run.folder, permuted=arguments.permuted, device=arguments.device)
    calibration = found.calibration
    print(f"\n{found.sentence}")
    if calibration is None:
        return
    left = calibration.applied(drawn["additive"], x)
    maps["additive, calibrated"], drawn["additive, calibrated"] = left.map[hurts][:, 0].numpy(), left
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
    judge = runs["judge"].learned.logit if "judge" in runs else None  # type: ignore[attr-defined]
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
    for name, explanation in drawn.items():
        assert explanation.counterfactual is not None
        inside, outside = (
            np.nanmean(metrics.proximity(x[hurts], explanation.counterfactual[hurts], where[hurts][:, None]))
            for where in (masks, ~masks)
        )
        controls = metrics.proximity(x[~hurts], explanation.counterfactual[~hurts]).mean()
        flips = ("", "") if judge is None else flipped(judge, x[hurts], explanation.counterfactual[hurts])
        line([name, *flips, *(f"{value:.4f}" for value in (inside, outside, controls))])


def flipped(judge: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, drawn: torch.Tensor) -> tuple[str, str]:
    """How many cases the judge takes for such, and which share of these changes sides."""
    with torch.no_grad():
        before, after = judge(x).numpy(), judge(drawn).numpy()
    told = before > 0
    return f"{told.sum()} of {len(told)}", f"{metrics.validity(before, after)[told].mean():.1%}"


if __name__ == "__main__":
    main()
