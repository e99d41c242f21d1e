"""Ultrasound by physics against what can be worked out: one scatterer, Rayleigh speckle, decibels lost on the way."""

import numpy as np
import pytest

from anomaly.errors import AnomalyError
from anomaly.painters.speckle import _heard, as_beams_run, as_stored, envelope, in_decibels, loss, loudness, ultrasound
from anomaly.painters.tissues import BONE, FLUID, KNOWN, NOTHING, SOFT, Probe, Tissue, tissues_of

QUIET = Probe(gain=0.0)
CLEAR = Tissue(attenuation=0.0)


def test_one_scatterer_is_heard_as_the_product_of_two_gaussians() -> None:
    probe, step, across = Probe(frequency=5, axial=0.3, lateral=0.6), 0.02, 0.1
    echoes = np.zeros((301, 61))
    echoes[150, 30] = 2.0
    z, x = (np.arange(301) - 150) * step, (np.arange(61) - 30) * across
    expected = 2 * np.exp(-(z[:, None] ** 2) / (2 * 0.3**2)) * np.exp(-(x**2) / (2 * 0.6**2))
    near = (np.abs(z[:, None]) < 1.2) & (np.abs(x) < 2.3)  # the pulse is cut at four standard deviations
    heard = np.abs(_heard(echoes, probe, step, across))
    np.testing.assert_allclose(heard[near], expected[near], atol=1e-9)


def test_the_echo_that_is_measured_is_a_cosine_under_a_gaussian() -> None:
    probe, step = Probe(frequency=5, axial=0.3), 0.02
    echoes = np.zeros((201, 1))
    echoes[100] = 1.0
    z = (np.arange(201) - 100) * step
    expected = np.exp(-(z**2) / (2 * 0.3**2)) * np.cos(2 * np.pi * z / (probe.wavelength / 2))
    beam = _heard(echoes, probe, step, 100.0).real[:, 0]
    near = np.abs(z) < 1.2
    np.testing.assert_allclose(beam[near], expected[near], atol=1e-9)
    assert probe.wavelength == pytest.approx(0.308)


def test_many_scatterers_make_rayleigh_speckle() -> None:
    """Mean over standard deviation of a Rayleigh amplitude is sqrt(pi / (4 - pi)) = 1.913 (Goodman 1975)."""
    places = np.zeros((160, 160), dtype=np.uint8)
    loud = envelope(places, [CLEAR], QUIET, seed=1, pixel=(0.5, 0.5))[20:-20, 20:-20]
    assert loud.mean() / loud.std() == pytest.approx(np.sqrt(np.pi / (4 - np.pi)), rel=0.04)
    power = loud**2  # exponential: its standard deviation is its mean
    assert power.std() / power.mean() == pytest.approx(1, rel=0.08)
    assert np.sqrt(power.mean()) == pytest.approx(loudness(CLEAR, QUIET), rel=0.04)


def test_few_scatterers_do_not() -> None:
    places = np.zeros((160, 160), dtype=np.uint8)
    loud = envelope(places, [Tissue(density=0.3, attenuation=0.0)], QUIET, seed=1, pixel=(0.5, 0.5))
    assert loud.mean() / loud.std() < 1.4


def test_what_is_lost_follows_depth_and_frequency() -> None:
    """4 MHz through 2 cm of 0.5 and 1 cm of 1.5 dB/cm/MHz, there and back: 2 x 4 x (1 + 1.5) = 20 dB."""
    places = np.repeat([0, 1, 0], [20, 10, 1])[:, None].astype(np.uint8)
    tissues = [Tissue(attenuation=0.5), Tissue(attenuation=1.5)]
    assert loss(places, tissues, Probe(frequency=4, gain=0.0), 1.0)[30, 0] == pytest.approx(20)
    assert loss(places, tissues, Probe(frequency=4, gain=0.5), 1.0)[30, 0] == pytest.approx(8)
    assert loss(places, tissues, Probe(frequency=4, gain=0.0), 1.0)[0, 0] == 0
    np.testing.assert_allclose(loss(places, tissues, QUIET, 1.0, fine=4)[::4], loss(places, tissues, QUIET, 1.0))


def test_air_stays_black_however_deep_and_tissue_below_it_is_not_brightened() -> None:
    """11 cm of background, then 2 cm of soft tissue, whose gain makes up for its own loss alone."""
    places = np.repeat([0, 1], [220, 40])[:, None].repeat(60, 1).astype(np.uint8)
    drawn = ultrasound(places, [NOTHING, SOFT], Probe(), seed=0)
    assert (drawn[:200] == -1).all()
    beside = ultrasound(np.ones((40, 60), dtype=np.uint8), [NOTHING, SOFT], Probe(), seed=0)
    assert drawn[225:255].mean() == pytest.approx(beside[5:35].mean(), abs=0.05)
    assert loss(places, [NOTHING, SOFT], Probe(), 0.5)[-1, 0] == pytest.approx(0)


def test_no_more_than_12_decibels_are_given_back_below_fluid() -> None:
    """2 x 5 MHz x (0.5 - 0.02) is 4.8 dB a centimetre: 9.6 after two of them, 12 after three and more."""
    places = np.repeat([0, 1], [60, 1])[:, None].astype(np.uint8)
    lost = loss(places, [FLUID, SOFT], Probe(), 1.0)[:, 0]
    assert lost[20] == pytest.approx(-9.6) and lost[30] == lost[60] == -12


@pytest.mark.parametrize("across", [0.1, 0.5, 2.0])
def test_a_tissue_is_as_bright_on_any_grid(across) -> None:
    places = np.zeros((160, 200), dtype=np.uint8)
    loud = envelope(places, [CLEAR], QUIET, seed=1, pixel=(0.5, across))[20:-20, 20:-20]
    assert np.sqrt((loud**2).mean()) == pytest.approx(loudness(CLEAR, QUIET), rel=0.06)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("beam", ["down", "up", "right", "left"])
def test_beams_run_as_asked_on_the_screen(beam, turned) -> None:
    """Bone in the middle of tissue: the dark half of its row or column is its shadow."""
    places = np.zeros((70, 80), dtype=np.uint8)
    places[30:40, 30:50] = 1
    stored = places.T[::-1, ::-1] if turned else places  # is its own inverse
    drawn = ultrasound(stored, [SOFT, BONE], Probe(beam=beam), seed=0, turned=turned)
    assert drawn.shape == stored.shape
    shown = drawn.T[::-1, ::-1] if turned else drawn
    sides = {"down": shown[50:, 33:47], "up": shown[:20, 33:47], "right": shown[32:38, 60:], "left": shown[32:38, :20]}
    dark = min(sides, key=lambda side: sides[side].mean())
    assert dark == beam and sorted(each.mean() for each in sides.values())[1] > sides[beam].mean() + 0.5
    numbers = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(as_stored(as_beams_run(numbers, beam, turned), beam, turned), numbers)


def test_the_size_of_a_pixel_follows_the_beam() -> None:
    """The same body with rows of 1 mm and columns of 0.5, once upright and once lying, is the same image."""
    places = np.zeros((60, 50), dtype=np.uint8)
    places[20:25, 10:30] = 1
    upright = ultrasound(places, [SOFT, BONE], Probe(), seed=3, pixel=(1.0, 0.5))
    lying = ultrasound(places.T, [SOFT, BONE], Probe(beam="right"), seed=3, pixel=(0.5, 1.0))
    np.testing.assert_array_equal(lying.T, upright)


def test_bone_throws_a_shadow_and_fluid_brightens_what_lies_below() -> None:
    places = np.zeros((80, 90), dtype=np.uint8)
    places[20:30, 10:30], places[20:40, 60:80] = 1, 2
    drawn = ultrasound(places, [SOFT, BONE, FLUID], Probe(), seed=0)
    below_bone, below_fluid, beside = (drawn[50:75, a:b].mean() for a, b in ((13, 27), (63, 77), (38, 52)))
    assert below_bone < beside - 0.5 and below_fluid > beside + 0.05
    assert drawn[25:38, 65:75].mean() < -0.9
    assert drawn[19:22, 13:27].mean() > beside + 0.3  # its surface


def test_decibels_go_from_black_to_white() -> None:
    probe = Probe(dynamic=60, level=20)
    white = loudness(SOFT, probe) * 10
    shown = in_decibels(np.array([white, white / 10**1.5, white / 1000, 0.0, 5 * white]), probe)
    np.testing.assert_allclose(shown, [1, 0, -1, -1, 1], atol=1e-6)


def test_a_curved_probe_fans_out() -> None:
    places = np.ones((60, 80), dtype=np.uint8)
    drawn = ultrasound(places, [NOTHING, SOFT], Probe(kind="curved", radius=20, angle=60), seed=0)
    assert drawn.shape == (60, 80) and drawn.dtype == np.float32
    assert (drawn[0, :10] == -1).all() and (drawn[0, -10:] == -1).all()  # beside the probe
    assert drawn[20:, 35:45].mean() > -0.6
    wide = (drawn > -1).sum(1)
    assert wide[50] > wide[10]


def test_the_same_seed_the_same_image_and_another_another() -> None:
    places = (np.arange(40 * 50).reshape(40, 50) // 700).astype(np.uint8)
    one, again, other = (ultrasound(places, [NOTHING, SOFT, BONE], Probe(), seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).mean() > 0.05 and one.min() >= -1 and one.max() <= 1


def test_names_are_known_and_those_given_win() -> None:
    told, unknown = tissues_of(["bone", "gristle", "fat"], {"fat": CLEAR})
    assert told == [NOTHING, BONE, SOFT, CLEAR] and unknown == ["gristle"]
    with pytest.raises(AnomalyError, match="'skin', which is no class"):
        tissues_of(["bone"], {"skin": KNOWN["skin"]})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Tissue(density=-1), "density of a tissue is -1"),
        (lambda: Probe(frequency=0), "frequency of a probe is 0"),
        (lambda: Probe(kind="square"), "linear or curved, not 'square'"),
        (lambda: Probe(gain=float("nan")), "gain of a probe is nan"),
        (lambda: Probe(gain=-5), "gain of a probe is -5"),
        (lambda: Probe(level=float("inf")), "level of a probe is inf"),
        (lambda: Probe(beam="back"), "expected down, up, right, left"),
        (lambda: ultrasound(np.zeros((2, 2, 2), np.uint8), [SOFT], Probe(), seed=0), r"got the shape \(2, 2, 2\)"),
        (lambda: ultrasound(np.ones((4, 4), np.uint8), [SOFT], Probe(), seed=0), "the place 1, and there are 1"),
    ],
)
def test_what_cannot_be_is_told(wrong, message) -> None:
    with pytest.raises(AnomalyError, match=message):
        wrong()
