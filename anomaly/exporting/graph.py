"""An ONNX graph while it is written: nodes by name, weights once, and at last a model that takes any batch."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from anomaly.errors import AnomalyError

OPSET, IR = 18, 9
BYTES = 2**31 - 2**20  # protobuf ends at 2 GiB
NUMPY: dict[torch.dtype, Any] = {
    torch.float32: np.float32, torch.float64: np.float64, torch.float16: np.float16, torch.int64: np.int64,
    torch.int32: np.int32, torch.int16: np.int16, torch.int8: np.int8, torch.uint8: np.uint8, torch.bool: np.bool_,
}  # fmt: skip


class Refused(AnomalyError):
    """What cannot be written as a graph, and why."""


class Graph:
    """Nodes in the order of what they need, and constants, each content once."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}
        self.bytes = 0
        self._known: dict[tuple[bytes, str, tuple[int, ...]], str] = {}
        self._count = 0

    def fresh(self) -> str:
        """A name that nothing has."""
        self._count += 1
        return f"v{self._count}"

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Write a node; gives the name of its output, or names where there are several."""
        from onnx import helper

        names = [self.fresh() for _ in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, values: Any, dtype: torch.dtype | None = None) -> str:
        """The name of an array, a tensor or a number that is the same for all images."""
        _known_type(dtype)
        if isinstance(values, torch.Tensor):
            _known_type(values.dtype)
            values = values.detach().cpu().contiguous().numpy()
        array = np.ascontiguousarray(values) if dtype is None else np.ascontiguousarray(values, dtype=NUMPY[dtype])
        array = array.reshape(np.shape(values))  # of a single number `ascontiguousarray` makes an axis
        key = (hashlib.sha256(array.tobytes()).digest(), array.dtype.str, array.shape)
        if key not in self._known:
            self._count += 1
            self._known[key] = f"c{self._count}"
            self.constants[self._known[key]] = array
            self.bytes += array.nbytes
        return self._known[key]

    def ints(self, *values: int) -> str:
        """The name of a list of whole numbers."""
        return self.constant(np.array(values, dtype=np.int64))

    def cast(self, name: str, dtype: torch.dtype) -> str:
        """A value as another type."""
        return str(self.op("Cast", name, to=onnx_type(dtype)))

    def prune(self, results: Iterable[str]) -> set[str]:
        """Keep nodes and constants that the results rest on alone; gives the names of all that these rest on."""
        needed, kept = set(results), []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                kept.append(node)
        self.nodes = kept[::-1]
        self.constants = {name: array for name, array in self.constants.items() if name in needed}
        self.bytes = sum(array.nbytes for array in self.constants.values())
        self._known = {key: name for key, name in self._known.items() if name in needed}
        return needed

    def reshape(self, name: str, shape: Sequence[int]) -> str:
        """A value in another shape of as many numbers."""
        return str(self.op("Reshape", name, self.ints(*shape)))


def _known_type(dtype: torch.dtype | None) -> None:
    if dtype is not None and dtype not in NUMPY:
        raise Refused(f"it calculates with numbers of {dtype}")


def onnx_type(dtype: torch.dtype) -> int:
    """How ONNX calls a type."""
    from onnx import helper

    _known_type(dtype)
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(NUMPY[dtype])))


def model(
    graph: Graph,
    image: str,
    results: Mapping[str, str],
    shape: Sequence[int],
    shapes: Mapping[str, Sequence[int]],
    facts: Mapping[str, str],
) -> Any:
    """A model of a graph that was written for one image (1, C, *space): each image of a batch goes through it alone.

    Args:
        graph: of one image.
        image: name of what it takes.
        results: each with the name it has in the graph.
        shape: (C, *space) of an image.
        shapes: of each result, (1, ...).
        facts: kept with the model as its metadata.
    """
    from onnx import TensorProto, helper, numpy_helper

    single = [1, *shape]
    given = helper.make_node("Unsqueeze", ["one", graph.ints(0)], [image])
    taken = [helper.make_node("Squeeze", [inside, graph.ints(0)], [f"{name}_one"]) for name, inside in results.items()]
    body = helper.make_graph(
        [given, *graph.nodes, *taken],
        "one_image",
        [helper.make_tensor_value_info("one", TensorProto.FLOAT, single[1:])],
        [helper.make_tensor_value_info(f"{name}_one", TensorProto.FLOAT, shapes[name][1:]) for name in results],
    )
    scan = helper.make_node("Scan", ["image"], list(results), body=body, num_scan_inputs=1)
    whole = helper.make_graph(
        [scan],
        "anomaly",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shapes[name][1:]]) for name in results],
        [numpy_helper.from_array(array, name) for name, array in graph.constants.items()],
    )
    made = helper.make_model(whole, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="anomaly")
    made.ir_version = IR
    helper.set_model_props(made, dict(facts))
    return made
