"""The layers that speed is compared with: of the same weights they give the same numbers as ours."""

import copy

import pytest
import torch
from torch import nn

from anomaly.nets.classifiers import SidesCritic
from anomaly.nets.pyramid import ConvolutionThenHalve, DoubleThenConvolution, Folded
from anomaly.nets.styled import Modulated, doubled
from anomaly.nets.stylegan import Halving, StyleCritic, StyleGenerator
from anomaly.nets.unet import UNet
from benchmarks.plain_layers import FilteredSynthesis, Strided, ThenPool, doubled_by_filter, filtered, unfolded

INSIDE = (..., slice(4, -4), slice(4, -4))
SPACES = {2: (16, 24), 3: (8, 16, 8)}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("dims", SPACES)
def test_networks_unfolded_give_the_same(dims: int) -> None:
    shape, x = (1, *SPACES[dims]), torch.randn(2, 1, *SPACES[dims])
    unet = UNet(shape, out=2, widths=[2, 4, 8], norm="instance")
    for parameter in unet.leave.parameters():
        nn.init.normal_(parameter)
    for net in (unet, SidesCritic(shape, width=2, lean=True)):
        plain = unfolded(copy.deepcopy(net))
        assert not any(isinstance(part, Folded) for part in plain.modules())
        assert sum(p.numel() for p in plain.parameters()) == sum(p.numel() for p in net.parameters())
        torch.testing.assert_close(plain(x), net(x), rtol=1e-4, atol=1e-5)
        assert net(x).abs().max() > 1e-3


def test_a_strided_convolution_sees_every_other_place() -> None:
    layer = ConvolutionThenHalve((2, 2), 1, 1)
    nn.init.ones_(layer.weight)
    x = torch.zeros(1, 1, 4, 4)
    x[0, 0, 1, 1] = 1.0
    expected = torch.ones(1, 1, 2, 2)  # the first rows and columns asked are -1, 0, 1; the second 1, 2, 3
    assert torch.equal(Strided(layer)(x), expected)
    assert torch.equal(ThenPool(layer)(x), torch.tensor([[[[1.0, 0.5], [0.5, 0.25]]]]))


def test_doubling_layers_are_replaced_too() -> None:
    doubling = DoubleThenConvolution((2, 1), 2, 3, bias=False)
    nn.init.normal_(doubling.weight)
    layer = nn.Sequential(doubling)
    x = torch.randn(2, 2, 5, 6)
    torch.testing.assert_close(unfolded(copy.deepcopy(layer))(x), layer(x))


@torch.no_grad()
def test_the_references_filters_give_the_same_within_the_image() -> None:
    grows = Modulated(2, 3, 5, 3, latent=4, factors=(2, 2))
    w, x = torch.randn(2, 4), torch.randn(2, 3, 12, 12)
    (ours, factor), (plain, other) = grows(x, w), filtered(copy.deepcopy(grows))(x, w)
    assert factor is not None and ours.shape == plain.shape == (2, 5, 24, 24)
    torch.testing.assert_close(plain[INSIDE], ours[INSIDE], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(other, factor)
    halves = Halving(3, 5, (2, 2))
    torch.testing.assert_close(
        filtered(copy.deepcopy(halves))(x)[:, :, 2:-2, 2:-2], halves(x)[:, :, 2:-2, 2:-2], rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(doubled_by_filter(x)[INSIDE], doubled(x, (2, 2))[INSIDE], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_stylegan_with_the_references_filters_draws_and_judges_images_of_the_same_size() -> None:
    shape = (1, 16, 16)
    generator = filtered(StyleGenerator(shape, latent=8, width=2, widest=4)).synthesis
    assert isinstance(generator, FilteredSynthesis) and generator(torch.randn(2, 8)).shape == (2, *shape)
    assert filtered(StyleCritic(shape, latent=8, width=2, widest=4))(torch.randn(4, *shape)).shape == (4,)
