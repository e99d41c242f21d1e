"""Operations of PyTorch as ONNX nodes: numbers fetched from between pixels, as displacement fields ask for them.

ONNX's own GridSample knows pictures alone at this opset; so pixels around a place are gathered one by one.
"""

from itertools import product
from math import prod

import torch
from torch import Tensor

from anomaly.exporting.graph import Graph, Refused
from anomaly.exporting.recording import Handler, Recording

LINEAR, BORDER = 0, 1
"""What PyTorch calls interpolation between pixels, and edges that go on for ever."""


def _fetched(rec: Recording, out: Tensor, x: Tensor, grid: Tensor, kind: int, beyond: int, corners: bool) -> str:
    if (kind, beyond, len(x)) != (LINEAR, BORDER, 1):
        raise Refused("it fetches pixels otherwise than linearly with repeated edges")
    graph, space = rec.graph, x.shape[2:]
    places = rec.name(grid, torch.float32)
    ends = [_around(graph, places, len(space) - 1 - axis, side, corners) for axis, side in enumerate(space)]
    pixels = graph.reshape(rec.name(x, torch.float32), [x.shape[1], prod(space)])
    total = ""
    for which in product((0, 1), repeat=len(space)):  # the pixels around, each with the share of its box
        at, share = "", ""
        for axis, end in enumerate(which):
            place, weight = ends[axis][end]
            stride = graph.constant(prod(space[axis + 1 :]), torch.int64)
            step = graph.op("Mul", place, stride)
            at = graph.op("Add", at, step) if at else step
            share = graph.op("Mul", share, weight) if share else weight
        part = graph.op("Mul", graph.op("Gather", pixels, at, axis=1), share)
        total = graph.op("Add", total, part) if total else part
    return graph.reshape(total, out.shape)


def _around(graph: Graph, places: str, column: int, side: int, corners: bool) -> list[tuple[str, str]]:
    """The pixel below and the one above each place along an axis, and the share of each; both flat."""

    def number(value: float) -> str:
        return graph.constant(value, torch.float32)

    at = graph.reshape(graph.op("Gather", places, graph.constant(column, torch.int64), axis=-1), [-1])
    at = graph.op("Add", at, number(1))
    if corners:
        at = graph.op("Mul", at, number((side - 1) / 2))
    else:
        at = graph.op("Div", graph.op("Sub", graph.op("Mul", at, number(side)), number(1)), number(2))
    at = graph.op("Min", graph.op("Max", at, number(0)), number(side - 1))
    low = graph.op("Floor", at)
    high = graph.op("Min", graph.op("Add", low, number(1)), number(side - 1))
    above = graph.op("Sub", at, low)
    below = graph.op("Sub", number(1), above)
    return [(graph.cast(low, torch.int64), below), (graph.cast(high, torch.int64), above)]


HANDLERS: dict[str, Handler] = {"grid_sampler_2d": _fetched, "grid_sampler_3d": _fetched}
