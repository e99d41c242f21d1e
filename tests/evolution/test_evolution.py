"""What draws the next visit: its measures against closed forms, and the promises that all learned things keep."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from anomaly.errors import AnomalyError
from anomaly.evolution.depgan import nearest
from anomaly.evolution.evolving import flipped
from anomaly.evolution.measures import dice, soft, temperature_for, volume
from anomaly.evolution.register import FORECASTERS
from anomaly.nets.film import FiLM, FilmedUNet
from anomaly.nets.losses import gradient_penalty
from anomaly.training.journal import Journal
from anomaly.training.machine import Machine

CPU = Machine(device="cpu")
TINY: dict[str, dict[str, Any]] = {
    "dep-gan": {"best": 2, "critic_width": 2, "turns": 1, "batch": 2, "width": 4, "levels": 2, "look_every": 2},
    "difference-unet": {"batch": 2, "width": 4, "levels": 2, "look_every": 2},
}


def visits(dims: int = 2, count: int = 6, masked: bool = False) -> tuple[Tensor, np.ndarray]:
    random = torch.Generator().manual_seed(0)
    x = torch.rand(count, 4, *[8] * dims, generator=random)
    x[:, 2] = 1
    if masked:
        x[:, 2, :3], x[:, :2, :3] = 0, 0
    return x, np.resize([1.0, 2.0], count).astype(np.float32)


def learned(method: str, steps: int = 3, dims: int = 2, seed: int = 0, masked: bool = False, **more: Any) -> Any:
    x, years = visits(dims, masked=masked)
    made = FORECASTERS[method](steps=steps, **TINY[method])
    return made.fit(x, years, held_out=(x[:2], years[:2]), machine=CPU, seed=seed, **more)


def asked(made: Any, dims: int = 2, masked: bool = False, draws: int = 3) -> Tensor:
    x, years = visits(dims, masked=masked)
    return made.forecast(x, torch.from_numpy(years), [f"person {k}" for k in range(len(x))], draws)


def test_soft_measures_have_slopes_and_go_to_the_hard_ones() -> None:
    x = torch.tensor([[[[0.1, 0.4, 0.6, 0.9]]]], requires_grad=True)
    y = torch.tensor([[[[0.1, 0.6, 0.6, 0.9]]]])
    assert float(soft(torch.tensor(0.5), 0.5, 0.1)) == 0.5
    volume(x, 0.5, 0.05).sum().backward()
    assert x.grad is not None and (x.grad > 0).all()
    x.grad = None
    dice(x, y, 0.5, 0.05).sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0
    assert volume(x, 0.5, 0.0).tolist() == [2.0] and dice(x, y, 0.5, 0.0).item() == pytest.approx(4 / 5)
    for temperature, most in ((0.05, 0.3), (0.005, 1e-6)):
        assert abs(volume(x, 0.5, temperature).item() - 2) < most
        assert abs(dice(x, y, 0.5, temperature).item() - 0.8) < most
    assert dice(y, y, 0.5, 0.3).item() == pytest.approx(1)
    nothing = torch.zeros(1, 1, 2, 2)
    assert dice(nothing, nothing, 0.5, 0.0).item() == 1
    assert float(soft(torch.zeros(()), 0.178, temperature_for(0.178))) < 1e-4


def test_what_lies_outside_does_not_count() -> None:
    x, inside = torch.ones(1, 1, 2, 2), torch.tensor([[[[True, False], [False, False]]]])
    assert volume(x, 0.5, 0.0, inside).tolist() == [1.0]


def test_film_changes_nothing_until_it_has_learned_and_then_scales_and_shifts() -> None:
    film, x = FiLM(3, 2), torch.rand(2, 2, 4, 4)
    told = torch.rand(2, 3)
    assert torch.equal(film(x, told), x)
    with torch.no_grad():
        film.linear.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 5.0]))
    found = film(x, told)
    assert torch.allclose(found[:, 0], 2 * x[:, 0]) and torch.allclose(found[:, 1], x[:, 1] + 5)


@pytest.mark.parametrize("space", [(9, 12), (5, 6, 7)])
def test_the_network_takes_any_sides_and_begins_with_no_change(space: tuple[int, ...]) -> None:
    net = FilmedUNet((2, *space), out=1, told=3, widths=[4, 8, 16])
    assert torch.equal(net(torch.rand(2, 2, *space), torch.rand(2, 3)), torch.zeros(2, 1, *space))


def test_the_nearest_of_several_draws_is_each_images_own() -> None:
    noise = torch.arange(12.0).view(3, 2, 2)
    costs = torch.tensor([[3.0, 1.0], [2.0, 5.0], [4.0, 0.5]])
    assert torch.equal(nearest(noise, costs), torch.stack([noise[1, 0], noise[2, 1]]))


def test_penalty_of_a_linear_critic_is_by_its_slope() -> None:
    weight = torch.full((4,), 1.5)  # slope of length 3
    x, y = torch.rand(5, 1, 2, 2), torch.rand(5, 1, 2, 2)
    assert torch.allclose(gradient_penalty(lambda z: z.flatten(1) @ weight, x, y), torch.full((5,), 4.0))


@pytest.mark.parametrize("method", TINY)
@pytest.mark.parametrize("dims", [2, 3])
def test_same_seed_same_maps_and_a_file_says_all(tmp_path: Path, method: str, dims: int) -> None:
    first, second = (learned(method, dims=dims) for _ in range(2))
    drawn = asked(first, dims)
    assert torch.equal(drawn, asked(second, dims)) and drawn.abs().sum() > 0
    assert len(drawn) == (3 if method == "dep-gan" else 1)
    first.save(tmp_path / "weights.safetensors")
    assert torch.equal(drawn, asked(FORECASTERS[method].load(tmp_path / "weights.safetensors"), dims))
    assert not torch.equal(drawn, asked(learned(method, dims=dims, seed=1), dims))


@pytest.mark.parametrize("method", TINY)
def test_a_forecast_does_not_depend_on_its_batch_and_stays_in_range(method: str) -> None:
    made, (x, years) = learned(method), visits()
    whole = asked(made)
    one = made.forecast(x[3:4], torch.from_numpy(years[3:4]), ["person 3"], 3)
    assert torch.allclose(whole[:, 3:4], one, atol=1e-6)
    after = x[:, :1] + whole
    assert after.min() >= 0 and after.max() <= 1
    other = x.clone()
    other[:, 1] = 0  # the next visit is not looked at
    assert torch.equal(made.forecast(other, torch.from_numpy(years), [f"person {k}" for k in range(6)], 3), whole)


@pytest.mark.parametrize("method", TINY)
def test_outside_of_what_counts_nothing_changes(tmp_path: Path, method: str) -> None:
    made = learned(method, masked=True)
    drawn = asked(made, masked=True)
    assert drawn[..., :3, :].abs().sum() == 0 and drawn.abs().sum() > 0
    made.save(tmp_path / "weights.safetensors")
    assert torch.equal(asked(FORECASTERS[method].load(tmp_path / "weights.safetensors"), masked=True), drawn)


@pytest.mark.parametrize("method", TINY)
def test_a_training_that_was_stopped_goes_on_exactly(tmp_path: Path, method: str) -> None:
    class Stopped(Exception):
        pass

    whole = asked(learned(method, steps=6, journal=Journal(folder=tmp_path / "whole", save_every=2)))
    looks = []

    def stop(*_: Any) -> None:
        looks.append(1)
        if len(looks) == 2:
            raise Stopped

    with pytest.raises(Stopped):
        learned(method, steps=6, journal=Journal(folder=tmp_path / "cut", save_every=2, draw=stop))
    resumed = learned(method, steps=6, journal=Journal(folder=tmp_path / "cut", save_every=2, resume=True))
    assert torch.equal(asked(resumed), whole)


def test_time_plays_a_part_only_where_it_varies() -> None:
    x, years = visits()
    made = learned("difference-unet", steps=20)
    names = ["a"] * len(x)
    longer = made.forecast(x, torch.from_numpy(years + 1), names)
    assert not torch.equal(longer, made.forecast(x, torch.from_numpy(years), names))
    even = np.ones(len(x), dtype=np.float32)
    same = FORECASTERS["difference-unet"](steps=3, **TINY["difference-unet"])
    same.fit(x, even, held_out=(x, even), machine=CPU)
    ones, threes = torch.ones(len(x)), torch.full((len(x),), 3.0)
    assert torch.equal(same.forecast(x, ones, names), same.forecast(x, threes, names))


def test_a_change_that_is_plain_to_see_is_learned() -> None:
    x, years = visits(count=16)
    x[:, 1] = (x[:, 0] + 0.3 * (x[:, 3] > 0.5)).clamp(0, 1)  # grows where the image is bright
    made = FORECASTERS["difference-unet"](steps=200, batch=8, width=8, levels=2, lr=5e-3, look_every=50)
    made.fit(x, years, held_out=(x, years), machine=CPU)
    drawn = made.forecast(x, torch.from_numpy(years), [""] * len(x))[0]
    before = (x[:, 1:2] - x[:, :1]).abs().mean()
    assert (drawn - (x[:, 1:2] - x[:, :1])).abs().mean() < before / 2


def test_flips_keep_what_belongs_together() -> None:
    torch.manual_seed(0)
    x = torch.rand(8, 1, 4, 4)
    both = flipped(torch.cat([x, 2 * x], 1))
    assert torch.equal(both[:, 1], 2 * both[:, 0]) and not torch.equal(both[:, :1], x)


def test_wrong_shapes_and_settings_are_named() -> None:
    x, years = visits()
    made = FORECASTERS["dep-gan"](steps=1, **TINY["dep-gan"])
    with pytest.raises(AnomalyError, match="has learned nothing yet"):
        made.forecast(x, torch.from_numpy(years), [""] * 6)
    with pytest.raises(AnomalyError, match="expected pairs"):
        made.fit(x[:, :2], years, held_out=(x, years))
    with pytest.raises(AnomalyError, match="each above 0"):
        made.fit(x, years * 0, held_out=(x, years))
    with pytest.raises(AnomalyError, match="prepare them in the same way"):
        learned("dep-gan", steps=1).forecast(x[..., :4], torch.from_numpy(years), [""] * 6)
    with pytest.raises(AnomalyError, match="threshold must be below 1"):
        FORECASTERS["dep-gan"](threshold=1.0)
