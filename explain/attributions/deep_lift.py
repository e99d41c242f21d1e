"""The target's rise above a baseline, handed back through the network activation by activation."""

import copy
from collections import deque
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from anomaly.errors import AnomalyError
from explain.attributions.base import gradient
from explain.attributions.baselines import AgainstBaseline
from explain.attributions.listening import each_call
from explain.attributions.networks import ThroughNetwork

ELEMENTWISE = (
    *(nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ReLU6, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Softsign, nn.LogSigmoid, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish),
)
LARGEST = (nn.MaxPool2d, nn.MaxPool3d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)
ACTIVATIONS = (*ELEMENTWISE, *LARGEST)


class Call(NamedTuple):
    """What an activation was given and gave."""

    module: nn.Module
    x: Tensor
    y: Tensor


@dataclass(kw_only=True)
class DeepLift(AgainstBaseline, ThroughNetwork):
    """The target's rise above a baseline, shared among pixels by what each activation did between the two.

    (x - b) times the product of slopes back through the network, where the slope of an activation is that of its
    secant, (g(x) - g(b)) / (x - b), in place of its derivative (Shrikumar et al. 2017, the Rescale rule). One pass
    back instead of the many of integrated gradients, and saturated activations still count. A maximum hands its rise to
    the place where the larger of its two values lies.

    The map sums to f(x) - f(b) where all that is not linear is an activation that is a module, torch's own:
    rectifiers, sigmoid, tanh and their kin, maximum pooling. All else (functional activations, squares as in the value
    of a detector, products, normalisation within an image, softmax) is taken by its derivative at the image; the "gap"
    of the diagnostics tells what that leaves out.

    Image and baseline go through the network one after the other, so that it may use a module several times, or put
    images beside one another, as several detectors do. Not captum's, which allows neither, and does not add up where a
    maximum follows a rectifier at once, or where the windows of a maximum overlap.

    Args:
        target: a network, or a function with one behind it, as in `ThroughNetwork`.
        baseline: "zero", "mean", "blur" or "counterfactual", as in `AgainstBaseline`.
        blur: width of the blur, as a share of the smallest side.
    """

    name: ClassVar[str] = "deep-lift"
    summary: ClassVar[str] = "rise of the target above a baseline, handed back layer by layer; needs a network"
    cite: ClassVar[str] = "Shrikumar et al. 2017"

    def share(self, image: Tensor, origin: Tensor) -> Tensor:
        """The product of the secants' slopes, times the difference."""
        net, calls = self.network(), deque[Call]()

        def record(module: nn.Module, x: Tensor, y: Tensor) -> None:
            calls.append(Call(module, x.clone(), y.clone()))

        def replay(module: nn.Module, x: Tensor, y: Tensor) -> Tensor | None:
            before = calls.popleft() if calls else None
            if before is None or before.module is not module or before.x.shape != x.shape:
                raise AnomalyError(
                    "the target goes another way through its network for the image than for its baseline, and "
                    "deep-lift compares the two step by step; take integrated-gradients"
                )
            return secant(before, x, y) if x.requires_grad and y.requires_grad else None

        with torch.no_grad(), each_call(net, ACTIVATIONS, record):
            self.ask(origin)
        image.requires_grad_()
        with each_call(net, ACTIVATIONS, replay):
            value = self.ask(image)
        return (image - origin).detach() * gradient(value, image)


def secant(before: Call, x: Tensor, y: Tensor) -> Tensor:
    """y again, but with the slope of the straight line from the baseline for its derivative by x."""
    if isinstance(before.module, LARGEST):
        return _of_largest(before, x, y)
    (derivative,) = torch.autograd.grad(y, x, torch.ones_like(y))
    run, rise = x.detach() - before.x, y.detach() - before.y
    # Of two numbers that agree in half their digits, rounding would be most of the slope.
    near = run.abs() <= torch.finfo(x.dtype).eps ** 0.5 * x.detach().abs()
    return _line(y, x, torch.where(near, derivative, rise / run.masked_fill(near, 1)))


def _of_largest(before: Call, x: Tensor, y: Tensor) -> Tensor:
    pool = copy.copy(before.module)
    pool.return_indices = True  # type: ignore[assignment]
    with torch.no_grad():
        (now, place), (then, former) = pool.forward(x.detach()), pool.forward(before.x)
    chosen = torch.where(now >= then, place, former).flatten(2)
    there, was = (each.flatten(2).gather(2, chosen).view_as(now) for each in (x, before.x))
    run, rise = there.detach() - was, now - then
    return _line(y, there, torch.where(run == 0, 1, rise / run.masked_fill(run == 0, 1)))


def _line(y: Tensor, x: Tensor, slope: Tensor) -> Tensor:
    return y.detach() + slope * (x - x.detach())
