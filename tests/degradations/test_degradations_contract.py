"""What every degradation promises, whatever it takes from images."""

import dataclasses

import pytest
import torch
from torch import Tensor

from anomaly.degradations.base import Degradation
from anomaly.degradations.register import DEGRADATIONS, make
from anomaly.errors import AnomalyError
from anomaly.translators.restorer import Restorer

SHAPES = {2: (3, 1, 24, 20), 3: (3, 1, 16, 12, 8)}
CASES = [
    *((name, dims, {}) for name in DEGRADATIONS for dims in SHAPES if (name, dims) != ("slices", 2)),
    ("noise", 2, {"coarse": 1}),
    ("downsample", 3, {"factor": 4, "axes": (0, 1)}),
    *(("slices", 3, settings) for settings in ({"factor": 4, "axis": 1}, {"thick": True})),
    *(("mask", dims, {"block": 5, "low": 0.2, "high": 0.4}) for dims in SHAPES),
    ("kspace", 3, {"pattern": "equispaced", "axis": 0, "phase": 0, "centre": 0.2}),
    *(("lowdose", dims, {"hounsfield": (-1000, 1000)}) for dims in SHAPES),
]


def images(dims: int, seed: int = 0) -> Tensor:
    return torch.rand(SHAPES[dims], generator=torch.Generator().manual_seed(seed)) * 2 - 1


def seeded(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> tuple[Degradation, Tensor]:
    name, dims, settings = request.param
    return make(name, settings), images(dims)


def test_what_is_left_lies_on_the_grid_of_the_images(case: tuple[Degradation, Tensor]) -> None:
    degradation, x = case
    degradation.refuse(tuple(x.shape[1:]))
    for left in (degradation.degrade(x), *degradation.views(x)):
        assert left.image.shape == x.shape and left.image.dtype == x.dtype
        assert left.image.isfinite().all()
        if left.known is not None:
            assert degradation.tells and left.known.dtype == torch.bool
            known = left.known.expand_as(x)
            assert torch.equal(left.image[known], x[known])


def test_what_is_measured_has_the_grid_that_the_steps_say(case: tuple[Degradation, Tensor]) -> None:
    degradation, x = case
    steps = degradation.steps(x.ndim - 2)
    y = degradation.measured(x)
    assert [side * step for side, step in zip(y.shape[2:], steps, strict=True)] == list(x.shape[2:])
    assert degradation.lifted(y, tuple(x.shape[2:])).shape == x.shape


def test_a_slope_comes_back_where_the_first_pixel_and_the_steps_say_it_lies(case: tuple[Degradation, Tensor]) -> None:
    degradation, x = case
    steps = degradation.steps(x.ndim - 2)
    for axis, (step, start) in enumerate(zip(steps, degradation.starts(x.ndim - 2), strict=True)):
        if step > 1:
            side = x.shape[axis + 2]
            slope = torch.arange(float(side)).view(-1, *[1] * (x.ndim - 3 - axis)).expand_as(x)
            y = degradation.measured(slope).movedim(axis + 2, -1).flatten(0, -2)[0]
            torch.testing.assert_close(y, start + step * torch.arange(len(y)))


def test_the_same_seed_takes_the_same_and_torchs_own_chance_serves_as_well(case: tuple[Degradation, Tensor]) -> None:
    degradation, x = case
    once, again = degradation.degrade(x, seeded()), degradation.degrade(x, seeded())
    assert torch.equal(once.image, again.image)
    state = torch.get_rng_state()
    degradation.degrade(x, seeded())
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(5)
    assert torch.equal(degradation.degrade(x).image, once.image)


def test_each_image_has_chances_of_its_own(case: tuple[Degradation, Tensor]) -> None:
    degradation, x = case
    alike = x[:1].repeat(8, *[1] * (x.ndim - 1))
    left = degradation.degrade(alike, seeded()).image.flatten(1)
    differ = len(left.unique(dim=0))
    few = {"downsample": 1, "slices": 1, "border": 2, "kspace": 4}  # equispaced columns begin at few places
    assert 8 >= differ >= few.get(degradation.name, 8) and (differ == 1) == (few.get(degradation.name) == 1)


def test_views_know_no_chance_and_no_other_images(case: tuple[Degradation, Tensor]) -> None:
    degradation, x = case
    torch.manual_seed(1)
    whole = list(degradation.views(x))
    torch.manual_seed(2)
    for together, alone in zip(whole, degradation.views(x[1:2]), strict=True):
        torch.testing.assert_close(together.image[1:2], alone.image, rtol=0, atol=1e-6)
        assert together.known is None or torch.equal(together.known[1:2], alone.known)


def test_views_leave_every_pixel_unknown_once(case: tuple[Degradation, Tensor]) -> None:
    degradation, x = case
    known = [view.known for view in degradation.views(x)]
    if degradation.tells and not getattr(degradation, "thick", False):
        unknown = torch.stack([~each for each in known]).sum(0)
        assert torch.equal(unknown, torch.ones_like(unknown)) and unknown.shape == x[:, :1].shape
    else:
        assert known == [None]


def test_images_are_left_as_they_were(case: tuple[Degradation, Tensor]) -> None:
    degradation, x = case
    before = x.clone()
    for view in (degradation.degrade(x), *degradation.views(x)):
        view.image.isfinite()
        assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("name", "settings", "complaint"),
    [
        ("blur", {}, "unknown"),
        ("noise", {"grain": 2}, "no setting grain"),
        ("noise", {"sigma": -0.1}, "sigma of noise is -0.1; expected 0 or more"),
        ("noise", {"sigma": float("nan")}, "sigma"),
        ("noise", {"sigma": "much"}, "sigma"),
        ("noise", {"coarse": 2.5}, "a whole number, 1 or more"),
        ("downsample", {"factor": 1}, "factor"),
        ("downsample", {"factor": 1.5}, "factor"),
        ("downsample", {"axes": 2}, "axes"),
        ("downsample", {"axes": (1, 1)}, "axes"),
        ("slices", {"axis": 3}, "axis of slices is 3"),
        ("slices", {"factor": True}, "factor"),
        ("mask", {"low": 0.8}, "low must not be above high"),
        ("border", {"keep": 1}, "keep"),
        ("kspace", {"acceleration": 0.5}, "acceleration"),
        ("kspace", {"pattern": "spiral"}, "pattern"),
        ("lowdose", {"dose": 0}, "dose"),
        ("lowdose", {"hounsfield": (80, 0)}, "hounsfield"),
        ("lowdose", {"hounsfield": (0, float("nan"))}, "hounsfield"),
        ("lowdose", {"hounsfield": 80}, "hounsfield"),
    ],
)
def test_settings_that_cannot_be_are_named(name: str, settings: dict[str, object], complaint: str) -> None:
    with pytest.raises(AnomalyError, match=complaint):
        make(name, settings)


@pytest.mark.parametrize(
    ("name", "settings", "shape", "complaint"),
    [
        ("downsample", {"factor": 3}, (1, 12, 16), "side 16"),
        ("downsample", {"axes": (0, 2)}, (1, 16, 16), "axes of downsample names 2"),
        ("downsample", {}, (1, 16, 16, 7), "side 7"),
        ("slices", {}, (1, 16, 16), "these are pictures"),
        ("slices", {"factor": 3}, (1, 16, 16, 8), "does not divide"),
        ("slices", {"factor": 8}, (1, 16, 16, 8), "leaves one of 8"),
        ("mask", {"block": 9}, (1, 16, 16), "more than half"),
        ("border", {"keep": 0.1}, (1, 4, 4), "leaves 0"),
        ("kspace", {}, (3, 16, 16), "3 channels"),
        ("kspace", {"acceleration": 8}, (1, 8, 8), "of 8 columns"),
        ("kspace", {"centre": 0.5}, (1, 16, 16), "8 of them for the centre"),
        ("lowdose", {"hounsfield": (0, 80)}, (3, 16, 16), "one channel"),
    ],
)
def test_images_that_do_not_suit_are_refused(
    name: str, settings: dict[str, object], shape: tuple[int, ...], complaint: str
) -> None:
    degradation = make(name, settings)
    with pytest.raises(AnomalyError, match=complaint):
        degradation.refuse(shape)
    with pytest.raises(AnomalyError, match=complaint):
        degradation.degrade(torch.zeros(1, *shape))


def test_lists_of_a_stored_run_are_the_tuples_they_were() -> None:
    assert make("downsample", {"axes": [0, 1]}) == make("downsample", {"axes": (0, 1)})
    assert make("lowdose", {"hounsfield": [0, 80]}) == make("lowdose", {"hounsfield": (0, 80)})


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_settings_are_told_from_those_of_a_restorer_by_name(name: str) -> None:
    mine, its = ({each.name for each in dataclasses.fields(cls) if each.init} for cls in (DEGRADATIONS[name], Restorer))
    assert not mine & its


@pytest.mark.parametrize("sigma", [float("inf"), float("nan")])
def test_settings_are_finite(sigma: float) -> None:
    with pytest.raises(AnomalyError, match=f"sigma of noise is {sigma}; expected .*0 or more"):
        make("noise", {"sigma": sigma})
