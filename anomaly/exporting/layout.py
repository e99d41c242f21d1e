"""Operations of PyTorch as ONNX nodes: where numbers lie, and which of them are taken."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from anomaly.exporting.elementwise import axes
from anomaly.exporting.graph import Refused
from anomaly.exporting.recording import Handler, Recording

HANDLERS: dict[str, Handler] = {}
END = 2**62


def _shaped(rec: Recording, out: Tensor, x: Tensor, *rest: Any, **options: Any) -> str:
    if out.dtype != x.dtype:
        raise Refused("it takes bits of numbers for other numbers")
    return rec.graph.reshape(rec.name(x), out.shape)


def _expanded(rec: Recording, out: Tensor, x: Tensor, *rest: Any, **options: Any) -> str:
    return str(rec.graph.op("Expand", rec.name(x), rec.graph.ints(*out.shape)))


def _permuted(rec: Recording, out: Tensor, x: Tensor, order: Sequence[int]) -> str:
    return str(rec.graph.op("Transpose", rec.name(x), perm=axes(x, list(order)) if order else []))


def _transposed(rec: Recording, out: Tensor, x: Tensor, first: int = 0, second: int = 1) -> str:
    if x.ndim < 2:
        return rec.name(x)
    order = list(range(x.ndim))
    order[first], order[second] = order[second % x.ndim], order[first % x.ndim]
    return str(rec.graph.op("Transpose", rec.name(x), perm=order))


def cut(rec: Recording, name: str, axis: int, start: int, end: int, step: int = 1) -> str:
    """What lies from a place to another along an axis."""
    ints = rec.graph.ints
    return str(rec.graph.op("Slice", name, ints(start), ints(end), ints(axis), ints(step)))


def _sliced(
    rec: Recording, out: Tensor, x: Tensor, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> str:
    return cut(rec, rec.name(x), dim % x.ndim, start or 0, END if end is None else min(end, END), step)


def _narrowed(rec: Recording, out: Tensor, x: Tensor, dim: int, start: int, length: int) -> str:
    return cut(rec, rec.name(x), dim % x.ndim, start, start + length)


def _selected(rec: Recording, out: Tensor, x: Tensor, dim: int, index: int) -> str:
    axis, parts = rec.stacks.get(rec.name(x), (-1, []))
    if axis == dim % x.ndim:  # so that nothing rests on parts that are never asked for
        return parts[index]
    at = rec.graph.constant(index % x.shape[dim], torch.int64)
    return str(rec.graph.op("Gather", rec.name(x), at, axis=dim % x.ndim))


def _joined(rec: Recording, out: Tensor, parts: Sequence[Tensor], dim: int = 0) -> str:
    parts = [each for each in parts if each.numel()]
    if not parts:
        return rec.graph.constant(torch.zeros(out.shape, dtype=out.dtype))
    return str(rec.graph.op("Concat", *(rec.name(each, out.dtype) for each in parts), axis=dim % out.ndim))


def _stacked(rec: Recording, out: Tensor, parts: Sequence[Tensor], dim: int = 0) -> str:
    along = rec.graph.ints(dim % out.ndim)
    names = [rec.name(each, out.dtype) for each in parts]
    longer = [rec.graph.op("Unsqueeze", name, along) for name in names]
    found = str(rec.graph.op("Concat", *longer, axis=dim % out.ndim))
    rec.stacks[found] = (dim % out.ndim, names)
    return found


def _split(rec: Recording, out: Sequence[Tensor], x: Tensor, size: Any, dim: int = 0) -> list[str]:
    name, start, found = rec.name(x), 0, []
    for part in out:
        found.append(cut(rec, name, dim % x.ndim, start, start + part.shape[dim]))
        start += part.shape[dim]
    return found


def _unbound(rec: Recording, out: Sequence[Tensor], x: Tensor, dim: int = 0) -> list[str]:
    return [_selected(rec, each, x, dim, k) for k, each in enumerate(out)]


def _padded(
    rec: Recording, out: Tensor, x: Tensor, pad: Sequence[int], value: float = 0, mode: str = "constant"
) -> str:
    before, after = [0] * x.ndim, [0] * x.ndim
    for k in range(len(pad) // 2):
        before[x.ndim - 1 - k], after[x.ndim - 1 - k] = pad[2 * k], pad[2 * k + 1]
    dtype = torch.float32 if x.dtype is torch.bool else x.dtype
    filling = [rec.graph.constant(value, dtype)] if mode == "constant" else []
    name = rec.graph.op("Pad", rec.name(x, dtype), rec.graph.ints(*before, *after), *filling, mode=mode)
    return rec.graph.cast(name, torch.bool) if x.dtype is torch.bool else str(name)


def _repeated_edge(rec: Recording, out: Tensor, x: Tensor, pad: Sequence[int]) -> str:
    return _padded(rec, out, x, pad, mode="edge")


def _mirrored(rec: Recording, out: Tensor, x: Tensor, pad: Sequence[int]) -> str:
    return _padded(rec, out, x, pad, mode="reflect")


def _repeated(rec: Recording, out: Tensor, x: Tensor, times: Sequence[int]) -> str:
    name = rec.graph.reshape(rec.name(x), [1] * (len(times) - x.ndim) + list(x.shape))
    return str(rec.graph.op("Tile", name, rec.graph.ints(*times)))


def _each_repeated(rec: Recording, out: Tensor, x: Tensor, times: int, dim: int | None = None, **options: Any) -> str:
    if dim is None:
        raise Refused("it repeats the numbers of a flattened tensor")
    at = torch.arange(x.shape[dim]).repeat_interleave(times)
    return str(rec.graph.op("Gather", rec.name(x), rec.graph.constant(at), axis=dim % x.ndim))


def rearranged(operation: Any) -> Handler:
    """An operation that only takes numbers from elsewhere: where they come from is asked of PyTorch itself."""

    def handler(rec: Recording, out: Tensor, x: Tensor, *rest: Any, **options: Any) -> str:
        places = torch.arange(x.numel()).reshape(x.shape)
        with torch.utils._python_dispatch._disable_current_modes():
            taken = operation(places, *rest, **options).contiguous()
        flat = rec.graph.reshape(rec.name(x), [x.numel()])
        return str(rec.graph.op("Gather", flat, rec.graph.constant(taken), axis=0))

    return handler


def _rows(rec: Recording, out: Tensor, x: Tensor, dim: int, index: Tensor) -> str:
    return str(rec.graph.op("Gather", rec.name(x), rec.name(index, torch.int64), axis=dim % x.ndim))


def _gathered(rec: Recording, out: Tensor, x: Tensor, dim: int, index: Tensor, **options: Any) -> str:
    return str(rec.graph.op("GatherElements", rec.name(x), rec.name(index, torch.int64), axis=dim % x.ndim))


def _indexed(rec: Recording, out: Tensor, x: Tensor, indices: Sequence[Tensor | None]) -> str:
    if any(rec.known(each) for each in indices):
        given = [each for each in indices if each is not None]
        if len(given) > 1 or given[0].dtype is torch.bool:
            raise Refused("which numbers it takes depends on the image")
        return _rows(rec, out, x, [*indices].index(given[0]), given[0])
    places = torch.arange(x.numel()).reshape(x.shape)
    with torch.utils._python_dispatch._disable_current_modes():
        taken = places[tuple(slice(None) if each is None else each for each in indices)].contiguous()
    flat = rec.graph.reshape(rec.name(x), [x.numel()])
    return str(rec.graph.op("Gather", flat, rec.graph.constant(taken), axis=0))


def _laid(rec: Recording, out: Tensor, x: Tensor, indices: Sequence[Tensor | None], values: Tensor, *rest: Any) -> str:
    if any(rec.known(each) for each in indices) or any(rest):
        raise Refused("where it lays numbers depends on the image")
    places = torch.arange(x.numel()).reshape(x.shape)
    with torch.utils._python_dispatch._disable_current_modes():
        taken = places[tuple(slice(None) if each is None else each for each in indices)].contiguous()
    name = rec.name(x)
    if not taken.numel():
        return rec.graph.reshape(name, x.shape)
    laid = rec.graph.op("Expand", rec.name(values, x.dtype), rec.graph.ints(*taken.shape))
    flat, laid = rec.graph.reshape(name, [x.numel()]), rec.graph.reshape(laid, [taken.numel()])
    found = rec.graph.op("ScatterElements", flat, rec.graph.constant(taken.flatten()), laid, axis=0)
    return rec.graph.reshape(found, x.shape)


def _ordered(rec: Recording, out: Any, x: Tensor, *rest: Any, **options: Any) -> list[str]:
    given = {"dim": -1, "descending": False, **options}
    for key, value in zip(("dim", "descending"), [each for each in rest if each is not None], strict=False):
        given[key] = value
    dim, graph = given["dim"] % x.ndim, rec.graph
    count = graph.ints(x.shape[dim])
    return list(graph.op("TopK", rec.name(x), count, axis=dim, largest=int(given["descending"]), sorted=1, outputs=2))


def _highest(
    rec: Recording, out: Any, x: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> list[str]:
    counts = rec.graph.ints(k)
    return list(rec.graph.op("TopK", rec.name(x), counts, axis=dim % x.ndim, largest=int(largest), sorted=1, outputs=2))


def _middle(rec: Recording, out: Any, x: Tensor, dim: int | None = None, keepdim: bool = False) -> list[str]:
    graph = rec.graph
    if dim is None or x.ndim == 0:
        found, _ = graph.op(
            "TopK", graph.reshape(rec.name(x), [-1]), graph.ints((x.numel() + 1) // 2), largest=0, sorted=1, outputs=2
        )
        return [graph.op("Gather", found, graph.constant((x.numel() - 1) // 2, torch.int64)), ""]
    axis = dim % x.ndim
    lowest = (x.shape[axis] + 1) // 2  # PyTorch takes the lower of two in the middle
    found, _ = graph.op("TopK", rec.name(x), graph.ints(lowest), axis=axis, largest=0, sorted=1, outputs=2)
    last = graph.ints(lowest - 1) if keepdim else graph.constant(lowest - 1, torch.int64)
    return [graph.op("Gather", found, last, axis=axis), ""]


def _kth(rec: Recording, out: Any, x: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> list[str]:
    graph, axis = rec.graph, dim % x.ndim
    found, _ = graph.op("TopK", rec.name(x), graph.ints(k), axis=axis, largest=0, sorted=1, outputs=2)
    last = graph.ints(k - 1) if keepdim else graph.constant(k - 1, torch.int64)
    return [graph.op("Gather", found, last, axis=axis), ""]


def _ends(rec: Recording, out: Any, x: Tensor, *, dim: int | None = None, keepdim: bool = False) -> list[str]:
    graph, along = rec.graph, rec.graph.ints(*axes(x, dim))
    return [graph.op(kind, rec.name(x), along, keepdims=int(keepdim)) for kind in ("ReduceMin", "ReduceMax")]


def _accumulated(rec: Recording, out: Tensor, x: Tensor, dim: int, **options: Any) -> str:
    return str(rec.graph.op("CumSum", rec.name(x, out.dtype), rec.graph.constant(dim % x.ndim, torch.int64)))


HANDLERS |= {
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "unsqueeze", "squeeze", "flatten", "unflatten"), _shaped),
    **dict.fromkeys(("expand", "expand_as", "broadcast_to"), _expanded),
    "permute": _permuted, "transpose": _transposed, "t": _transposed, "slice": _sliced, "narrow": _narrowed,
    "select": _selected, "cat": _joined, "stack": _stacked, "split": _split, "split_with_sizes": _split,
    "unbind": _unbound, "constant_pad_nd": _padded, "replication_pad1d": _repeated_edge,
    "replication_pad2d": _repeated_edge, "replication_pad3d": _repeated_edge, "reflection_pad1d": _mirrored,
    "reflection_pad2d": _mirrored, "reflection_pad3d": _mirrored, "repeat": _repeated,
    "repeat_interleave": _each_repeated, "index_select": _rows, "gather": _gathered, "index": _indexed,
    "index_put": _laid, "sort": _ordered, "topk": _highest, "median": _middle, "cumsum": _accumulated,
    "kthvalue": _kth, "aminmax": _ends,
    "unfold": rearranged(lambda x, *given: x.unfold(*given)), "flip": rearranged(torch.flip),
    "roll": rearranged(torch.roll), "diagonal": rearranged(torch.diagonal),
}  # fmt: skip
