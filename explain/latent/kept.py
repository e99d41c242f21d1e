"""Tensors that are learned in closed form, whose shapes are known only once they are."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


class Kept(nn.Module):
    """Holds tensors of given names, and takes them from a file in whatever shape they are there."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.names = names

    def hold(self, **tensors: Tensor) -> None:
        """Keep tensors, by name."""
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor.detach().clone())

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Take all of them.

        Raises:
            ValueError: others are there, or some are missing.
        """
        if set(state_dict) != set(self.names):
            raise ValueError(f"it holds {', '.join(state_dict)}; expected {', '.join(self.names)}")
        self.hold(**state_dict)
