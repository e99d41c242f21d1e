"""Listens in on the layers that a network calls, for the methods that hand a target back layer by layer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

Heard = Callable[[nn.Module, Tensor, Tensor], Tensor | None]


@contextmanager
def each_call(net: nn.Module, kinds: tuple[type[nn.Module], ...], then: Heard) -> Iterator[None]:
    """Tell `then` what each layer of these kinds is given and gives; what it answers takes the place of that.

    A layer that works in place works on a copy, so that what it was given is still there. No hook stays behind.

    Args:
        net: whose layers.
        kinds: of layers.
        then: (layer, input, output) -> the output that goes on, or None to leave it; once a call, in their order.
    """
    given: dict[nn.Module, Tensor] = {}

    def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        given[module] = inputs[0]
        return (inputs[0].clone(), *inputs[1:]) if getattr(module, "inplace", False) else inputs

    def after(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        return then(module, given.pop(module), output)

    handles = []
    try:
        for module in net.modules():
            if isinstance(module, kinds):
                handles += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
        yield
    finally:
        for handle in handles:
            handle.remove()
