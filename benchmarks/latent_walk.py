"""What a walk in a StyleGAN's codes shows of an effusion: simulated knees, beside floors, ceiling and gradients.

    python -m benchmarks.latent_walk --out OUT [--persons 1000] [--size 64] [--seed 0] [--precision bf16] [--odds 20]

Seven persons in ten are to learn from: a StyleGAN of both classes (effusion or none, true severity 0.05 or more), a
classifier as target, another as judge, and networks that tell age and scanner. Of the others the knees with an
effusion are walked to a probability of 5 %. Intensities keep the scale of the file, so that a knee and its twin differ
in lesions alone. Runs that are in OUT are not trained again, and a stopped training goes on.

With odds the scanner goes with the effusion: those who have one in a knee are scanned on scanner C with odds so many
times as high. The judge, and what tells the scanner, then learn from other persons (another seed), scanned anywhere.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

import anomaly
from anomaly.images import read
from anomaly.images.preprocessing import Preprocessing
from anomaly.nets.classifiers import Residual
from anomaly.runs.settings import parse_settings
from anomaly.simulation.knee_files import FLAGS
from anomaly.training.batches import Batches, Beside, chunks
from anomaly.training.loop import Player, cosine, train
from anomaly.training.machine import Machine
from benchmarks.coverage import heading, line
from benchmarks.twins import halves, pixels, prepared, twins
from explain import EXPLAINERS
from explain.base import Explanation
from explain.classifier import varied
from explain.measures import metrics
from explain.runs.learning import learn
from explain.runs.run import LearnedRun
from explain.sides.sides import Sides

SEVERE, LEARN = 0.05, 0.7
LEVELS: dict[str, str | None] = {"age": None, "site": "C"}
"""What networks tell: a number, or whether it is this level."""
TELLING = 500
BEGAN = perf_counter(), process_time()
STYLEGAN = {"width": 16, "latent": 64, "penalty": 40.0, "steps": 3000, "augment_images": 1e5, "encoder_steps": 2000}
WALKS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "logistic": ({}, ()),
    "ridge": ({"direction": "ridge"}, ()),
    "svm": ({"direction": "svm"}, ()),
    "gradient": ({"direction": "gradient"}, ()),
    "path": ({"direction": "path"}, ()),
    "logistic, refined": ({"refine": 100}, ()),
    "logistic, not along age": ({}, ("age",)),
    "path, not along age": ({"direction": "path"}, ("age",)),
    "logistic, not along site": ({}, ("site",)),
    "path, not along site": ({"direction": "path"}, ("site",)),
}
"""Settings beside keep=False, and nuisances."""


def main() -> None:
    """Simulate, train what is not there, and print tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmark_out/latent_walk"))
    parser.add_argument("--persons", type=int, default=1000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--only", nargs="+", default=list(WALKS), choices=list(WALKS))
    parser.add_argument("--odds", type=float, default=1.0, help="of scanner C for persons with an effusion")
    parser.add_argument("--set", nargs="*", default=[], dest="settings", help="NAME=VALUE of the StyleGAN")
    arguments = parser.parse_args()
    learning, others = cohorts(arguments)
    judging, telling = (learning, tuple(LEVELS)) if arguments.odds == 1 else (elsewhere(arguments), ("site",))
    preprocessing = prepared(arguments.size)
    machine = Machine(device=arguments.device, precision=arguments.precision)
    given: dict[str, Any] = {"preprocessing": preprocessing, "machine": machine, "resume": True}
    out, seed = arguments.out, arguments.seed
    gan = anomaly.learn(
        learning, out / "stylegan", method="stylegan", settings={**STYLEGAN, **parse_settings(arguments.settings)},
        subject="subject", classes="effusion", calibrate=0.05, seed=seed, save_every=250, **given,
    )  # fmt: skip
    told(arguments, "stylegan")
    sides = Sides(cohort=learning, outcome="effusive", subject="subject")
    target = learn(sides, out / "target", method="classifier", seed=seed, **given)
    plain = {"architecture": "plain"}
    apart = Sides(cohort=judging, outcome="effusive", subject="subject")
    judge = learn(apart, out / "judge", method="classifier", settings=plain, seed=seed + 1, **given)
    tell = {name: teller(name, judging, others, preprocessing, out / f"{name}.pt", seed) for name in telling}
    told(arguments, "classifiers")
    x = {kind: pixels(others[kind], preprocessing) for kind in ("path", "twin")}
    cases = others["effusive"].to_numpy() == 1
    masks = np.stack([read(Path(path)).pixels[0].astype(np.uint8) for path in others["masks"][cases]])
    found: dict[str, Explanation] = {}
    for name in arguments.only:
        settings, nuisance = WALKS[name]
        run = learn(
            sides, out / name.replace(", ", "-").replace(" ", "-"), method="latent-walk",
            settings={"keep": False, **settings}, target=target.folder, generator=gan.folder, nuisance=nuisance,
            seed=seed, **given,
        )  # fmt: skip
        found[name] = run.explainer.explain(x["path"][cases])
        told(arguments, name)
    logit = target.learned.logit  # type: ignore[attr-defined]
    shift = EXPLAINERS["latent-shift"](keep=False, target=logit, generator=gan.detector)
    found["latent-shift"] = shift.explain(x["path"][cases])
    walked(found, {kind: each[cases] for kind, each in x.items()}, judge, tell)
    pointed(found, x, cases, masks, target)


def cohorts(arguments: argparse.Namespace) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The knees to learn from and those to report on, with whole paths, `effusive` (0 or 1) and `effusion` in words."""
    odds = {} if arguments.odds == 1 else {"scanner_odds": arguments.odds, "scanner_follows": "effusion"}
    table = with_outcome(twins(arguments.out / "knees", persons=arguments.persons, size=arguments.size, **odds))
    print(pd.crosstab(table["site"], table["effusion"]).to_markdown(), flush=True)
    return halves(table, np.array(sorted(table["subject"].unique())), LEARN)


def elsewhere(arguments: argparse.Namespace) -> pd.DataFrame:
    """Knees of half as many other persons, whose scanner follows nothing."""
    return with_outcome(twins(arguments.out / "others", persons=arguments.persons // 2, size=arguments.size, seed=1))


def with_outcome(table: pd.DataFrame) -> pd.DataFrame:
    """With `effusive`, 0 or 1, and `effusion`, the same in words."""
    effusive = (table["true_effusion"] >= SEVERE).astype(int)
    return table.assign(effusive=effusive, effusion=effusive.map({0: "none", 1: "effusion"}))


def told(arguments: argparse.Namespace, what: str) -> None:
    """Print how long all has taken up to here."""
    wall, work = ((now - then) / 60 for now, then in zip((perf_counter(), process_time()), BEGAN, strict=True))
    print(f"{what} at minute {wall:.1f}, {work:.1f} of the processor", flush=True)


def teller(
    name: str, learning: pd.DataFrame, others: pd.DataFrame, preprocessing: Preprocessing, path: Path, seed: int
) -> Callable[[Tensor], Tensor]:
    """A network that tells a column from a knee, in standard deviations, of categories one: images -> (N,)."""
    level = LEVELS[name]

    def values(table: pd.DataFrame) -> Tensor:
        column = table[name] if level is None else table[name] == level
        return torch.from_numpy(column.to_numpy(dtype=np.float32))

    known = values(learning)
    torch.manual_seed(seed)
    net = Residual((1, *(preprocessing.shape or ())), width=16, dropout=0.3)

    def loss(batch: tuple[Tensor, Tensor]) -> Tensor:
        return nn.functional.mse_loss(net(varied(batch[0], 0.05)), batch[1])

    if path.exists():
        net.load_state_dict(torch.load(path, weights_only=True))
    else:
        adam = partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.1)
        player = Player(name=name, owns=[net], loss=loss, optimiser=adam, schedule=cosine)
        sources = pixels(learning["path"], preprocessing), (known - known.mean()) / known.std()
        train(net, [player], Beside(*(Batches(each, size=32, seed=seed) for each in sources)), steps=TELLING, seed=seed)
        torch.save(net.state_dict(), path)
    net.eval()
    with torch.no_grad():
        told = torch.cat([net(x) for x in chunks(pixels(others["path"], preprocessing))])
    print(f"correlation of {name} as told with the truth, others: {np.corrcoef(told, values(others))[0, 1]:.2f}")
    return net


def walked(
    found: dict[str, Explanation],
    images: dict[str, Tensor],
    judge: LearnedRun,
    tell: dict[str, Callable[[Tensor], Tensor]],
) -> None:
    """Print how far walks go, whether both classifiers follow, whether they rise steadily, and what else moves."""
    x, twin = images["path"], images["twin"]
    logit = judge.learned.logit  # type: ignore[attr-defined]
    first = next(iter(found.values())).diagnostics
    with torch.no_grad():
        seen = (first["before"] > 0).numpy(), (logit(x) > 0).numpy()
    lost, gap = (float(first[name].mean()) for name in ("reconstruction", "gap"))
    print(f"\n{len(x)} cases; taken for such by the target {seen[0].sum()}, by the judge {seen[1].sum()}")
    print(f"mean |image less it as drawn again| {lost:.4f}, |logit less its logit| {gap:.2f}\n")
    told_too = [f"{name} moves{how}, SD" for name in tell for how in ("", " on the mean")]
    heading(["walk", "target flips", "judge flips", "Spearman, mean", "at least 0.95", "change", *told_too])
    for name, each in found.items():
        assert each.counterfactual is not None and each.walk is not None
        # Where nothing moves the walk ends in its middle.
        middle, still = each.walk.frames.shape[1] // 2, each.diagnostics["steps"] == 0
        again = each.walk.frames[:, middle]
        ends = torch.where(still.view(-1, *[1] * (again.ndim - 1)), again, each.walk.frames[:, 0])
        with torch.no_grad():
            after = logit(each.counterfactual)
            moves = [move for net in tell.values() for move in moved(net, again, ends)]
        flips = [
            (part.numpy() <= 0)[which].mean()
            for part, which in ((each.diagnostics["after"], seen[0]), (after, seen[1]))
        ]
        steady = each.diagnostics["monotone"].numpy()
        line(
            [
                name, *(f"{flip:.1%}" for flip in flips), f"{steady.mean():.3f}", f"{(steady >= 0.95).mean():.1%}",
                f"{float(each.map.abs().mean()):.4f}", *(f"{move:.3f}" for move in moves),
            ]
        )  # fmt: skip
    with torch.no_grad():
        followed = float((logit(twin) <= 0)[logit(x) > 0].float().mean())
        moves = [move for net in tell.values() for move in moved(net, x, twin)]
    change = float((x - twin).abs().mean())
    line(["true twin", "", f"{followed:.1%}", "", "", f"{change:.4f}", *(f"{move:.3f}" for move in moves)])


def moved(net: Callable[[Tensor], Tensor], before: Tensor, after: Tensor) -> tuple[float, float]:
    """How far what a network tells moves: mean size, and mean."""
    move = net(after) - net(before)
    return float(move.abs().mean()), float(move.mean())


def pointed(
    found: dict[str, Explanation], x: dict[str, Tensor], cases: np.ndarray, masks: np.ndarray, target: LearnedRun
) -> None:
    """Print how well maps find the effusion, and whatever hurts."""
    sick, healthy = x["path"][cases], x["path"][~cases].mean(0, keepdim=True)
    gradients = EXPLAINERS["integrated-gradients"](target=target.learned.logit)  # type: ignore[attr-defined]
    maps = {name: each.map for name, each in found.items()} | {
        "integrated gradients from black": gradients.explain(sick).map,
        "floor: mean difference": (sick.mean(0, keepdim=True) - healthy).expand_as(sick),
        "floor: raw image": sick,
        "ceiling: image less twin": sick - x["twin"][cases],
    }
    kinds = {"effusion": FLAGS["effusion"], "effusion, marrow, thinning": sum(FLAGS.values()) - FLAGS["osteophytes"]}
    kinds["osteophyte (harmless)"] = FLAGS["osteophytes"]
    print()
    heading(["map", *(f"AP, {kind}" for kind in kinds), "pointing game, effusion"])
    for name, each in maps.items():
        size = each[:, 0].numpy() if name == "floor: raw image" else each[:, 0].abs().numpy()
        marked = [(masks & flag) > 0 for flag in kinds.values()]
        precision = [np.nanmean(metrics.pixel_average_precision(size, mask)) for mask in marked]
        line(
            [
                name,
                *(f"{value:.3f}" for value in precision),
                f"{np.nanmean(metrics.pointing_game(size, marked[0])):.3f}",
            ]
        )
    shares = [mask.reshape(len(mask), -1).mean(1) for mask in marked]
    line(["prevalence", *(f"{share[share > 0].mean():.3f}" for share in shares), ""])


if __name__ == "__main__":
    main()
