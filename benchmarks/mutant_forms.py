"""Damage that gets past a format's own checks: fields of its header, what it compresses, sums made to match."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile
import zlib
from typing import Any

import nibabel as nib
import numpy as np
import pydicom

from benchmarks.mutant_bytes import EXTREMES, FLOATS, WORDS, any_change, number, text_change

PNG, PNG_KINDS = 8, (b"IHDR", b"IDAT", b"PLTE", b"tRNS", b"gAMA", b"IEND", b"acTL", b"iTXt", b"eXIf")
HEADERS = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
OTHERS: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 3, 2**31, 2**64, 10**400, 1e308, float("nan"), float("inf"), 0.5, "", "x", "0", [], {},
    [0], [1, 2], [1, 2, 3, 4], [-1, -1], [10**9, 10**9], ["a"], {"a": 1}, [[1]], "x" * 5000,
)  # fmt: skip


def nifti_field(content: bytes, rng: np.random.Generator) -> bytes:
    """Fields of a NIfTI or Analyze header set to what they may hold at most, least, or not at all."""
    kind = nib.AnalyzeHeader if content[344:347] not in (b"n+1", b"ni1") else nib.Nifti1Header
    header = np.frombuffer(content[:348], kind.template_dtype).copy()
    for _ in range(int(rng.choice([1, 1, 2, 4]))):
        _extreme_field(header, rng)
    return header.tobytes() + content[348:]


def mgh_field(content: bytes, rng: np.random.Generator) -> bytes:
    """The same of FreeSurfer's header."""
    form = nib.freesurfer.mghformat.MGHHeader.template_dtype.newbyteorder(">")
    header = np.frombuffer(content[: form.itemsize], form).copy()
    for _ in range(int(rng.choice([1, 1, 2]))):
        _extreme_field(header, rng)
    return header.tobytes() + content[form.itemsize :]


def _extreme_field(header: np.ndarray, rng: np.random.Generator) -> None:
    names = header.dtype.names or ()
    field = header[names[rng.integers(len(names))]].reshape(-1)
    where = int(rng.integers(field.size))
    if field.dtype.kind == "S":
        field[where] = rng.bytes(int(rng.integers(1, 8)))
    elif field.dtype.kind == "f":
        with np.errstate(over="ignore"):
            field[where] = FLOATS[rng.integers(len(FLOATS))]
    else:
        value = int(EXTREMES[rng.integers(len(EXTREMES))]) if rng.random() < 0.6 else int(rng.integers(0, 40))
        field[where] = np.array([value % 2**64], np.uint64).astype(field.dtype)[0]


def gzipped(change: Any) -> Any:
    """A change below the compression."""
    return lambda content, rng: gzip.compress(change(gzip.decompress(content), rng), 1, mtime=0)


def png_chunk(content: bytes, rng: np.random.Generator) -> bytes:
    """A chunk of a PNG changed, left out, doubled or called otherwise, its CRC made to match."""
    chunks, at = [], PNG
    while at + 8 <= len(content):
        length = struct.unpack(">I", content[at : at + 4])[0]
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    k, what = int(rng.integers(len(chunks))), rng.integers(5)
    name, data = chunks[k]
    if what == 0:
        chunks = [*chunks[:k], *chunks[k + 1 :]] if rng.random() < 0.5 else [*chunks[:k], *chunks[k:][:1], *chunks[k:]]
    elif what == 1:
        chunks[k] = PNG_KINDS[rng.integers(len(PNG_KINDS))], data
    elif what == 2 and name == b"IDAT":
        chunks[k] = name, zlib.compress(any_change(zlib.decompress(data), rng))
    else:
        k = 0 if rng.random() < 0.7 else k
        start, value = int(rng.integers(max(len(chunks[k][1]), 1))), number(rng, ">")
        start = start // len(value) * len(value)
        chunks[k] = chunks[k][0], chunks[k][1][:start] + value + chunks[k][1][start + len(value) :]
    told = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return content[:PNG] + b"".join(told)


def jpeg_size(content: bytes, rng: np.random.Generator) -> bytes:
    """The frame header of a JPEG (precision, height, width, samplings) changed."""
    at = max(content.find(mark) for mark in (b"\xff\xc0", b"\xff\xc2"))
    start, value = at + 4 + int(rng.integers(12)), number(rng, ">")[:2]
    return content[:start] + value + content[start + len(value) :]


def tiff_tag(content: bytes, rng: np.random.Generator) -> bytes:
    """An entry of a TIFF's first directory: its tag, type, count or value."""
    order = "<" if content[:2] == b"II" else ">"
    first = struct.unpack(f"{order}I", content[4:8])[0]
    count = struct.unpack(f"{order}H", content[first : first + 2])[0]
    field, size = ((0, 2), (2, 2), (4, 4), (8, 4))[int(rng.choice([0, 1, 2, 3, 3, 3]))]
    at = first + 2 + 12 * int(rng.integers(count)) + field
    value = number(rng, order).ljust(size, b"\0")[:size] if rng.random() < 0.6 else struct.pack(
        f"{order}I", int(rng.integers(40)))[:: 1 if order == "<" else -1][:size]  # fmt: skip
    return content[:at] + value + content[at + size :]


def dicom_element(content: bytes, rng: np.random.Generator) -> bytes:
    """Elements of a DICOM file dropped, emptied, or given another value that its type allows, or does not."""
    data = pydicom.dcmread(io.BytesIO(content), force=True)
    for _ in range(int(rng.choice([1, 1, 2, 3]))):
        held = data if rng.random() < 0.8 else data.file_meta
        while nested := [one for one in held if one.VR == "SQ" and one.value and rng.random() < 0.6]:
            items = nested[0].value
            held = items[int(rng.integers(len(items)))]
        elements = list(held)
        if elements:
            _other_value(held, elements[rng.integers(len(elements))], rng)
    stream = io.BytesIO()
    try:
        data.save_as(stream, enforce_file_format=False)
    except Exception:  # what pydicom does not write
        return any_change(content, rng)
    return stream.getvalue()


def _other_value(held: Any, element: Any, rng: np.random.Generator) -> None:
    what = rng.random()
    if what < 0.15:
        del held[element.tag]
    elif what < 0.25:
        element.value = None
    elif isinstance(element.value, bytes):
        element.value = any_change(element.value, rng)
    elif element.VR == "SQ":
        element.value = list(element.value)[: int(rng.integers(len(element.value) + 1))] * int(rng.choice([1, 2]))
    elif element.VR in ("US", "UL", "SS", "SL"):
        top = 2 ** (16 if element.VR[1] == "S" else 32) // (1 if element.VR[0] == "U" else 2)
        value = int(EXTREMES[rng.integers(len(EXTREMES))]) if rng.random() < 0.6 else int(rng.integers(20))
        element.value = max(value, 0) % top
    else:
        words = [WORDS[rng.integers(len(WORDS))] for _ in range(int(rng.choice([1, 1, 2, 3, 6])))]
        with_old = [*np.atleast_1d(np.array(element.value, dtype=object)).tolist()]
        with_old[int(rng.integers(len(with_old))) : None] = words
        element._value = "\\".join(map(str, with_old)) if element.VR not in ("FD", "FL") else 1e300


def npz_inside(content: bytes, rng: np.random.Generator) -> bytes:
    """The array within a ZIP archive changed, its sums made to match."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        name = file.namelist()[0]
        inside = npy_header(file.read(name), rng)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(zipfile.ZipInfo(name if rng.random() < 0.9 else "x"), inside)
    return stream.getvalue()


def npy_header(content: bytes, rng: np.random.Generator) -> bytes:
    """The words of an array's header changed, its length made to match."""
    length = struct.unpack("<H", content[8:10])[0]
    header = text_change(content[10 : 10 + length], rng)[:60000]
    return content[:8] + struct.pack("<H", len(header)) + header + content[10 + length :]


def safetensors_header(content: bytes, rng: np.random.Generator) -> bytes:
    """What a safetensors file says of its tensors and of itself changed, its length made to match."""
    length = struct.unpack("<Q", content[:8])[0]
    header = json_change(content[8 : 8 + length], rng)
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


def safetensors_values(content: bytes, rng: np.random.Generator) -> bytes:
    """Some of the numbers of a safetensors file changed, to extremes for the most part."""
    start = 8 + struct.unpack("<Q", content[:8])[0]
    at = start + 4 * int(rng.integers((len(content) - start) // 4))
    value = np.array(FLOATS[rng.integers(len(FLOATS))], np.float32).tobytes() * int(rng.choice([1, 50]))
    return (content[:at] + value + content[at + len(value) :])[: len(content)]


def header_lines(content: bytes, rng: np.random.Generator) -> bytes:
    """The text before the values of NRRD and MetaImage."""
    marks = [content.find(mark) + len(mark) for mark in (b"\n\n", b"LOCAL\n") if mark in content]
    end = min(marks, default=len(content))
    return text_change(content[:end], rng) + content[end:]


def json_change(content: bytes, rng: np.random.Generator) -> bytes:
    """A JSON text with keys dropped, or values of another type or size; also those that are texts of JSON."""
    told = json.loads(content)
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        told = _changed(told, rng)
    return json.dumps(told, allow_nan=True).encode()


def _changed(told: Any, rng: np.random.Generator) -> Any:
    """Walk down at random and change what is found there."""
    if isinstance(told, str) and told[:1] == "{" and rng.random() < 0.8:
        return json.dumps(_changed(json.loads(told), rng))
    if not isinstance(told, dict | list) or not told or rng.random() < 0.1:
        return OTHERS[rng.integers(len(OTHERS))]
    keys = list(told) if isinstance(told, dict) else list(range(len(told)))
    key, what = keys[rng.integers(len(keys))], rng.random()
    changed: Any = dict(told) if isinstance(told, dict) else list(told)
    if what < 0.15:
        del changed[key]
    elif what < 0.25 and isinstance(told, dict):
        changed[WORDS[rng.integers(len(WORDS))]] = changed.pop(key)
    elif what < 0.35:
        changed[key] = told[keys[rng.integers(len(keys))]]
    elif what < 0.4 and isinstance(changed, list):
        changed.append(changed[-1])
    else:
        changed[key] = _changed(told[key], rng)
    return changed
