"""What a training step of each trained explainer costs: against a bare loop, and against published code's plain path.

    python -m benchmarks.explainer_steps [--only additive targeted ...] [--sides ours bare ...] [--rounds 5]

Random images, seconds of processor time of one thread, so that other work on the machine does not count. Of each
method some steps of the stage that trains its generator are taken by five sides in turn:

- "ours": the program's loop, single precision; "ours bf16": the same by `--precision bf16`;
- "bare": the same networks, losses, batches, optimisers and averages in a loop written out here;
- "layers": that loop in single precision over the same networks as published code writes them: convolution, then
  pooling, and pixels repeated, then convolution (`benchmarks.plain_layers`);
- "plain": besides that the game as published: a Wasserstein critic with its gradient penalty in every move (VA-GAN,
  DeFI-GAN, DeScarGAN, StarGAN), or what was drawn for the generator shown to the critic as well, not drawn anew
  (pix2pix, CycleGAN).

Ratios are the other side's seconds over ours, medians over the rounds: above 1 ours is faster. With --profile METHOD it
says instead what a step of ours spends its time on.
"""

import argparse
import copy
import gc
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from anomaly.nets.classifiers import Residual
from anomaly.runs.methods import create
from anomaly.training.batches import Batches, Beside
from anomaly.training.games import Player, Source, Stage
from anomaly.training.loop import Machine, train_stages
from benchmarks.plain_games import ONCE, PENALISED, plainly, published
from explain import EXPLAINERS
from explain.counterfactuals.criticised import WASSERSTEIN

SIDES = ("ours", "bare", "layers", "plain", "ours bf16")
RATIOS = {
    "loop": ("bare", "ours"), "layers": ("layers", "ours"), "plain": ("plain", "ours"),
    "plain bf16": ("plain", "ours bf16"),
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Args:
        steps: taken by a side in a round.
        shape: (C, *space) of the images; empty for a game of nothing, whose loop is all it takes.
        settings: of the method, where they are not its defaults.
        layers: whether the plain layers are timed in our game as well.
        game: how the published code plays, see `published`; "" as ours does.
        method: where the row's name is not the method's.
    """

    steps: int
    shape: tuple[int, ...] = (1, 64, 64)
    settings: Mapping[str, Any] = field(default_factory=dict)
    layers: bool = False
    game: str = ""
    method: str = ""


CASES = {
    "nothing": Case(200, ()),
    "additive": Case(8, settings={"batch": 2}, layers=True, game=WASSERSTEIN),
    "additive, volumes": Case(
        8, (1, 32, 32, 32), {"batch": 1, "width": 4, "critic_width": 4}, game=WASSERSTEIN, method="additive"
    ),
    "deformation": Case(8, settings={"batch": 2}, game=WASSERSTEIN),
    "conditional": Case(8, settings={"batch": 1}, game=WASSERSTEIN),
    "targeted": Case(1, settings={"batch": 2}, layers=True, game=ONCE),
    "targeted, penalty": Case(1, settings={"batch": 2}, game=PENALISED, method="targeted"),
    "paired": Case(1, settings={"batch": 4}, layers=True, game=ONCE),
    "red-cnn": Case(1, settings={"batch": 1}),
    "medgan": Case(1, settings={"width": 16, "critic_width": 16}, game=ONCE),
    "diffusion-counterfactual": Case(1, settings={"batch": 2}),
    "stylegan": Case(16, settings={"width": 8, "latent": 32, "batch": 4}),
}  # fmt: skip


def main() -> None:
    """Print one line of JSON for each method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--profile", choices=list(CASES)[1:], help="only say what a step of this method spends its time on"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.profile:
        print(profiled(CASES[arguments.profile], arguments.profile))
        return
    for name in arguments.only:
        case = CASES[name]
        sides = sides_of(case, name) if case.shape else sides_of_nothing(case.steps)
        wanted = {side: run for side, run in sides.items() if side in arguments.sides}
        told = compared(wanted, case.steps, arguments.rounds)
        row = {"method": name, "shape": case.shape, "steps": case.steps, **case.settings, **told}
        print(json.dumps(row), flush=True)


def compared(sides: Mapping[str, Callable[[], float]], steps: int, rounds: int) -> dict[str, Any]:
    """What those sides take, in turn, every other round backwards, and one round before those that count.

    Of each ratio the median, the lowest, the highest, and that of the fastest rounds; of each side the seconds a step.
    """
    times: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(rounds + 1):
        for side in (reversed if number % 2 else list)(list(sides)):
            gc.collect()
            times[side].append(sides[side]())
    told: dict[str, Any] = {}
    for ratio, (other, ours) in RATIOS.items():
        if other in sides and ours in sides:
            each = [there / here for there, here in zip(times[other][1:], times[ours][1:], strict=True)]
            fastest = min(times[other][1:]) / min(times[ours][1:])
            told[ratio] = [round(value, 3) for value in (median(each), min(each), max(each), fastest)]
    told["seconds a step"] = {side: round(median(taken[1:]) / steps, 5) for side, taken in times.items()}
    return told


def sides_of(case: Case, name: str) -> dict[str, Callable[[], float]]:
    """The sides of a method by name, each of which takes the steps of a round and tells its seconds."""
    ours = made(case, name)
    layers, plain = (plainly(copy.deepcopy(ours)) for _ in range(2))
    players = stage_of(published(plain, case.game), case.steps).players
    players = players[::-1] if case.game == ONCE else players
    stage, source = stage_of(ours, case.steps), Clocked(source_of(ours))

    def by_program(precision: str) -> float:
        train_stages(ours.net_, [stage], source, machine=Machine(device="cpu", precision=precision))
        return source.passed()

    def by_hand(net: nn.Module, players: Sequence[Player]) -> float:
        bare(players, net, source, case.steps)
        return source.passed()

    sides: dict[str, Callable[[], float]] = {
        "ours": partial(by_program, "32"),
        "bare": partial(by_hand, ours.net_, stage.players),
        "layers": partial(by_hand, layers.net_, stage_of(layers, case.steps).players),
        "plain": partial(by_hand, plain.net_, players),
        "ours bf16": partial(by_program, "bf16"),
    }
    if not case.layers:
        del sides["layers"]
    return sides


def sides_of_nothing(steps: int) -> dict[str, Callable[[], float]]:
    """Two players of nine weights each, one of them averaged: what a loop takes by itself."""
    net = nn.ModuleDict({name: nn.Linear(3, 3, bias=False) for name in ("critic", "generator")})

    def loss(name: str, x: Tensor) -> Tensor:
        told: Tensor = net[name](x).square().mean()
        return told

    players = [
        Player(name=name, owns=[each], loss=partial(loss, name), ema=0.99 if name == "generator" else 0.0)
        for name, each in net.items()
    ]
    source = Clocked(Batches(torch.rand(32, 3), size=8))

    def by_program() -> float:
        train_stages(net, [Stage(name="game", players=players, steps=steps)], source, machine=Machine(device="cpu"))
        return source.passed()

    def by_hand() -> float:
        bare(players, net, source, steps)
        return source.passed()

    return {"ours": by_program, "bare": by_hand}


class Clocked:
    """Batches whose first one starts the clock: what is made before the first step is not counted.

    The moments of optimisers are made in the first step, by all sides.
    """

    def __init__(self, source: Source) -> None:
        self.source, self.begun = source, 0.0

    def __getitem__(self, k: int) -> Any:
        """Batch number k."""
        if k == 0:
            self.begun = time.process_time()
        return self.source[k]

    def passed(self) -> float:
        """Seconds of processor time since batch 0 was asked for."""
        return time.process_time() - self.begun


def made(case: Case, name: str) -> Any:
    """The method with untrained networks."""
    method = case.method or name
    detects = method == "stylegan"
    learned: Any = create(method, dict(case.settings)) if detects else EXPLAINERS[method](**case.settings)
    learned.fill_in(case.shape, 1000)
    learned.shape_ = case.shape
    torch.manual_seed(0)
    learned.net_ = learned.build(case.shape)
    if getattr(learned, "takes_target", False):
        learned.target = Residual(case.shape, width=16, dropout=0.1).eval().requires_grad_(False)
    return learned


def stage_of(learned: Any, steps: int) -> Stage:
    """The stage that trains the generator, so many steps of it."""
    stage: Stage = next(each for each in learned.stages() if each.name in ("game", "gan", "diffusion"))
    stage.steps = steps
    return stage


def source_of(learned: Any) -> Source:
    """Batches of random images: of controls and cases, or of one kind for a detector."""
    sides = [torch.rand(4 * learned.batch, *learned.shape_) * 2 - 1 for _ in range(2)]
    batches = [Batches(images, size=learned.batch, seed=seed) for seed, images in enumerate(sides)]
    return batches[0] if learned.kind == "detector" else Beside(*batches)


def bare(players: Sequence[Player], net: nn.Module, source: Source, steps: int) -> None:
    """The shortest loop that does the same: draw, loss, backward, step, average."""
    net.eval().requires_grad_(False)
    own = {player.name: player.optimiser(player.parameters()) for player in players if not player.shares}
    rates = {name: [group["lr"] for group in optimiser.param_groups] for name, optimiser in own.items()}
    averaged = {player.name: averaged_of(player) for player in players if player.ema}
    averages = {name: [each.clone() for each in tensors] for name, tensors in averaged.items()}
    mover: Player | None = None
    drawn = 0
    for player in players:
        nn.ModuleList(player.owns).train()
    for step in range(steps):
        for player in (each for each in players if step % each.every == 0):
            name = player.shares or player.name
            optimiser, parameters = own[name], player.parameters()
            if mover is not player:
                for parameter in mover.parameters() if mover else ():
                    parameter.requires_grad_(False)
                for parameter in parameters:
                    parameter.requires_grad_(True)
                mover = player
            for _ in range(player.turns):
                if player.schedule is not None:
                    for group, rate in zip(optimiser.param_groups, rates[name], strict=True):
                        group["lr"] = rate * player.schedule(step / steps)
                optimiser.zero_grad(set_to_none=True)
                returned = player.loss(source[drawn])
                loss: Tensor = returned[0] if isinstance(returned, tuple) else returned
                loss.backward()
                optimiser.step()
                drawn += 1
                if player.ema:
                    torch._foreach_lerp_(averages[player.name], averaged[player.name], 1 - player.ema)


def averaged_of(player: Player) -> list[Tensor]:
    """What a running average holds: weights, and the statistics of batch norm."""
    buffers = [each for module in player.owns for each in module.buffers() if each.is_floating_point()]
    return [*(each.detach() for each in player.parameters()), *buffers]


def profiled(case: Case, name: str) -> str:
    """A table of where a step of ours spends its time, after two others."""
    learned = made(case, name)
    source = source_of(learned)
    players = stage_of(learned, case.steps).players
    bare(players, learned.net_, source, case.steps)
    with torch.profiler.profile(record_shapes=True) as profile:
        bare(players, learned.net_, source, case.steps)
    by_shape = profile.key_averages(group_by_input_shape=True)
    return "\n".join(
        table.table(sort_by="self_cpu_time_total", row_limit=25, max_name_column_width=40)
        for table in (profile.key_averages(), by_shape)
    )


if __name__ == "__main__":
    main()
