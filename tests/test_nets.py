"""Networks: steps taken together equal steps taken one by one, and the published sizes."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from anomaly.nets import convolutional, residual
from anomaly.nets.layers import CONVOLVE, MEAN_POOL, ConvolutionThenHalve, DoubleThenConvolution

SPACES = {2: (6, 10), 3: (4, 6, 8)}
SIZES = [(1, 64, 64), (2, 18, 20), (1, 10, 12, 9), (1, 5, 40)]


def drawn(layer: nn.Module) -> nn.Module:
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    return layer


@pytest.mark.parametrize("dims", SPACES)
def test_convolution_and_halving_in_one_step_are_the_two_in_turn(dims):
    torch.manual_seed(0)
    layer, x = drawn(ConvolutionThenHalve(dims, 2, 3)), torch.randn(2, 2, *SPACES[dims])
    expected = MEAN_POOL[dims](CONVOLVE[dims](x, layer.weight, layer.bias, padding=1), 2)
    torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dims", SPACES)
def test_doubling_and_convolution_in_one_step_are_the_two_in_turn(dims):
    torch.manual_seed(0)
    layer, x = drawn(DoubleThenConvolution(dims, 2, 3)), torch.randn(2, 2, *SPACES[dims])
    expected = CONVOLVE[dims](F.interpolate(x, scale_factor=2), layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-5)


def test_a_residual_block_is_its_published_layers():
    """Gulrajani et al. 2017: norm, rectifier, convolution, norm, rectifier, convolution, mean of 2 x 2; shortcut."""
    torch.manual_seed(0)
    block, x = residual.DownBlock(2, 3, 5, "layer"), torch.randn(2, 3, 8, 8)
    first, second = block.residual[0], block.residual[3]
    drawn(first), drawn(second)

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
