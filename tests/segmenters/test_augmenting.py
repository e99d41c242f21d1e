"""Windows and label maps move alike, intensities change alone, masks stay masks, and a seed says all."""

import pytest
import torch
from torch import Tensor

from anomaly.segmenters import augmenting, scanners
from anomaly.segmenters.augmenting import Augmenting, fetched, mirrored, strongly
from tests.squares_marked import squares

SPACES = [(24, 40), (16, 20, 12)]


def drawn(augment: Augmenting, x: Tensor, places: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)
    return augment(x, places)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("strength", ["weak", "strong"])
def test_labels_go_where_their_pixels_go(space: tuple[int, ...], strength: str) -> None:
    """An image that is its own label map still is one, but for the rims."""
    _, places = squares(4, space, 0)
    x = places[:, None].float() / 2
    torch.manual_seed(0)
    moved, marks = Augmenting(strength=strength, flips=True).placed(x, places)
    agree = (moved[:, 0] * 2 - marks).abs() < 0.5
    assert float(agree.float().mean()) > 0.97
    assert float((marks != places).float().mean()) > 0.02
    assert marks.dtype == torch.int64
    assert set(marks.unique().tolist()) <= {0, 1, 2}


@pytest.mark.parametrize("space", SPACES)
def test_the_same_seed_draws_the_same_and_images_differ(space: tuple[int, ...]) -> None:
    x, places = squares(1, space, 1)
    x, places = x.repeat(3, *[1] * (x.ndim - 1)), places.repeat(3, *[1] * (places.ndim - 1))
    first, second, other = (drawn(Augmenting(), x, places, seed) for seed in (0, 0, 1))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], other[0])
    assert not torch.equal(first[0][0], first[0][1])
    assert float(first[0].abs().max()) <= 1


def test_none_changes_nothing() -> None:
    x, places = squares(2, (24, 40), 1)
    moved, marks = Augmenting(strength="none")(x, places)
    assert moved is x
    assert marks is places


def test_a_turn_keeps_angles_in_windows_that_are_no_squares(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a quarter: the middle of the right edge is fetched from as many pixels below, or above, the centre."""
    for name in ("SCALE", "SHIFT"):
        monkeypatch.setattr(augmenting, name, 0.0)
    monkeypatch.setattr(augmenting, "TURN", torch.pi / 2)
    monkeypatch.setattr(augmenting, "drawn", lambda x, count: torch.ones(len(x), count))
    grid = fetched(torch.zeros(1, 1, 21, 41))
    across, down = (grid[0, 10, 15] * torch.tensor([41, 21]) / 2).tolist()  # five pixels left of the centre
    assert across == pytest.approx(0, abs=1e-4)
    assert abs(down) == pytest.approx(5, abs=1e-4)


def test_thick_slices_are_turned_within_themselves_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SCALE", "SHIFT"):
        monkeypatch.setattr(augmenting, name, 0.0)
    grid = fetched(torch.zeros(2, 1, 4, 24, 20))
    places = (torch.arange(4) + 0.5) / 2 - 1
    assert torch.allclose(grid[..., 2], places.view(1, 4, 1, 1).expand(2, 4, 24, 20), atol=1e-5)
    assert not torch.allclose(grid[0, ..., 1], grid[0, :, :, :1, 1].expand(4, 24, 20), atol=1e-3)


def test_turns_are_those_of_the_body_and_long_pixels_are_not_turned_into_short_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows are twice as far apart as columns: by a quarter, six columns away lies where three rows away were."""
    for name in ("SCALE", "SHIFT"):
        monkeypatch.setattr(augmenting, name, 0.0)
    monkeypatch.setattr(augmenting, "TURN", torch.pi / 2)
    monkeypatch.setattr(augmenting, "drawn", lambda x, count: torch.ones(len(x), count))
    grid = fetched(torch.zeros(1, 1, 21, 41), spacing=(2.0, 1.0))
    across, down = (grid[0, 10, 14] * torch.tensor([41, 21]) / 2).tolist()
    assert across == pytest.approx(0, abs=1e-4)
    assert abs(down) == pytest.approx(3, abs=1e-4)
    still = fetched(torch.zeros(1, 1, 24, 24), spacing=(5.0, 1.0))
    assert torch.allclose(still, fetched_by_none(24), atol=1e-5)


def fetched_by_none(side: int) -> Tensor:
    along = (torch.arange(side) + 0.5) * 2 / side - 1
    return torch.stack(torch.meshgrid(along, along, indexing="xy"), -1)[None]


def test_mirrored_is_an_exact_flip_of_both() -> None:
    x, places = squares(64, (8, 10), 3)
    torch.manual_seed(0)
    moved, marks = mirrored(x, places)
    ways = [(), (1,), (2,), (1, 2)]
    found = [
        next(i for i, way in enumerate(ways) if torch.equal(moved[k, 0], x[k, 0].flip([axis - 1 for axis in way])))
        for k in range(64)
    ]
    assert set(found) == {0, 1, 2, 3}
    assert all(torch.equal(marks[k], places[k].flip([a - 1 for a in ways[i]])) for k, i in enumerate(found))


@pytest.mark.parametrize("space", SPACES)
def test_masks_stay_masks(space: tuple[int, ...]) -> None:
    x, places = squares(3, space, 4)
    inside = torch.zeros(3, 1, *space, dtype=torch.bool)
    inside[(slice(None), slice(None), *(slice(side // 4, -side // 4) for side in space))] = True
    x = torch.where(inside, x.clamp_min(-0.9), -1)
    strong = strongly(x, masked=True)
    assert torch.equal(strong > -1, inside)
    torch.manual_seed(0)
    moved, _ = Augmenting(masked=True).placed(x, places)
    assert float((moved == -1).float().mean()) > 0.2
    assert float(moved[moved > -1].min()) >= float(x[inside].min()) - 1e-3  # nothing of outside is mixed in


@pytest.mark.parametrize("change", [scanners.blurred, scanners.coarser, scanners.contrasted, scanners.bent])
def test_what_lies_outside_has_no_say(change: object) -> None:
    x, _ = squares(2, (24, 30), 5)
    inside = torch.zeros(2, 1, 24, 30, dtype=torch.bool)
    inside[:, :, 4:20, 5:25] = True
    found = []
    for outside in (-1.0, 9.0):
        torch.manual_seed(0)
        found.append(change(torch.where(inside, x, outside), inside)[inside.expand(2, 1, 24, 30)])  # type: ignore[operator]
    assert torch.allclose(*found, atol=1e-4)


def test_each_change_by_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanners, "uniform", lambda x: torch.ones(len(x)))
    x = torch.tensor([[[[-0.5, 0.0, 0.5]]]])
    power = torch.tensor(scanners.GAMMA).exp()
    assert torch.allclose(scanners.bent(x, None).flatten(), torch.tensor([-0.5, float(0.5**power) - 0.5, 0.5]))
    contrast = float(torch.tensor(scanners.CONTRAST).exp())
    expected = torch.tensor([-0.5 * contrast, 0.0, 0.5 * contrast]) + scanners.LIGHT
    assert torch.allclose(scanners.contrasted(x, None).flatten(), expected)
    assert torch.allclose(scanners.shaded(torch.full((1, 1, 8, 8), -1.0), None), torch.tensor(-1.0))
    flat = torch.full((2, 1, 8, 8), 0.3)
    for change in (scanners.blurred, scanners.coarser):
        assert torch.allclose(change(flat, None), flat, atol=1e-5)
