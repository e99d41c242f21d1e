"""Ways through the space of codes: a straight line, or a path that turns to where the target falls fastest."""

from collections.abc import Callable
from math import ceil

import torch
from torch import Tensor


class Line:
    """Codes along one direction, the same for all images.

    Args:
        code: where each image stands, (N, K).
        step: what one unit of length is, (K,) or (N, K); it points to more disease.
    """

    def __init__(self, code: Tensor, step: Tensor) -> None:
        self.code, self.step = code, step.expand_as(code)

    def __call__(self, rows: Tensor, positions: Tensor) -> Tensor:
        """Codes (n, K) of images number `rows` (n,) at positions (n,), below 0 towards health."""
        return self.code[rows] + positions[:, None] * self.step[rows]


class Path:
    """Codes along the slopes of the target, in short straight pieces that are found as they are asked for.

    Args:
        code: where each image stands, (N, K).
        steps: codes (n, K) -> what one unit of length is there, (n, K), towards more disease.
        stride: length of a piece.
    """

    def __init__(self, code: Tensor, steps: Callable[[Tensor], Tensor], stride: float) -> None:
        self.steps, self.stride = steps, stride
        self.nodes = {side: code[None] for side in (-1, 1)}  # (M, N, K), of each image as many as are known
        self.known = {side: torch.zeros(len(code), dtype=torch.long, device=code.device) for side in (-1, 1)}

    def __call__(self, rows: Tensor, positions: Tensor) -> Tensor:
        """Codes (n, K) of images number `rows` (n,) at positions (n,), below 0 towards health."""
        codes = torch.empty_like(self.nodes[1][0, rows])
        for side in (-1, 1):
            here = positions < 0 if side < 0 else positions >= 0
            if here.any():
                codes[here] = self._along(side, rows[here], positions[here].abs() / self.stride)
        return codes

    def _along(self, side: int, rows: Tensor, pieces: Tensor) -> Tensor:
        self._find(side, rows, pieces)
        nodes, last = self.nodes[side], pieces.floor().long()
        share = (pieces - last)[:, None]
        return nodes[last, rows].lerp(nodes[(last + 1).clamp(max=len(nodes) - 1), rows], share)

    def _find(self, side: int, rows: Tensor, pieces: Tensor) -> None:
        """Go on from the last known node of each image that has too few."""
        known = self.known[side]
        for count in range(ceil(float(pieces.max()))):
            short = rows[(known[rows] == count) & (pieces > count)].unique()
            if not len(short):
                continue
            if len(self.nodes[side]) == count + 1:
                self.nodes[side] = torch.cat([self.nodes[side], torch.zeros_like(self.nodes[side][:1])])
            here = self.nodes[side][count, short]
            self.nodes[side][count + 1, short] = here + side * self.stride * self.steps(here)
            known[short] += 1
