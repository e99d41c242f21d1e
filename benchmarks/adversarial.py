"""What a step of the adversarial detectors costs: against a bare loop, against other code, and as volumes grow.

    python -m benchmarks.adversarial [--only loop resolution] [--threads 1]
    python -m benchmarks.adversarial --only peer --peer "COMMAND" [--method fanogan] [--set width=64 batch=8]

Random images; a step is all that a step of the method is (f-AnoGAN: five turns of the critic and one of the
generator; StyleGAN: the mean of sixteen, its penalties among them). Seconds are of processor time, so that other work
on the machine does not count. COMMAND times a step of other code, with the same sizes, and ends with a line of JSON
that holds `cpu_seconds_per_step`; both take turns.
"""

import argparse
import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anomaly.detectors import TrainedDetector
from anomaly.runs.methods import create
from anomaly.runs.settings import parse_settings
from anomaly.training.batches import Batches
from anomaly.training.loop import train_stages
from benchmarks.ratios import taking_turns

SMALL = {"fanogan": {"width": 16, "latent": 64, "batch": 8}, "alphagan": {"width": 16, "latent": 64, "hidden": 256},
         "stylegan": {"width": 16, "latent": 64, "batch": 8}}  # fmt: skip
VOLUMES = {"fanogan": {"width": 8, "latent": 64, "batch": 4}, "alphagan": {"width": 16, "latent": 100, "hidden": 512}}
SIDES = (16, 32, 48, 64)


def main() -> None:
    """Print one line of JSON for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=("loop", "resolution", "peer"), default=["loop", "resolution"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--peer", help="command that times a step of other code")
    parser.add_argument("--method", default="fanogan")
    parser.add_argument("--stage", type=int, default=0, help="which stage of the method is timed")
    parser.add_argument("--shape", type=int, nargs="+", default=[1, 64, 64], help="channels and sides")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--set", nargs="*", default=[], dest="settings")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.alone:
        steps = Steps(arguments.method, arguments.shape, parse_settings(arguments.settings), arguments.stage)
        steps.ours(1)  # the first step finds out how to compute
        seconds = steps.ours(2)
        peak = int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) / 1024
        print(json.dumps({"cpu_seconds_per_step": seconds / 2, "megabytes": peak}))
        return
    for name in arguments.only:
        for row in {"loop": loop, "resolution": resolution, "peer": peer}[name](arguments):
            print(json.dumps({"measurement": name, "threads": arguments.threads, **row}), flush=True)


class Steps:
    """Steps of one stage of a method on random images, by the program's loop or by a bare one."""

    def __init__(self, method: str, shape: list[int], settings: dict[str, Any], stage: int = 0) -> None:
        detector = create(method, settings)
        detector.fill_in(tuple(shape), 1000)
        assert isinstance(detector, TrainedDetector)
        self.detector, self.which = detector, stage
        detector.shape_ = tuple(shape)
        torch.manual_seed(0)
        detector.net_ = detector.build(detector.shape_)
        self.images = torch.rand(4 * detector.batch, *shape) * 2 - 1

    def ours(self, steps: int) -> float:
        """Seconds by `train_stages`, without writing anything."""
        stage = self.detector.stages()[self.which]
        stage.steps = steps
        begun = time.process_time()
        train_stages(self.detector.net_, [stage], Batches(self.images, size=self.detector.batch))
        return time.process_time() - begun

    def bare(self, steps: int) -> float:
        """Seconds by the shortest loop that does the same: draw, loss, backward, step."""
        players = self.detector.stages()[self.which].players
        own = {player.name: player.optimiser(player.parameters()) for player in players if not player.shares}
        batches, drawn = Batches(self.images, size=self.detector.batch), 0
        everything = list(self.detector.net_.parameters())
        self.detector.net_.train()
        begun = time.process_time()
        for step in range(steps):
            for player in (each for each in players if step % each.every == 0):
                optimiser = own[player.shares or player.name]
                for parameter in everything:
                    parameter.requires_grad_(False)
                for parameter in player.parameters():
                    parameter.requires_grad_(True)
                for _ in range(player.turns):
                    optimiser.zero_grad(set_to_none=True)
                    returned = player.loss(batches[drawn])
                    loss: Tensor = returned[0] if isinstance(returned, tuple) else returned
                    loss.backward()
                    optimiser.step()
                    drawn += 1
        return time.process_time() - begun


def loop(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Steps a second of the program's loop over those of a bare one: above 1 is faster."""
    rows = []
    for method, shape in (("fanogan", [1, 64, 64]), ("alphagan", [1, 32, 32, 32]), ("stylegan", [1, 64, 64])):
        steps = Steps(method, shape, dict(SMALL[method]))
        few = 16 if method == "stylegan" else 3  # its penalties come in every fourth and sixteenth step
        ratio = taking_turns(
            lambda steps=steps, few=few: steps.ours(few),  # type: ignore[misc]
            lambda steps=steps, few=few: steps.bare(few),  # type: ignore[misc]
        )
        rows.append({"method": method, "shape": shape, **SMALL[method], **ratio})
    return rows


def resolution(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds a step and peak memory of training on volumes, each size in a process of its own (Linux)."""
    rows = []
    for method, settings in VOLUMES.items():
        for side in SIDES:
            command = [
                sys.executable, "-m", "benchmarks.adversarial", "--alone", "--method", method,
                "--threads", str(arguments.threads), "--shape", "1", *[str(side)] * 3,
                "--set", *(f"{name}={value}" for name, value in settings.items()),
            ]  # fmt: skip
            told = _last_line(command)
            seconds, megabytes = round(told["cpu_seconds_per_step"], 3), round(told["megabytes"])
            rows.append({"method": method, **settings, "side": side, "seconds": seconds, "megabytes": megabytes})
    return rows


def peer(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Steps a second of ours over those of the code that COMMAND times."""
    if not arguments.peer:
        raise SystemExit("give --peer COMMAND, which ends with a line of JSON that holds cpu_seconds_per_step")
    settings = parse_settings(arguments.settings)
    steps = Steps(arguments.method, arguments.shape, settings, arguments.stage)
    command = shlex.split(arguments.peer)
    ratio = taking_turns(
        lambda: steps.ours(arguments.steps) / arguments.steps,
        lambda: float(_last_line(command)["cpu_seconds_per_step"]),
        pairs=3,
    )
    return [{"method": arguments.method, "shape": arguments.shape, **settings, "peer": arguments.peer, **ratio}]


def _last_line(command: list[str]) -> dict[str, Any]:
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result: dict[str, Any] = json.loads(told.strip().splitlines()[-1])
    return result


if __name__ == "__main__":
    main()
