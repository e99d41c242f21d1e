"""The loop: who moves, who stands still, what is kept, and that a killed training goes on exactly."""

import csv
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from anomaly.errors import RunError, TrainingError
from anomaly.nets.losses import gradient_penalty
from anomaly.training.batches import Batches
from anomaly.training.checkpoints import newest
from anomaly.training.journal import Journal
from anomaly.training.loop import Glance, Player, Stage, cosine, train, train_stages
from anomaly.training.machine import Machine

SGD = partial(torch.optim.SGD, lr=0.1)
POINTS = torch.randn(100, 3, generator=torch.Generator().manual_seed(7))


def weights_of(game: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in game.parameters()])


def small_game() -> tuple[nn.ModuleDict, list[Player]]:
    """Two players and a regulariser that moves every fourth step; the losses draw random numbers."""
    torch.manual_seed(1)
    critic = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))
    game = nn.ModuleDict({"generator": nn.Linear(3, 3), "critic": critic})

    def generate(x: torch.Tensor) -> torch.Tensor:
        return game["generator"](torch.randn_like(x))

    players = [
        Player(
            name="critic", owns=[game["critic"]], turns=2,
            loss=lambda x: (game["critic"](generate(x)) - game["critic"](x)).mean()
            + 10 * gradient_penalty(game["critic"], x, generate(x)).mean(),
        ),
        Player(name="generator", owns=[game["generator"]], loss=lambda x: -game["critic"](generate(x)).mean(), ema=0.9),
        Player(name="smoothness", owns=[game["generator"]], loss=lambda x: generate(x).square().mean(), every=4),
    ]  # fmt: skip
    return game, players


def play(folder: Path | None = None, *, steps: int = 40, resume: bool = False) -> torch.Tensor:
    game, players = small_game()
    journal = Journal(folder=folder, resume=resume, save_every=7, log_every=5)
    train(game, players, Batches(POINTS, size=8), steps=steps, journal=journal)
    return weights_of(game)


def curve(folder: Path) -> list[list[str]]:
    """The rows of `training.csv` without the seconds."""
    with (folder / "training.csv").open(newline="") as stream:
        return [row[:-1] for row in csv.reader(stream)]


def counting(owner: nn.Linear, calls: list[str], name: str, **options: int) -> Player:
    def loss(x: torch.Tensor) -> torch.Tensor:
        calls.append(name)
        return owner(x).square().mean()

    return Player(name=name, owns=[owner], loss=loss, optimiser=SGD, **options)


def test_players_move_in_turn_as_often_as_they_say():
    calls: list[str] = []
    game = nn.ModuleList([nn.Linear(3, 1) for _ in range(3)])
    players = [
        counting(game[0], calls, "critic", turns=2), counting(game[1], calls, "generator"),
        counting(game[2], calls, "lazy", every=3),
    ]  # fmt: skip
    train(game, players, Batches(POINTS, size=4), steps=4)
    one = ["critic", "critic", "generator"]
    assert calls == [*one, "lazy", *one, *one, *one, "lazy"]


def test_every_turn_has_a_batch_of_its_own():
    class Numbered:
        def __getitem__(self, k: int) -> torch.Tensor:
            return torch.full((1, 3), float(k))

    seen: list[float] = []
    net = nn.Linear(3, 1)

    def loss(x: torch.Tensor) -> torch.Tensor:
        seen.append(x[0, 0].item())
        return net(x).mean()

    train(net, [Player(name="one", owns=[net], loss=loss, turns=2)], Numbered(), steps=3)
    assert seen == [0, 1, 2, 3, 4, 5]


def test_only_what_the_mover_owns_moves_and_the_rest_is_as_at_test_time():
    mine, other = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)), nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    game = nn.ModuleList([mine, other])
    before, kept = weights_of(mine), [value.clone() for value in other.state_dict().values()]
    modes = []

    def loss(x: torch.Tensor) -> torch.Tensor:
        modes.append((mine.training, other.training, [p.requires_grad for p in other.parameters()]))
        return other(mine(x)).square().mean()

    train(game, [Player(name="one", owns=[mine], loss=loss)], Batches(POINTS, size=8), steps=3)
    assert not torch.equal(weights_of(mine), before)
    assert all(torch.equal(a, b) for a, b in zip(kept, other.state_dict().values(), strict=True))
    assert modes == [(True, False, [False] * 4)] * 3
    assert all(p.requires_grad for p in game.parameters()), "the caller's flags come back"


def test_a_player_without_parameters_is_told():
    with pytest.raises(TrainingError, match="'idle' of stage 'train' owns no parameters"):
        player = Player(name="idle", owns=[nn.ReLU()], loss=lambda x: x.mean())
        train(nn.Linear(3, 1), [player], Batches(POINTS, size=8), steps=1)


def test_descent_by_hand():
    """Loss w^2 / 2 with rate 0.1 shrinks w by 0.9 a step; the average follows, at first at its heels."""
    net = nn.Linear(1, 1, bias=False)
    nn.init.ones_(net.weight)
    player = Player(name="one", owns=[net], loss=lambda x: net.weight.square().sum() / 2, optimiser=SGD, ema=0.5)
    train(net, [player], Batches(POINTS, size=1), steps=3)
    w, average = 1.0, 1.0
    for kept in (1 / 10, 2 / 11, 3 / 12):
        w *= 0.9
        average = kept * average + (1 - kept) * w
    assert net.weight.item() == pytest.approx(average, rel=1e-6)


def test_a_schedule_scales_the_rate():
    net = nn.Linear(1, 1, bias=False)
    nn.init.ones_(net.weight)
    player = Player(name="one", owns=[net], loss=lambda x: net.weight.sum(), optimiser=SGD, schedule=cosine)
    train(net, [player], Batches(POINTS, size=1), steps=2)
    assert net.weight.item() == pytest.approx(1 - 0.1 * 1.0 - 0.1 * 0.5, rel=1e-6)


# A penalty that moves by the optimiser of another player

ADAM = partial(torch.optim.Adam, lr=0.05, betas=(0.5, 0.9))


def square(net: nn.Linear, x: torch.Tensor) -> torch.Tensor:
    return (net(x) - 1).square().mean()


def size(net: nn.Linear, x: torch.Tensor) -> torch.Tensor:
    return 3 * (net.weight - x.mean()).square().sum()  # the bias has no part in it


def sharing(net: nn.Linear, **options: Any) -> list[Player]:
    """A loss, and a penalty of the same weights in every third step."""
    return [
        Player(name="loss", owns=[net], loss=partial(square, net), optimiser=ADAM),
        Player(name="penalty", owns=[net], loss=partial(size, net), every=3, **{"shares": "loss", **options}),
    ]


def test_a_penalty_that_shares_an_optimiser_moves_by_its_one_state():
    net, by_hand, apart = (nn.Linear(3, 1) for _ in range(3))
    for other in (by_hand, apart):
        other.load_state_dict(net.state_dict())
    batches = Batches(POINTS, size=8)
    train(net, sharing(net), batches, steps=10)
    optimiser, drawn = ADAM(by_hand.parameters()), 0
    for step in range(10):
        for loss in (square, size) if step % 3 == 0 else (square,):
            optimiser.zero_grad()
            loss(by_hand, batches[drawn]).backward()
            optimiser.step()
            drawn += 1
    assert torch.equal(weights_of(net), weights_of(by_hand))
    train(apart, sharing(apart, shares="", optimiser=ADAM), batches, steps=10)
    assert not torch.allclose(weights_of(apart), weights_of(net), atol=1e-3), "an Adam of its own moves otherwise"


def test_a_penalty_stands_in_the_curves_with_the_rate_it_shares(tmp_path):
    net = nn.Linear(3, 1)
    players = sharing(net)
    players[0].schedule = cosine
    train(net, players, Batches(POINTS, size=8), steps=6, journal=Journal(folder=tmp_path, log_every=6))
    rates = {row[2]: float(row[4]) for row in curve(tmp_path)[1:]}
    assert rates == pytest.approx(dict.fromkeys(("loss", "penalty"), 0.05 * cosine(5 / 6)))


@pytest.mark.parametrize("shares", ["other", "nobody", "later", "penalty", "second"])
def test_an_optimiser_of_other_weights_is_not_shared(shares):
    """Of other modules, of nobody, of one who comes later, its own, of one who shares it himself."""
    game = nn.ModuleList([nn.Linear(3, 1), nn.Linear(3, 1)])
    loss, second = sharing(game[0])
    second.name = "second"
    other = Player(name="other", owns=[game[1]], loss=partial(square, game[1]))
    penalty = Player(name="penalty", owns=[game[0]], loss=partial(size, game[0]), shares=shares)
    later = Player(name="later", owns=[game[0]], loss=partial(square, game[0]))
    told = f"player 'penalty' shares the optimiser of '{shares}', which no earlier player of the same modules has"
    with pytest.raises(TrainingError, match=told):
        train(game, [loss, second, other, penalty, later], Batches(POINTS, size=8), steps=1)


def test_a_shared_optimiser_goes_on_where_it_stood(tmp_path):
    def played(folder: Path | None, *, dies: int = 0, resume: bool = False) -> torch.Tensor:
        torch.manual_seed(2)
        net, left = nn.Linear(3, 1), [dies]
        players = sharing(net)

        def dying(x: torch.Tensor, loss=players[1].loss) -> torch.Tensor:
            left[0] -= 1
            if not left[0]:
                raise MemoryError("killed")
            return loss(x)

        players[1].loss = dying
        journal = Journal(folder=folder, resume=resume, save_every=4)
        train(net, players, Batches(POINTS, size=8), steps=20, journal=journal)
        return weights_of(net)

    with pytest.raises(MemoryError):
        played(tmp_path, dies=5)
    found = newest(tmp_path / "checkpoint")
    assert found.facts["step"] == 12 and list(found.state["optimisers"]) == ["loss"]
    assert torch.equal(played(tmp_path, resume=True), played(None))


def test_a_small_wasserstein_gan_learns_where_the_data_lie():
    torch.manual_seed(0)
    centre = torch.tensor([2.0, -1.0])
    data = centre + 0.1 * torch.randn(512, 2)
    shift, critic = nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
    game = nn.ModuleList([shift, critic])
    adam = partial(torch.optim.Adam, lr=0.01, betas=(0.0, 0.9))

    def fake(x: torch.Tensor) -> torch.Tensor:
        return shift(0.1 * torch.randn_like(x))

    def criticise(x: torch.Tensor) -> torch.Tensor:
        y = fake(x)
        return (critic(y) - critic(x)).mean() + 10 * gradient_penalty(critic, x, y).mean()

    players = [
        Player(name="critic", owns=[critic], loss=criticise, optimiser=adam, turns=5),
        Player(name="generator", owns=[shift], loss=lambda x: -critic(fake(x)).mean(), optimiser=adam),
    ]
    train(game, players, Batches(data, size=64), steps=300)
    with torch.no_grad():
        drawn = shift(0.1 * torch.randn(1000, 2)).mean(0)
    assert torch.dist(drawn, centre) < 0.2


def test_resumed_weights_are_the_same_to_the_bit(tmp_path):
    whole = play()
    play(tmp_path, steps=40)
    (tmp_path / "again").mkdir()
    game, players = small_game()
    calls = {"left": 45}

    def dying(x: torch.Tensor, loss=players[0].loss) -> torch.Tensor:
        calls["left"] -= 1
        if not calls["left"]:
            raise MemoryError("killed")
        return loss(x)

    players[0].loss = dying
    journal = Journal(folder=tmp_path / "again", save_every=7, log_every=5)
    with pytest.raises(MemoryError):
        train(game, players, Batches(POINTS, size=8), steps=40, journal=journal)
    assert newest(tmp_path / "again" / "checkpoint").facts["step"] == 21
    resumed = play(tmp_path / "again", resume=True)
    assert torch.equal(whole, resumed)
    assert curve(tmp_path) == curve(tmp_path / "again")


KILLED = """
import os, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_training import play
play(Path(sys.argv[1]), steps=4000, resume="resume" in sys.argv)
"""


def test_kill_minus_nine_at_any_moment_loses_nothing(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(KILLED.format(tests=str(Path(__file__).parent)))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, str(script), str(tmp_path / "killed")]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    checkpoints = tmp_path / "killed" / "checkpoint"
    deadline = time.monotonic() + 60
    while not any(checkpoints.glob("00*/checkpoint.json")) and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(int.from_bytes(os.urandom(1), "big") / 1000)
    process.send_signal(signal.SIGKILL)
    process.wait()
    reached = newest(checkpoints).facts["step"]
    assert 0 < reached < 300, "killed somewhere on the way"
    assert torch.equal(play(tmp_path / "killed", steps=300, resume=True), play(steps=300))


def test_a_request_to_stop_finishes_the_step_and_keeps_it(tmp_path):
    game, players = small_game()
    moves = {"count": 0}

    def interrupted(x: torch.Tensor, loss=players[1].loss) -> torch.Tensor:
        moves["count"] += 1
        if moves["count"] == 11:
            signal.raise_signal(signal.SIGINT)
        return loss(x)

    players[1].loss = interrupted
    with pytest.raises(KeyboardInterrupt):
        train(game, players, Batches(POINTS, size=8), steps=42, journal=Journal(folder=tmp_path / "a", log_every=5))
    assert newest(tmp_path / "a" / "checkpoint").facts["step"] == 11
    assert [row[1] for row in curve(tmp_path / "a")] == ["step", *["5"] * 3, *["10"] * 3]
    resumed, whole = play(tmp_path / "a", steps=42, resume=True), play(tmp_path / "b", steps=42)
    assert torch.equal(resumed, whole)
    assert curve(tmp_path / "a") == curve(tmp_path / "b")
    assert [row[1] for row in curve(tmp_path / "b")][-2:] == ["42", "42"], "the last row is of the steps left over"


def test_stages_that_are_done_are_skipped(tmp_path):
    played: list[str] = []

    def stages(fail: bool) -> tuple[nn.ModuleList, list[Stage]]:
        torch.manual_seed(0)
        game = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])

        def loss_of(i: int):
            def loss(x: torch.Tensor) -> torch.Tensor:
                played.append("ab"[i])
                if fail and i == 1 and played.count("b") == 3:
                    raise MemoryError
                return (game[i](x) - x).square().mean()

            return loss

        players = [Player(name=n, owns=[game[i]], loss=loss_of(i)) for i, n in enumerate("ab")]
        return game, [Stage(name=player.name, players=[player], steps=5) for player in players]

    game, plan = stages(fail=True)
    with pytest.raises(MemoryError):
        train_stages(game, plan, Batches(POINTS, size=8), journal=Journal(folder=tmp_path))
    assert "".join(played) == "aaaaabbb"
    played.clear()
    game, plan = stages(fail=False)
    train_stages(game, plan, Batches(POINTS, size=8), journal=Journal(folder=tmp_path, resume=True))
    assert "".join(played) == "bbbbb"
    whole, plan = stages(fail=False)
    train_stages(whole, plan, Batches(POINTS, size=8))
    assert torch.equal(weights_of(game), weights_of(whole))


def test_a_damaged_checkpoint_gives_way_to_the_one_before_it(tmp_path):
    play(tmp_path, steps=21)
    last = sorted((tmp_path / "checkpoint").glob("0*"))[-1]
    with (last / "weights.safetensors").open("r+b") as stream:
        stream.truncate(100)
    assert newest(tmp_path / "checkpoint").facts["step"] == 14
    for path in (tmp_path / "checkpoint").glob("0*/state.pt"):
        path.write_bytes(b"no")
    with pytest.raises(RunError, match=r"no checkpoint .* can be used"):
        newest(tmp_path / "checkpoint")


def test_a_checkpoint_runs_no_code(tmp_path):
    import pickle

    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "owned"),))

    play(tmp_path, steps=7)
    (only,) = (tmp_path / "checkpoint").glob("0*")
    (only / "state.pt").write_bytes(pickle.dumps(Evil()))
    import hashlib
    import json

    facts = json.loads((only / "checkpoint.json").read_text())
    facts["sha256"]["state.pt"] = hashlib.sha256((only / "state.pt").read_bytes()).hexdigest()
    (only / "checkpoint.json").write_text(json.dumps(facts))
    with pytest.raises(RunError):
        newest(tmp_path / "checkpoint")
    assert not (tmp_path / "owned").exists()


def test_a_loss_that_is_no_number_stops_and_names_the_step(tmp_path):
    net = nn.Linear(3, 1)
    steps = iter(range(100))
    player = Player(name="critic", owns=[net], loss=lambda x: net(x).mean() / (0.0 if next(steps) == 12 else 1.0))
    with pytest.raises(TrainingError, match=r"'critic' became -?(inf|nan) at step 12 .* lower the learning rate"):
        train(net, [player], Batches(POINTS, size=8), steps=40, journal=Journal(folder=tmp_path, save_every=5))
    assert newest(tmp_path / "checkpoint").facts["step"] == 10


def test_the_best_weights_on_held_out_normals_are_kept():
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    climbing = Player(name="one", owns=[net], loss=lambda x: -net.weight.sum(), optimiser=SGD)
    stage = Stage(
        name="train", players=[climbing], steps=1000, look_every=1, patience=3,
        watch=lambda: (net.weight.detach() - 0.52).abs().sum(),
    )  # fmt: skip
    train_stages(net, [stage], Batches(POINTS, size=1))
    assert net.weight.item() == pytest.approx(0.5, abs=1e-6)


def test_the_last_weights_are_looked_at_too():
    """Looks after steps 4 and 8 are further from 1 than the one after the tenth and last step."""
    seen: list[float] = []
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)

    def watch() -> torch.Tensor:
        seen.append(net.weight.item())
        return (net.weight.detach() - 1).abs().sum()

    climbing = Player(name="one", owns=[net], loss=lambda x: -net.weight.sum(), optimiser=SGD)
    stage = Stage(name="train", players=[climbing], steps=10, look_every=4, watch=watch)
    train_stages(net, [stage], Batches(POINTS, size=1))
    assert seen == pytest.approx([0.4, 0.8, 1.0])
    assert net.weight.item() == pytest.approx(1.0)


def test_of_a_player_with_an_average_the_best_average_is_kept():
    """w = 0.1, 0.2, ...; a <- (a + w) / 2 is 0.05, 0.125, 0.2125, 0.30625, 0.403125, 0.5015625, 0.60078125, ..."""
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    seen: list[float] = []

    def watch() -> torch.Tensor:
        seen.append(net.weight.item())
        return (net.weight.detach() - 0.52).abs().sum()

    climbing = Player(name="one", owns=[net], loss=lambda x: -net.weight.sum(), optimiser=SGD, ema=0.5)
    stage = Stage(name="train", players=[climbing], steps=1000, look_every=1, patience=2, watch=watch)
    train_stages(net, [stage], Batches(POINTS, size=1))
    assert net.weight.item() == pytest.approx(0.5400000, rel=1e-6)
    averages, average = [], 0.0
    for step in range(8):
        kept = min(0.5, (1 + step) / (10 + step))
        average = kept * average + (1 - kept) * 0.1 * (step + 1)
        averages.append(average)
    assert seen == pytest.approx(averages, rel=1e-6)


def test_two_stages_or_players_of_one_name_are_refused():
    net = nn.Linear(3, 1)
    player = Player(name="one", owns=[net], loss=lambda x: net(x).mean())
    stage = Stage(name="warm", players=[player], steps=1)
    with pytest.raises(TrainingError, match="2 stages are called 'warm'; name them apart"):
        train_stages(net, [stage, stage], Batches(POINTS, size=8))
    with pytest.raises(TrainingError, match="2 players of stage 'train' are called 'one'; name them apart"):
        train(net, [player, player], Batches(POINTS, size=8), steps=1)


def test_the_callers_random_numbers_go_on_undisturbed():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    game = nn.Linear(3, 1)
    torch.manual_seed(5)
    player = Player(name="one", owns=[game], loss=lambda x: game(x + torch.randn_like(x)).square().mean())
    train(game, [player], Batches(POINTS, size=8), steps=3)
    assert torch.equal(torch.rand(3), expected)


# What a person sees


class Told(nn.Module):
    """A line whose loss tells its terms."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(3, 1)

    def loss(self, x):
        square = (self.line(x) + 0.1 * torch.randn(len(x), 1)).square().mean()
        size = self.line.weight.square().sum()
        return square + 0.1 * size, {"square": square, "size": size}


def told_run(folder, glance=None, steps=6, draw=None):
    torch.manual_seed(0)
    game = Told()
    player = Player(name="line", owns=[game], loss=game.loss, optimiser=SGD)
    stage = Stage(name="train", players=[player], steps=steps, glance=glance)
    journal = Journal(folder=folder, log_every=3, save_every=2, draw=draw)
    train_stages(game, [stage], Batches(POINTS, size=4), machine=Machine(device="cpu"), journal=journal)
    return game, curve(folder)[1:]


def test_the_terms_of_a_loss_stand_in_the_curves_beside_it(tmp_path):
    _, rows = told_run(tmp_path)
    values = {(row[1], row[2]): float(row[3]) for row in rows}
    for step in ("3", "6"):
        whole = values[step, "line/square"] + 0.1 * values[step, "line/size"]
        assert values[step, "line"] == pytest.approx(whole, rel=1e-5)
    assert len(values) == 6


def test_a_glance_is_told_with_each_checkpoint_and_changes_nothing(tmp_path, caplog):
    looks, shown = [], []

    def glance():
        torch.rand(5)  # what a glance draws must not shift what the training draws
        looks.append(torch.is_grad_enabled())
        return Glance(figures={"size": len(looks)}, warnings={"one": "look out", "two": f"again {len(looks)}"})

    plain, _ = told_run(tmp_path / "plain")
    seen, rows = told_run(tmp_path / "seen", glance, draw=lambda stage, step, what: shown.append((stage, step)))
    assert torch.equal(plain.line.weight, seen.line.weight) and looks == [False] * 3
    assert [(row[1], row[3]) for row in rows if row[2] == "seen/size"] == [("2", "1"), ("4", "2"), ("6", "3")]
    assert shown == [("train", 2), ("train", 4), ("train", 6)]
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told == ["train, step 2: look out", "train, step 2: again 1"], "each kind of trouble once"


def test_averages_take_the_statistics_of_batch_norm_along() -> None:
    """Weights that are averaged need the running means that belong to them, averaged alike."""
    net = nn.Sequential(nn.BatchNorm1d(1, momentum=0.5))
    batches = [torch.full((2, 1), float(value)) + torch.tensor([[-1.0], [1.0]]) for value in (4, 8)]
    player = Player(name="one", owns=[net], loss=lambda x: net(x).sum() * 0 + net[0].weight.sum(), ema=0.15)
    train(net, [player], batches, steps=2, machine=Machine(device="cpu"))
    after_one, after_two = 0.5 * 4, 0.5 * (0.5 * 4) + 0.5 * 8
    first = 0.9 * after_one  # the first step keeps a tenth of what was before, which was 0
    assert net[0].running_mean.item() == pytest.approx(0.15 * first + 0.85 * after_two)
    assert net[0].num_batches_tracked.item() == 2
