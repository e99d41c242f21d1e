"""What it costs to judge explanations, per image, beside Quantus where it is installed; and whether the figures agree.

    python -m benchmarks.faithfulness [--images 64] [--pairs 5] [--threads 1] [--targets network pooling]

The embedded chest X-rays (64 x 64), an untrained network, its gradients as maps, boxes as masks; on both sides the same
images, maps, steps and random draws, logits, and batches of 64. Times are of the processor, in microseconds an image,
so that other work on the machine counts little. Both sides ask the target equally often, which neither can shorten:
`us_target` is what that costs alone, and `ratio_beside_target` compares what is left. The target `pooling` costs next
to nothing. What asks no target is timed once, with `network`.
"""

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from anomaly.demonstration.data import unpack_chest_xray
from anomaly.images import read
from anomaly.images.preprocessing import Preprocessing
from benchmarks.ratios import taking_turns
from explain.measures import faithfulness, metrics

SIDE, STEPS, PATCH, RUNS, SUBSET, DRAWS, RADIUS, BATCH, BLACK = 64, 64, 8, 100, 0.05, 10, 0.04, 64, -1.0
SHORTEST, MOST = 0.2, 1000  # seconds, and repetitions
REPEATS = 10  # of the same perturbations, by Quantus' default
Draw = Callable[..., np.ndarray]


@dataclass
class Case:
    """One figure of every image by both sides.

    Args:
        name: of the figure.
        ours: gives it, (N,) or (N, steps).
        other: gives it too, from the peer's module.
        alone: asks the target as often as both do, and nothing else; None where it is not asked.
        draws: what the peer takes instead of NumPy's random numbers while figures, not times, are compared.
    """

    name: str
    ours: Callable[[], np.ndarray]
    other: Callable[[Any], np.ndarray]
    alone: Callable[[], object] | None = None
    draws: dict[str, Callable[[], Draw]] = field(default_factory=dict)


def main() -> None:
    """Print one line of JSON for each figure and target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--targets", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    peer = import_module("quantus") if find_spec("quantus") else None
    x = xrays(arguments.images)
    for name in arguments.targets:
        torch.manual_seed(0)
        asked = Asked(TARGETS[name]().eval(), x)
        for case in asked.cases() + (locating(asked) if name == "network" else []):
            row = {"figure": case.name, "target": name if case.alone else None, "images": len(x)}
            told = measured(case, peer, arguments.pairs, len(x))
            print(json.dumps(row | {"threads": arguments.threads} | told), flush=True)


def measured(case: Case, peer: Any, pairs: int, images: int) -> dict[str, Any]:
    """Microseconds an image; and, where there is a peer, its own, their ratio, and how far the figures differ."""
    ours = cpu(case.ours, images)
    if peer is None:
        alone = min(cpu(case.alone, images)() for _ in range(pairs)) if case.alone else 0.0
        return {"us": round(min(ours() for _ in range(pairs)), 1), "us_target": round(alone, 1)}
    with ExitStack() as patched:
        for name, draw in case.draws.items():
            patched.enter_context(patch(f"numpy.random.{name}", draw()))
        there = case.other(peer)
    here = case.ours()
    times = taking_turns(ours, cpu(lambda: case.other(peer), images), pairs)
    told = {"us": times["seconds"], "us_other": times["seconds_other"]}
    told |= {name: times[name] for name in ("ratio", "lowest", "highest")}
    if case.alone:
        alone = median(cpu(case.alone, images)() for _ in range(pairs))
        beside = (told["us_other"] - alone) / max(told["us"] - alone, 1.0)
        told |= {"us_target": round(alone, 1), "ratio_beside_target": round(beside, 1)}
    return told | {"largest_difference": float(np.abs(here - there).max()), "largest": float(np.abs(here).max())}


@dataclass
class Asked:
    """A network, whose first output is the target, and images."""

    net: nn.Module
    x: Tensor

    def __post_init__(self) -> None:
        self.slopes = self.slopes_of(self.x.clone())
        self.shares = self.slopes * (self.x - BLACK)
        self.black = torch.full_like(self.x, BLACK)

    def target(self, images: Tensor) -> Tensor:
        """The logit, (N,)."""
        return self.net(images)[:, 0]

    def slopes_of(self, images: Tensor) -> Tensor:
        """Its gradient at each image."""
        return torch.autograd.grad(self.target(images.requires_grad_()).sum(), images)[0]

    def passes(self, number: int) -> None:
        """Ask the target so often for each image."""
        with torch.no_grad():
            for _ in range(number):
                for images in self.x.split(BATCH):
                    self.target(images)

    def gradients(self) -> None:
        """Explain each image as often as max-sensitivity does."""
        for _ in range(DRAWS + 1):
            for images in self.x.split(BATCH):
                self.slopes_of(images.clone())

    def told(self, metric: str, maps: Tensor, **settings: Any) -> Callable[[Any], np.ndarray]:
        """The figure by Quantus."""
        fixed = {"normalise": False, "abs": False, "disable_warnings": True, "return_aggregate": False} | settings
        known: dict[str, Any] = {
            "model": self.net,
            "x_batch": self.x.numpy(),
            "y_batch": np.zeros(len(self.x), dtype=int),
        }
        known |= {
            "a_batch": maps.numpy(),
            "softmax": False,
            "channel_first": True,
            "device": "cpu",
            "batch_size": BATCH,
        }
        return lambda peer: np.array(getattr(peer, metric)(**fixed)(**known, explain_func=self.explained))

    def explained(self, model: nn.Module, inputs: np.ndarray, targets: np.ndarray, **_: Any) -> np.ndarray:
        """The gradient as Quantus asks for it."""
        return self.slopes_of(torch.from_numpy(inputs).float()).numpy()

    def flipped(self, maps: Tensor, steps: int) -> np.ndarray:
        """The target after each step from the image to black, beginning with the image."""
        return faithfulness.flipping(self.target, self.x, self.black, maps, steps=steps, batch=BATCH).numpy()

    def infidelity(self) -> np.ndarray:
        """With Quantus' perturbations: the first block becomes black, the first two, and so on."""
        across = SIDE // PATCH
        turns = cycle(range(across**2))
        measure = partial(faithfulness.infidelity, self.target, self.x, self.slopes, shares=False, batch=BATCH)

        def growing(images: Tensor, baseline: Tensor, random: torch.Generator) -> Tensor:
            row, column = divmod(next(turns), across)
            changed = images.clone()
            changed[:, :, : row * PATCH] = BLACK
            changed[:, :, row * PATCH : (row + 1) * PATCH, : (column + 1) * PATCH] = BLACK
            return changed

        return measure(perturbation=growing, samples=across**2).numpy()

    def cases(self) -> list[Case]:
        """Figures that ask the target."""
        x, shares, count, black = self.x, self.shares, (SIDE // PATCH) ** 2, {"perturb_baseline": BLACK}
        regions = avg_pool2d(shares, PATCH).repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3)
        size, infidelity = round(SUBSET * SIDE**2), {"perturb_patch_sizes": [PATCH], **black}
        correlation = partial(faithfulness.faithfulness_correlation, self.target, x, shares, subset=SUBSET, runs=RUNS)
        sensitivity = partial(faithfulness.sensitivity_max, self.slopes_of, x, radius=RADIUS, samples=DRAWS)
        return [
            Case(
                "pixel flipping", lambda: self.flipped(shares, STEPS)[:, 1:],
                self.told("PixelFlipping", shares, features_in_step=SIDE**2 // STEPS, **black),
                partial(self.passes, STEPS),
            ),
            Case(
                "region perturbation", lambda: -np.diff(self.flipped(regions, count)).cumsum(axis=1),
                self.told("RegionPerturbation", shares, patch_size=PATCH, regions_evaluation=count, **black),
                partial(self.passes, count),
            ),
            Case(
                "faithfulness correlation", lambda: correlation(batch=BATCH).numpy(),
                self.told("FaithfulnessCorrelation", shares, nr_runs=RUNS, subset_size=size, **black),
                partial(self.passes, RUNS), {"choice": partial(subsets, len(x))},
            ),
            Case(
                "infidelity", self.infidelity,
                self.told("Infidelity", self.slopes, n_perturb_samples=1, **infidelity), partial(self.passes, count),
            ),
            Case(
                "infidelity, by default", self.infidelity,
                self.told("Infidelity", self.slopes, n_perturb_samples=REPEATS, **infidelity),
                partial(self.passes, count),
            ),
            Case(
                "max-sensitivity", lambda: sensitivity(batch=BATCH).numpy(),
                self.told("MaxSensitivity", self.slopes, nr_samples=DRAWS, lower_bound=RADIUS), self.gradients,
                {"uniform": partial(shakes, len(x))},
            ),
        ]  # fmt: skip


def locating(asked: Asked) -> list[Case]:
    """Figures beside a mask, of evidence without its sign, which Quantus wants to be positive."""
    maps, masks = asked.shares.abs(), np.zeros(asked.x.shape, dtype=bool)
    for mask, (top, left) in zip(masks, np.random.default_rng(0).integers(0, SIDE // 2, (len(masks), 2)), strict=True):
        mask[:, top : top + 20, left : left + 16] = True
    both = {
        "relevance mass": (metrics.relevance_mass, "RelevanceMassAccuracy"),
        "relevance rank": (metrics.relevance_rank, "RelevanceRankAccuracy"),
        "pointing game": (metrics.pointing_game, "PointingGame"),
    }
    known: dict[str, Any] = {"model": None, "x_batch": asked.x.numpy(), "y_batch": np.zeros(len(masks), dtype=int)}
    known |= {"a_batch": maps.numpy(), "s_batch": masks, "channel_first": True, "batch_size": BATCH}
    fixed = {"normalise": False, "abs": False, "disable_warnings": True, "return_aggregate": False}

    def told(metric: str, peer: Any) -> np.ndarray:
        return np.array(getattr(peer, metric)(**fixed)(**known), dtype=float)

    return [Case(name, partial(ours, maps.numpy(), masks), partial(told, it)) for name, (ours, it) in both.items()]


def subsets(images: int) -> Draw:
    """The pixels that `faithfulness_correlation` draws, each set as often as there are images."""
    random, size = torch.Generator().manual_seed(0), round(SUBSET * SIDE**2)
    runs = [torch.randperm(SIDE**2, generator=random)[:size].numpy() for _ in range(RUNS)]
    turns = iter([run for run in runs for _ in range(images)])
    return lambda *_, **__: next(turns)


def shakes(images: int) -> Draw:
    """The noise that `sensitivity_max` draws, the same for all images."""
    random = torch.Generator().manual_seed(0)
    return lambda **_: np.tile(RADIUS * (2 * torch.rand(SIDE**2, generator=random).numpy() - 1), (images, 1))


def network() -> nn.Module:
    """A small network with two outputs, three layers that halve the image."""
    layers = [
        layer for before, after in ((1, 8), (8, 16), (16, 32))
        for layer in (nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU())
    ]  # fmt: skip
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 2))


def pooling() -> nn.Module:
    """Two functions of the image's 8 x 8 means, which cost next to nothing."""
    return nn.Sequential(nn.AvgPool2d(PATCH), nn.Flatten(), nn.Linear((SIDE // PATCH) ** 2, 2), nn.Tanh())


TARGETS: dict[str, Callable[[], nn.Module]] = {"network": network, "pooling": pooling}


def xrays(number: int) -> Tensor:
    """Chest X-rays, (number, 1, SIDE, SIDE) in [-1, 1]."""
    with tempfile.TemporaryDirectory() as place:
        paths = sorted((unpack_chest_xray(Path(place)) / "test").glob("*.png"))[:number]
        return torch.from_numpy(np.concatenate([Preprocessing().apply(read(path)).pixels for path in paths]))


def cpu(side: Callable[[], object], images: int) -> Callable[[], float]:
    """The same, telling how many microseconds of the processor an image took; repeated where that is too short."""

    def run(times: int = 1) -> float:
        begun = time.process_time()
        for _ in range(times):
            side()
        return (time.process_time() - begun) / times

    times = max(1, round(SHORTEST / max(run(), SHORTEST / MOST)))
    return lambda: run(times) * 1e6 / images


if __name__ == "__main__":
    main()
