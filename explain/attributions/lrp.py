"""The target handed back layer by layer, to each input of a layer what it contributed."""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from anomaly.errors import AnomalyError
from anomaly.nets.pyramid import Folded
from explain.attributions.base import gradient
from explain.attributions.baselines import AgainstBaseline
from explain.attributions.listening import each_call
from explain.attributions.networks import ThroughNetwork
from explain.base import Explanation

SHAPED = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
LINEAR = (
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear),
    *(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *BATCH_NORM,
)
THROUGH = (
    *DROPOUT,
    *(nn.Identity, nn.Flatten, nn.Unflatten, nn.Upsample, nn.PixelShuffle, nn.PixelUnshuffle, nn.ZeroPad2d),
    *(nn.ConstantPad2d, nn.ConstantPad3d, nn.ReplicationPad2d, nn.ReplicationPad3d, nn.ReflectionPad2d),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
)
"""What hands back by its derivative alone: it moves, repeats or picks values."""
BENT = (
    nn.ReLU,
    nn.LeakyReLU,
    nn.PReLU,
    nn.RReLU,
    nn.ReLU6,
    nn.Tanh,
    nn.Hardtanh,
    nn.ELU,
    nn.CELU,
    nn.SELU,
    nn.Softsign,
)
"""Activations through the origin, which give 0 for 0 and the sign for the sign."""
RULED = (*SHAPED, Folded, *LINEAR, *BENT)
"""What hands back by a rule of its own."""
TWO_WAYS = (*BATCH_NORM, *DROPOUT, nn.RReLU)
"""What is random, or mixes the images of a batch, in training."""


@dataclass(kw_only=True)
class LRP(AgainstBaseline, ThroughNetwork):
    """The target handed back through the network, to each input of a layer in proportion to what it contributed.

    R_i = sum over j of z_ij / (z_j + eps_j) R_j, z_ij = a_i w_ij the contribution of input i to output j of a layer and
    z_j their sum and the bias (Bach et al. 2015, eq. 58), eps_j = epsilon |z| with the sign of z_j, |z| the root mean
    square of the layer's outputs. Convolutions take gamma, unless they are given nothing but the image: a contribution
    of the sign of the output counts 1 + gamma times (Montavon et al. 2019, section 10.2.1, here for inputs of both
    signs). Activations through the origin hand on what they are given, a maximum to the largest, sums, means, padding
    and upsampling to each what it put in. Pixels contribute by their distance from the baseline. The map sums to f(x)
    less what biases, epsilon and the baseline took ("absorbed" in the diagnostics); without the first two, and from an
    image of zeros, to f(x).

    A layer of torch's that has no rule (normalisation within an image, sigmoid, softplus, attention), or another that
    holds weights, is refused by its name before anything is explained, and so are batch norm and dropout in training
    mode. What a target computes outside of layers (the squares in the value of a detector) is taken by its derivative
    at the image. Not captum's, which has no rule for LeakyReLU, upsampling or convolutions in 3D, and does not add up
    where a network adds its shortcuts.

    Args:
        target: a network, or a function with one behind it, as in `ThroughNetwork`.
        epsilon: what is taken from small sums, in units of the root mean square of a layer's outputs.
        gamma: how much more contributions count that agree with the output; 0 counts all alike.
        baseline: from where a pixel counts: "zero", "mean", "blur" or "counterfactual", as in
            `AgainstBaseline`.
        blur: width of the blur, as a share of the smallest side.
    """

    name: ClassVar[str] = "lrp"
    summary: ClassVar[str] = "the target handed back to what contributed, layer by layer; needs a network"
    cite: ClassVar[str] = "Bach et al. 2015; Montavon et al. 2019"
    adds_up: ClassVar[bool] = False
    not_negative: ClassVar[tuple[str, ...]] = ("epsilon", "gamma")
    epsilon: float = 0.01
    gamma: float = 0.25

    def evidence(self, x: Tensor, baseline: Tensor | None = None) -> Explanation:
        """The shares of every image, and what no pixel got."""
        self.refuse_layers(x[:1])
        explanation = super().evidence(x, baseline)
        absorbed = explanation.diagnostics["target"] - explanation.map.flatten(1).sum(1)
        explanation.diagnostics["absorbed"] = absorbed
        return explanation

    def refuse_layers(self, x: Tensor) -> None:
        """Say which layers that the target calls have no rule, of torch's and of those that hold weights.

        Raises:
            AnomalyError: there are such, or one is in training mode whose value then is left to chance or to the batch.
        """
        net, met = self.network(), list[str]()

        def refuse(name: str, module: nn.Module, inputs: Any) -> None:
            if module.training and isinstance(module, TWO_WAYS):
                raise AnomalyError(
                    f"lrp takes networks in evaluation mode, and {_called(module, name)} is in training "
                    "mode; call .eval() of the network first"
                )

        def meet(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
            within = getattr(module, "running_mean", module) is None  # normalises by the batch itself
            if within or not isinstance(module, (*RULED, *THROUGH)):
                met.append(_called(module, name))

        handles = []
        for name, module in net.named_modules():
            if _needs_rule(module):
                handles += [
                    module.register_forward_pre_hook(partial(refuse, name)),
                    module.register_forward_hook(partial(meet, name)),
                ]
        try:
            with torch.no_grad():
                self.ask(x)
        finally:
            for handle in handles:
                handle.remove()
        if met:
            raise AnomalyError(
                f"lrp has no rule for {', '.join(dict.fromkeys(met))}; take integrated-gradients or deep-lift, which "
                "take any layer"
            )

    def share(self, image: Tensor, origin: Tensor) -> Tensor:
        """Distance from the baseline, times the derivative of a network whose layers have the slopes of the rules."""
        handed = set[Any]()

        def hand_back(module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            other = self._handed_back(module, x, y, first=not _follows(x, handed))
            handed.add(other.grad_fn)
            return other

        with each_call(self.network(), RULED, hand_back):
            value = self.ask(image.requires_grad_())
        return (image - origin).detach() * gradient(value, image)

    def _handed_back(self, module: nn.Module, x: Tensor, y: Tensor, *, first: bool) -> Tensor:
        """The output of a layer again, with another slope: that of the contributions it is shared by."""
        if isinstance(module, BENT):
            return x * _ratio(y, x, x)
        z = _favoured(module, x, y, self.gamma) if self.gamma and not first and _convolves(module) else y
        size = z.detach().square().mean().sqrt()
        other = z * _ratio(y, z, z + self.epsilon * torch.where(z < 0, -size, size))
        return other + (y - other).detach()  # what follows sees what it always saw


def _called(module: nn.Module, name: str) -> str:
    return f"{type(module).__name__} at {name or 'the top'}"


def _needs_rule(module: nn.Module) -> bool:
    """Whether it is a layer: one of torch's that holds no others, or whatever holds weights itself."""
    home = type(module).__module__
    if home.startswith("torch.nn.utils"):  # makes the weights of a layer
        return False
    of_torch = home.startswith("torch.nn") and not _holds_others(module)
    return of_torch or next(module.parameters(recurse=False), None) is not None


def _follows(x: Tensor, handed: set[Any]) -> bool:
    """Whether any layer that has a rule lies between the image and x: a node of its graph is among theirs."""
    ahead, seen = [x.grad_fn], set[Any]()
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        if node in handed:
            return True
        seen.add(node)
        ahead += [before for before, _ in node.next_functions]
    return False


def _convolves(module: nn.Module) -> bool:
    """Whether it is a convolution as torch's are, or one that takes a halving or a doubling with it."""
    return isinstance(module, Folded) or any(type(module).forward is each.forward for each in SHAPED)


def _holds_others(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict)


def _ratio(y: Tensor, z: Tensor, over: Tensor) -> Tensor:
    """y / over where z is not 0, else 0; without a derivative."""
    y, z, over = y.detach(), z.detach(), over.detach()
    return torch.where(z == 0, 0, y / over.masked_fill(z == 0, 1))


def _favoured(module: nn.Module, x: Tensor, y: Tensor, gamma: float) -> Tensor:
    """The output of a convolution in which contributions that have its sign count 1 + gamma times."""
    w = (module.kernel() if isinstance(module, Folded) else cast(Tensor, module.weight)).detach()
    up, down = torch.where(x > 0, x, 0), torch.where(x < 0, x, 0)  # clamping would count the slope at 0 twice
    raised = _convolved(module, up, w.clamp_min(0)) + _convolved(module, down, w.clamp_max(0))
    lowered = _convolved(module, up, w.clamp_max(0)) + _convolved(module, down, w.clamp_min(0))
    if module.bias is not None:
        column = cast(Tensor, module.bias).detach().view(-1, *[1] * (y.ndim - 2))
        raised, lowered = raised + column.clamp_min(0), lowered + column.clamp_max(0)
    return raised + lowered + gamma * torch.where(y.detach() > 0, raised, lowered)


def _convolved(module: Any, x: Tensor, weight: Tensor) -> Tensor:
    out: Tensor = module.through(x, weight) if isinstance(module, Folded) else module._conv_forward(x, weight, None)
    return out
