from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.linalg import expm
from torch import Tensor

from anomaly.errors import AnomalyError
from anomaly.nets.fields import (
    SMALLEST,
    bending,
    compose,
    folded_share,
    integrate,
    inverse_consistency,
    invert,
    jacobian_determinant,
    length,
    log_jacobian,
    roughness,
    warp,
)
from anomaly.nets.losses import gaussian_blur

SPACES = [(7, 5), (224, 31), (4, 6, 3), (1, 9), (5, 1, 4)]
SLOPES = {2: [[0.2, -0.1], [0.3, 0.1]], 3: [[0.2, -0.1, 0.0], [0.3, 0.1, 0.1], [-0.2, 0.1, -0.3]]}
both = pytest.mark.parametrize("space", [(24, 20), (16, 14, 15)], ids=["2D", "3D"])
fields_only = pytest.mark.parametrize(
    "function", [jacobian_determinant, log_jacobian, folded_share, roughness, bending, length, integrate, invert]
)


def smooth(n: int, space: tuple[int, ...], size: float, seed: int) -> Tensor:
    """Smooth random fields that vanish towards the edges, whose longest component is `size` pixels."""
    random = torch.Generator().manual_seed(seed)
    field = gaussian_blur(torch.randn(n, len(space), *space, generator=random, dtype=torch.float64), 3)
    for axis, side in enumerate(space):
        window = torch.sin(torch.pi * (torch.arange(side, dtype=torch.float64) + 0.5) / side)
        field = field * window.view(-1, *(1,) * (len(space) - 1 - axis))
    return size * field / field.flatten(1).abs().amax(1).view(-1, *(1,) * (field.ndim - 1))


def linear(slope: np.ndarray | list, space: tuple[int, ...]) -> Tensor:
    """The field slope @ (p - centre), (1, dims, *space)."""
    axes = [torch.arange(side, dtype=torch.float64) - (side - 1) / 2 for side in space]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    return torch.tensordot(torch.as_tensor(np.array(slope, dtype=np.float64)), places, dims=1)[None]


def constant(vector: list[float], space: tuple[int, ...]) -> Tensor:
    return torch.tensor([vector]).view(1, -1, *(1,) * len(space)).expand(-1, -1, *space).clone()


def inside(values: Tensor, margin: int = 4) -> Tensor:
    for axis in range(2, values.ndim):
        values = values.narrow(axis, margin, values.shape[axis] - 2 * margin)
    return values


# Moving images


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_zero_field_is_the_identity(space: tuple[int, ...]) -> None:
    x = torch.rand(2, 3, *space)
    torch.testing.assert_close(warp(x, torch.zeros(2, len(space), *space)), x, rtol=0, atol=1e-6)


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("step", [-1, 1, 2])
def test_whole_pixels_are_a_shift_with_the_edge_repeated(space: tuple[int, ...], step: int) -> None:
    x = torch.rand(2, 2, *space)
    for axis, side in enumerate(space):
        field = torch.zeros(2, len(space), *space)
        field[:, axis] = step
        fetched = x.index_select(axis + 2, (torch.arange(side) + step).clamp(0, side - 1))
        torch.testing.assert_close(warp(x, field), fetched, rtol=0, atol=1e-6)


def test_half_a_pixel_is_the_mean_of_two() -> None:
    x = torch.tensor([[1.0, 3.0, 11.0], [0.0, 0.0, 4.0]])[None, None]
    moved = warp(x, constant([0.0, 0.5], (2, 3)))
    torch.testing.assert_close(moved[0, 0], torch.tensor([[2.0, 7.0, 11.0], [0.0, 2.0, 4.0]]))


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_any_field_agrees_with_scipy(space: tuple[int, ...]) -> None:
    x, field = torch.rand(2, 2, *space), 3 * torch.randn(2, len(space), *space)
    moved = warp(x, field)
    for image, shift, result in zip(x.numpy(), field.numpy().astype(np.float64), moved.numpy(), strict=True):
        places = np.indices(space) + shift
        for channel, found in zip(image, result, strict=True):
            expected = ndimage.map_coordinates(channel, places, order=1, mode="nearest")
            np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("space", [(3, 4), (2, 3, 3)], ids=["2D", "3D"])
def test_gradients_of_image_and_field_are_those_of_differences(space: tuple[int, ...]) -> None:
    x = torch.rand(2, 2, *space, dtype=torch.float64, requires_grad=True)
    field = torch.rand(2, len(space), *space, dtype=torch.float64).mul(0.4).add(0.2)
    assert torch.autograd.gradcheck(warp, (x, field.requires_grad_()))


def test_autocast_changes_nothing() -> None:
    x, field = torch.rand(2, 1, 200, 9), 2 * torch.randn(2, 2, 200, 9)
    functions: list[Callable] = [lambda f: warp(x, f), integrate, invert, log_jacobian, roughness, bending, length]
    for function in functions:
        expected = function(field)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = function(field)
        assert found.dtype == function(field.bfloat16()).dtype == torch.float32
        assert torch.equal(found, expected)


def test_wrong_shapes_are_told() -> None:
    with pytest.raises(AnomalyError, match=r"\(2, 1, 8, 8\).*\(2, 2, 8, 7\)"):
        warp(torch.zeros(2, 1, 8, 8), torch.zeros(2, 2, 8, 7))
    with pytest.raises(AnomalyError, match=r"\(2, 1, 8, 8\).*\(1, 2, 8, 8\)"):
        warp(torch.zeros(2, 1, 8, 8), torch.zeros(1, 2, 8, 8))


@fields_only
def test_what_is_no_field_is_told(function: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(AnomalyError, match=r"\(1, 3, 8, 8\)"):
        function(torch.zeros(1, 3, 8, 8))
    with pytest.raises(AnomalyError, match="int64"):
        function(torch.zeros(1, 2, 8, 8, dtype=torch.int64))


@fields_only
def test_each_field_is_judged_by_itself(function: Callable[[Tensor], Tensor]) -> None:
    fields = 0.4 * torch.randn(3, 2, 6, 7)
    torch.testing.assert_close(function(fields)[1:2], function(fields[1:2]))


# Joining and undoing


@both
def test_compose_is_one_move_after_the_other(space: tuple[int, ...]) -> None:
    dims = len(space)
    x, first = torch.rand(1, 1, *space), torch.randn(1, dims, *space)
    whole = constant([1.0, -2.0, 0.0][:dims], space)
    twice = warp(warp(x, first), whole)
    torch.testing.assert_close(inside(warp(x, compose(first, whole))), inside(twice), rtol=0, atol=1e-5)
    other = inside(warp(x, compose(whole, first)))
    assert (other - inside(twice)).abs().amax() > 0.1


@both
def test_compose_is_exact_for_an_image_without_curvature(space: tuple[int, ...]) -> None:
    ramps = linear(np.eye(len(space)), space)
    first, second = (2 * torch.rand(1, len(space), *space, dtype=torch.float64) for _ in range(2))
    torch.testing.assert_close(
        inside(warp(ramps, compose(first, second))), inside(warp(warp(ramps, first), second)), rtol=0, atol=1e-6
    )


@both
def test_a_linear_velocity_gives_the_matrix_exponential(space: tuple[int, ...]) -> None:
    slope = np.array(SLOPES[len(space)]) / 2
    displaced = integrate(linear(slope, space))
    expected = linear(expm(slope) - np.eye(len(space)), space)
    # Scaling and squaring with one Euler step of 2^-7: the error is of first order in it.
    error, euler = inside(displaced - expected).abs().amax(), inside(linear(slope, space) - expected).abs().amax()
    assert error < euler / 50
    assert inside(integrate(linear(slope, space), steps=9) - expected).abs().amax() < error / 3


def test_a_constant_velocity_is_its_own_displacement() -> None:
    velocity = constant([1.5, -0.25], (9, 8))
    torch.testing.assert_close(integrate(velocity), velocity)
    torch.testing.assert_close(integrate(velocity, steps=0), velocity)


def test_following_a_velocity_does_not_fold_where_adding_it_does() -> None:
    velocity = smooth(2, (40, 40), 8.0, seed=3)
    assert (folded_share(velocity) > 0.01).all()
    displaced = integrate(velocity)
    assert torch.equal(folded_share(displaced), torch.zeros(2))
    consistency = inverse_consistency(displaced, integrate(-velocity))
    assert (consistency < 0.05 * length(displaced).flatten(1).mean(1)).all()


@both
def test_the_inverse_of_a_linear_field_is_the_inverse_matrix(space: tuple[int, ...]) -> None:
    unit = np.eye(len(space))
    slope = np.array(SLOPES[len(space)]) / 2
    inverse = invert(linear(slope, space), iterations=30)
    torch.testing.assert_close(inside(inverse), inside(linear(np.linalg.inv(unit + slope) - unit, space)))


def test_more_iterations_undo_better() -> None:
    field = smooth(2, (24, 24), 2.0, seed=4)
    gaps = [length(compose(field, invert(field, n))).mean() for n in (0, 5, 10, 80)]
    assert gaps[0] > 5 * gaps[1] > 25 * gaps[2] and gaps[3] < 1e-5
    # The other way round only up to interpolation.
    assert (inverse_consistency(field, invert(field, 80)) < 0.03).all()


def test_inverse_consistency_is_in_pixels() -> None:
    field = torch.cat([constant([3.0, 4.0], (6, 5)), constant([0.0, 1.0], (6, 5))])
    torch.testing.assert_close(inverse_consistency(field, torch.zeros_like(field)), torch.tensor([5.0, 1.0]))
    torch.testing.assert_close(inverse_consistency(field, -field), torch.zeros(2))


# Volume


@both
def test_the_determinant_of_a_linear_field_is_that_of_its_matrix_also_at_the_edges(space: tuple[int, ...]) -> None:
    slope = np.array(SLOPES[len(space)])
    found = jacobian_determinant(linear(slope, space))
    expected = np.linalg.det(np.eye(len(space)) + slope)
    assert found.shape == (1, *space)
    torch.testing.assert_close(found, torch.full_like(found, expected))
    logs = log_jacobian(linear(slope, space))
    assert logs.shape == (1, 1, *space)
    torch.testing.assert_close(logs, torch.full_like(logs, np.log(expected)))


def test_differences_are_central_and_one_sided_at_the_edges() -> None:
    field = torch.zeros(1, 2, 5, 3)
    field[0, 0] = torch.tensor([0.0, 1.0, 4.0, 9.0, 16.0])[:, None]
    expected = 1 + torch.tensor([1.0, 2.0, 4.0, 6.0, 7.0])[:, None].expand(5, 3)
    assert torch.equal(jacobian_determinant(field)[0], expected)


def test_the_determinant_differs_from_pixel_to_pixel_as_numpy_has_it() -> None:
    field = 0.3 * torch.randn(2, 3, 5, 4, 6, dtype=torch.float64)
    slopes = np.stack([np.stack(np.gradient(one, axis=(1, 2, 3)), axis=-1) for one in field.numpy()])
    matrices = np.moveaxis(slopes, 1, -2) + np.eye(3)
    np.testing.assert_allclose(jacobian_determinant(field).numpy(), np.linalg.det(matrices))


def test_an_axis_of_one_pixel_keeps_its_length() -> None:
    field = torch.zeros(1, 3, 4, 1, 2)
    field[:, 0] = 0.5 * torch.arange(4.0).view(4, 1, 1)
    torch.testing.assert_close(jacobian_determinant(field), torch.full((1, 4, 1, 2), 1.5))


def test_folds_are_counted_and_have_the_lowest_logarithm() -> None:
    mirrored, flat, half = (linear(-slope * np.diag([1, 0]), (6, 4)) for slope in (2, 1, 1))
    half[:, :, 3:] = 0  # slopes -1, -1, -0.25, 0.25, 0, 0: two rows of six have no volume left
    field = torch.cat([mirrored, flat, half])
    torch.testing.assert_close(folded_share(field), torch.tensor([1, 1, 1 / 3]))
    assert torch.equal(log_jacobian(field)[0], torch.full((1, 6, 4), np.log(SMALLEST), dtype=torch.float64))


# Smoothness


def test_roughness_of_one_moved_pixel() -> None:
    field = torch.zeros(2, 2, 5, 6)
    field[0, :, 2, 3] = torch.tensor([3.0, -4.0])
    # A step of 5 pixels between it and each of 4 neighbours, seen from both.
    torch.testing.assert_close(roughness(field), torch.tensor([4 * 5 * 2 / 30, 0.0]))
    corner = torch.zeros(1, 3, 4, 2, 3)
    corner[0, :, 0, 0, 0] = torch.tensor([2.0, 3.0, -6.0])
    # A step of 7: 3 neighbours, seen from both, and 3 outside, seen from within only.
    torch.testing.assert_close(roughness(corner), torch.tensor([7 * (6 + 3) / 24]))


def test_roughness_of_a_common_shift_is_at_the_edges() -> None:
    torch.testing.assert_close(roughness(constant([3.0, 4.0], (7, 5))), torch.tensor([5 * 2 * (7 + 5) / 35]))
    torch.testing.assert_close(roughness(constant([3.0, 4.0], (1, 5))), torch.tensor([5 * 2 * (1 + 5) / 5]))


@both
def test_roughness_has_a_finite_gradient_at_a_zero_field(space: tuple[int, ...]) -> None:
    field = torch.zeros(1, len(space), *space, requires_grad=True)
    roughness(field).sum().backward()
    assert field.grad is not None and torch.equal(field.grad, torch.zeros_like(field))


def test_bending_is_0_for_what_is_affine() -> None:
    field = torch.cat([linear(SLOPES[3], (5, 6, 4)), constant([1.0, 2.0, 3.0], (5, 6, 4)).double()])
    torch.testing.assert_close(bending(field), torch.zeros(2, dtype=torch.float64))


def test_bending_of_squares_and_products() -> None:
    i, j = torch.meshgrid(torch.arange(6.0), torch.arange(5.0), indexing="ij")
    squares, products = torch.stack([i**2, 3 * j**2]), torch.stack([torch.zeros_like(i), i * j])
    # Second differences 2 and 6: 4 + 36. A mixed one of 1, counted twice.
    torch.testing.assert_close(bending(torch.stack([squares, products])), torch.tensor([40.0, 2.0]))


def test_bending_of_images_too_small_to_bend() -> None:
    assert bending(torch.randn(1, 2, 1, 2)).item() == 0
    assert bending(torch.randn(2, 3, 1, 4, 2)).isfinite().all()


def test_length() -> None:
    field = torch.zeros(1, 3, 2, 2, 2, requires_grad=True)
    length(field).sum().backward()
    assert field.grad is not None and field.grad.isfinite().all()
    assert torch.equal(length(constant([2.0, -3.0, 6.0], (2, 3, 4))), torch.full((1, 1, 2, 3, 4), 7.0))
