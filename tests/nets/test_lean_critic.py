"""The lean critic: images of any shape, each by itself, wherever things lie."""

import pytest
import torch
from torch import Tensor

from anomaly.nets.classifiers import SidesCritic
from anomaly.nets.critics import LeanCritic

SHAPES = [(1, 32, 32), (2, 33, 21), (1, 1, 40), (1, 3, 3), (1, 16, 18, 20), (1, 17, 24, 3), (2, 24, 20, 1)]


def images(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_gets_a_number_an_image_that_depends_on_no_other(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = images(shape).requires_grad_()
    critic = LeanCritic(shape, width=2)
    judged = critic(x)
    assert judged.shape == (3,) and judged.isfinite().all() and len(set(judged.tolist())) == 3
    torch.testing.assert_close(critic(x[1:2]), judged[1:2])
    (slope,) = torch.autograd.grad(judged.sum(), x)
    assert (slope.flatten(1).abs().sum(1) > 0).all()
    assert SidesCritic(shape, width=2, lean=True)(x).shape == (3, 3)


@pytest.mark.parametrize("shape", [(1, 256, 40), (1, 256, 16, 2)])
def test_where_something_lies_plays_no_part(shape: tuple[int, ...]) -> None:
    """It halves four times, and one number of its map sees 108 pixels: further from edges, 16 pixels change nothing."""
    torch.manual_seed(0)
    critic = LeanCritic(shape, width=2).double()
    empty = torch.full((1, *shape), -1.0, dtype=torch.float64)
    here, there, between = empty.clone(), empty.clone(), empty.clone()
    here[:, :, 117:124, 5:10] = there[:, :, 133:140, 5:10] = between[:, :, 122:129, 5:10] = 1.0
    with torch.no_grad():
        of_empty, of_here, of_there, of_between = (critic(x).item() for x in (empty, here, there, between))
    effect = abs(of_here - of_empty)
    assert abs(of_here - of_there) < 1e-9 * effect
    assert 0 < abs(of_here - of_between) < effect  # within a pixel of the map it is not exact


def test_deep_layers_are_no_wider_than_eight_times() -> None:
    critic = LeanCritic((1, 128, 128), width=3)
    assert critic.head.in_channels == 24 and critic.multiples == (16, 16)
    assert sum(each.numel() for each in critic.parameters()) < 50_000
