"""Where the last convolution sees what raises the target."""

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.errors import AnomalyError
from explain.attributions.base import gradient
from explain.attributions.networks import ThroughNetwork
from explain.base import Explanation

LINEAR = {2: "bilinear", 3: "trilinear"}


@dataclass(kw_only=True)
class GradCAM(ThroughNetwork):
    """Where in the image the last convolution sees what raises the target; coarse.

    sum_k w_k A_k, A_k the channels of a layer and w_k the mean over space of df/dA_k (Selvaraju et al. 2017, eq. 1
    and 2), drawn over the image by linear interpolation between the centres of the layer's pixels, in units of the
    target for each pixel of the layer. A network that pads images inside shifts it by as much.

    The paper keeps the positive part: of many classes, what lowers one speaks for others. A target here is one number
    with two sides, and a map is signed, so both are kept unless `signed` is false.

    Read is the first call of the layer for each image. Left open, it is the last convolution before the space is
    gone: before the first vector or single pixel that a part of the network gives after a convolution (a flattening, a
    global pooling). So it is the deepest of an encoder, even where a decoder follows. Name another where a network
    pools beside its main path, as squeeze-and-excitation does, and the block that adds them up where it has shortcuts.

    Args:
        target: a network, or a function with one behind it, as in `ThroughNetwork`.
        layer: the name of a layer, as in `net.named_modules()`, that gives (N, K, *space); "" finds it.
        signed: False for the published map, whose negative part is cut off.
    """

    name: ClassVar[str] = "grad-cam"
    summary: ClassVar[str] = "where the last convolution sees what raises the target, coarse; needs a network"
    cite: ClassVar[str] = "Selvaraju et al. 2017"
    layer: str = ""
    signed: bool = True

    def evidence(self, x: Tensor) -> Explanation:
        """The weighted channels of every image, at the size of the image."""
        layer = self.layer or self.last_convolution(x[:1])
        coarse = torch.cat([self._activation(image, layer) for image in x.split(1)])
        coarse = coarse if self.signed else coarse.clamp_min(0)
        return Explanation(F.interpolate(coarse, size=x.shape[2:], mode=LINEAR[x.ndim - 2], align_corners=False))

    def last_convolution(self, x: Tensor) -> str:
        """The name of the layer that is read if none is given, for images (N, C, *space).

        Raises:
            AnomalyError: the images meet no convolution.
        """
        net, met, gone = self.network(), list[str](), list[str]()

        def watch(name: str, module: nn.Module, output: Any) -> None:
            if gone or not isinstance(output, Tensor):
                return
            if output.ndim != x.ndim or prod(output.shape[2:]) == 1:
                gone.extend([name] if met else [])
            elif getattr(getattr(module, "weight", None), "ndim", 0) == x.ndim:
                met.append(name)

        handles = [
            module.register_forward_hook(lambda module, _, output, name=name: watch(name, module, output))
            for name, module in net.named_modules()
        ]
        try:
            with torch.no_grad():
                self.ask(x)
        finally:
            for handle in handles:
                handle.remove()
        if not met:
            raise AnomalyError(
                f"grad-cam reads a convolution, and the target takes images {tuple(x.shape)} through none; name "
                "another layer=..., or take a method that needs none, such as integrated-gradients"
            )
        return met[-1]

    def _activation(self, image: Tensor, name: str) -> Tensor:
        parts, kept = dict(self.network().named_modules()), list[Tensor]()
        if name not in parts:
            raise AnomalyError(f"layer={name} is unknown; the network has {', '.join(filter(None, parts))}")

        def keep(module: nn.Module, inputs: Any, output: Any) -> Any:
            if kept:
                return None
            kept.append(output)
            # What follows may work in place.
            return output.clone() if isinstance(output, Tensor) else None

        handle = parts[name].register_forward_hook(keep)
        try:
            value = self.ask(image.requires_grad_())
        finally:
            handle.remove()
        seen = _checked(kept, image, name)
        weights = gradient(value, seen, f"layer {name}").flatten(2).mean(2)
        return torch.einsum("nk,nk...->n...", weights, seen.detach())[:, None]


def _checked(kept: list[Tensor], image: Tensor, name: str) -> Tensor:
    if not kept:
        raise AnomalyError(f"the target does not call layer={name}; name one that it calls")
    got = tuple(kept[0].shape) if isinstance(kept[0], Tensor) else type(kept[0]).__name__
    if not isinstance(kept[0], Tensor) or kept[0].ndim != image.ndim or len(kept[0]) != 1:
        raise AnomalyError(
            f"layer={name} gives {got} for one image {tuple(image.shape)}, expected (1, K, *space); name one that "
            "keeps the space and is given nothing beside the image"
        )
    return kept[0]
