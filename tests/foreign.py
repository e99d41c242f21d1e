"""Small ONNX networks whose features are known."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

CHANNELS, STRIDE = 5, 4
KERNEL = torch.randn(CHANNELS, 3, STRIDE, STRIDE, generator=torch.Generator().manual_seed(4))


def seen(x: Tensor) -> Tensor:
    """What all networks here give of pictures (N, 1 or 3, H, W) in their own levels, (N, 5, H / 4, W / 4)."""
    kernel = KERNEL if x.shape[1] == 3 else KERNEL[:, :1]
    return torch.relu(torch.nn.functional.conv2d(x, kernel, stride=STRIDE))


def network(
    sides: tuple[Any, Any] = ("rows", "columns"),
    *,
    batch: Any = "batch",
    channels: int = 3,
    form: str = "cells",
    kind: str = "FLOAT",
) -> Any:
    """An ONNX model: a convolution, "inner" (before the rectifier), and in `form` "cells" (N, K, h, w), "tokens"
    (N, h w, K), "classed", the same with a token of a class before, or "pooled" (N, K), which is no use."""
    onnx = pytest.importorskip("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    kernel = (KERNEL if channels == 3 else KERNEL[:, :1]).contiguous().numpy()
    kernel = kernel.astype({"FLOAT": "float32", "FLOAT16": "float16"}[kind])
    nodes = [
        helper.make_node("Conv", ["picture", "kernel"], ["inner"], strides=[STRIDE] * 2),
        helper.make_node("Relu", ["inner"], ["cells"]),
    ]
    initial = [onnx.numpy_helper.from_array(kernel, "kernel")]
    if form in ("tokens", "classed"):
        initial.append(onnx.numpy_helper.from_array(torch.tensor([0, CHANNELS, -1]).numpy(), "flat"))
        nodes.append(helper.make_node("Reshape", ["cells", "flat"], ["rows"]))
        nodes.append(helper.make_node("Transpose", ["rows"], ["tokens"], perm=[0, 2, 1]))
    if form == "classed":
        nodes.append(helper.make_node("ReduceMax", ["tokens"], ["class"], axes=[1], keepdims=1))
        nodes.append(helper.make_node("Concat", ["class", "tokens"], ["classed"], axis=1))
    if form == "pooled":
        nodes.append(helper.make_node("ReduceMean", ["cells"], ["pooled"], axes=[2, 3], keepdims=0))
    picture = helper.make_tensor_value_info("picture", getattr(kinds, kind), [batch, channels, *sides])
    output = helper.make_tensor_value_info(form, getattr(kinds, kind), None)
    graph = helper.make_graph(nodes, "small", [picture], [output], initial)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def file(folder: Path, model: Any) -> str:
    """The model as a file, and its name."""
    path = folder / "network.onnx"
    path.write_bytes(model.SerializeToString())
    return str(path)
