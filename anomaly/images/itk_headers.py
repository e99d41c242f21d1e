"""Headers of MetaImage and NRRD, looked at before their library is asked, which trusts them."""

from __future__ import annotations

import contextlib
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

from anomaly.errors import UnreadableImage
from anomaly.images.claims import DEFLATED, refuse_more

HEADER, PART = 2**16, 2**20
MOST_AXES = 10
LONGEST = 500
"""Letters of a line, but for comments and free pairs of key and value."""
FIELD = re.compile(r"^(?!#|.*:=).*$", re.MULTILINE)
END = re.compile(rb"^\s*ElementDataFile\s*=.*$|^\s*$", re.MULTILINE)
STRANGE = re.compile(r"%(?!\d*d)")
"""In the name of a file, what is no number of a series of files, such as %03d."""
ELSEWHERE = (".mhd", ".nhdr")
"""Headers whose values lie in another file."""
BYTES_OF = {
    "MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4, "MET_UINT": 4, "MET_FLOAT": 4,
    "MET_DOUBLE": 8, "MET_LONG_LONG": 8, "MET_ULONG_LONG": 8,
}  # fmt: skip


def refuse_header(path: Path) -> None:
    """Refuse a header by which the library would fail, or fill an image with what it does not hold.

    Raises:
        UnreadableImage: there is no number of axes, not as many lengths, or more values than the file can hold.
    """
    with path.open("rb") as file:
        head = file.read(HEADER)
    end = END.search(head)
    text = (head if end is None else head[: end.end()]).decode("latin-1")
    axes, sizes = _numbers(text, "NDims", "dimension"), _numbers(text, "DimSize", "sizes")
    if len(axes) != 1 or not 0 < axes[0] <= MOST_AXES or len(sizes) != axes[0] or min(sizes) < 1:
        raise UnreadableImage(
            f"{path}: its header tells {_listed(axes)} axes of the lengths {_listed(sizes)}; expected one number of "
            f"axes (up to {MOST_AXES}) and as many lengths above 0: convert it again"
        )
    if any(len(line) > LONGEST for line in FIELD.findall(text)):
        raise UnreadableImage(f"{path}: its header has a line of more than {LONGEST} letters; convert it again")
    shape = [*sizes, max(1, *_numbers(text, "ElementNumberOfChannels"))]
    if path.suffix.lower() not in ELSEWHERE:
        refuse_more(path, shape, 8, path.stat().st_size, DEFLATED)
        refuse_more(path, [max(0, *_numbers(text, "CompressedDataSize"))], 8, path.stat().st_size)
    if STRANGE.search(_told(text, "ElementDataFile")):
        raise UnreadableImage(f"{path}: its header names no file of values (ElementDataFile); convert it again")
    _refuse_short(path, text, shape)


def _refuse_short(path: Path, text: str, shape: Sequence[int]) -> None:
    """Refuse a compressed MetaImage that holds fewer values than its header tells: the rest would be of any value."""
    kind, packed, file = (_told(text, name) for name in ("ElementType", "CompressedData", "ElementDataFile"))
    if packed.lower() not in ("true", "1") or kind not in BYTES_OF or not file:
        return
    values, start = (path, len(text.encode("latin-1")) + 1) if file == "LOCAL" else (path.parent / file, 0)
    if values.is_file():
        refuse_more(path, shape, 8 * BYTES_OF[kind], _inflated(values, start))


def _inflated(path: Path, start: int) -> int:
    """To how many bytes a deflated stream grows, which are not kept; as many as came before any damage."""
    inflating, length = zlib.decompressobj(), 0
    with path.open("rb") as file, contextlib.suppress(zlib.error):
        file.seek(start)
        while not inflating.eof and (part := inflating.unconsumed_tail or file.read(HEADER)):
            length += len(inflating.decompress(part, PART))
    return length


def _told(text: str, name: str) -> str:
    """What stands behind a name; "" where it is not there."""
    found = re.findall(rf"^[ \t]*{name}[ \t]*[=:][ \t]*(.*?)\s*$", text, re.MULTILINE)
    return str(found[-1]) if found else ""


def _numbers(text: str, *names: str) -> list[int]:
    """The whole numbers behind one of these names, -1 for what is none; [0] where they are not there."""
    words = " ".join(_told(text, name) for name in names).split()
    return [int(word) if re.fullmatch(r"[+-]?\d{1,40}", word, re.ASCII) else -1 for word in words] or [0]


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(str(one) if one >= 0 else "?" for one in numbers[:MOST_AXES])
