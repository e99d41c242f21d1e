"""What a DICOM header tells, of the file or of one frame; a tag that is there but empty counts as absent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from struct import unpack
from typing import BinaryIO, TypeGuard

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from anomaly.errors import UnreadableImage
from anomaly.images.claims import Within

OURS, OUR_CLASS = "anomaly", UID("2.25.193472608157238716640275034712853901467")
"""Who made an object and what wrote its file, where this program did; archives write files anew, and keep the first."""
_MARK = (128, b"DICM")
_LONG = frozenset((b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UN", b"UT", b"UC", b"UR", b"SV", b"UV"))
_SHORT = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_CLASS, _STORED_CLASS, _ROWS = (0x0008, 0x0016), (0x0002, 0x0002), (0x0028, 0x0010)
_UID = re.compile(rb"[0-9]+(\.[0-9]+){3,}[\0 ]*")
_WALK = 256  # elements looked at before a file without a mark is given up


def is_dicom(path: Path) -> bool:
    """Tell whether a file is DICOM, whatever its name: by its mark, or by a header that begins at its first byte.

    Files without preamble and mark begin with their header. Few bytes are read: elements are stepped over until one
    tells the class of the object, or the number of rows; anything that is no element ends the search.
    """
    with path.open("rb") as file:
        return _marked(file)


def opened(path: Path, *, header: list[str] | None = None) -> Dataset:
    """Parse a file with or without mark; of its header alone the tags named. UnreadableImage for what is no DICOM.

    Where the file does not tell its transfer syntax, the one its header is written in is set.
    """
    with Within(path) as file:
        if not _marked(file):
            raise UnreadableImage(f"{path}: is no DICOM file (it has neither its mark nor a header); export it again")
        file.seek(0)
        data = dcmread(file, force=True, stop_before_pixels=header is not None, specific_tags=header)
    if header is None and not data.file_meta.get("TransferSyntaxUID"):
        data.file_meta.TransferSyntaxUID = _syntax(data, path)
    return data


def numbers(data: Dataset, name: str) -> list[float]:
    """Give the numbers of a tag; none where it is absent, empty, or where one of its values is."""
    value = data.get(name)
    if isinstance(value, bytes):  # a type the writer did not know: two bytes a number, as PixelPaddingValue has
        return np.frombuffer(value, "<u2").astype(float).tolist() if len(value) % 2 == 0 else []
    values = list(value) if _many(value) else [value]
    if any(one is None or not str(one).strip() for one in values):
        return []
    return [float(one) for one in values]


def number(data: Dataset, name: str) -> float | None:
    """Give the first number of a tag, None where there is none or it is no finite number."""
    first = next(iter(numbers(data, name)), None)
    return first if first is not None and isfinite(first) else None


def of_frame(data: Dataset, frame: int, group: str, *names: str) -> Dataset:
    """Give who says one of the tags of a frame: its own functional group, that of all frames, else the file."""
    groups = (holder[group][0] for holder in _groups(data, frame) if filled(holder, group))
    return next((told for told in groups if any(filled(told, name) for name in names)), data)


def items_of_frame(data: Dataset, frame: int, sequence: str) -> list[Dataset]:
    """Give all items of a sequence that a frame has for itself, shares with all frames, or takes from the file."""
    told = (holder[sequence].value for holder in [*_groups(data, frame), data] if filled(holder, sequence))
    return list(next(told, []))


def _groups(data: Dataset, frame: int) -> list[Dataset]:
    own, shared = (data.get(f"{whose}FunctionalGroupsSequence") or [] for whose in ("PerFrame", "Shared"))
    return [*own[frame : frame + 1], *shared[:1]]


def filled(data: Dataset, name: str) -> bool:
    """Whether a tag is there and has a value (a sequence: an item)."""
    value = data.get(name)
    return len(value) > 0 if _many(value) else value is not None and bool(str(value).strip())


def _many(value: object) -> TypeGuard[Sequence]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _marked(file: BinaryIO) -> bool:
    place, mark = _MARK
    head = file.read(place + len(mark))
    if head[place:] == mark:
        return True
    # Little endian begins with group 2 or 8, big endian with group 8: two bytes rule out nearly every other file.
    order = {b"\x02\x00": "<", b"\x08\x00": "<", b"\x00\x08": ">"}.get(head[:2])
    return order is not None and _has_header(file, order)


def _has_header(file: BinaryIO, order: str) -> bool:
    size, seen = file.seek(0, 2), (0, 0)
    file.seek(0)
    for _ in range(_WALK):
        tag, length = _element(file, order)
        if not seen < tag <= _ROWS or length > size - file.tell():
            return False
        if tag in (_CLASS, _STORED_CLASS) and 0 < length <= 64:
            return _UID.fullmatch(file.read(length)) is not None
        if tag == _ROWS:
            return length == 2
        file.seek(length, 1)
        seen = tag
    return False


def _element(file: BinaryIO, order: str) -> tuple[tuple[int, int], int]:
    """Read one element's tag and length, whether or not its type is written; (0, 0) where the file ends."""
    start = file.read(8)
    if len(start) < 8:
        return (0, 0), 0
    group, element = unpack(f"{order}HH", start[:4])
    if start[4:6] in _SHORT:
        return (group, element), int(unpack(f"{order}H", start[6:])[0])
    length = file.read(4) if start[4:6] in _LONG else start[4:]
    return (group, element), int(unpack(f"{order}I", length)[0]) if len(length) == 4 else 2**32


def _syntax(data: Dataset, path: Path) -> UID:
    stored = data["PixelData"] if "PixelData" in data else None
    if stored is not None and stored.is_undefined_length:
        raise UnreadableImage(
            f"{path}: is compressed, and TransferSyntaxUID, which tells how, is missing in it; export it again"
        )
    implicit, little = data.original_encoding
    return ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
