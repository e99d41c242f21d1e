"""Texture, gradients and scattering against patterns whose features are known in closed form."""

import math

import pytest
import torch

from anomaly.nets import cells, gradients, scattering, texture
from anomaly.nets.efficientnet import Lite0


def picture(rows: list[str]) -> torch.Tensor:
    return torch.tensor([[float(c) for c in row] for row in rows])[None, None]


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        (["000", "050", "000"], 0),
        (["555", "505", "555"], 8),
        (["999", "050", "000"], 3),
        (["990", "050", "000"], 2),
        (["909", "050", "000"], 9),  # four changes around the ring
        (["090", "959", "090"], 9),
        (["555", "555", "555"], 0),  # as bright is not brighter
    ],
)
def test_a_pixel_has_the_code_of_its_ring(rows: list[str], code: int) -> None:
    assert texture.patterns(picture(rows), 1)[0, 1, 1] == code


def test_neighbours_lie_as_far_as_the_radius_says() -> None:
    image = torch.zeros(1, 1, 15, 15)
    image[0, 0, 2, 12] = 1.0  # five up and to the right of the middle
    assert [int(texture.patterns(image, radius)[0, 7, 7]) for radius in texture.RADII] == [0, 0, 1, 0]


def test_texture_counts_shares_and_does_not_ask_how_bright() -> None:
    x = torch.rand(2, 1, 64, 64) * 2 - 1
    found = texture.Texture()(x)
    assert found.shape == (2, 40, 8, 8)
    assert torch.allclose(found.square().view(2, 4, 10, 8, 8).sum(2), torch.ones(2, 4, 8, 8), atol=0.01)
    assert torch.allclose(texture.Texture()(0.3 * x - 0.5), found, atol=0.05)


@pytest.mark.parametrize("degrees", [0, 20, 40, 100, 160])
def test_a_ramp_votes_for_its_direction_alone(degrees: int) -> None:
    angle = math.radians(degrees)
    down, across = torch.meshgrid(torch.arange(12.0), torch.arange(12.0), indexing="ij")
    ramp = 0.05 * (across * math.cos(angle) + down * math.sin(angle))
    inside = gradients.votes(ramp[None, None])[0, :, 2:-2, 2:-2]
    expected = torch.zeros(9)
    expected[degrees // 20] = 0.05
    assert torch.allclose(inside, expected[:, None, None].expand_as(inside), atol=1e-4)


def test_a_ramp_between_two_bins_is_shared_and_turned_round_is_the_same() -> None:
    down, across = torch.meshgrid(torch.arange(9.0), torch.arange(9.0), indexing="ij")
    angle = math.radians(175)  # a quarter of the way from 160 to 180, which is 0
    ramp = across * math.cos(angle) + down * math.sin(angle)
    votes = gradients.votes(ramp[None, None])[0, :, 4, 4]
    assert votes[8] == pytest.approx(0.25, abs=1e-3) and votes[0] == pytest.approx(0.75, abs=1e-3)
    assert torch.allclose(gradients.votes(-ramp[None, None])[0, :, 4, 4], votes, atol=1e-6)


def test_gradients_have_brightness_and_contrast_beside() -> None:
    x = torch.full((1, 1, 32, 32), 0.5)
    x[..., 16:] = torch.tensor([0.1, 0.9]).repeat(8)
    found = gradients.Gradients(cells=4)(x)[0]
    assert found.shape == (32, 4, 4)
    assert torch.allclose(found[-2, :, 0], torch.full((4,), 0.75)) and torch.allclose(found[-2, :, 3], found[-2, :, 0])
    assert found[-1, 0, 0] == pytest.approx(math.log(1e-4), abs=0.05)
    assert found[-1, 0, 3] == pytest.approx(math.log(0.2**2 + 1e-4), abs=1e-3)


def test_wavelets_see_nothing_in_what_does_not_vary() -> None:
    assert scattering.wavelets(40, 48)[..., 0, 0].abs().max() < 1e-6
    found = scattering.Scattering(cells=4)(torch.full((1, 1, 24, 24), 0.3))[0]
    assert found.shape == (127, 4, 4)
    assert torch.allclose(found[0], torch.full((4, 4), 0.65)) and found[1:].abs().max() < 1e-5


@pytest.mark.parametrize("scale", range(scattering.SCALES))
@pytest.mark.parametrize("direction", [0, 2, 3])
def test_a_wave_is_found_at_its_scale_and_direction(scale: int, direction: int) -> None:
    """|x * psi| of a cosine of amplitude a is a / 2 times the spectrum of psi at its frequency (and none besides)."""
    angle, frequency = math.pi * direction / scattering.DIRECTIONS, scattering.CENTRE / 2**scale
    down, across = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    wave = 0.8 * torch.cos(frequency * (across * math.cos(angle) + down * math.sin(angle)))
    found = scattering.Scattering(cells=3)(wave[None, None])[0, :, 1, 1]
    # Channels: the mean, then of each scale its six directions and what of these varies on larger scales.
    offset = 1 + sum(6 + 36 * (scattering.SCALES - 1 - s) for s in range(scale))
    first = found[offset : offset + 6]
    assert int(first.argmax()) == direction
    assert first[direction] == pytest.approx(0.4 / 2, rel=0.05)  # the image in [0, 1] has half the amplitude
    other = (direction + 3) % 6
    assert first[other] < 0.1 * first[direction]


def test_each_plane_of_a_volume_is_seen_as_a_picture() -> None:
    volume = torch.rand(2, 1, 12, 10, 8) * 2 - 1
    features = gradients.Gradients(cells=4)
    found = cells.Planes(features, cells=4)(volume)
    assert found.shape == (2, 96, 4, 4, 4)
    slices = features(volume[:, :, 0:3].transpose(1, 2).flatten(0, 1)).view(2, 3, 32, 4, 4)
    assert torch.allclose(found[:, :32, 0], slices.mean(1), atol=1e-5)
    last = torch.stack([features(volume[..., k]) for k in (2, 3)]).mean(
        0
    )  # the second of four cells along the last axis
    assert torch.allclose(found[:, 64:, :, :, 1], last, atol=1e-5)


def test_small_pictures_have_fewer_cells() -> None:
    x = torch.rand(1, 1, 9, 5) * 2 - 1
    assert texture.Texture()(x).shape[2:] == (4, 2)
    assert gradients.Gradients()(x).shape[2:] == (9, 5)
    assert scattering.Scattering()(x).shape[2:] == (9, 5)


def test_lite0_halves_five_times_and_pads_the_odd_pixel_last() -> None:
    x = torch.rand(1, 3, 97, 64)
    shapes = {block: tuple(Lite0(block + 1).eval()(x).shape[1:]) for block in (0, 5, 11, 15)}
    assert shapes == {0: (16, 49, 32), 5: (80, 7, 4), 11: (192, 4, 2), 15: (320, 4, 2)}
