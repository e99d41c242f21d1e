"""The floors of restoration, against what can be worked out by hand."""

import importlib.util

import numpy as np
import pytest
import torch
from scipy.interpolate import make_interp_spline

from anomaly.classical.classical import FILTERS, FLOORS, classical, noise_level, tuned
from anomaly.classical.filling import harmonic, nearest
from anomaly.degradations.base import Degradation, Degraded
from anomaly.degradations.register import DEGRADATIONS, make
from anomaly.errors import AnomalyError, MissingPackage

SETTINGS = {"noise": {"coarse": 1}, "slices": {"factor": 2}, "lowdose": {"hounsfield": (-1000, 1000), "dose": 0.05}}
SPACES = {2: (16, 12), 3: (12, 8, 8)}
NO_SKIMAGE = importlib.util.find_spec("skimage") is None


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def smooth(*shape: int) -> torch.Tensor:
    """Images (N, C, *space) of one hill, another for each image and channel."""
    axes = torch.meshgrid(*[torch.linspace(-1, 1, side) for side in shape[2:]], indexing="ij")
    square = torch.stack(axes).square().sum(0)
    widths = torch.linspace(1, 2, shape[0] * shape[1]).view(*shape[:2], *[1] * len(axes))
    return 1.6 * torch.exp(-square / widths) - 0.8


@pytest.mark.parametrize("dims", SPACES)
@pytest.mark.parametrize(("name", "floor"), [(name, floor) for name, floors in FLOORS.items() for floor in floors])
def test_every_floor_restores_each_image_by_itself(name: str, floor: str, dims: int) -> None:
    if (floor == "nl-means" and NO_SKIMAGE) or (name, dims) == ("slices", 2):
        pytest.skip("needs scikit-image, or a volume")
    degradation = make(name, SETTINGS.get(name, {}))
    x = smooth(2, 1, *SPACES[dims])
    left = degradation.degrade(x, seeded())
    restored = classical(floor, degradation, left)
    assert restored.shape == x.shape and restored.dtype == x.dtype and restored.isfinite().all()
    second = Degraded(left.image[1:], None if left.known is None else left.known[1:])
    torch.testing.assert_close(classical(floor, degradation, second), restored[1:])
    if left.known is not None:
        assert torch.equal(restored[left.known], x[left.known])
    if floor not in ("linear", "zero-filled") and name != "border":  # what lies beyond nobody knows
        assert (restored - x).square().mean() < (left.image - x).square().mean()


def test_every_degradation_has_floors() -> None:
    assert FLOORS.keys() == DEGRADATIONS.keys() and all(FLOORS.values())


@pytest.mark.parametrize(
    "degradation",
    [*(make("slices", {"factor": 3, "axis": 0, "thick": thick}) for thick in (False, True))],
    ids=["thin", "thick"],
)
def test_cubic_is_the_spline_through_what_was_measured(degradation: Degradation) -> None:
    x = torch.rand(1, 1, 90, 2, 2, generator=seeded())
    restored = classical("cubic", degradation, degradation.degrade(x))[0, 0, :, 1, 0].numpy()
    y = degradation.measured(x)[0, 0, :, 1, 0].numpy()
    start = degradation.starts(3)[0]
    spline = make_interp_spline(start + 3 * np.arange(30), y, k=3)
    # The conditions at the ends differ; what they change dies away.
    np.testing.assert_allclose(restored[30:60], spline(np.arange(30, 60)), atol=1e-4)


def test_cubic_keeps_a_slope_of_larger_pixels_and_linear_as_well() -> None:
    degradation = make("downsample", {"factor": 4, "axes": (0,)})
    slope = (torch.arange(64.0) / 32 - 1).view(1, 1, 64, 1).expand(1, 1, 64, 3)
    left = degradation.degrade(slope)
    for floor in ("linear", "cubic"):
        middle = classical(floor, degradation, left)[:, :, 24:40]
        torch.testing.assert_close(middle, slope[:, :, 24:40], rtol=0, atol=1e-4)


def test_noise_level_is_that_of_white_noise_whatever_lies_beneath() -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:128, :128]
    image = np.sin(x / 15) + y / 50 + 0.1 * rng.standard_normal((128, 128))
    image[:40] = -1  # black, without noise
    assert noise_level(image) == pytest.approx(0.1, rel=0.05)
    assert noise_level(0.1 * rng.standard_normal((20, 30, 25))) == pytest.approx(0.1, rel=0.05)
    assert noise_level(np.zeros((8, 8))) == 0


def test_a_filter_is_tuned_to_the_noise_there_is() -> None:
    x, degradation = smooth(2, 1, 32, 32), make("noise", {"coarse": 1, "sigma": 0.3})
    much = tuned("gaussian", degradation, x, degradation.degrade(x, seeded()))
    little = tuned("gaussian", degradation, x, Degraded(x + 0.001 * torch.randn(x.shape, generator=seeded())))
    assert much is not None and little == 0.5 and much > little
    assert tuned("linear", make("downsample", {}), x, Degraded(x)) is None
    assert all(len(set(each.strengths)) == len(each.strengths) for each in FILTERS.values())


def test_a_median_takes_single_pixels_away_and_leaves_edges() -> None:
    x = torch.full((1, 1, 9, 9), -1.0)
    x[..., 5:] = 1.0
    spoiled = x.clone()
    spoiled[0, 0, 4, 2], spoiled[0, 0, 6, 7] = 1.0, -1.0
    assert torch.equal(classical("median", make("noise", {}), Degraded(spoiled)), x)


def test_nearest_takes_the_value_of_the_nearest() -> None:
    known = np.array([[True, False, False, False, True]])
    np.testing.assert_array_equal(nearest(np.array([[1.0, 0, 0, 0, 5.0]]), known)[0, [0, 1, 3, 4]], [1, 1, 5, 5])


def test_harmonic_is_linear_between_two_and_the_mean_in_a_hole() -> None:
    line, ends = np.array([[0.0, 9, 9, 9, 1.0]]), np.array([[True, False, False, False, True]])
    np.testing.assert_allclose(harmonic(line, ends), [[0, 0.25, 0.5, 0.75, 1]], atol=1e-5)
    # x^2 - y^2 and a slope obey the discrete equation exactly.
    y, x = np.mgrid[:9, :11].astype(float)
    image = (x**2 - y**2 + 3 * x) / 50
    known = np.ones((9, 11), bool)
    known[2:7, 3:8] = False
    np.testing.assert_allclose(harmonic(np.where(known, image, 0), known), image, atol=1e-4)
    # Beyond what is known nothing pulls: it goes on alike.
    known = np.zeros((3, 6), bool)
    known[:, :2] = True
    np.testing.assert_allclose(harmonic(np.full((3, 6), 0.7) * known, known), np.full((3, 6), 0.7), atol=1e-5)


def test_nothing_known_stays_as_it_is() -> None:
    image, nothing = np.full((4, 4), 0.3), np.zeros((4, 4), bool)
    np.testing.assert_array_equal(harmonic(image, nothing), image)
    np.testing.assert_array_equal(nearest(image, nothing), image)


def test_a_floor_of_another_degradation_is_refused() -> None:
    with pytest.raises(AnomalyError, match="cubic is no floor of noise; take one of median, gaussian, nl-means"):
        classical("cubic", make("noise", {}), Degraded(torch.zeros(1, 1, 8, 8)))
    with pytest.raises(AnomalyError, match="nobody says"):
        classical("harmonic", make("mask", {}), Degraded(torch.zeros(1, 1, 8, 8)))


def test_without_scikit_image_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "skimage.restoration", None)
    with pytest.raises(MissingPackage, match=r"anomaly-explain\[restore\]"):
        classical("nl-means", make("noise", {}), Degraded(torch.rand(1, 1, 8, 8)))
