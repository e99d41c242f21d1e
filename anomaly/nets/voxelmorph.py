"""The network of VoxelMorph: two images in, the velocity that brings one onto the other out; 2D or 3D, any sides."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.nets.fields import compose, integrate, warp
from anomaly.nets.layers import crop, pad_to_multiple
from anomaly.nets.pyramid import initialise

LINEAR = {2: "bilinear", 3: "trilinear"}


class FieldNetwork(nn.Module):
    """Moving and fixed image -> the velocity (N, dims, *space) from which a field follows; exactly 0 at first.

    MONAI's U-Net of VoxelMorph, with a last convolution that begins with 0. Sides are filled up with their edges to a
    multiple of what is halved.

    Args:
        shape: (C, *space) of one image.
        width: channels at full size; twice as many further down.
        levels: sizes, the full one and each of the halvings.
        halved: work at half the size: each 2 x 2 (x 2) pixels are handed in as channels, so that nothing of them is
            lost, and the velocity has half the size.
    """

    def __init__(self, shape: Sequence[int], *, width: int, levels: int, halved: bool) -> None:
        super().__init__()
        from monai.networks.nets import VoxelMorphUNet

        channels, self.dims, self.halved = shape[0], len(shape) - 1, halved
        wide = [width, *[2 * width] * (2 * levels - 1)]
        self.multiple = 2 ** (levels + halved)
        self.net = VoxelMorphUNet(
            spatial_dims=self.dims, in_channels=2 * channels * (2**self.dims if halved else 1),
            unet_out_channels=2 * width, channels=wide, final_conv_channels=[width, width],
        )  # fmt: skip
        initialise(self.net)  # torch's own weights let what is seen fade from layer to layer: learning begins late
        last = [each for each in self.net.modules() if isinstance(each, nn.Conv2d | nn.Conv3d)][-1]
        nn.init.zeros_(last.weight)
        nn.init.zeros_(cast(Tensor, last.bias))

    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        """(N, C, *space) twice -> (N, dims, *cells), in cells: pixels, or where `halved` pixels of twice the side."""
        both = pad_to_multiple(torch.cat([moving, fixed], 1), self.multiple)
        velocity: Tensor = self.net(folded(both) if self.halved else both)
        return velocity.float()


def folded(x: Tensor) -> Tensor:
    """(N, C, *space) -> (N, 2^dims C, *space / 2): neighbours become channels. Sides must be even."""
    for axis in range(2, x.ndim):
        x = torch.cat([x.index_select(axis, torch.arange(k, x.shape[axis], 2, device=x.device)) for k in (0, 1)], 1)
    return x


def field_of(velocity: Tensor, space: Sequence[int], *, halved: bool, steps: int) -> Tensor:
    """The field (N, dims, *space), in pixels, after following a velocity for one unit of time (`fields.integrate`).

    Args:
        velocity: as `FieldNetwork` gives it.
        space: of the images; what lies beyond was filled up.
        halved: its cells are two pixels wide.
        steps: of scaling and squaring; 0 takes the velocity for the field itself.
    """
    field = integrate(velocity, steps) if steps else velocity
    if halved:
        # Not aligned at the corners: the middle of a cell is the middle of its pixels.
        field = 2 * F.interpolate(field, scale_factor=2.0, mode=LINEAR[field.ndim - 2], align_corners=False)
    return crop(field, tuple(space))


def gradient(field: Tensor) -> Tensor:
    """How much neighbours' displacements differ, (N,): mean |grad u|^2 of VoxelMorph, summed over components and axes.

    Differences within the image alone; a field that moves everything alike costs nothing.
    """
    total = field.new_zeros(len(field))
    for axis in range(2, field.ndim):
        steps = field.diff(dim=axis)
        if steps.numel():
            total = total + steps.square().sum(1).flatten(1).mean(1)
    return total


def perturbed(x: Tensor, reach: float) -> Tensor:
    """Images slightly deformed by chance: by a smooth field whose components have a deviation of `reach` pixels."""
    coarse = torch.randn(len(x), x.ndim - 2, *[max(2, side // 16) for side in x.shape[2:]], device=x.device)
    field = F.interpolate(coarse, size=x.shape[2:], mode=LINEAR[x.ndim - 2], align_corners=True)
    return warp(x, reach * field)


def joined(fields: Sequence[Tensor]) -> Tensor:
    """One field for several that follow one another, the first of them first."""
    whole = fields[0]
    for each in fields[1:]:
        whole = compose(whole, each)
    return whole
