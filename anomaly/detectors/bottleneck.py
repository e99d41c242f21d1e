"""What autoencoder and variational autoencoder share: the network, and how runs of earlier versions are read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from anomaly.detectors.reconstruction import ReconstructionDetector
from anomaly.nets.autoencoder import Autoencoder as Network


@dataclass(kw_only=True)
class BottleneckDetector(ReconstructionDetector):
    """Base of the detectors that hold `autoencoder` in `net_`.

    Args:
        latent: length of the code, the strongest hyperparameter: 4 for chest X-rays, 16 for brain MRI.
        width: channels after the first halving.
        hidden: layer between the convolutions and the code.
    """

    positive: ClassVar[tuple[str, ...]] = (*ReconstructionDetector.positive, "latent", "width", "hidden")
    sees_context: ClassVar[bool] = True
    latent: int = 16
    width: int = 16
    hidden: int = 1024

    def network(self, shape: tuple[int, ...], *, alike: bool = False) -> Network:
        """The network, of which `alike` asks for the one of earlier versions, all axes halved equally often."""
        raise NotImplementedError

    def rebuild(self, shape: tuple[int, ...], tensors: Mapping[str, Tensor]) -> nn.Module:
        """As `build`; from a run of an earlier version with the axes halved alike."""
        net = self.build(shape)
        state = net.get_submodule("autoencoder").state_dict()
        own = {f"autoencoder.{name}": each.shape for name, each in state.items()}
        kept = {name: tensors[name].shape for name in own if name in tensors}
        if own != kept:
            net.add_module("autoencoder", self.network(shape, alike=True))
        return net
