"""A detector's judgement of one image, written down operation by operation as an ONNX graph.

PyTorch tells every operation that it does (`TorchDispatchMode`); what is computed from the image becomes nodes, and
whatever is the same for all images, numbers. So shapes, loops and settings are resolved as they are run, and a new
method needs no line here as long as its operations are known.
"""

from collections.abc import Callable, Mapping, Sequence
from math import nan
from typing import Any
from weakref import ref

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from anomaly.exporting.graph import NUMPY, Graph, Refused, onnx_type

Handler = Callable[..., Any]
LIKE = ("zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty")
"""What looks at no number of a tensor, but at its shape."""
REAL = {torch.complex64: torch.float32, torch.complex128: torch.float64}
WHOLE = ("_fft_r2c", "_fft_c2c")
"""What writes both parts of complex numbers at once."""
LAYOUT = (
    *("view", "_unsafe_view", "reshape", "unsqueeze", "squeeze", "expand", "permute", "transpose", "slice", "narrow"),
    *("select", "cat", "stack", "index", "flip", "roll"),
)
APART = ("add", "sub", "neg", "sum", "mean", "mul", "div", "clone", "alias", "detach", "_to_copy", *LAYOUT)
"""What is done to each part of complex numbers by itself; products of two complex numbers are written out."""


class Recording(TorchDispatchMode):
    """Writes down what is computed from an image while it is in force.

    What cannot be written stands in the graph as NaN, and why in `reasons`, by its name: it may be that nothing rests
    on it. A tensor without any number is the same for all images.

    Args:
        graph: to write to.
        handlers: of operations, by their names without `aten::`.
        image: (1, C, *space).
    """

    def __init__(self, graph: Graph, handlers: Mapping[str, Handler], image: Tensor) -> None:
        super().__init__()
        self.graph, self.handlers, self.reasons = graph, handlers, dict[str, str]()
        self.stacks = dict[str, tuple[int, list[str]]]()  # by name: along which axis what was laid on one another
        self.part = 0  # of complex numbers: which of the two is written
        self._names: Any = WeakTensorKeyDictionary()
        self._storages: dict[int, ref[Tensor]] = {}
        self._held: list[Tensor] = []
        self.image = graph.fresh()
        self._name(image, self.image)

    def known(self, value: Any) -> bool:
        """Whether a value is computed from the image."""
        return isinstance(value, Tensor) and value in self._names

    def name(self, value: Any, dtype: torch.dtype | None = None) -> str:
        """The name of a tensor or a number, as a type if one is asked for; of a complex one, that of `part`."""
        dtype = REAL.get(dtype, dtype) if dtype is not None else None
        if not self.known(value):
            value = self._part_of(value)
            if isinstance(value, Tensor) and dtype is not None and value.dtype != dtype:
                value = value.to(dtype)
            return self.graph.constant(value, None if isinstance(value, Tensor) else dtype)
        name = self._names[value]
        if name == "":
            raise Refused("it uses a second result of an operation of which this export writes the first")
        if isinstance(name, tuple):
            return str(name[self.part])
        return name if dtype is None or value.dtype == dtype else self.graph.cast(name, dtype)

    def _part_of(self, value: Any) -> Any:
        """What is written of a constant: of a complex one the real or the imaginary part."""
        if isinstance(value, Tensor) and value.is_complex():
            return value.imag if self.part else value.real
        if isinstance(value, complex):
            return value.imag if self.part else value.real
        return value

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do an operation, and write it down where it is of the image."""
        kwargs = kwargs or {}
        kind = func._schema.name.removeprefix("aten::")
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        unseen = any(each not in self._names and each.numel() and self._shares(each) for each in tensors)
        if kind not in self.handlers:
            self._refuse_random(func, kind, kwargs)
        if kind in LIKE or not (unseen or any(each in self._names for each in tensors)):
            return func(*args, **kwargs)
        if kind in ("_local_scalar_dense", "nonzero", "equal", "is_nonzero"):
            raise Refused("which way it goes depends on the image, which a graph of fixed shapes cannot follow")
        if func._schema.is_mutable:
            return self._mutated(func, kind, args, kwargs)
        found = func(*args, **kwargs)
        outputs = list(found) if isinstance(found, tuple | list) else [found]
        try:
            if unseen or kind.endswith("_backward"):  # what autograd kept of the way there
                raise Refused("it takes a gradient at test time, which a graph cannot")
            names = self._write(kind, found, args, kwargs)
        except Refused as error:
            names = self._nothing(str(error), outputs)
        for tensor, name in zip(outputs, names, strict=False):
            if isinstance(tensor, Tensor) and tensor.numel():
                self._name(tensor, name)
        return found

    def _name(self, tensor: Tensor, name: Any) -> None:
        self._names[tensor] = name
        self._storages[tensor.untyped_storage()._cdata] = ref(tensor)
        if torch.is_grad_enabled():  # what autograd keeps is to be recognised later
            self._held.append(tensor)

    def _shares(self, tensor: Tensor) -> bool:
        """Whether a tensor without a name lies in the memory of one that has a name."""
        other = self._storages.get(tensor.untyped_storage()._cdata, lambda: None)()
        return other is not None and other.untyped_storage().data_ptr() == tensor.untyped_storage().data_ptr()

    def _refuse_random(self, func: Any, kind: str, kwargs: Mapping[str, Any]) -> None:
        if torch.Tag.nondeterministic_seeded in func.tags and kwargs.get("generator") is None:
            raise Refused(f"it draws random numbers at test time ({kind})")

    def _nothing(self, reason: str, outputs: Sequence[Any]) -> list[Any]:
        """Names of what cannot be written."""
        if not all(isinstance(each, Tensor) and each.is_floating_point() for each in outputs if each is not None):
            raise Refused(reason)
        if any(each.dtype not in NUMPY for each in outputs if each is not None):
            raise Refused(reason)
        names = [self.graph.op("Expand", self.graph.constant(nan, each.dtype), self.graph.ints(*each.shape))
                 if each is not None else "" for each in outputs]  # fmt: skip
        self.reasons |= dict.fromkeys(names, reason)
        return names

    def _write(self, kind: str, found: Any, args: Any, kwargs: Any) -> list[Any]:
        if kind not in self.handlers:
            raise Refused(f"its operation {kind} is not known to this export")
        handler = self.handlers[kind]
        complex_ones = [each for each in tree_leaves((args, kwargs)) if _is_complex(each)]
        if isinstance(found, Tensor) and (found.is_complex() or complex_ones) and kind not in (*WHOLE, "abs"):
            return [self._by_parts(kind, handler, found, args, kwargs, len(complex_ones))]
        written = handler(self, found, *args, **kwargs)
        return list(written) if isinstance(written, list) else [written]

    def _by_parts(self, kind: str, handler: Handler, found: Tensor, args: Any, kwargs: Any, count: int) -> Any:
        """Names of the real and the imaginary part of what is done to each by itself, or of a product."""
        if not found.is_complex() or kind not in APART or (kind == "div" and _is_complex(args[1])):
            raise Refused(f"its operation {kind} of complex numbers is not known to this export")
        if kind in ("add", "sub") and (count < 2 or kwargs.get("alpha", 1) != 1):
            raise Refused(f"its operation {kind} is of complex and real numbers at once")
        parts = []
        try:
            if kind == "mul" and count == 2:
                return self._product(*args)
            for self.part in (0, 1):
                parts.append(str(handler(self, found, *args, **kwargs)))
        finally:
            self.part = 0
        return tuple(parts)

    def _product(self, a: Any, b: Any) -> tuple[str, str]:
        """(a + bi)(c + di) = (ac - bd) + (ad + bc)i."""
        names = []
        for self.part in (0, 1):
            names.append([self.name(each, torch.float32 if isinstance(each, complex) else None) for each in (a, b)])
        (ar, br), (ai, bi) = names
        op = self.graph.op
        return (
            str(op("Sub", op("Mul", ar, br), op("Mul", ai, bi))),
            str(op("Add", op("Mul", ar, bi), op("Mul", ai, br))),
        )

    def complex_names(self, value: Tensor) -> tuple[str, str]:
        """Names of the real and the imaginary part; of real numbers the latter is ""."""
        name = self._names[value]
        return name if isinstance(name, tuple) else (name, "")

    def _mutated(self, func: Any, kind: str, args: Any, kwargs: Any) -> Any:
        """An operation in place: the tensor has another name from now on."""
        target = args[0]
        shared = target.untyped_storage().nbytes() != target.numel() * target.element_size()
        shared &= not self.known(target)  # of what is known all that lies in the same memory has a name, or had one
        where = target.untyped_storage().data_ptr()
        others = [each for each in self._names if each is not target and each.untyped_storage().data_ptr() == where]
        if shared or not kind.endswith("_") or not all(_same_order(each, target) for each in others):
            raise Refused(f"it changes a part of a tensor in place ({kind}), which this export does not follow")
        if kind in ("zero_", "fill_") and not any(self.known(each) for each in args[1:]):
            del self._names[target]
            return func(*args, **kwargs)
        before = target if self.known(target) else target.clone()
        (name,) = self._write(kind.removesuffix("_"), target, (before, *args[1:]), kwargs)
        found = func(*args, **kwargs)
        self._name(target, name)
        for each in others:  # the same numbers in another shape, as a layer's output before it was reshaped
            self._name(each, self.graph.reshape(name, each.shape))
        return found


def _same_order(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors in one memory are all of it, number after number."""
    alike = (one.numel(), one.data_ptr()) == (other.numel(), other.data_ptr())
    return alike and one.is_contiguous() and other.is_contiguous()


def _is_complex(value: Any) -> bool:
    return isinstance(value, complex) or (isinstance(value, Tensor) and value.is_complex())


def recorded(judge: Callable[[Tensor], Mapping[str, Tensor]], image: Tensor, handlers: Mapping[str, Handler]) -> Any:
    """The graph of what a function makes of one image, its name, and names and shapes of results.

    What no result rests on is left out.

    Raises:
        Refused: something in it cannot be written as a graph.
    """
    graph = Graph()
    image = image.clone()
    with torch.no_grad(), Recording(graph, handlers, image) as recording:
        results = judge(image)
        names = {name: recording.name(each) for name, each in results.items()}
    copied = {name: graph.op("Cast", each, to=onnx_type(torch.float32)) for name, each in names.items()}
    needed = graph.prune(copied.values())
    lacking = dict.fromkeys(reason for name, reason in recording.reasons.items() if name in needed)
    if lacking:
        raise Refused("; ".join(lacking))
    return graph, recording.image, copied, {name: tuple(each.shape) for name, each in results.items()}
