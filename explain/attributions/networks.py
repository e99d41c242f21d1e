"""Finds the network behind a target, for the methods that look inside."""

from dataclasses import dataclass
from functools import partial

from torch import nn

from anomaly.errors import AnomalyError
from explain.attributions.base import Attribution
from explain.base import Target


@dataclass(kw_only=True)
class ThroughNetwork(Attribution):
    """Base of the attributions that look into the network behind the target, which must be one that has one.

    That is an nn.Module, a method of one, or whatever holds one as `net_`: an object with a method that is the target,
    such as a detector, or the target itself (`def f(x): ...; f.net_ = net`). The target may do more than call it.
    """

    def network(self) -> nn.Module:
        """The network behind the target.

        Raises:
            AnomalyError: there is none, or no target.
        """
        net = None if self.target is None else network_behind(self.target)
        if net is None:
            raise AnomalyError(
                f"{self.name} looks into a network and finds none behind the target; make it with target=f, f an "
                "nn.Module, a method of one or of what holds one as net_ (detector.value), or a function with "
                "f.net_ = net"
            )
        return net


def network_behind(target: Target) -> nn.Module | None:
    """The module that a target is, belongs to, or holds as `net_`; partial functions are looked through."""
    function = target.func if isinstance(target, partial) else target
    owner = getattr(function, "__self__", None)
    places = (function, getattr(function, "net_", None), owner, getattr(owner, "net_", None))
    return next((place for place in places if isinstance(place, nn.Module)), None)
