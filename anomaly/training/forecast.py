"""What a training will take, told before it begins: minutes by the clock of one step, memory by counting its bytes."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from anomaly.training.computer import memory
from anomaly.training.games import Player, Stage
from anomaly.training.machine import Machine

FEW_VALUES = 2**18  # of the images that a step is timed with, as far as two hold fewer
WORKSPACE = 1.4  # bytes that a step holds at once, beside those that its way back asks for
ADAM = 4  # copies of a weight: itself, its slope, and the two averages of the optimiser


class Forecast(NamedTuple):
    """What learning will take.

    Args:
        seconds: of computing, without reading and calibrating.
        memory: bytes at its highest, those of the program itself among them; on a GPU, of the GPU.
        steps: of all stages; 0 where nothing is trained.
    """

    seconds: float = 0.0
    memory: float = 0.0
    steps: int = 0

    def __str__(self) -> str:
        steps = f"{self.steps:,} steps, " if self.steps else ""
        return f"{steps}about {in_minutes(self.seconds)} and {self.memory / 2**30:.1f} GB of memory"


def in_minutes(seconds: float) -> str:
    """Seconds as a person says them."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.0f} {unit}" if seconds >= 10 * length else f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds" if seconds >= 1.5 else "a second"


def few(batch: int, values: int) -> int:
    """How many images of so many values a step is timed with."""
    return max(1, min(batch, max(2, FEW_VALUES // values)))


def of_stages(game: nn.Module, stages: Sequence[Stage], batch: Any, share: float, machine: Machine) -> Forecast:
    """What the stages take, by one step of each player.

    Args:
        game: holds the networks; they are changed, so give a copy.
        stages: to be played.
        batch: some images, as players take them.
        share: of a whole batch that these are.
        machine: where.
    """
    seconds, held = 0.0, 0.0
    with torch.random.fork_rng():
        for stage in stages:
            for player in stage.players:
                taken, saved = _one_move(game, player, batch, machine)
                seconds += stage.steps * player.turns / player.every * taken / share
                held = max(held, saved / share)
    weights = sum(each.nbytes for each in game.parameters())
    return Forecast(seconds, resident(machine) + ADAM * weights + WORKSPACE * held, sum(s.steps for s in stages))


def _one_move(game: nn.Module, player: Player, batch: Any, machine: Machine) -> tuple[float, float]:
    """Seconds of a move, the second of two, and the bytes that its way back asks for."""
    own = player.parameters()
    for parameter in game.parameters():
        parameter.requires_grad_(False)
    for parameter in own:
        parameter.requires_grad_(True)
    optimiser = player.optimiser(own)

    def move() -> None:
        with machine.autocast():
            loss = player.loss(batch)
        (loss[0] if isinstance(loss, tuple) else loss).backward()
        optimiser.step()
        optimiser.zero_grad()
        float(own[0].detach().sum())  # waits for an accelerator

    with counted(own) as saved:
        move()
    begun = time.perf_counter()
    move()
    return time.perf_counter() - begun, float(sum(saved.values()))


@contextmanager
def counted(weights: Sequence[Tensor]) -> Iterator[dict[int, int]]:
    """Bytes of what autograd keeps for the way back while this lasts, by the place in memory; weights do not count."""
    found: dict[int, int] = {}
    known = {each.untyped_storage().data_ptr() for each in weights}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield found


def resident(machine: Machine) -> float:
    """Bytes that this process holds now; of a GPU, what is taken of it."""
    if machine.torch_device.type == "cuda":
        return float(torch.cuda.memory_allocated(machine.torch_device))
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return float(pages * os.sysconf("SC_PAGE_SIZE"))
    except (OSError, ValueError, IndexError):
        return 0.0


def free(machine: Machine) -> float | None:
    """Bytes that are free, what this process holds already among them; None where nothing says so."""
    if machine.torch_device.type == "cuda":
        return float(torch.cuda.mem_get_info(machine.torch_device)[0]) + resident(machine)
    _, left = memory()
    return left + resident(machine) if left is not None and machine.torch_device.type == "cpu" else None
