"""Networks: steps taken together equal steps taken one by one, and the published sizes."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from anomaly.nets import convolutional, residual
from anomaly.nets.pyramid import CONVOLVE, MEAN_POOL, ConvolutionThenHalve, DoubleThenConvolution, Pyramid
from anomaly.nets.unet import UNet

FACTORS = [(2, 2), (2, 1), (2, 2, 2), (1, 2, 1)]
SPACES = {2: (6, 10), 3: (4, 6, 8)}
SIZES = [(1, 64, 64), (2, 18, 20), (1, 10, 12, 9), (1, 5, 40), (1, 33, 17, 6)]


def drawn(layer: nn.Module) -> nn.Module:
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    return layer


@pytest.mark.parametrize("factors", FACTORS)
def test_convolution_and_halving_in_one_step_are_the_two_in_turn(factors):
    torch.manual_seed(0)
    dims = len(factors)
    layer, x = drawn(ConvolutionThenHalve(factors, 2, 3)), torch.randn(2, 2, *SPACES[dims])
    expected = MEAN_POOL[dims](CONVOLVE[dims](x, layer.weight, layer.bias, padding=1), factors)
    torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("factors", FACTORS)
def test_doubling_and_convolution_in_one_step_are_the_two_in_turn(factors):
    torch.manual_seed(0)
    dims = len(factors)
    layer, x = drawn(DoubleThenConvolution(factors, 2, 3)), torch.randn(2, 2, *SPACES[dims])
    doubled = F.interpolate(x, scale_factor=[float(each) for each in factors])
    expected = CONVOLVE[dims](doubled, layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-5)


def test_a_residual_block_is_its_published_layers():
    """Gulrajani et al. 2017: norm, rectifier, convolution, norm, rectifier, convolution, mean of 2 x 2; shortcut."""
    torch.manual_seed(0)
    block, x = residual.DownBlock((2, 2), 3, 5, "layer"), torch.randn(2, 3, 8, 8)
    first, second = block.residual[0], block.residual[3]
    drawn(block)

    def layer_norm(y, layer):
        gain, bias = layer.weight[:, None, None], layer.bias[:, None, None]
        return F.layer_norm(y, y.shape[1:]) * gain + bias

    y = F.conv2d(layer_norm(x, first).relu(), block.residual[2].weight, padding=1)
    y = F.conv2d(layer_norm(y, second).relu(), block.residual[5].weight, block.residual[5].bias, padding=1)
    expected = F.avg_pool2d(y, 2) + F.conv2d(F.avg_pool2d(x, 2), block.shortcut.weight, block.shortcut.bias)
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)


def test_published_sizes():
    generator = residual.Generator((1, 64, 64), latent=128, width=64)
    blocks = [layer for layer in generator.layers if isinstance(layer, residual.UpBlock)]
    assert [block.shortcut.in_channels for block in blocks] == [512, 512, 256, 128]
    assert [block.shortcut.out_channels for block in blocks] == [512, 256, 128, 64]
    critic = residual.Critic((1, 64, 64), width=64)
    blocks = [layer for layer in critic.trunk.layers if isinstance(layer, residual.DownBlock)]
    assert [block.shortcut.out_channels for block in blocks] == [128, 256, 512, 512]
    assert critic.trunk.features == 4 * 4 * 512
    volumes = convolutional.Critic((1, 64, 64, 64), width=64)
    widths = [layer.out_channels for layer in volumes.trunk.layers if isinstance(layer, nn.Conv3d)]
    assert widths == [64, 128, 256, 512] and volumes.trunk.features == 512 * 4**3
    drawn_by = convolutional.Generator((1, 64, 64, 64), latent=1000, width=64)
    widths = [layer.weight.shape[0] for layer in drawn_by.layers if isinstance(layer, DoubleThenConvolution)]
    assert widths == [256, 128, 64, 1]


def test_weights_begin_with_the_published_spread():
    torch.manual_seed(0)
    generator = residual.Generator((1, 32, 32), latent=128, width=64)
    block = next(layer for layer in generator.layers if isinstance(layer, residual.UpBlock))
    assert block.residual[5].weight.std().item() == pytest.approx((4 / (9 * (256 + 256))) ** 0.5, rel=0.02)
    assert block.shortcut.weight.std().item() == pytest.approx((2 / (512 + 256)) ** 0.5, rel=0.02)
    assert not block.shortcut.bias.any()


@pytest.mark.parametrize("nets", [residual, convolutional])
@pytest.mark.parametrize("shape", SIZES)
def test_every_size_comes_back_and_a_critic_sees_each_image_by_itself(nets, shape):
    torch.manual_seed(0)
    generator, critic = nets.Generator(shape, latent=3, width=4), nets.Critic(shape, width=4)
    encoder = nets.Encoder(shape, latent=3, width=4).eval()
    x = generator(torch.randn(3, 3))
    assert x.shape == (3, *shape) and x.abs().max() <= 1
    assert encoder(x).shape == (3, 3) and critic(x).shape == (3,)
    assert critic.training
    torch.testing.assert_close(critic(x[:1]), critic(x)[:1], rtol=1e-4, atol=1e-5)
    assert critic.head(critic.features(x)).squeeze(1).tolist() == pytest.approx(critic(x).tolist(), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    ("space", "padded", "bottom", "factors"),
    [
        ((64, 64), (64, 64), (4, 4), [(2, 2)] * 4),
        ((63, 33), (64, 40), (4, 5), [(2, 1), *[(2, 2)] * 3]),
        ((160, 160, 24), (160, 160, 24), (5, 5, 6), [(2, 2, 1)] * 3 + [(2, 2, 2)] * 2),
        ((5, 7), (6, 8), (3, 4), [(2, 2)]),
        ((28, 3), (28, 3), (7, 3), [(2, 1)] * 2),
    ],
)
def test_each_axis_is_halved_by_itself_the_longest_first(space, padded, bottom, factors):
    pyramid = Pyramid.of(space)
    assert (pyramid.padded, pyramid.bottom, list(pyramid.factors)) == (padded, bottom, factors)
    x = torch.rand(1, 1, *space)
    assert pyramid.pad(x).shape[2:] == padded
    assert torch.equal(pyramid.pad(x)[(..., *(slice(side) for side in space))], x)


@pytest.mark.parametrize("nets", [residual, convolutional])
def test_padding_by_a_pixel_and_thick_slices_cost_nothing_out_of_proportion(nets):
    def size(*space):
        with torch.device("meta"):
            made = (nets.Generator((1, *space), latent=64, width=64), nets.Critic((1, *space), width=64))
        return sum(parameter.numel() for net in made for parameter in net.parameters())

    assert size(63, 63) == size(64, 64)
    assert size(160, 160, 24) < 3 * size(64, 64, 64)


@pytest.mark.parametrize("shape", [(1, 9, 8), (2, 5, 6, 7)])
def test_a_u_net_of_one_level_halves_nothing(shape):
    net = UNet(shape, out=3, widths=(4,))
    assert net(torch.randn(2, *shape)).shape == (2, 3, *shape[1:])
