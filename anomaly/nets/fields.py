"""Displacement fields: how they move images, how they are joined and undone, how smooth and how invertible they are.

A field is (N, dims, *space) in pixels of its own grid, with two or three axes of space. Component c moves along the
c-th axis of space, in the order of the tensor: component 0 along the first. A field says where each pixel is fetched
from, moved(p) = x(p + field(p)), so it points from where something is seen afterwards to where it was before.

All is differentiable, and in float32 at least, also under autocast: in half precision a place beyond pixel 256 would
be known to whole pixels only. Wrong shapes raise AnomalyError.
"""

from itertools import combinations_with_replacement

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from anomaly.errors import AnomalyError

SMALLEST = 1e-3
"""What `log_jacobian` takes for a determinant below it, so also where a field folds; the logarithm is -6.9."""


def warp(x: Tensor, field: Tensor) -> Tensor:
    """Move images by a field: x(p + field(p)), linearly interpolated, with the edges repeated outside.

    A zero field gives the images back to the last bit or two, and a field of whole pixels an exact shift: places are
    worked out in float64 where the device has it, since float32 is off by up to 1e-5 pixels.

    Args:
        x: (N, C, *space).
        field: (N, dims, *space). Has no gradient where it points beyond the edge.

    Returns:
        (N, C, *space), float64 for float64 images, else float32.
    """
    _check(field)
    if x.shape[0] != field.shape[0] or x.shape[2:] != field.shape[2:]:
        raise AnomalyError(
            f"images have shape {tuple(x.shape)}, the field {tuple(field.shape)}; expected (N, C, *space) and "
            "(N, dims, *space) with the same N and space"
        )
    kind = torch.promote_types(x.dtype, torch.float32)
    places = torch.float32 if x.device.type == "mps" else torch.float64
    with torch.autocast(x.device.type, enabled=False):
        # grid_sample asks for the last axis first, and for places where -1 and 1 are the outer borders of the image.
        towards = [
            torch.add(_centres(field, axis, places), field[:, axis], alpha=2 / side)
            for axis, side in enumerate(field.shape[2:])
        ]
        grid = torch.stack(towards[::-1], dim=-1)
        return grid_sample(x.to(places), grid, padding_mode="border", align_corners=False).to(kind)


def compose(first: Tensor, second: Tensor) -> Tensor:
    """Join two fields into one: warp(x, compose(first, second)) is warp(warp(x, first), second).

    The field is second(p) + first(p + second(p)): of the moved image each pixel is fetched by `second`, and what it
    finds there was fetched by `first`. Equal but for interpolation, as long as `second` stays within the image.
    """
    return _precise(second) + warp(_precise(first), second)


def integrate(velocity: Tensor, steps: int = 7) -> Tensor:
    """The displacement after following a steady velocity for one unit of time, by scaling and squaring.

    The velocity is divided by 2^steps, and that small displacement composed with itself `steps` times (Arsigny et al.
    2006). Smooth velocities give fields that do not fold; integrate(-velocity) is the inverse.
    """
    field = _precise(velocity) / 2**steps
    for _ in range(steps):
        field = compose(field, field)
    return field


def invert(field: Tensor, iterations: int = 20) -> Tensor:
    """The field that undoes another: u with u(p) = -field(p + u(p)), by fixed-point iteration (Chen et al. 2008).

    Converges, by the same factor each time, where neighbours' displacements differ by less than a pixel; a field
    that folds has no inverse. `inverse_consistency` says how well it went.
    """
    inverse = -_precise(field)
    for _ in range(iterations):
        inverse = -warp(_precise(field), inverse)
    return inverse


def inverse_consistency(field: Tensor, inverse: Tensor) -> Tensor:
    """How far from its start a pixel ends, there and back: mean pixels of both orders, (N,), 0 for true inverses."""
    there, back = length(compose(field, inverse)), length(compose(inverse, field))
    return (there + back).flatten(1).mean(1) / 2


def jacobian_determinant(field: Tensor) -> Tensor:
    """How much volume each pixel fetches, (N, *space): 1 where nothing changes, 0 or below where the field folds.

    The determinant of I + d field / d p, by central differences, one-sided at the edges, 0 along an axis of length 1.
    Folds that alternate from pixel to pixel escape central differences.
    """
    rows = []
    for axis in range(field.ndim - 2):
        slope = _slope(_precise(field), axis + 2)
        rows.append(torch.cat([part + (axis == c) for c, part in enumerate(slope.split(1, dim=1))], dim=1))
    if len(rows) == 3:
        return (torch.linalg.cross(rows[0], rows[1], dim=1) * rows[2]).sum(1)
    return rows[0][:, 0] * rows[1][:, 1] - rows[0][:, 1] * rows[1][:, 0]


def log_jacobian(field: Tensor) -> Tensor:
    """Natural logarithm of the determinant, (N, 1, *space): 0 where volume is kept; no lower than log `SMALLEST`.

    Positive where a pixel fetches more than its own volume: there things became smaller.
    """
    return jacobian_determinant(field).clamp_min(SMALLEST).log()[:, None]


def folded_share(field: Tensor) -> Tensor:
    """Share of the pixels where the field folds, with a determinant of 0 or below, (N,) from 0 to 1."""
    return (jacobian_determinant(field) <= 0).float().flatten(1).mean(1)


def roughness(field: Tensor) -> Tensor:
    """How much neighbours' displacements differ, (N,): L_RegG of DeFI-GAN (Bigolin Lanfredi et al. 2020).

    The sum over the 2 dims neighbours q of mean_p sqrt(sum_c (|phi_c(p) - phi_c(q)| + 1e-10)^2). Displacements
    outside the image are 0, so a field that moves everything alike costs something at the edges. The gradient at a
    zero field is 0.
    """
    phi = _precise(field)
    total = phi.new_zeros(len(phi))
    for axis, side in enumerate(phi.shape[2:], start=2):
        outside = torch.zeros_like(phi.narrow(axis, 0, 1))
        steps = phi.diff(dim=axis, prepend=outside, append=outside).abs() + 1e-10
        lengths = steps.square().sum(1, keepdim=True).sqrt()
        for neighbour in (0, 1):
            total = total + lengths.narrow(axis, neighbour, side).flatten(1).mean(1)
    return total


def bending(field: Tensor) -> Tensor:
    """How much a field bends, (N,): its squared second differences, which are 0 for every affine field.

    The mean squares are summed over components and pairs of axes, mixed ones counted twice (Rueckert et al. 1999).
    Only differences within the image count, so nothing is held at its edges, unlike in `roughness`.
    """
    phi = _precise(field)
    total = phi.new_zeros(len(phi))
    for one, other in combinations_with_replacement(range(2, phi.ndim), 2):
        second = phi.diff(dim=one).diff(dim=other)
        if second.numel():  # an axis too short to bend along has no second difference
            total = total + (1 + (one != other)) * second.square().sum(1).flatten(1).mean(1)
    return total


def length(field: Tensor) -> Tensor:
    """How far each pixel moves, in pixels, (N, 1, *space)."""
    return torch.linalg.vector_norm(_precise(field), dim=1, keepdim=True)


def _check(field: Tensor) -> None:
    if field.ndim not in (4, 5) or field.shape[1] != field.ndim - 2 or not field.is_floating_point():
        raise AnomalyError(
            f"expected a floating-point field (N, 2, *space) in 2D or (N, 3, *space) in 3D, got {tuple(field.shape)} "
            f"{field.dtype}"
        )


def _precise(field: Tensor) -> Tensor:
    _check(field)
    return field.to(torch.promote_types(field.dtype, torch.float32))


def _centres(field: Tensor, axis: int, kind: torch.dtype) -> Tensor:
    """Where the pixels' centres lie along an axis of space whose borders are at -1 and 1, ready to broadcast."""
    side = field.shape[2 + axis]
    centres = (2 * torch.arange(side, dtype=kind, device=field.device) + 1) / side - 1
    return centres.view(-1, *(1,) * (field.ndim - 3 - axis))


def _slope(field: Tensor, axis: int) -> Tensor:
    """Central differences along an axis, one-sided at its ends."""
    side = field.shape[axis]
    place = torch.arange(side, device=field.device)
    ahead, behind = (place + 1).clamp_max(side - 1), (place - 1).clamp_min(0)
    width = (ahead - behind).clamp_min(1).view(-1, *(1,) * (field.ndim - 1 - axis))
    return (field.index_select(axis, ahead) - field.index_select(axis, behind)) / width
