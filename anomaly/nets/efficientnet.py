"""EfficientNet-Lite0, to be filled with weights that were learned elsewhere and looked into block by block."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STAGES = (  # blocks, kernel, stride, expansion, channels (Tan and Le 2019, table 1; Liu 2020 for the Lite form)
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM, EPSILON = 32, 1e-3
BLOCKS = sum(stage[0] for stage in STAGES)
NORMALISED = {"_conv_stem": "_bn0", "_expand_conv": "_bn0", "_depthwise_conv": "_bn1", "_project_conv": "_bn2"}
"""Each convolution, and the batch normalisation behind it, as `efficientnet_lite_pytorch` names them."""


class Lite0(nn.Module):
    """The stem and the first blocks, each batch normalisation folded into the convolution before it.

    Args:
        blocks: how many of the 16 are built; the output is that of the last.
    """

    def __init__(self, blocks: int = BLOCKS) -> None:
        super().__init__()
        self._conv_stem = _Same(3, STEM, 3, 2)
        self._blocks = nn.ModuleList(list(_blocks())[:blocks])

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (N, 3, H, W), as the network was trained on -> (N, channels, h, w)."""
        for found in self.outputs(x):
            last = found
        return last

    def outputs(self, x: Tensor) -> Iterator[Tensor]:
        """What each block gives, in order."""
        x = F.relu6(self._conv_stem(x), inplace=True)
        for block in self._blocks:
            x = block(x)
            yield x


def folded(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights as they were trained, with batch normalisations, as weights and biases of convolutions alone.

    w' = w g / sqrt(v + e) and b' = b - m g / sqrt(v + e), of mean m, variance v, gain g and bias b.
    """
    found = {}
    for name, weight in tensors.items():
        place, _, conv = name.removesuffix(".weight").rpartition(".")
        if conv not in NORMALISED:
            continue
        norm = f"{place}.{NORMALISED[conv]}".lstrip(".")
        gain = tensors[f"{norm}.weight"] / torch.sqrt(tensors[f"{norm}.running_var"] + EPSILON)
        found[name] = weight * gain.view(-1, 1, 1, 1)
        found[name.removesuffix("weight") + "bias"] = tensors[f"{norm}.bias"] - tensors[f"{norm}.running_mean"] * gain
    return found


class _Same(nn.Conv2d):
    """A convolution whose output has ceil(side / stride) pixels; the odd pixel of padding comes last."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        lacking = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in (x.shape[3], x.shape[2])]
        return super().forward(F.pad(x, [part for side in lacking for part in (side // 2, side - side // 2)]))


class _Block(nn.Module):
    """Widen, filter each channel alone, narrow (Sandler et al. 2018); the Lite form has no squeeze."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        if expansion > 1:
            self._expand_conv = _Same(inputs, wide, 1)
        self._depthwise_conv = _Same(wide, wide, kernel, stride, groups=wide)
        self._project_conv = _Same(wide, outputs, 1)
        self._widens, self._returns = expansion > 1, stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        wide = F.relu6(self._expand_conv(x), inplace=True) if self._widens else x
        narrow = self._project_conv(F.relu6(self._depthwise_conv(wide), inplace=True))
        return narrow + x if self._returns else narrow


def _blocks() -> Iterator[nn.Module]:
    inputs = STEM
    for count, kernel, stride, expansion, outputs in STAGES:
        for number in range(count):
            yield _Block(inputs, outputs, kernel, stride if number == 0 else 1, expansion)
            inputs = outputs
