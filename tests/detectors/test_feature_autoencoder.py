"""The feature autoencoder against similarities that are known in closed form."""

import pytest
import torch
from tiny import CPU, SHAPES, fitted, normals, tiny
from torch import Tensor, nn

from anomaly.detectors import FeatureAutoencoder
from anomaly.detectors.feature_autoencoder import SPAN, pictures
from anomaly.errors import AnomalyError
from anomaly.nets import pretrained
from anomaly.nets.feature_autoencoder import FeatureAutoencoder as Network
from anomaly.nets.feature_autoencoder import Joined
from anomaly.nets.losses import dissimilarity, structural_difference


class Told(nn.Module):
    """Stands for a network, and gives what it was told, or what it gets less a half."""

    def __init__(self, level: float | None = None) -> None:
        super().__init__()
        self.level = level

    def forward(self, x: Tensor) -> Tensor:
        return x - 0.5 if self.level is None else torch.full_like(x, self.level)


def replaced(frozen: nn.Module | None = None, autoencoder: nn.Module | None = None, **settings) -> FeatureAutoencoder:
    detector = FeatureAutoencoder(blocks="0", grid=8, side=16, width=4, **settings)
    detector.shape_ = (16, 8, 8)
    detector.net_ = detector.build((16, 8, 8)).eval()
    for name, net in (("frozen", frozen), ("autoencoder", autoencoder)):
        detector.net_[name] = detector.net_[name] if net is None else net
    return detector


def test_what_is_drawn_again_as_it_is_has_a_map_of_nothing() -> None:
    detector = replaced(autoencoder=Told())
    score = detector.score(torch.rand(3, 16, 8, 8) * 2 - 1)
    assert score.map.abs().max() < 1e-4 and score.value.abs().max() < 1e-4


@pytest.mark.parametrize(("seen", "again"), [(0.5, 0.5), (0.9, 0.3), (0.2, 0.8), (0.0, 1.0)])
def test_constant_maps_differ_by_the_formula(seen, again) -> None:
    """Of constants only the luminance counts: 1 - (2 a b + c) / (a^2 + b^2 + c), c = 0.01^2 (Wang et al., eq. 6)."""
    detector = replaced(frozen=Told(SPAN * (seen - 0.5)), autoencoder=Told(again - 0.5))
    expected = 1 - (2 * seen * again + 1e-4) / (seen**2 + again**2 + 1e-4)
    score = detector.score(torch.rand(2, 16, 8, 8))
    torch.testing.assert_close(score.map, torch.full((2, 1, 8, 8), expected), rtol=1e-3, atol=1e-4)
    assert set(score.parts) == {"mean", "max", "top"}
    torch.testing.assert_close(score.value, torch.full((2,), expected), rtol=1e-3, atol=1e-4)


def test_structure_turned_round_is_as_unlike_as_can_be() -> None:
    """y = 1 - x: means of 1/2, variances v, covariance -v, so 1 - SSIM = 1 - (-2 v + c) / (2 v + c), c = 0.03^2."""
    x = (torch.arange(64) % 2).float().expand(1, 1, 64, 64)
    found = structural_difference(x, 1 - x, 4.0)[0, 0, 16:-16, 16:-16]
    torch.testing.assert_close(found, torch.full_like(found, 1 - (-0.5 + 9e-4) / (0.5 + 9e-4)), rtol=1e-3, atol=0)
    images = torch.rand(2, 1, 20, 20) * 2 - 1
    again = images.flip(2)
    assert torch.equal(dissimilarity(images, again, 2.0), structural_difference((images + 1) / 2, (again + 1) / 2, 2.0))


def test_channels_are_brought_to_the_range_of_an_image() -> None:
    images = normals(30, SHAPES["2D"], seed=1)
    detector = fitted("feature-autoencoder", "2D")
    fresh = tiny("feature-autoencoder", steps=1).fit(images, machine=CPU)
    seen = (fresh.net_["frozen"](images) - fresh.net_.mean) / (SPAN * fresh.net_.sd) + 0.5
    torch.testing.assert_close(seen.mean((0, 2, 3)), torch.full((seen.shape[1],), 0.5), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(seen.std((0, 2, 3)), torch.full((seen.shape[1],), 1 / SPAN), rtol=1e-3, atol=1e-4)
    assert detector.net_.mean.shape == fresh.net_.mean.shape


def test_blocks_are_joined_on_one_grid() -> None:
    net = Joined([0, 2, 5], 8).eval()
    x = torch.rand(2, 3, 64, 64)
    found = net(x)
    assert found.shape == (2, 16 + 24 + 80, 8, 8)
    single = Joined([0], 8).eval()
    single.network.load_state_dict(
        {k: v for k, v in net.network.state_dict().items() if k in single.network.state_dict()}
    )
    torch.testing.assert_close(single(x), found[:, :16])
    whole = next(iter(net.network.outputs(x)))
    torch.testing.assert_close(found[:, :16], nn.functional.avg_pool2d(whole, 4))
    assert Joined([5], 32).eval()(x).shape == (2, 80, 32, 32), "smaller maps are drawn out"


def test_the_autoencoder_has_convolutions_alone() -> None:
    net = Network(5, 4).eval()
    for space in ((8, 8), (16, 24), (11, 13)):
        assert net(torch.rand(2, 5, *space)).shape == (2, 5, *space)
    assert not any(isinstance(module, nn.Linear) for module in net.modules())


def test_a_volume_is_seen_slice_by_slice() -> None:
    volumes = normals(3, SHAPES["3D"], seed=5)
    assert torch.equal(pictures(volumes)[9], volumes[1, :, :, :, 0])
    detector = fitted("feature-autoencoder", "3D")
    found = detector.cells(volumes)
    alone = detector.differences(volumes[1, ..., 4][None]).mean(1, keepdim=True)
    torch.testing.assert_close(found[1:2, ..., 4], alone, rtol=1e-4, atol=1e-5)


def test_training_moves_the_autoencoder_and_not_what_it_draws() -> None:
    detector = fitted("feature-autoencoder", "2D")
    net = Joined(detector.numbered, detector.grid)
    pretrained.fill(net.network, "efficientnet-lite0", "")
    kept = detector.net_["frozen"].network.state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in net.state_dict().items())
    images = normals(40, SHAPES["2D"], seed=1)
    begun = tiny("feature-autoencoder", steps=1).fit(images, machine=CPU)
    assert detector.score(images).value.mean() < 0.7 * begun.score(images).value.mean()


def test_it_can_stop_by_held_out_normals() -> None:
    detector = tiny("feature-autoencoder", steps=40, patience=1, look_every=5, lr=1e-6)
    detector.fit(normals(12, SHAPES["3D"]), normals(6, SHAPES["3D"], seed=1), machine=CPU)
    assert torch.isfinite(detector.score(normals(2, SHAPES["3D"], seed=2)).value).all()


@pytest.mark.parametrize("blocks", ["", "16", "-1", "0,x", "1.5"])
def test_blocks_that_are_none_are_told(blocks) -> None:
    with pytest.raises(AnomalyError, match=f"blocks={blocks}: give numbers from 0 to 15 with commas"):
        FeatureAutoencoder(blocks=blocks)
    assert FeatureAutoencoder(blocks=" 4, 0,4").numbered == [0, 4]
