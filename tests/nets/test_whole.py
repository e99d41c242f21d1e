"""Windows over whole images: weights add up to one, nothing changes where the network changes nothing, no seam."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from anomaly.nets.restoring import DiffusionRestorer
from anomaly.nets.whole import OVERLAP, WHOLE, starts_of, weights_of, whole, window_sides


def same(y: Tensor, known: Tensor | None) -> Tensor:
    return y


@pytest.mark.parametrize(("side", "window"), [(200, 64), (65, 64), (64, 64), (300, 128), (33, 32), (17, 16)])
def test_weights_add_up_to_one_at_every_pixel(side: int, window: int) -> None:
    total = torch.zeros(side, dtype=torch.float64)
    starts = starts_of(side, window, 32)
    for start, weight in zip(starts, weights_of(side, window, 32), strict=True):
        total[start : start + len(weight)] += weight
        assert start % 8 == 0
    assert torch.allclose(total, torch.ones(side, dtype=torch.float64), atol=1e-12)
    assert starts[0] == 0
    assert starts[-1] + len(weight) == side
    assert len(weight) <= window


@pytest.mark.parametrize("space", [(150, 97), (48, 40, 21), (40, 200)])
def test_a_network_that_changes_nothing_gives_the_image_back(space: tuple[int, ...]) -> None:
    y = torch.randn(2, 3, *space)
    known = torch.rand(2, 1, *space) > 0.5
    seen: list[tuple[int, ...]] = []

    def watched(part: Tensor, there: Tensor | None) -> Tensor:
        assert there is not None
        assert there.shape[2:] == part.shape[2:]
        seen.append(tuple(part.shape))
        return part

    drawn = whole(watched, y, known, most=4096)
    assert torch.allclose(drawn, y, atol=1e-5)
    assert len(seen) > 1
    assert all(torch.Size(shape[2:]).numel() * shape[0] <= 4096 for shape in seen)


def test_windows_that_disagree_fade_into_one_another_without_a_seam() -> None:
    """Each window is drawn with another constant: between neighbours it changes by a small step at each pixel."""
    count = 0

    def numbered(part: Tensor) -> Tensor:
        nonlocal count
        numbers = torch.arange(count, count + len(part), dtype=part.dtype)
        count += len(part)
        return numbers.view(-1, 1, 1, 1).expand_as(part)

    drawn = whole(numbered, torch.zeros(1, 1, 16, 400), most=16 * 160)
    steps = drawn.diff(dim=-1).abs()
    assert count > 2
    assert float(steps.max()) < 3 / OVERLAP[2]
    assert (drawn == drawn[..., :1, :]).all()


@pytest.mark.parametrize("space", [(90, 150), (44, 52, 21)])
def test_windows_begin_where_halvings_do(space: tuple[int, ...]) -> None:
    """What sees cells of four pixels draws by windows what it draws of the whole, whatever the sides are."""
    pool = F.avg_pool2d if len(space) == 2 else F.avg_pool3d

    def cells(part: Tensor) -> Tensor:
        sides = part.shape[2:]
        padded = F.pad(part, [n for side in reversed(sides) for n in (0, -side % 4)], mode="replicate")
        coarse = F.interpolate(pool(padded, 4), scale_factor=4)
        return coarse[(..., *(slice(side) for side in sides))]

    y = torch.randn(1, 1, *space, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(whole(cells, y, most=4096), cells(y), atol=1e-5)


def test_what_fits_goes_through_at_once() -> None:
    shapes = []

    def watched(part: Tensor) -> Tensor:
        shapes.append(part.shape)
        return part

    whole(watched, torch.zeros(5, 1, 20, 20), most=1000)
    assert [tuple(each) for each in shapes] == [(2, 1, 20, 20), (2, 1, 20, 20), (1, 1, 20, 20)]


def test_windows_shorten_the_longest_sides_first() -> None:
    assert window_sides((160, 160, 24), 160 * 160 * 24) == (160, 160, 24)
    sides = window_sides((512, 512, 24), 2**20)
    assert sides[2] == 24
    assert sides[0] % WHOLE == sides[1] % WHOLE == 0
    assert torch.Size(sides).numel() <= 2**20


def test_windows_are_cut_from_one_field_of_noise() -> None:
    """What looks at each pixel alone draws by windows what it draws of the whole, so the noise is the same."""
    network = DiffusionRestorer((1, 16, 16), width=4, levels=1, draws=3)
    y = torch.randn(2, 1, 90, 70, generator=torch.Generator().manual_seed(1))
    fields = network.noise(y)
    assert fields.shape == (1, 3, 90, 70)
    assert not torch.equal(fields[:, 0], fields[:, 1])

    def noisy(part: Tensor, known: Tensor | None, noise: Tensor) -> Tensor:
        return part + noise.sum(1, keepdim=True)

    drawn = whole(noisy, y, None, fields.expand(2, -1, 90, 70), most=4096)
    assert torch.allclose(drawn, y + fields.sum(1, keepdim=True), atol=1e-5)


def test_a_large_image_is_drawn_out_of_one_field() -> None:
    """By windows that lie apart the same is drawn as of those parts with their noise, and not with that of another."""
    network = DiffusionRestorer((1, 16, 16), width=4, levels=1, steps=2)
    y = torch.zeros(1, 1, 16, 16)
    fields = network.noise(torch.zeros(1, 1, 16, 64))
    left, right = network(y, None, fields[..., :16]), network(y, None, fields[..., 48:])
    assert not torch.allclose(left, right)
    assert torch.equal(network(y), network(y, None, network.noise(y)))


@pytest.mark.parametrize("space", [(150, 97), (48, 40, 21)])
def test_a_network_that_looks_at_each_pixel_alone_gives_its_many_channels_back(space: tuple[int, ...]) -> None:
    """Shares of five classes from two channels: by windows as of the whole, and they add up to 1."""
    weight = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))

    def shares(part: Tensor) -> Tensor:
        return torch.einsum("kc,nc...->nk...", weight, part).softmax(1)

    y = torch.randn(2, 2, *space, generator=torch.Generator().manual_seed(1))
    drawn = whole(shares, y, most=4096)
    assert drawn.shape == (2, 5, *space)
    assert torch.allclose(drawn, shares(y), atol=1e-5)
    assert torch.allclose(drawn.sum(1), torch.ones(2, *space), atol=1e-5)


def test_windows_may_be_smaller_than_memory_asks_for_and_several_go_at_once() -> None:
    y = torch.randn(1, 1, 60, 100, generator=torch.Generator().manual_seed(0))
    seen: list[tuple[int, ...]] = []

    def watched(part: Tensor) -> Tensor:
        seen.append(tuple(part.shape))
        return part

    assert torch.allclose(whole(watched, y, most=10**6, window=(32, 40)), y, atol=1e-5)
    assert max(shape[2:] for shape in seen) == (32, 40)
    assert max(shape[0] for shape in seen) > 1
