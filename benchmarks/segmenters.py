"""What the program's loop costs beside a bare one, for each segmenter, and how long whole volumes take.

    python -m benchmarks.segmenters [--only training volumes] [--methods NAME ...] [--pairs 4]

Both loops have the same network, losses, batches, optimiser, schedule and average; they take turns, and seconds are
those of the processor, so that what else runs on the machine counts for neither.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from anomaly.segmenters.base import Both, Segmenter
from anomaly.segmenters.mean_teacher import MeanTeacher
from anomaly.segmenters.register import SEGMENTERS
from anomaly.training.loop import cosine
from anomaly.training.machine import Machine
from benchmarks.ratios import taking_turns, timed

METHODS = ("supervised", "mean-teacher", "unimatch")
"""Those of one stage, whose bare loop is a dozen lines."""
SIDE, BATCH, CLASSES = 64, 4, 4


class Noise:
    """Batches of noise with label maps, or without."""

    def __init__(self, labelled: bool) -> None:
        random = torch.Generator().manual_seed(int(labelled))
        self.images = torch.rand(64, 1, SIDE, SIDE, generator=random) * 2 - 1
        self.places = torch.randint(CLASSES, (64, SIDE, SIDE), generator=random)
        self.labelled = labelled

    def __getitem__(self, k: int) -> Any:
        at = torch.arange(k * BATCH, (k + 1) * BATCH) % 64
        return (self.images[at], self.places[at]) if self.labelled else self.images[at]


def main() -> None:
    """Print one line of JSON for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=("training", "volumes"), default=("training", "volumes"))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--steps", type=int, default=30)
    asked = parser.parse_args()
    for name in asked.methods if "training" in asked.only else ():
        told = training(name, asked.steps, asked.pairs)
        print(json.dumps({"measurement": f"training {name}", "threads": torch.get_num_threads(), **told}), flush=True)
    if "volumes" in asked.only:
        print(json.dumps({"measurement": "volumes", "threads": torch.get_num_threads(), **volumes()}), flush=True)


def training(name: str, steps: int, pairs: int) -> dict[str, float]:
    """Steps of the program's loop against a bare one: above 1 the program's is faster."""
    labelled, others, machine = Noise(True), Noise(False), Machine(device="cpu")
    method = SEGMENTERS[name](steps=steps, batch=BATCH)

    def ours() -> float:
        began = time.process_time()
        method.fit(labelled, (1, SIDE, SIDE), CLASSES, unlabelled=others, machine=machine)
        return time.process_time() - began

    def other() -> float:
        began = time.process_time()
        bare(SEGMENTERS[name](steps=steps, batch=BATCH), Both(labelled, others), steps)
        return time.process_time() - began

    return taking_turns(ours, other, pairs)


def bare(method: Segmenter, batches: Both, steps: int) -> None:
    """The same training without the program's loop."""
    method.classes_ = CLASSES
    method.fill_in((1, SIDE, SIDE), 64)
    method.make((1, SIDE, SIDE), Machine(device="cpu"), 0)
    student = method.net_["student"].train()
    if isinstance(method, MeanTeacher):
        method.net_["teacher"].eval().requires_grad_(False)
    optimiser = method.optimiser(student.parameters())  # of the mean teacher, with the average that follows it
    average = [] if isinstance(method, MeanTeacher) else [each.detach().clone() for each in student.parameters()]
    for k in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = method.lr * cosine(k / steps)
        batch = batches[k] if method.unlabelled else batches.labelled[k]
        loss = method.loss(batch)
        total: Tensor = loss[0] if isinstance(loss, tuple) else loss
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        optimiser.step()
        total.item()
        if average:
            torch._foreach_lerp_(average, [each.detach() for each in student.parameters()], 1 - method.average)


def volumes() -> dict[str, float]:
    """Seconds of one volume of 160 x 160 x 24 voxels by the 3D network of the defaults, at once and by windows."""
    method = SEGMENTERS["supervised"]()
    method.fill_in((1, 48, 48, 24), 64)
    method.classes_ = 8
    method.make((1, 48, 48, 24), Machine(device="cpu"), 0)
    method.net_.eval()
    x = torch.zeros(1, 1, 160, 160, 24)
    ways: dict[str, Callable[[], object]] = {
        "at_once": lambda: method.probabilities(x), "windows_of_48": lambda: method.whole(x),
        "windows_of_32": lambda: method.whole(x, (32, 32, 24)),
    }  # fmt: skip
    return {f"seconds_{name}": round(timed(way)(), 1) for name, way in ways.items()}


if __name__ == "__main__":
    main()
