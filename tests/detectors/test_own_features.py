"""The network of one's own learns from normals, stands still afterwards, and sees volumes in slices."""

import pytest
import torch
from tiny import CPU, SHAPES, fitted, normals, tiny

from anomaly.detectors.own_features import one_slice


@pytest.mark.parametrize("shape", ["2D", "3D"])
def test_learning_brings_variants_of_a_cell_together_and_keeps_channels_apart(shape) -> None:
    images = normals(40, SHAPES[shape], seed=1)
    begun, taught = (tiny("own-features", steps=steps).fit(images, machine=CPU) for steps in (1, 60))

    def mean_loss(detector):
        torch.manual_seed(0)
        with torch.no_grad():
            return sum(float(detector.loss(images)[0]) for _ in range(5)) / 5

    assert mean_loss(taught) < 0.8 * mean_loss(begun)


def test_the_density_is_learned_of_what_the_taught_network_sees() -> None:
    images = torch.cat(
        [normals(40, SHAPES["2D"], seed=1), normals(24, SHAPES["2D"], seed=2)]
    )  # held out, and learned of
    detector = fitted("own-features", "2D")
    with torch.no_grad():
        seen = detector.net_["features"](images)
    expected = seen.flatten(2).mean(0).T
    torch.testing.assert_close(detector.net_["density"].mean, expected, rtol=1e-3, atol=1e-4)
    assert not detector.net_["features"].training


def test_slices_are_slices_of_their_own_volume() -> None:
    volumes = torch.arange(5.0).view(5, 1, 1, 1, 1) + torch.zeros(5, 2, 6, 7, 8)
    shapes = set()
    for _ in range(40):
        found = one_slice(volumes)
        assert torch.equal(found.amax((1, 2, 3)), torch.arange(5.0)) and found.shape[:2] == (5, 2)
        shapes.add(tuple(found.shape[2:]))
    assert shapes == {(7, 8), (6, 8), (6, 7)}
    ramp = torch.arange(6.0).view(1, 1, 6, 1, 1).expand(4, 1, 6, 7, 8)
    across = [found for _ in range(60) if (found := one_slice(ramp)).shape[2:] == (7, 8)]
    assert all(torch.equal(found.amin((1, 2, 3)), found.amax((1, 2, 3))) for found in across)
    assert len({float(found[0].max()) for found in across}) > 3, "another slice each time"
