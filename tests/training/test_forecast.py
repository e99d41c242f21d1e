"""What is filled in where nobody set it, and what a training is said to take."""

import pytest
import torch
from torch import nn

from anomaly.detectors import Autoencoder, FAnoGAN, OwnFeatures
from anomaly.training import computer, forecast
from anomaly.training.amounts import halved, told
from anomaly.training.games import Player, Stage
from anomaly.training.machine import Machine

CPU = Machine(device="cpu")


@pytest.mark.parametrize(
    ("batch", "count", "processes", "expected"), [(64, 1000, 1, 64), (64, 40, 1, 32), (4, 5, 1, 4), (64, 1, 3, 3)]
)
def test_a_batch_is_halved_until_there_are_as_many_images(batch: int, count: int, processes: int, expected: int):
    assert halved(batch, count, processes) == expected


def test_volumes_take_fewer_steps_of_fewer_images_and_what_is_set_stays() -> None:
    flat, deep, own = Autoencoder(), Autoencoder(), Autoencoder(steps=7, batch=3)
    flat.fill_in((1, 64, 64), 500)
    deep.fill_in((1, 64, 64, 64), 5)
    own.fill_in((1, 64, 64, 64), 5)
    assert [(each.steps, each.batch) for each in (flat, deep, own)] == [(1000, 64), (400, 4), (7, 3)]
    assert told(Autoencoder, "batch") == "0 takes 64 at most, of volumes 4"
    assert told(FAnoGAN, "width") == "0 takes 64, of volumes 16" and told(OwnFeatures, "width") == ""


def test_the_memory_of_a_step_is_counted_and_the_time_is_of_all_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    game = nn.Sequential(nn.Linear(1000, 1, bias=False), nn.Flatten())
    monkeypatch.setattr(forecast, "resident", lambda machine: 0.0)
    player = Player(name="one", owns=[game], loss=lambda x: game(x).mean())
    x = torch.ones(8, 1000)
    found = forecast.of_stages(game, [Stage(name="a", players=[player], steps=10)], x, 0.5, CPU)
    assert found.steps == 10 and found.seconds > 0
    assert found.memory == pytest.approx(forecast.ADAM * 4000 + forecast.WORKSPACE * 2 * x.nbytes, rel=0.01)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "a second"), (80, "80 seconds"), (125, "2.1 minutes"), (5400, "1.5 hours"), (1e6, "12 days")],
)
def test_a_time_is_said_as_a_person_says_it(seconds: float, words: str) -> None:
    assert forecast.in_minutes(seconds) == words


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, (4096 * 1024, 1024 * 1024)),
        ({"memory.max": "max"}, (4096 * 1024, 1024 * 1024)),
        ({"memory.max": "2097152", "memory.current": "1572864"}, (2 * 2**20, 2**19)),
        ({"memory/memory.limit_in_bytes": "9223372036854771712"}, (4096 * 1024, 1024 * 1024)),
        ({"memory/memory.limit_in_bytes": "2097152", "memory/memory.usage_in_bytes": "4096"}, (2 * 2**20, 2**20)),
    ],
)
def test_memory_is_that_of_the_machine_or_of_its_container(tmp_path, monkeypatch, files, expected) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "meminfo").write_text("MemTotal: 4096 kB\nMemAvailable: 1024 kB\nHugePages_Total: 0\n")
    for name, text in files.items():
        (tmp_path / name).write_text(f"{text}\n")
    monkeypatch.setattr(computer, "MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(computer, "CONTROL", tmp_path)
    assert computer.memory() == expected
