"""Operations of PyTorch as ONNX nodes: of each number by itself, and sums over axes."""

from collections.abc import Sequence
from math import pi
from typing import Any

import torch
from torch import Tensor

from anomaly.exporting.graph import Refused, onnx_type
from anomaly.exporting.recording import Handler, Recording

HANDLERS: dict[str, Handler] = {}


def _unary(kind: str) -> Handler:
    def handler(rec: Recording, out: Tensor, x: Tensor, *rest: Any, **options: Any) -> str:
        if any(rest) or any(options.values()):  # round to so many digits
            raise Refused(f"its {kind.lower()} has settings of its own")
        return str(rec.graph.op(kind, rec.name(x, out.dtype)))

    return handler


def _binary(kind: str) -> Handler:
    def handler(rec: Recording, out: Tensor, a: Any, b: Any, alpha: float = 1) -> str:
        second = rec.name(b, out.dtype)
        if out.dtype is torch.bool:  # numbers of one bit
            return str(rec.graph.op({"Add": "Or", "Max": "Or"}.get(kind, "And"), rec.name(a, out.dtype), second))
        if alpha != 1:
            second = rec.graph.op("Mul", second, rec.graph.constant(alpha, out.dtype))
        return str(rec.graph.op(kind, rec.name(a, out.dtype), second))

    return handler


def _compared(kind: str, negated: bool = False) -> Handler:
    def handler(rec: Recording, out: Tensor, a: Any, b: Any) -> str:
        dtype = torch.result_type(a, b)
        dtype = torch.int32 if dtype is torch.bool else dtype
        found = rec.graph.op(kind, rec.name(a, dtype), rec.name(b, dtype))
        return str(rec.graph.op("Not", found) if negated else found)

    return handler


def _logical(kind: str) -> Handler:
    def handler(rec: Recording, out: Tensor, a: Any, b: Any) -> str:
        if out.dtype is not torch.bool:
            raise Refused("it calculates with single bits")
        return str(rec.graph.op(kind, rec.name(a, torch.bool), rec.name(b, torch.bool)))

    return handler


HANDLERS |= {
    name: _unary(kind)
    for name, kind in {
        "neg": "Neg", "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "sigmoid": "Sigmoid", "tanh": "Tanh",
        "relu": "Relu", "reciprocal": "Reciprocal", "erf": "Erf", "sin": "Sin", "cos": "Cos", "floor": "Floor",
        "ceil": "Ceil", "round": "Round", "sign": "Sign", "atan": "Atan",
    }.items()
}  # fmt: skip
HANDLERS |= {
    name: _binary(kind)
    for name, kind in {
        "add": "Add", "sub": "Sub", "mul": "Mul", "maximum": "Max", "minimum": "Min",
    }.items()
}  # fmt: skip
HANDLERS |= {
    "gt": _compared("Greater"), "ge": _compared("GreaterOrEqual"), "lt": _compared("Less"),
    "le": _compared("LessOrEqual"), "eq": _compared("Equal"), "ne": _compared("Equal", negated=True),
    "logical_and": _logical("And"), "bitwise_and": _logical("And"), "logical_or": _logical("Or"),
    "bitwise_or": _logical("Or"), "bitwise_xor": _logical("Xor"),
}  # fmt: skip


def _negated(rec: Recording, out: Tensor, x: Tensor) -> str:
    return str(rec.graph.op("Not", rec.name(x, torch.bool)))


def _divided(rec: Recording, out: Tensor, a: Any, b: Any, *, rounding_mode: str | None = None) -> str:
    graph, whole, by = rec.graph, rec.name(a, out.dtype), rec.name(b, out.dtype)
    if rounding_mode is None:
        return str(graph.op("Div", whole, by))
    if rounding_mode != "floor" or not out.dtype.is_floating_point:
        raise Refused(f"it divides and rounds ({rounding_mode})")
    # what is left is taken away before it is divided: 1.0 by 0.1 in float32 is 9 times, and rounds to 10 otherwise
    times = graph.op("Div", graph.op("Sub", whole, _left(rec, whole, by, out.dtype)), by)
    nothing = graph.op("Equal", by, graph.constant(0, out.dtype))
    return str(graph.op("Where", nothing, graph.op("Div", whole, by), graph.op("Round", times)))


def _power(rec: Recording, out: Tensor, a: Any, b: Any) -> str:
    base = rec.name(a, out.dtype)
    if isinstance(b, int | float) and b == 2:  # as PyTorch does: products, and no logarithms
        return str(rec.graph.op("Mul", base, base))
    return str(rec.graph.op("Pow", base, rec.name(b, out.dtype)))


def _rsub(rec: Recording, out: Tensor, a: Any, b: Any, alpha: float = 1) -> str:
    return str(HANDLERS["sub"](rec, out, b, a, alpha=alpha))


def _clamped(rec: Recording, out: Tensor, x: Tensor, low: Any = None, high: Any = None) -> str:
    name = rec.name(x, out.dtype)
    for kind, end in (("Max", low), ("Min", high)):
        if end is not None:
            name = rec.graph.op(kind, name, rec.name(end, out.dtype))
    return name


def _angle(rec: Recording, out: Tensor, y: Tensor, x: Tensor) -> str:
    graph, zero = rec.graph, rec.graph.constant(0, out.dtype)
    up, right = rec.name(y, out.dtype), rec.name(x, out.dtype)
    below, left = (graph.op("Less", graph.op("Reciprocal", each), zero) for each in (up, right))  # -0 is below 0
    turn = graph.op("Where", below, *(graph.constant(each, out.dtype) for each in (-pi, pi)))
    turn = graph.op("Where", left, turn, zero)
    angle = graph.op("Add", graph.op("Atan", graph.op("Div", up, right)), turn)
    nowhere = graph.op("And", graph.op("Equal", up, zero), graph.op("Equal", right, zero))
    return str(graph.op("Where", nowhere, turn, angle))


def _remainder(rec: Recording, out: Tensor, a: Any, b: Any) -> str:
    graph, whole, by = rec.graph, rec.name(a, out.dtype), rec.name(b, out.dtype)
    if not out.dtype.is_floating_point:
        return str(graph.op("Mod", whole, by))
    return _left(rec, whole, by, out.dtype)


def _left(rec: Recording, whole: str, by: str, dtype: torch.dtype) -> str:
    """What a division leaves, with the sign of what is divided by, as PyTorch has it."""
    graph, zero = rec.graph, rec.graph.constant(0, dtype)
    left = graph.op("Mod", whole, by, fmod=1)
    other = graph.op("Xor", graph.op("Less", by, zero), graph.op("Less", left, zero))
    turned = graph.op("And", other, graph.op("Not", graph.op("Equal", left, zero)))
    return str(graph.op("Where", turned, graph.op("Add", left, by), left))


def _added_product(rec: Recording, out: Tensor, x: Tensor, a: Any, b: Any, *, value: float = 1) -> str:
    graph = rec.graph
    product = graph.op("Mul", rec.name(a, out.dtype), rec.name(b, out.dtype))
    product = product if value == 1 else graph.op("Mul", product, graph.constant(value, out.dtype))
    return str(graph.op("Add", rec.name(x, out.dtype), product))


def _size(rec: Recording, out: Tensor, x: Tensor) -> str:
    if not x.is_complex():
        return str(rec.graph.op("Abs", rec.name(x)))
    graph = rec.graph
    squares = [graph.op("Mul", each, each) for each in rec.complex_names(x)]
    return str(graph.op("Sqrt", graph.op("Add", *squares)))


def _between(rec: Recording, out: Tensor, a: Tensor, b: Any, weight: Any) -> str:
    graph, first = rec.graph, rec.name(a)
    apart = graph.op("Sub", rec.name(b, out.dtype), first)
    return str(graph.op("Add", first, graph.op("Mul", apart, rec.name(weight, out.dtype))))


def _hard(rec: Recording, out: Tensor, x: Tensor, low: float = -1, high: float = 1) -> str:
    return _clamped(rec, out, x, low, high)


def _silu(rec: Recording, out: Tensor, x: Tensor) -> str:
    name = rec.name(x)
    return str(rec.graph.op("Mul", name, rec.graph.op("Sigmoid", name)))


def _gelu(rec: Recording, out: Tensor, x: Tensor, *, approximate: str = "none") -> str:
    if approximate != "none":
        raise Refused("its GELU is an approximation")
    graph, name = rec.graph, rec.name(x)
    bell = graph.op("Erf", graph.op("Mul", name, graph.constant(0.5**0.5, out.dtype)))
    half = graph.op("Mul", name, graph.constant(0.5, out.dtype))
    return str(graph.op("Mul", half, graph.op("Add", bell, graph.constant(1, out.dtype))))


def _softplus(rec: Recording, out: Tensor, x: Tensor, beta: float = 1, threshold: float = 20) -> str:
    if beta != 1:
        raise Refused("its softplus is not the usual one")
    return str(rec.graph.op("Softplus", rec.name(x)))


def _softmax(rec: Recording, out: Tensor, x: Tensor, dim: int, *rest: Any) -> str:
    return str(rec.graph.op("Softmax", rec.name(x, out.dtype), axis=dim))


def _where(rec: Recording, out: Tensor, where: Tensor, a: Any, b: Any) -> str:
    return str(rec.graph.op("Where", rec.name(where, torch.bool), rec.name(a, out.dtype), rec.name(b, out.dtype)))


def _filled(rec: Recording, out: Tensor, x: Tensor, mask: Tensor, value: Any) -> str:
    return _where(rec, out, mask, value, x)


def _copied(rec: Recording, out: Tensor, x: Tensor, *rest: Any, **options: Any) -> str:
    if out.is_complex() and not x.is_complex() and rec.part == 1:
        return rec.graph.constant(torch.zeros(x.shape, dtype=x.dtype))
    return rec.name(x, out.dtype)


def _taken(rec: Recording, out: Tensor, x: Tensor, source: Any, *rest: Any) -> str:
    return str(rec.graph.op("Expand", rec.name(source, out.dtype), rec.graph.ints(*out.shape)))


def _rsqrt(rec: Recording, out: Tensor, x: Tensor) -> str:
    return str(rec.graph.op("Reciprocal", rec.graph.op("Sqrt", rec.name(x, out.dtype))))


def _leaky(rec: Recording, out: Tensor, x: Tensor, slope: float = 0.01) -> str:
    return str(rec.graph.op("LeakyRelu", rec.name(x), alpha=float(slope)))


def _expm1(rec: Recording, out: Tensor, x: Tensor) -> str:
    return str(rec.graph.op("Sub", rec.graph.op("Exp", rec.name(x)), rec.graph.constant(1, out.dtype)))


def _log1p(rec: Recording, out: Tensor, x: Tensor) -> str:
    return str(rec.graph.op("Log", rec.graph.op("Add", rec.name(x), rec.graph.constant(1, out.dtype))))


def axes(x: Tensor, dim: Any) -> list[int]:
    """The axes that are meant, from 0; all where none is named."""
    named = range(x.ndim) if dim is None or dim == [] else [dim] if isinstance(dim, int) else dim
    return [each % x.ndim for each in named]


def _reduced(kind: str) -> Handler:
    def handler(rec: Recording, out: Tensor, x: Tensor, dim: Any = None, keepdim: bool = False, **options: Any) -> str:
        over = rec.graph.ints(*axes(x, dim))
        if out.dtype is torch.bool:  # the most and the least of numbers of one bit
            return str(
                rec.graph.cast(rec.graph.op(kind, rec.name(x, torch.int32), over, keepdims=int(keepdim)), out.dtype)
            )
        return str(rec.graph.op(kind, rec.name(x, out.dtype), over, keepdims=int(keepdim)))

    return handler


HANDLERS |= {"sum": _reduced("ReduceSum"), "mean": _reduced("ReduceMean")}
HANDLERS |= {"amax": _reduced("ReduceMax"), "amin": _reduced("ReduceMin")}


def _norm(
    rec: Recording, out: Tensor, x: Tensor, ord: Any = 2, dim: Any = None, keepdim: bool = False, **o: Any
) -> str:
    kinds = {1: "ReduceL1", 2: "ReduceL2"}
    if ord not in kinds:
        raise Refused(f"its norm is of order {ord}")
    return str(rec.graph.op(kinds[ord], rec.name(x, out.dtype), rec.graph.ints(*axes(x, dim)), keepdims=int(keepdim)))


def variance(rec: Recording, x: Tensor, over: Sequence[int], correction: float, keepdim: bool) -> str:
    """The variance along axes, from differences of the mean."""
    graph, name, along = rec.graph, rec.name(x), rec.graph.ints(*over)
    apart = graph.op("Sub", name, graph.op("ReduceMean", name, along, keepdims=1))
    count = 1
    for axis in over:
        count *= x.shape[axis]
    total = graph.op("ReduceSum", graph.op("Mul", apart, apart), along, keepdims=int(keepdim))
    return str(graph.op("Div", total, graph.constant(max(count - correction, 0), x.dtype)))


def _var(rec: Recording, out: Tensor, x: Tensor, dim: Any = None, *, correction: Any = 1, keepdim: bool = False) -> str:
    return variance(rec, x, axes(x, dim), 1 if correction is None else correction, keepdim)


def _sd(rec: Recording, out: Tensor, x: Tensor, dim: Any = None, *, correction: Any = 1, keepdim: bool = False) -> str:
    return str(rec.graph.op("Sqrt", _var(rec, out, x, dim, correction=correction, keepdim=keepdim)))


def _any(rec: Recording, out: Tensor, x: Tensor, dim: Any = None, keepdim: bool = False) -> str:
    number = rec.name(x, torch.float32) if x.dtype is torch.bool else rec.name(x)
    graph = rec.graph
    found = graph.op("ReduceMax", graph.op("Abs", number), graph.ints(*axes(x, dim)), keepdims=int(keepdim))
    return str(graph.op("Cast", found, to=onnx_type(torch.bool)))


def _all(rec: Recording, out: Tensor, x: Tensor, dim: Any = None, keepdim: bool = False) -> str:
    number = rec.name(x, torch.float32) if x.dtype is torch.bool else rec.name(x)
    graph = rec.graph
    found = graph.op("ReduceMin", graph.op("Abs", number), graph.ints(*axes(x, dim)), keepdims=int(keepdim))
    return str(graph.op("Cast", found, to=onnx_type(torch.bool)))


HANDLERS |= {
    "logical_not": _negated, "bitwise_not": _negated, "div": _divided, "pow": _power, "rsub": _rsub,
    "clamp": _clamped, "clamp_min": _clamped, "hardtanh": _hard, "silu": _silu, "gelu": _gelu,
    "clamp_max": lambda rec, out, x, high: _clamped(rec, out, x, None, high), "softplus": _softplus,
    "abs": _size, "atan2": _angle, "remainder": _remainder, "addcmul": _added_product, "lerp": _between,
    "_safe_softmax": _softmax, "_softmax": _softmax, "softmax": _softmax, "where": _where,
    "masked_fill": _filled, "copy": _taken,
    "rsqrt": _rsqrt, "leaky_relu": _leaky, "expm1": _expm1, "log1p": _log1p, "linalg_vector_norm": _norm,
    "var": _var, "std": _sd, "any": _any, "all": _all, "square": lambda rec, out, x: _power(rec, out, x, 2),
    **dict.fromkeys(("clone", "alias", "detach", "lift_fresh", "_to_copy", "contiguous", "lift_fresh_copy"), _copied),
}  # fmt: skip
