"""Maps of counterfactuals on the toy cohorts whose truth is known, beside floors and ceilings.

    python -m benchmarks.counterfactuals --out OUT [--only squares ...] [--seeds 0] [--part test] [--precision bf16]

Half the published side and fewer images, so that two cores suffice; `--full` takes the published ones. Trained on
`train`; settings were chosen on `val`; figures are of `test`. What is in OUT is not trained again; a training that was
stopped goes on where it stood.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anomaly.images.pictures import write_png
from anomaly.runs.watching import Watch
from anomaly.simulation.ellipses import Ellipses
from anomaly.simulation.squares import GrowingSquares, Squares, SquaresAnywhere
from anomaly.simulation.toys import Drawings, Toy, collect
from anomaly.statistics.metrics import auroc
from anomaly.training.journal import Journal
from anomaly.training.machine import Machine
from benchmarks.coverage import heading, line
from explain import EXPLAINERS
from explain.base import Explanation
from explain.measures import metrics
from explain.pictures.pictures import summary
from explain.trained import TrainedExplainer

SHOWN = 8
MEAN_HEALTHY = 0.78
"""About the factor of a healthy growing square."""


@dataclass(frozen=True)
class Recipe:
    """A toy cohort, halved and in full, and the method that is to explain it."""

    toy: type[Toy]
    half: tuple[int, int]  # images, side
    full: tuple[int, int]
    method: str
    settings: Mapping[str, Any]


RECIPES = {
    "squares": Recipe(Squares, (10_000, 56), (10_000, 112), "additive", {"steps": 600}),
    "squares-anywhere": Recipe(SquaresAnywhere, (10_000, 56), (10_000, 112), "additive", {"steps": 600}),
    "growing-squares": Recipe(
        GrowingSquares, (4000, 56), (10_000, 224), "deformation",
        {"steps": 250, "lr": 1e-3, "slope": 1e-4, "diffeomorphic": True, "reach": 0.1, "cost": "bending",
         "smoothness": 5.0},
    ),
    "ellipses": Recipe(Ellipses, (2000, 64), (4000, 256), "conditional", {"steps": 1000}),
}  # fmt: skip


def main() -> None:
    """Train what is asked for and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmark_out/counterfactuals"))
    parser.add_argument("--only", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--part", choices=("val", "test"), default="test")
    parser.add_argument("--full", action="store_true", help="published sides, numbers of images and networks")
    parser.add_argument("--set", nargs="*", default=[], dest="settings", help="NAME=VALUE, beside the recipe's")
    parser.add_argument("--method", help="another explainer than the recipe's")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="bf16")
    arguments = parser.parse_args()
    heading(["cohort", "map", "seed", "NCC", "SD over images", "beside", "minutes"])
    for name in arguments.only:
        for seed in arguments.seeds:
            judge(name, RECIPES[name], seed, arguments)


def judge(name: str, recipe: Recipe, seed: int, arguments: argparse.Namespace) -> None:
    """Train on one cohort and print the figures of the method, its floors and its ceiling."""
    from anomaly.runs.methods import make
    from anomaly.runs.settings import parse_settings

    count, size = recipe.full if arguments.full else recipe.half
    toy = recipe.toy(count=count, size=size, seed=0)
    learnt, judged = collect(toy, ["train", "val"]), collect(toy, [arguments.part])
    settings = {**recipe.settings, **parse_settings(arguments.settings)}
    explainer: TrainedExplainer = make(EXPLAINERS[arguments.method or recipe.method], settings)
    explainer, minutes = trained(explainer, learnt, arguments.out / name, seed, arguments)
    images = judged.images[judged.label == 1]
    truth = judged.masks[judged.label == 1].astype(float) if judged.truth is None else judged.truth[judged.label == 1]
    sign = 1.0 if judged.truth is None else -1.0
    explanation = explainer.explain(torch.from_numpy(images[:, None]))
    maps = sign * explanation.map[:, 0].numpy()
    of_controls = explainer.explain(torch.from_numpy(judged.images[judged.label == 0][:, None]))
    beside = {key: float(value.mean()) for key, value in explanation.diagnostics.items()}
    beside |= {"change": float(np.abs(maps).mean()), "in controls": float(of_controls.map.abs().mean())}
    beside |= FURTHER.get(name, lambda *_: {})(explanation, judged)
    row(name, explainer.name, str(seed), metrics.ncc(maps, truth), beside, minutes)
    healthy, cases = (learnt.images[(learnt.label == side) & (learnt.split == "train")].mean(0) for side in (0, 1))
    floors = [toy.floors(image, healthy, cases) for image in images]
    for floor in floors[0]:
        row(name, f"floor: {floor.replace('_', ' ')}", "", metrics.ncc(np.stack([f[floor] for f in floors]), truth))
    for ceiling, best in CEILINGS.get(name, lambda *_: {})(toy, judged).items():
        row(name, f"ceiling: {ceiling}", "", metrics.ncc(best, truth))
    assert explanation.counterfactual is not None
    fields = None if explanation.field is None else explanation.field[:SHOWN].numpy()
    sheet = summary(
        images[:SHOWN], explanation.counterfactual[:SHOWN, 0].numpy(), explanation.map[:SHOWN, 0].numpy(),
        fields=fields, title=f"{name}, {explainer.name}: {arguments.part}",
    )  # fmt: skip
    write_png(arguments.out / f"{name}-{seed}.png", sheet)


def trained(
    explainer: TrainedExplainer, drawings: Drawings, folder: Path, seed: int, arguments: argparse.Namespace
) -> tuple[TrainedExplainer, float]:
    """The explainer, trained now or before, and the minutes that took."""
    folder = folder.with_name(f"{folder.name}-{explainer.name}-seed{seed}{'-full' if arguments.full else ''}")
    weights, seconds = folder / "weights.safetensors", folder / "seconds.json"
    if weights.exists():
        return type(explainer).load(weights), json.loads(seconds.read_text()) / 60
    sides = [
        [drawings.images[(drawings.split == part) & (drawings.label == label)][:, None] for label in (0, 1)]
        for part in ("train", "val")
    ]
    began = time.perf_counter()
    explainer.fit(
        *sides[0], held_out=(sides[1][0], sides[1][1]), seed=seed,
        machine=Machine(device=arguments.device, precision=arguments.precision),
        journal=Journal(folder=folder, resume=True, save_every=250, draw=Watch(folder)),
    )  # fmt: skip
    explainer.to("cpu").save(weights)
    seconds.write_text(json.dumps(time.perf_counter() - began))
    return explainer, (time.perf_counter() - began) / 60


def row(
    cohort: str,
    name: str,
    seed: str,
    ncc: np.ndarray,
    beside: Mapping[str, float] | None = None,
    minutes: float | None = None,
) -> None:
    """Print a row of the table."""
    told = ", ".join(f"{key} {value:.3g}" for key, value in (beside or {}).items())
    took = "" if minutes is None else f"{minutes:.0f}"
    line([cohort, name, seed, f"{ncc.mean():.3f}", f"{ncc.std():.3f}", told, took])


def of_ellipses(explanation: Explanation, judged: Drawings) -> dict[str, float]:
    """The four figures of Wolleb et al. 2020: MSE and SSIM against the twin, Dice and pixel AUROC of the map."""
    from anomaly.nets.losses import dissimilarity

    assert explanation.counterfactual is not None and judged.truth is not None
    case = judged.label == 1
    twin = torch.from_numpy(judged.images[case] + judged.truth[case])[:, None]
    drawn, masks = explanation.counterfactual, judged.masks[case]
    sizes = explanation.map[:, 0].abs().numpy()
    return {
        "MSE to the twin": float((drawn - twin).square().mean()),
        "SSIM": float(1 - dissimilarity(drawn, twin, 1.5).mean()),
        "Dice at 0.1": float(metrics.dice_at(sizes, masks, 0.1).mean()),
        "pixel AUROC": auroc(masks.ravel(), sizes.ravel()),
    }


def largest_fixed(toy: Toy, judged: Drawings) -> dict[str, np.ndarray]:
    """The same texture drawn as large as the mean healthy square: what knows the case's size, not its twin's."""
    best = []
    for index in np.flatnonzero(judged.label):
        plan, rng = toy.planned(str(judged.split[index]), int(index))
        best.append(toy.draw({**plan, "healthy_factor": MEAN_HEALTHY}, rng).truth)
    return {f"redrawn at factor {MEAN_HEALTHY}": np.stack(best)}  # type: ignore[arg-type]


FURTHER: dict[str, Callable[..., dict[str, float]]] = {"ellipses": of_ellipses}
CEILINGS: dict[str, Callable[..., dict[str, np.ndarray]]] = {"growing-squares": largest_fixed}

if __name__ == "__main__":
    main()
