"""Networks that draw one image from another: shapes, what they are made of, and dropout that all images share."""

import pytest
import torch
from torch import Tensor, nn

from anomaly.nets.translators import (
    CasNet,
    ResidualEncoderDecoder,
    StridedUNet,
    UNetTranslator,
    dropouts,
    halvings_to_one,
    reach,
    same_dropout,
)

SHAPES = {"2D": (1, 18, 20), "two channels": (2, 33, 7), "3D": (1, 10, 12, 9), "thick slices": (1, 24, 22, 3)}
NETWORKS = {
    "unet": lambda shape, dropout: UNetTranslator(shape, width=4, dropout=dropout),
    "pix2pix": lambda shape, dropout: StridedUNet(shape, width=4, dropout=dropout),
    "medgan": lambda shape, dropout: CasNet(shape, width=4, blocks=2, dropout=dropout),
    "redcnn": lambda shape, dropout: ResidualEncoderDecoder(shape, width=4),
}
named = pytest.mark.parametrize("name", NETWORKS)
shaped = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def made(name: str, shape: tuple[int, ...], dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    return NETWORKS[name](shape, dropout)


def stirred(net: nn.Module) -> nn.Module:
    """The network, as if it had learned something."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)) * 0.1)
    return net.eval()


def images(n: int, shape: tuple[int, ...]) -> Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


@named
@shaped
def test_draws_images_as_large_as_it_was_given(name: str, shape: tuple[int, ...]) -> None:
    x = images(2, shape)
    net = made(name, shape)
    assert torch.equal(net(x), torch.zeros_like(x))
    drawn = stirred(net)(x)
    assert drawn.shape == x.shape and drawn.std() > 0


@named
@shaped
def test_all_of_it_takes_part(name: str, shape: tuple[int, ...]) -> None:
    net = stirred(made(name, shape))
    net(images(2, shape)).square().sum().backward()
    still = [key for key, parameter in net.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert not still


@named
@shaped
def test_encoded_has_the_channels_it_says(name: str, shape: tuple[int, ...]) -> None:
    net = made(name, shape)
    encoded = net.encoded(images(2, shape))
    assert [each.shape[1] for each in encoded] == list(net.seen)
    assert len(encoded[0][0, 0].flatten()) >= len(encoded[-1][0, 0].flatten())


def test_pix2pix_is_that_of_the_paper() -> None:
    net = StridedUNet((3, 256, 256), width=64, dropout=0.5)
    assert net.seen == [64, 128, 256, 512, 512, 512, 512, 512]
    with torch.no_grad():
        encoded = net.encoded(torch.zeros(1, 3, 256, 256))
    assert [each.shape[2] for each in encoded] == [128, 64, 32, 16, 8, 4, 2, 1]
    entering = [layer.weight.shape[:2] for layer in [*net.rise, net.leave]]
    assert entering == [
        (512, 512), (1024, 512), (1024, 512), (1024, 512), (1024, 256), (512, 128), (256, 64), (128, 3),
    ]  # fmt: skip
    assert [any(isinstance(layer, nn.Dropout) for layer in after) for after in net.after] == [True] * 3 + [False] * 4


def test_short_axes_are_halved_in_the_deepest_layers() -> None:
    assert halvings_to_one((16, 16)) == [(2, 2)] * 4
    assert halvings_to_one((33, 5)) == [(2, 1)] * 3 + [(2, 2)] * 2
    assert halvings_to_one((12, 8, 3)) == [(2, 2, 1), (2, 2, 1), (2, 2, 2)]


def test_cascade_hands_images_on() -> None:
    net = stirred(CasNet((1, 9, 8), width=4, blocks=3, dropout=0.0))
    x = images(2, (1, 9, 8))
    first, second, third = net.blocks
    torch.testing.assert_close(net(x), third(torch.tanh(second(torch.tanh(first(x))))))
    begun = CasNet((1, 9, 8), width=4, blocks=2, dropout=0.0)
    assert begun.blocks[0](x).abs().max() > 0


def test_red_cnn_has_no_padding_and_two_shortcuts() -> None:
    net = ResidualEncoderDecoder((1, 30, 25), width=4)
    assert [tuple(each.shape[2:]) for each in net.encoded(images(1, (1, 30, 25)))] == [
        (26, 21), (22, 17), (18, 13), (14, 9), (10, 5),
    ]  # fmt: skip
    assert sum(p.numel() for p in ResidualEncoderDecoder((1, 64, 64), width=96).parameters()) == 1848865


def test_red_cnn_adds_what_its_convolutions_saw() -> None:
    net = ResidualEncoderDecoder((1, 21, 21), width=1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        for k, down in enumerate(net.down):
            down[0].bias.fill_(k + 1.0)  # what convolution k + 1 sees is k + 1 everywhere
        net.leave.weight[0, 0, 0, 0] = 1.0
    # On the way up only the shortcuts are left; the one of the second convolution does not outlive the fourth layer.
    assert net(torch.zeros(1, 1, 21, 21)).abs().max() == 0
    with torch.no_grad():
        for up in list(net.up)[1:]:
            up.weight[0, 0, 2, 2] = 1.0
    middle = net(torch.zeros(1, 1, 21, 21))[0, 0, 10, 10]
    assert middle == 4 + 2  # of the fourth convolution, then of the second


@pytest.mark.parametrize(("side", "width"), [(64, 5), (21, 5), (20, 3), (11, 3), (10, 1), (1, 1)])
def test_kernels_fit_the_axis(side: int, width: int) -> None:
    assert reach(side) == width and side > 5 * (width - 1)


@pytest.mark.parametrize("name", ["unet", "pix2pix", "medgan"])
@shaped
def test_same_dropout_is_the_same_for_all_images(name: str, shape: tuple[int, ...]) -> None:
    net = stirred(made(name, shape, dropout=0.5)).double()  # what is rounded is no difference between images
    x = images(3, shape).double()
    plain = net(x)
    with same_dropout(net, torch.Generator().manual_seed(4)):
        together, again = net(x), net(x)
    with same_dropout(net, torch.Generator().manual_seed(4)):
        alone = net(x[2:])
    torch.testing.assert_close(together[2:], alone, rtol=1e-9, atol=1e-9)
    assert (together - again).abs().max() > 1e-4 and (together - plain).abs().max() > 1e-4
    assert torch.equal(net(x), plain)


@pytest.mark.parametrize(("layer", "places"), [(nn.Dropout(0.25), 40 * 9 * 9), (nn.Dropout2d(0.25), 40)])
def test_same_dropout_drops_its_share_and_keeps_the_mean(layer: nn.Module, places: int) -> None:
    net = nn.Sequential(layer).eval()
    x = torch.ones(2, 40, 9, 9)
    with same_dropout(net, torch.Generator().manual_seed(0)):
        given = torch.stack([net(x) for _ in range(400)])
    assert given.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert torch.equal(given[:, 0], given[:, 1])
    # 5 standard deviations of the share of what is kept
    assert given.mean().item() == pytest.approx(1.0, abs=5 * (1 / 3 / (400 * places)) ** 0.5)


def test_same_dropout_ends_also_after_an_error() -> None:
    net = made("pix2pix", (1, 18, 20), dropout=0.5).eval()
    with pytest.raises(RuntimeError, match="on purpose"), same_dropout(net, torch.Generator()):
        raise RuntimeError("on purpose")
    assert dropouts(net) and not any(module._forward_hooks for module in net.modules())
    assert not dropouts(made("redcnn", (1, 18, 20), dropout=0.5))
