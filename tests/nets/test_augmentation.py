"""Augmentation against maps known in closed form: what stays, what moves how far, and how the chance is steered."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from anomaly.detectors.style_contest import squared_slopes
from anomaly.nets import augmentation
from anomaly.nets.augmentation import Augmentation, Chance

SPREADS = ("SCALE", "TURN", "SHIFT", "LIGHT", "CONTRAST")
SPACES = {"square": (16, 16), "not square": (12, 20), "odd": (9, 14), "3D": (6, 9, 7)}


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Leaves of all changes the ones that are named."""

    def leave(*kept: str) -> None:
        for name in SPREADS:
            if name not in kept:
                monkeypatch.setattr(augmentation, name, 0.0)

    return leave


@pytest.fixture
def maps(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Gets what each grid is made of, (N, dims, dims + 1): from pixels drawn to pixels read, in sides from -1 to 1."""
    made: list[Tensor] = []
    plain = F.affine_grid

    def spying(theta: Tensor, size: list[int], align_corners: bool) -> Tensor:
        made.append(theta)
        return plain(theta, size, align_corners=align_corners)

    monkeypatch.setattr(augmentation.F, "affine_grid", spying)
    return made


def blob(space: tuple[int, ...], centre: tuple[float, ...], sd: float) -> Tensor:
    """(1, 1, *space): a round Gaussian of height 1, `centre` pixels from the middle of the image."""
    squared = torch.zeros(space)
    for axis, (side, off) in enumerate(zip(space, centre, strict=True)):
        place = torch.arange(side) - (side - 1) / 2 - off
        squared = squared + place.square().view(-1, *[1] * (len(space) - 1 - axis))
    return torch.exp(-squared / (2 * sd**2))[None, None]


def moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of images (N, 1, *space): mass (N,), centre from the middle (N, dims), covariance (N, dims, dims), in pixels.

    Of what lies within the largest ball around the middle: outside, a turned image shows reflections.
    """
    space = x.shape[2:]
    axes = [torch.arange(side, dtype=torch.float64) - (side - 1) / 2 for side in space]
    place = torch.stack([each.flatten() for each in torch.meshgrid(*axes, indexing="ij")], dim=1)
    weight = x.double().flatten(1) * (place.norm(dim=1) < min(space) / 2)
    mass = weight.sum(1)
    centre = weight @ place / mass[:, None]
    off = place[None] - centre[:, None]
    return mass, centre, torch.einsum("np,npi,npj->nij", weight, off, off) / mass[:, None, None]


# What stays and what moves


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_without_a_chance_images_stay_as_they_are(space):
    x = torch.rand(4, 2, *space) * 2 - 1
    seen = Augmentation(mirror=True, turn=True)(x, torch.tensor(0.0))
    assert seen.shape == x.shape and seen.dtype == torch.float32
    torch.testing.assert_close(seen, x, rtol=0, atol=1e-5)
    assert not torch.allclose(Augmentation()(x, torch.tensor(1.0)), x, atol=0.05)


@pytest.mark.parametrize(("space", "axis"), [((8, 11), 3), ((5, 6, 7), 2)], ids=["2D", "3D"])
def test_mirroring_changes_sides_along_its_own_axis_alone(only, space, axis):
    """The last axis of a picture, the first of a volume."""
    only()
    x = torch.rand(1, 2, *space).expand(60, -1, *[-1] * len(space))
    seen = Augmentation(mirror=True)(x, torch.tensor(1.0))
    far = [(seen - each).abs().flatten(1).amax(1) < 1e-5 for each in (x, x.flip(axis))]
    assert (far[0] ^ far[1]).all(), "either as it was or mirrored"
    assert 15 < far[1].sum() < 45, "half of them"
    torch.testing.assert_close(Augmentation(mirror=False)(x, torch.tensor(1.0)), x, rtol=0, atol=1e-5)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_beyond_the_edge_the_image_goes_on(only, space):
    only("SCALE", "TURN", "SHIFT")
    x = torch.full((20, 1, *space), 0.7)
    torch.testing.assert_close(Augmentation(turn=True)(x, torch.tensor(1.0)), x)


@pytest.mark.parametrize(
    ("space", "centre"), [((24, 44), (4.0, -3.0)), ((20, 26, 32), (2.0, 0.0, -2.0))], ids=["2D", "3D"]
)
def test_turned_a_disc_in_an_image_that_is_not_square_stays_a_disc(only, space, centre):
    only("TURN")
    x = blob(space, centre, sd=2.0)
    mass, before, covariance = moments(x)
    seen = Augmentation(turn=True)(x.expand(12, -1, *[-1] * len(space)), torch.tensor(1.0))
    turned_mass, after, turned_covariance = moments(seen)
    torch.testing.assert_close(turned_mass, mass.expand(12), rtol=0.01, atol=0)
    torch.testing.assert_close(after.norm(dim=1), before.norm().expand(12), rtol=0.02, atol=0)
    assert (after - before).norm(dim=1).max() > 4, "it went round the middle"
    spread = covariance[0].diagonal().mean()  # bilinear reading widens it by some hundredths
    expected = (spread * torch.eye(len(space))).expand(12, -1, -1).double()
    torch.testing.assert_close(turned_covariance, expected, rtol=0, atol=0.1 * spread.item())


def test_images_may_be_turned_all_round_or_a_little(only, maps):
    only("TURN")
    x = torch.zeros(2000, 1, 4, 4)
    for turn, widest in ((True, math.pi), (False, math.pi / 20)):
        Augmentation(turn=turn)(x, torch.tensor(1.0))
        matrix = maps.pop()[:, :, :2]
        torch.testing.assert_close(matrix @ matrix.mT, torch.eye(2).expand(2000, 2, 2), rtol=0, atol=1e-5)
        angle = torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0])
        assert 0.97 * widest < angle.abs().max() <= widest * (1 + 1e-5)
        assert angle.std().item() == pytest.approx(widest / math.sqrt(3), rel=0.05), "all alike"


@pytest.mark.parametrize("space", [(8, 16), (4, 6, 8)], ids=["2D", "3D"])
def test_scales_and_shifts_have_their_spreads(only, maps, space):
    only("SCALE", "SHIFT")
    dims = len(space)
    Augmentation()(torch.zeros(4000, 1, *space), torch.tensor(1.0))
    matrix, shift = maps[0].split([dims, 1], dim=2)
    off = matrix - torch.diag_embed(matrix.diagonal(dim1=1, dim2=2))
    assert not off.any() and (matrix.diagonal(dim1=1, dim2=2) > 0).all()
    logs = matrix.diagonal(dim1=1, dim2=2).log2()
    assert logs.mean(1).std().item() == pytest.approx(0.2, rel=0.05), "of all axes together"
    assert (logs.std(0) > 1.1 * logs.mean(1).std()).all(), "and each by itself"
    assert (shift[..., 0] / 2).std(0).tolist() == pytest.approx([0.125] * dims, rel=0.05), "in sides"


def test_a_shift_is_as_far_in_pixels_as_it_says(only, maps):
    """In an image of 16 x 24 pixels; what is read further on comes to lie before."""
    only("SHIFT")
    seen = Augmentation()(blob((16, 24), (0.0, 0.0), sd=1.0).expand(60, -1, -1, -1), torch.tensor(1.0))
    shift = maps[0][:, :, 2].flip(1) * torch.tensor([16, 24]) / 2
    near = shift.norm(dim=1) < 5
    assert near.sum() > 20 and shift[near].abs().max() > 3
    torch.testing.assert_close(moments(seen)[1][near], -shift[near].double(), rtol=0, atol=0.05)


def test_light_is_added_and_contrast_multiplied(only):
    only("LIGHT", "CONTRAST")
    x = torch.tensor([-0.5, 0.0, 1.0]).repeat(4000, 1, 3, 1)
    seen = Augmentation()(x, torch.tensor(1.0))
    light, contrast = seen[:, 0, 0, 1], seen[:, 0, 0, 2] - seen[:, 0, 0, 1]
    torch.testing.assert_close(seen, x * contrast.view(-1, 1, 1, 1) + light.view(-1, 1, 1, 1))
    assert light.std().item() == pytest.approx(0.2, rel=0.05) and abs(light.mean().item()) < 0.02
    assert contrast.log2().std().item() == pytest.approx(0.5, rel=0.05)
    assert abs(contrast.log2().mean().item()) < 0.04


@pytest.mark.parametrize("kept", [*SPREADS, "mirror"])
@pytest.mark.parametrize("p", [0.2, 0.7])
def test_each_change_has_the_chance_p(only, kept, p):
    only(kept)
    x = torch.rand(1, 1, 6, 8).expand(1500, -1, -1, -1)
    seen = Augmentation(mirror=kept == "mirror", turn=True)(x, torch.tensor(p))
    varied = ((seen - x).abs().flatten(1).amax(1) > 1e-5).float().mean().item()
    expected = {"SCALE": 1 - (1 - p) ** 2, "mirror": p / 2}.get(kept, p)  # two kinds of scale; half of mirrored again
    assert varied == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("space", [(5, 6), (3, 4, 3)], ids=["2D", "3D"])
def test_the_squared_slope_through_it_can_be_differentiated(space):
    """D(x) = a.T(x), T linear but for the light: |T^T a|^2, and its gradient in a is 2 T T^T a."""
    augment, pixels = Augmentation(mirror=True, turn=True), math.prod(space)

    def seen(x: Tensor) -> Tensor:
        torch.manual_seed(3)
        return augment(x.view(1, 1, *space), torch.tensor(1.0)).flatten()

    dark = seen(torch.zeros(pixels))
    columns = torch.stack([seen(each) - dark for each in torch.eye(pixels)], dim=1)
    a, x = torch.randn(pixels, requires_grad=True), torch.randn(1, pixels, requires_grad=True)
    (squared,) = squared_slopes(a @ seen(x), x)
    torch.testing.assert_close(squared, (columns.T @ a).square().sum(), rtol=1e-4, atol=1e-5)
    (slopes,) = torch.autograd.grad(squared, a)
    torch.testing.assert_close(slopes, (2 * columns @ columns.T @ a).detach(), rtol=1e-3, atol=1e-4)


# The chance


def judged(*signs: float) -> Tensor:
    """D(x) of eight real images whose signs have this mean, for each look."""
    return torch.stack([torch.where(torch.arange(8) < 4 * (1 + each), 2.0, -0.5) for each in signs])


def learned(chance: Chance, *signs: float) -> list[float]:
    values = []
    for each in judged(*signs):
        chance.learn(each, len(each))
        values.append(chance.p.item())
    return values


def test_every_fourth_look_the_chance_takes_a_step_of_four_batches():
    chance = Chance(target=0.6, images=320)
    step = 4 * 8 / 320
    assert learned(chance, 1, 1, 1, 1) == pytest.approx([0, 0, 0, step])
    assert learned(chance, 1, 1, 1, 1, 1, 1, 1, 1)[3:] == pytest.approx([2 * step] * 4 + [3 * step])
    assert learned(chance, -1, -1, -1, -1)[3] == pytest.approx(2 * step)


def test_the_direction_is_that_of_the_mean_sign_of_four_looks_against_the_target():
    for signs, target, direction in (
        ((1, 1, 1, -0.5), 0.6, 1),  # 0.625
        ((1, 1, 0.75, -0.5), 0.6, -1),  # 0.5625
        ((-0.5, 1, 1, 1), 0.7, -1),  # the last look alone says otherwise
        ((0.5, 0.5, 0.5, 0.5), 0.5, 0),
    ):
        chance = Chance(target=target, images=320)
        chance.p.fill_(0.5)
        assert learned(chance, *signs)[3] == pytest.approx(0.5 + direction * 0.1), signs


def test_the_chance_stays_between_0_and_1():
    chance = Chance(target=0.6, images=48)
    assert learned(chance, *[-1] * 4)[3] == 0
    assert learned(chance, *[1] * 12)[3::4] == pytest.approx([2 / 3, 1, 1])
    assert learned(chance, *[-1] * 8)[3::4] == pytest.approx([1 / 3, 0], abs=1e-6)


def test_without_a_target_the_chance_never_moves():
    chance = Chance(target=0.0, images=8)
    assert learned(chance, *[1] * 12) == [0.0] * 12 and not chance.looks


def test_the_chance_goes_on_where_it_stood():
    first, second, whole = (Chance(target=0.6, images=320) for _ in range(3))
    learned(first, *[1] * 4, 1, -1)
    second.load_state_dict(first.state_dict())
    assert (second.p.item(), second.looks.item(), second.signs.item()) == pytest.approx((0.1, 2, 0))
    expected = learned(whole, *[1] * 4, 1, -1, 1, 1)[6:]
    assert learned(second, 1, 1) == expected == pytest.approx([0.1, 0.0])
