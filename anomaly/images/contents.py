"""What a file is by its first bytes, whatever its name says."""

from __future__ import annotations

import os
import struct
from pathlib import Path

BEGINNING = 512
POINTER = b"version https://git-lfs.github.com/spec"
KINDS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"GIF8", "a GIF picture"),
    (0, b"BM", "a BMP picture"),
    (0, b"II*\0", "a TIFF picture"),
    (0, b"MM\0*", "a TIFF picture"),
    (0, b"II+\0", "a BigTIFF picture"),
    (0, b"MM\0+", "a BigTIFF picture"),
    (8, b"WEBP", "a WebP picture"),
    (4, b"ftyp", "a HEIC, AVIF or MP4 file"),
    (4, b"jP  ", "a JPEG 2000 picture"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (0, b"8BPS", "a Photoshop picture"),
    (128, b"DICM", "a DICOM file"),
    (344, b"n+1\0", "a NIfTI file that is not compressed"),
    (0, b"\x1f\x8b", "a file compressed by gzip"),
    (0, b"BZh", "a file compressed by bzip2"),
    (0, b"PK\x03\x04", "a ZIP archive (or an Office file)"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"NRRD", "an NRRD volume"),
    (0, b"%PDF", "a PDF document"),
    (0, b"\x89HDF", "an HDF5 file"),
    (0, b"\xd0\xcf\x11\xe0", "an old Office file"),
    (0, b"CDF", "a netCDF (MINC) file"),
)
SAMPLES = {
    1: "unsigned integers",
    2: "signed integers",
    3: "floating-point numbers",
    5: "complex integers",
    6: "complex",
}


def kind(path: Path) -> str:
    """Say in words what a file holds, by how it begins; "" where that is not known."""
    head = beginning(path)
    for place, mark, name in KINDS:
        if head[place : place + len(mark)] == mark:
            return name + tiff_told(path) if "TIFF" in name else name
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        return "an HTML page (a download that a server answered with a page?)"
    if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in text):
        return "an SVG drawing"
    if text.startswith((b"<?xml", b"<")):
        return "an XML or HTML text"
    return "a text" if text and _is_text(head) else ""


def pointer(path: Path) -> str:
    """How to fetch the content of a file that only stands for one elsewhere; "" for a file that holds its own.

    A name that no file can have (too long for the disk) is that of no file.

    Known are links of git-annex (DataLad) that lead nowhere yet, its pointer files, and those of Git LFS.
    """
    if os.path.islink(path) and not os.path.exists(path):
        annexed = "annex/objects" in _target(path)
        return "git annex get (or datalad get)" if annexed else "mend the link, or copy the file there"
    if not os.path.isfile(path) or path.stat().st_size > 2 * BEGINNING:
        return ""
    head = beginning(path)
    if head.startswith(POINTER):
        return "git lfs pull"
    return "git annex get (or datalad get)" if head.startswith(b"/annex/objects/") else ""


def pointed(path: Path) -> str:
    """What such a file is, in words."""
    if path.is_symlink() and not path.exists():
        annexed = "annex/objects" in _target(path)
        return "is a link to content that is not here" + (" (git-annex)" if annexed else "")
    name = "Git LFS" if beginning(path).startswith(POINTER) else "git-annex"
    return f"is a pointer of {name}, not the image itself"


def beginning(path: Path) -> bytes:
    """The first bytes of a file; none where it cannot be opened."""
    try:
        with path.open("rb") as file:
            return file.read(BEGINNING)
    except OSError:
        return b""


def is_nifti_pair(values: Path) -> bool:
    """Whether an image in two files, .img and .hdr, is NIfTI, and not Analyze."""
    return any(beginning(values.with_suffix(ending))[344:347] == b"ni1" for ending in (".hdr", ".HDR"))


def tiff_told(path: Path) -> str:
    """What numbers a TIFF holds, where that can be read from it: " of 64-bit floating-point numbers"."""
    bits, form = (tiff_tag(path, tag) for tag in (258, 339))
    return f" of {bits}-bit {SAMPLES.get(form or 1, 'numbers')}" if bits else ""


def tiff_tag(path: Path, wanted: int) -> int | None:
    """The first number of a tag (SHORT or LONG) of a TIFF's first page: TIFF 6.0, section 2."""
    try:
        return _tiff_tag(path, wanted)
    except struct.error:  # cut short
        return None


def _tiff_tag(path: Path, wanted: int) -> int | None:
    with path.open("rb") as file:
        order = {b"II": "<", b"MM": ">"}.get(file.read(2))
        if order is None or struct.unpack(order + "H", file.read(2))[0] != 42:
            return None
        file.seek(struct.unpack(order + "I", file.read(4))[0])
        stored = file.read(2)
        entries = file.read(12 * struct.unpack(order + "H", stored)[0]) if len(stored) == 2 else b""
        for tag, form, count, value in struct.iter_unpack(order + "HHI4s", entries[: len(entries) // 12 * 12]):
            if tag != wanted or form not in (3, 4):
                continue
            if count * (2, 4)[form - 3] > 4:
                file.seek(struct.unpack(order + "I", value)[0])
                value = file.read(4)
            letter, size = ("H", 2) if form == 3 else ("I", 4)
            return int(struct.unpack(order + letter, value[:size])[0]) if len(value) >= size else None
    return None


def _target(path: Path) -> str:
    try:
        return path.readlink().as_posix()
    except OSError:
        return ""


def _is_text(head: bytes) -> bool:
    return all(byte >= 32 or byte in b"\t\r\n\f" for byte in head)
