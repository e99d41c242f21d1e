"""One stage of a game in progress: optimisers, averages, the best weights so far, and the place in the data."""

import hashlib
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from anomaly.errors import TrainingError
from anomaly.training.checkpoints import Checkpoint
from anomaly.training.games import Glance, Player, Source, Stage
from anomaly.training.journal import CURVE
from anomaly.training.machine import Machine

SEEN = "seen"
"""Stands for a player in the curves, before the figures of a glance."""


class Play:
    """A stage in progress: optimisers, averages, best weights so far, and the place in the data."""

    def __init__(self, game: nn.Module, stage: Stage, batches: Source, machine: Machine, seed: int) -> None:
        self.game, self.stage, self.batches, self.machine = game, stage, batches, machine
        self.step = self.drawn = self.looks_in_vain = 0
        self.lowest, self.best = math.inf, {}  # type: float, dict[str, Tensor]
        self.note, self._began, self._sums = "", time.monotonic(), {}  # type: str, float, dict[str, list[Any]]
        self.owned = {player.name: player.parameters() for player in stage.players}
        for name, parameters in self.owned.items():
            if not parameters:
                raise machine.alike(TrainingError(f"player {name!r} of stage {stage.name!r} owns no parameters"))
        # Batch norm's running statistics are averaged as well: those of the last weights belong to other ones.
        self.averaged = {
            player.name: [each.detach() for each in (*self.owned[player.name], *_statistics(player))]
            for player in stage.players
            if player.ema > 0
        }
        self.averages = {name: [each.clone() for each in own] for name, own in self.averaged.items()}
        self._moved_by = {player.name: player.shares or player.name for player in stage.players}
        self._refuse_strangers()
        for parameter in game.parameters():
            parameter.requires_grad_(False)
        self._mover: Player | None = None
        self._warned: set[str] = set()
        self.optimisers = {p.name: self._optimiser(p) for p in stage.players if not p.shares}
        digest = hashlib.sha256(f"{seed} {stage.name} {machine.share[0]}".encode()).digest()
        torch.manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        self._practise()

    def _refuse_strangers(self) -> None:
        """An optimiser is shared only by players of the same parameters, the one that has it first."""
        owners: dict[str, list[int]] = {}
        for player in self.stage.players:
            own = [id(parameter) for parameter in self.owned[player.name]]
            if player.shares and owners.get(player.shares) != own:
                raise self.machine.alike(
                    TrainingError(
                        f"player {player.name!r} shares the optimiser of {player.shares!r}, which no earlier player of "
                        "the same modules has"
                    )
                )
            if not player.shares:
                owners[player.name] = own

    def _optimiser(self, player: Player) -> Optimizer:
        optimiser = player.optimiser(self.owned[player.name])
        for group in optimiser.param_groups:
            group.setdefault("initial_lr", group["lr"])
        return self.machine.optimiser(optimiser)

    def _practise(self) -> None:
        """Owned modules learn; those nobody owns in this stage stay as at test time."""
        self.game.eval()
        for player in self.stage.players:
            for module in player.owns:
                module.train()

    @property
    def exhausted(self) -> bool:
        """Whether early stopping has been reached."""
        return self.stage.watch is not None and self.looks_in_vain >= self.stage.patience

    def advance(self) -> None:
        """One step: every player whose step it is takes its turns."""
        for player in self.stage.players:
            if self.step % player.every == 0:
                for _ in range(player.turns):
                    self._move(player)
        self.step += 1

    def _move(self, player: Player) -> None:
        optimiser, parameters = self.optimisers[player.shares or player.name], self.owned[player.name]
        self._hand_over_to(player)
        if player.schedule is not None:
            factor = player.schedule(self.step / self.stage.steps)
            for group in optimiser.param_groups:
                group["lr"] = group["initial_lr"] * factor
        batch = _to_device(self.batches[self.drawn], self.machine.torch_device)
        self.drawn += 1
        optimiser.zero_grad(set_to_none=True)
        with self.machine.autocast():
            returned = player.loss(batch)
        loss, terms = returned if isinstance(returned, tuple) else (returned, {})
        names = [player.name, *(f"{player.name}/{term}" for term in terms)]
        self._note_losses(names, self.machine.backward(loss, parameters, list(terms.values())))
        optimiser.step()
        if player.ema > 0:
            # What was before counts for little while that is how the weights began.
            kept = min(player.ema, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(self.averages[player.name], self.averaged[player.name], 1 - kept)

    def _hand_over_to(self, player: Player) -> None:
        if self._mover is not player:
            for parameter in self.owned[self._mover.name] if self._mover else ():
                parameter.requires_grad_(False)
            for parameter in self.owned[player.name]:
                parameter.requires_grad_(True)
            self._mover = player

    def _note_losses(self, names: list[str], values: Tensor) -> None:
        # Reading a loss makes a GPU wait, so there the check is made once for each row of the curves.
        if self.machine.torch_device.type == "cpu":
            self._check(names[0], values[0])
        for name, value in zip(names, values, strict=True):
            total = self._sums.setdefault(name, [torch.zeros_like(value), 0])
            total[0] += value
            total[1] += 1

    def _check(self, name: str, loss: Tensor) -> None:
        if not math.isfinite(loss.item()):
            error = TrainingError(
                f"the loss of {name!r} became {loss.item()} at step {self.step} of stage {self.stage.name!r}; "
                "lower the learning rate (--set lr=...), or train at --precision 32; "
                "earlier checkpoints are kept, --resume goes on from the last"
            )
            raise self.machine.alike(error)

    def check(self) -> None:
        """Refuse to go on if a loss since the last call of `rows` was not finite."""
        for name, (total, _) in self._sums.items():
            self._check(name, total)

    def rows(self) -> list[dict[str, Any]]:
        """The curves since the last call: the mean loss of each player."""
        self.check()
        rows = [self._row(name, (total / count).item()) for name, (total, count) in self._sums.items()]
        if rows:
            self.note = ", ".join(f"{row['player']} {row['loss']:.4g}" for row in rows)
        self._sums = {}
        return rows

    def _row(self, name: str, value: float) -> dict[str, Any]:
        optimiser = self.optimisers.get(self._moved_by.get(name.partition("/")[0], ""))
        rate = optimiser.param_groups[0]["lr"] if optimiser else ""
        row = (self.stage.name, self.step, name, value, rate, time.monotonic() - self._began)
        return dict(zip(CURVE, row, strict=True))

    @torch.no_grad()
    def glance(self) -> tuple[Glance, list[str], list[dict[str, Any]]]:
        """What the stage has to show, as at test time; which warnings are new; rows for the curves."""
        assert self.stage.glance is not None
        self.game.eval()
        with fork_random_state(self.machine), self._averages_in_place():
            seen = self.stage.glance()
        self._practise()
        fresh = [text for kind, text in seen.warnings.items() if kind not in self._warned]
        self._warned |= seen.warnings.keys()
        return seen, fresh, [self._row(f"{SEEN}/{name}", value) for name, value in seen.figures.items()]

    @torch.no_grad()
    def look(self) -> None:
        """Ask the stage's `watch`, and remember the weights if they are the best so far."""
        assert self.stage.watch is not None
        self.machine.align(self.game.buffers())
        self.game.eval()
        self.looks_in_vain += 1
        with self._averages_in_place():
            self.machine.align(self.game.buffers())
            value = float(self.machine.average(self.stage.watch()))
            if value < self.lowest:
                self.lowest, self.looks_in_vain = value, 0
                self.best = {k: v.detach().clone() for k, v in self.game.state_dict().items()}
        self._practise()

    @contextmanager
    def _averages_in_place(self) -> Iterator[None]:
        own = [(each, each.clone()) for tensors in self.averaged.values() for each in tensors]
        self._take_averages()
        try:
            yield
        finally:
            for parameter, weights in own:
                parameter.copy_(weights)

    def _take_averages(self) -> None:
        for name, averages in self.averages.items():
            for each, average in zip(self.averaged[name], averages, strict=True):
                each.copy_(average)

    @torch.no_grad()
    def finish(self) -> None:
        """Leave the networks as the stage promises: averages in place, or the best weights seen."""
        if self.best:
            self.game.load_state_dict(self.best)
        else:
            self._take_averages()
        self.machine.align(self.game.buffers())

    def checkpoint(self, done: list[str], curve: int | None = None) -> Checkpoint:
        """Everything that `restore` needs; taking it changes nothing in any process.

        Args:
            done: stages that are.
            curve: the step of the last row of the curves that it goes on from, where that is an earlier one.
        """
        weights = {f"game.{k}": v for k, v in self.game.state_dict().items()}
        weights |= {f"best.{k}": v for k, v in self.best.items()}
        for name, averages in self.averages.items():
            weights |= {f"average.{name}.{i}": average for i, average in enumerate(averages)}
        state = {
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
            "random": self.machine.random_state(),
            "precision": self.machine.precision_state(),
            # Running statistics differ between processes; the weights hold the first one's alone.
            "buffers": [self.machine.gather(buffer) for buffer in self.game.buffers()],
            "averages": {
                name: [self.machine.gather(each) for each in averages[len(self.owned[name]) :]]
                for name, averages in self.averages.items()
            },
            "sums": self._sums,
        }
        facts = {
            "stage": self.stage.name, "step": self.step, "drawn": self.drawn, "done": done, "curve": curve,
            "lowest": self.lowest if self.best else None, "looks_in_vain": self.looks_in_vain,
            "seconds": time.monotonic() - self._began,
        }  # fmt: skip
        return Checkpoint(weights, state, facts)

    @torch.no_grad()
    def restore(self, found: Checkpoint) -> None:
        """Stand exactly where `checkpoint` was taken."""
        device = self.machine.torch_device
        load_game(self.game, found)
        for buffer, of_all in zip(self.game.buffers(), found.state["buffers"], strict=True):
            buffer.copy_(of_all[self.machine.share[0]])
        self.best = _under("best.", found.weights, device)
        for name, averages in self.averages.items():
            for i, average in enumerate(averages):
                average.copy_(found.weights[f"average.{name}.{i}"])
            own = averages[len(self.owned[name]) :]
            for average, of_all in zip(own, found.state["averages"][name], strict=True):
                average.copy_(of_all[self.machine.share[0]])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(found.state["optimisers"][name])
        self.machine.set_precision_state(found.state["precision"])
        self.step, self.drawn = found.facts["step"], found.facts["drawn"]
        self.lowest = math.inf if found.facts["lowest"] is None else found.facts["lowest"]
        self.looks_in_vain = found.facts["looks_in_vain"]
        self._sums = {name: [total.to(device), count] for name, (total, count) in found.state["sums"].items()}
        self._began = time.monotonic() - found.facts.get("seconds", 0.0)
        self.machine.set_random_state(found.state["random"])


def _statistics(player: Player) -> list[Tensor]:
    """Buffers of the owned modules that hold numbers, not counts."""
    return [buffer for module in player.owns for buffer in module.buffers() if buffer.is_floating_point()]


@contextmanager
def fork_random_state(machine: Machine) -> Iterator[None]:
    """Leave the random numbers outside as they are."""
    devices = [machine.torch_device] if machine.torch_device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield


def load_game(game: nn.Module, found: Checkpoint) -> None:
    """Give the networks the weights of a checkpoint."""
    game.load_state_dict(_under("game.", found.weights, None))


def _under(prefix: str, weights: Mapping[str, Tensor], device: torch.device | None) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v.to(device) for k, v in weights.items() if k.startswith(prefix)}


def _to_device(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    return tuple(_to_device(part, device) for part in batch)
