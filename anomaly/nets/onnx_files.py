"""What an ONNX file holds, read without running it: a network of standard operations and its weights, or nothing.

The format is protobuf; names and numbers of its fields are those of onnx.proto (ONNX 1.x).
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from anomaly.errors import AnomalyError

STANDARD = ("", "ai.onnx", "ai.onnx.ml")
"""Domains of the operations that the ONNX standard defines; any other is somebody's own code."""
MOST_BYTES = 2**31 - 1  # of a protobuf message
INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external"},
}
"""Where messages lie in which others, by the numbers of their fields."""
Field = int | memoryview
Fields = dict[int, list[Field]]
Found = list[tuple[str, Fields]]


class Model(NamedTuple):
    """The bytes of an ONNX file that was looked through, and their SHA-256."""

    content: bytes
    sha256: str


def read(file: str) -> Model:
    """Read an ONNX file and look through all of it.

    Raises:
        AnomalyError: there is no such file, it is none or cut short, or it holds what `check` refuses.
    """
    path = Path(file)
    if not path.is_file():
        raise AnomalyError(f"no file {path} to take a network from; give --set weights=FILE.onnx")
    if path.stat().st_size > MOST_BYTES:
        raise AnomalyError(f"{path} has more than 2 GB; give a network that one ONNX file can hold")
    content = path.read_bytes()
    check(content, str(path))
    return Model(content, hashlib.sha256(content).hexdigest())


def check(content: bytes, called: str) -> None:
    """AnomalyError unless these bytes are an ONNX model of standard operations that holds its weights itself.

    Functions that are defined in the file, of standard operations again, are no one's code and so allowed.
    """
    try:
        found = list(messages(content))
    except ValueError as error:
        raise AnomalyError(f"{called} is no ONNX file, or is cut short ({error}); export the network again") from None
    if not {"graph", "node"} <= {kind for kind, _ in found}:
        raise AnomalyError(f"{called} is no ONNX file: it holds no network; export the network again")
    _refuse_foreign(found, called)
    _refuse_elsewhere(found, called)


def _refuse_foreign(found: Found, called: str) -> None:
    defined = {(_text(each, 10), _text(each, 1)) for kind, each in found if kind == "function"}
    for kind, each in found:
        domain, name = _text(each, 7), _text(each, 4)
        if kind == "node" and domain not in STANDARD and (domain, name) not in defined:
            raise AnomalyError(
                f"{called} asks for the operation {name} of the domain {domain}, which is not of the ONNX standard and "
                "would be foreign code; export the network with standard operations alone"
            )


def _refuse_elsewhere(found: Found, called: str) -> None:
    places = [_text(each, 2) for kind, each in found if kind == "external" and _text(each, 1) == "location"]
    elsewhere = any(kind == "external" or (kind == "tensor" and 1 in each.get(14, [])) for kind, each in found)
    if elsewhere:
        raise AnomalyError(
            f"{called} keeps weights in {places[0] if places else 'another file'}, and a run must hold all of them; "
            "save it as one file, without external data"
        )


def names(content: bytes) -> list[str]:
    """Names of all tensors that the nodes of a model give, functions and subgraphs aside, in order."""
    graphs = _inner(_parts(content), 7)
    nodes = [node for graph in graphs for node in _inner(_parts(graph), 1)]
    return [str(name, "utf-8", "replace") for node in nodes for name in _inner(_parts(node), 2) if name]


def with_output(content: bytes, name: str) -> bytes:
    """The model with one more output, a tensor inside it.

    A message that comes twice is merged (protobuf, "Last One Wins"), so what is added can stand behind the model.
    """
    return content + _message(7, _message(12, _message(1, name.encode())))


def messages(content: bytes) -> Iterator[tuple[str, Fields]]:
    """Kind and fields, by number, of all messages of a model that `INSIDE` knows; ValueError where it is damaged."""
    waiting: list[tuple[str, bytes | memoryview]] = [("model", content)]
    while waiting:
        kind, part = waiting.pop()
        fields = _parts(part)
        yield kind, fields
        for number, inner in INSIDE.get(kind, {}).items():
            waiting += [(inner, each) for each in _inner(fields, number)]


def _inner(fields: Fields, number: int) -> list[memoryview]:
    return [each for each in fields.get(number, []) if not isinstance(each, int)]


def _parts(message: bytes | memoryview) -> Fields:
    """The fields of one protobuf message, by number: numbers, or the bytes of what is longer."""
    view, at = memoryview(message), 0
    found: Fields = {}
    while at < len(view):
        key, at = _varint(view, at)
        value: Field
        if key & 7 == 0:
            value, at = _varint(view, at)
        else:
            size, at = _varint(view, at) if key & 7 == 2 else ({1: 8, 5: 4}.get(key & 7, -1), at)
            if size < 0 or at + size > len(view):
                raise ValueError("a part is longer than the whole" if size >= 0 else "unknown kind of field")
            value, at = view[at : at + size], at + size
        found.setdefault(key >> 3, []).append(value)
    return found


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where the next field begins."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(view):
            raise ValueError("it ends within a number")
        byte, at = view[at], at + 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number without end")


def _message(number: int, content: bytes) -> bytes:
    return _number(number << 3 | 2) + _number(len(content)) + content


def _number(value: int) -> bytes:
    digits = []
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])


def _text(fields: Fields, number: int) -> str:
    last = fields.get(number, [b""])[-1]
    return "" if isinstance(last, int) else str(last, "utf-8", "replace")
