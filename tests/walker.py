"""A made-up explainer that walks; also given to the program as a file of a user's own."""

from dataclasses import dataclass

import torch
from torch import Tensor

from explain import Explainer
from explain.base import Explanation, Walk


@dataclass(kw_only=True)
class Walker(Explainer):
    """Draws an image at nine tenths; on the way a block of three pixels a side, a third down each axis, brightens.

    The more so the brighter the brightest pixel is. Its counterfactual is the second frame of five.
    """

    name, summary, cite = "walker", "walks", "nobody"

    def evidence(self, x: Tensor) -> Explanation:
        """The explanation, with its walk."""
        steps = torch.linspace(-1, 1, 5).repeat(len(x), 1)
        block = torch.zeros_like(x)
        block[(..., *(slice(side // 3, side // 3 + 3) for side in x.shape[2:]))] = 0.1
        block *= 1 + x.flatten(1).amax(1).view(-1, *[1] * (x.ndim - 1))
        frames = torch.stack([0.9 * x + step * block for step in steps[0]], 1)
        values = torch.stack([self.ask(frame) for frame in frames.unbind(1)], 1).detach()
        change = frames[:, 2] - frames[:, 1]
        return Explanation(change.mean(1, keepdim=True), x - change, walk=Walk(steps, values, frames))
