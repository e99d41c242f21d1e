"""Slices that know their height: what is normal at one height is not at another, and context is seen, not judged."""

import pytest
import torch
from tiny import CPU, tiny
from torch import Tensor

from anomaly.detectors import Autoencoder, Detector
from anomaly.detectors.densities import HEIGHT, Memory, Place
from anomaly.detectors.heights import PlaceAtHeight
from anomaly.errors import AnomalyError


def slices(count: int, seed: int) -> Tensor:
    """Slices (count, 2, 16, 16) that are bright on the left low down and on the right high up, with their height."""
    rng = torch.Generator().manual_seed(seed)
    height = torch.rand(count, generator=rng) * 2 - 1
    x = torch.randn(count, 1, 16, 16, generator=rng) * 0.05 - 0.5
    for one, h in zip(x, height, strict=True):
        one[:, 4:12, slice(1, 7) if h < 0 else slice(9, 15)] += 0.8
    return torch.cat([x, height.view(-1, 1, 1, 1).expand(-1, 1, 16, 16)], dim=1)


def test_a_slice_at_a_wrong_height_departs() -> None:
    images = slices(80, seed=0)
    detector = tiny("gradients", density="place", cells=8).fit(images, context=1, machine=CPU)
    x = slices(12, seed=1)
    right, wrong = x[:, -1].mean((1, 2)), detector.score(torch.cat([x[:, :1], -x[:, 1:]], dim=1)).value
    far = right.abs() > 0.4
    assert (wrong[far] > 1.5 * detector.score(x).value[far].max()).all()


def test_all_heights_learn_in_two_passes_each_from_the_slices_around_it() -> None:
    rng = torch.Generator().manual_seed(0)
    features = torch.randn(60, 3, 2, 2, generator=rng)
    features[:, -1] = torch.linspace(-1, 0.5, 60).view(-1, 1, 1)  # nothing at the top
    begun = []

    def passes():
        begun.append(1)
        return [(part, None) for part in features.split(7)]

    density = PlaceAtHeight(3, (2, 2))
    density.learn(passes, 60)
    assert len(begun) == density.looks == 2 and density.seen[0] > 0 == density.seen[7]
    around = features[((features[:, -1, 0, 0] + 1) * 3.5 - 2).abs() < 1]
    alone = Place(2, (2, 2))
    alone.learn(lambda: [(around[:, :-1], None)], len(around))
    torch.testing.assert_close(density.levels[2].whitener, alone.whitener)


def test_a_memory_minds_the_height() -> None:
    memory = Memory(4, (3, 3), 100, 0.0, heights=True)
    features = torch.randn(6, 4, 1, 1, generator=torch.Generator().manual_seed(0)).repeat(1, 1, 3, 3)
    features[:, -1] = 0.25
    memory.learn(lambda: [(features, None)], 6)
    moved = features.clone()
    moved[:, -1] = 0.75
    torch.testing.assert_close(memory(moved), torch.full((6, 1, 3, 3), HEIGHT * 0.5), rtol=0.02, atol=0)


@pytest.mark.parametrize("name", ["autoencoder", "vae", "texture", "own-features", "auto"])
def test_maps_and_reconstructions_are_of_the_image_alone(name: str, tmp_path) -> None:
    settings = {"steps": 3} if hasattr(tiny(name), "batch") else {}
    images, x = slices(24, seed=0), slices(5, seed=1)
    detector: Detector = tiny(name, **settings).fit(images, context=1, machine=CPU)
    detector.save(tmp_path / "weights.safetensors")
    again = type(detector).load(tmp_path / "weights.safetensors")
    score = detector.score(x)
    torch.testing.assert_close(again.score(x).map, score.map, rtol=1e-4, atol=1e-5)
    assert again.context_ == 1 and score.map.shape == (5, 1, 16, 16)
    drawn = detector.reconstruct(x)
    assert drawn is None or drawn.shape == (5, 1, 16, 16)


def test_a_residual_does_not_ask_for_the_context() -> None:
    detector = Autoencoder(latent=2, width=2, hidden=4, steps=2, batch=4, map_from="l2", smooth=0.0)
    x = slices(8, seed=0)
    detector.fit(x, context=1, machine=CPU)
    torch.testing.assert_close(detector.error(x), (x[:, :1] - detector.reconstruct(x)).square())


def test_a_method_that_makes_nothing_of_context_says_so() -> None:
    with pytest.raises(AnomalyError, match="pca makes nothing of context"):
        tiny("pca").fit(slices(8, seed=0), context=1, machine=CPU)
