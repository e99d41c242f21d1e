"""A network of anybody's, as an ONNX file: what it gives of a picture, in cells.

It is run by onnxruntime, an extra of the project, on the CPU and one thread: so it gives the same whenever it is asked.
"""

import difflib
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from anomaly.errors import AnomalyError, MissingPackage
from anomaly.nets.onnx_files import names, with_output

TYPES: dict[str, Any] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class Network(nn.Module):
    """An ONNX network, kept as its bytes, up to one of its outputs or to any tensor inside it.

    Pictures go through it one by one (or as many as it wants at once), so that what it gives of a picture never
    depends on others. It has no gradients.

    Args:
        content: bytes of the file, as `onnx_files.read` has checked them.
        output: name of the tensor that is looked at; "" takes the last output of four axes, else the last one of
            tokens.
        side: pixels a side of what it sees, where it does not say so itself.

    Raises:
        MissingPackage: onnxruntime is not installed.
        AnomalyError: the network does not take one picture, or gives nothing that lies in cells.
    """

    content: Tensor

    def __init__(self, content: bytes, output: str = "", side: int = 128) -> None:
        super().__init__()
        self.register_buffer("content", torch.frombuffer(bytearray(content), dtype=torch.uint8))
        self.output, self._session = output, None
        self.input, self.fraction, self.batch, self.channels, self.sides = _input(self.session, side)
        self.output = self._chosen()

    @property
    def session(self) -> Any:
        """The network as onnxruntime runs it, made when it is first asked for."""
        if self._session is None:
            content = self.content.cpu().numpy().tobytes()
            self._session = _session(with_output(content, self.output) if self._inner(content) else content)
        return self._session

    def __getstate__(self) -> dict[str, Any]:
        """What a copy is made of: the bytes, and not what runs them."""
        return {**self.__dict__, "_session": None}

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (N, 1 or 3, *sides), as the network was trained on -> (N, K, h, w)."""
        parts = [self._run(part) for part in x.detach().cpu().split(self.batch)]
        return torch.cat(parts).to(x.device, x.dtype)

    def _run(self, x: Tensor) -> Tensor:
        """At most a batch; what is missing of one is filled up with the last picture and dropped again."""
        full = torch.cat([x, x[-1:].expand(self.batch - len(x), -1, -1, -1)]).contiguous().numpy()
        (found,) = self._asked(full.astype(self.fraction), [self.output])
        return in_cells(torch.from_numpy(found)[: len(x)])

    def _asked(self, pictures: np.ndarray, outputs: list[str] | None) -> list[np.ndarray]:
        try:
            found: list[np.ndarray] = self.session.run(outputs, {self.input: pictures})
        except Exception as error:  # onnxruntime has an exception of its own for each kind of trouble
            raise AnomalyError(
                f"the ONNX network takes no pictures of {' x '.join(map(str, self.sides))} pixels ({_line(error)}); "
                "give --set side= as it was trained with"
            ) from None
        return found

    def _inner(self, content: bytes) -> bool:
        """Whether what is looked at is no output yet."""
        if not self.output:
            return False
        outputs = [each.name for each in _session(content).get_outputs()]
        known = [*outputs, *names(content)]
        if self.output not in known:
            near = difflib.get_close_matches(self.output, known, n=1)
            did = f"did you mean {near[0]}? " if near else ""
            raise AnomalyError(
                f"output={self.output} is no tensor of the ONNX network; {did}its outputs are {', '.join(outputs)}"
            )
        return self.output not in outputs

    def _chosen(self) -> str:
        """The name of the output that lies in cells, found by a black picture."""
        outputs = [self.output] if self.output else [each.name for each in self.session.get_outputs()]
        found = self._asked(np.zeros((self.batch, self.channels, *self.sides), self.fraction), outputs)
        shapes = {name: tuple(each.shape) for name, each in zip(outputs, found, strict=True)}
        for axes in (4, 3):
            for name in reversed(outputs):
                if len(shapes[name]) == axes and _has_cells(shapes[name]):
                    return name
        told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise AnomalyError(
            f"the ONNX network gives {told}, expected (N, K, h, w), or (N, tokens, K) with a square number of tokens, "
            "one of a class aside; name a tensor inside it by --set output="
        )


def in_cells(found: Tensor) -> Tensor:
    """Features as they are, (N, K, h, w), or tokens (N, tokens, K), row by row -> (N, K, h, w) float32.

    Of tokens the first is left out where their number is a square and one more: it stands for the whole picture.
    """
    if found.ndim == 3:
        side = math.isqrt(found.shape[1])
        found = found[:, found.shape[1] - side**2 :].transpose(1, 2).unflatten(2, (side, side))
    return found.float()


def _has_cells(shape: tuple[int, ...]) -> bool:
    if len(shape) == 4:
        return min(shape) > 0
    return shape[1] > 3 and shape[1] - math.isqrt(shape[1]) ** 2 in (0, 1)


def _input(session: Any, side: int) -> tuple[str, Any, int, int, tuple[int, int]]:
    """Name, type, batch, channels and sides (rows, columns) of the one picture that a network takes."""
    inputs = session.get_inputs()
    told = ", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs)
    shape = inputs[0].shape if len(inputs) == 1 else []
    channels = shape[1] if len(shape) == 4 and isinstance(shape[1], int) else 3
    if len(shape) != 4 or inputs[0].type not in TYPES or channels not in (1, 3):
        raise AnomalyError(
            f"the ONNX network takes {told or 'nothing'}, expected one picture (N, 1 or 3, rows, columns) of "
            "fractions, channels before rows; export it that way"
        )
    height, width = (each if isinstance(each, int) and each > 0 else side for each in shape[2:])
    batch = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else 1
    return inputs[0].name, TYPES[inputs[0].type], batch, channels, (height, width)


def _session(content: bytes) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise MissingPackage("network=onnx needs onnxruntime; pip install 'anomaly-explain[onnx]'") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # sums in one order, whatever the machine
    options.use_deterministic_compute = True
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise AnomalyError(f"onnxruntime cannot run the ONNX network: {_line(error)}; export it again") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
