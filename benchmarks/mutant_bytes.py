"""How a file gets damaged whatever it is: bytes flipped, cut, added, doubled, exchanged, set to extreme numbers."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

Change = Callable[[bytes, np.random.Generator], bytes]
EXTREMES = (
    0,
    1,
    -1,
    2,
    8,
    127,
    128,
    255,
    256,
    32767,
    32768,
    65535,
    65536,
    2**24,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63 - 1,
)
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e-30, 1e-3, 1e4, 1e9, 3.4e38, -3.4e38, np.inf, -np.inf, np.nan)
WORDS = (
    *("", " ", "0", "1", "-1", "2", "8", "999", "65536", "2147483648", "4294967296", "9223372036854775807", "1e999"),
    *(
        "-1e999",
        "1e38",
        "1e-45",
        "nan",
        "NaN",
        "inf",
        "0.5",
        "1,5",
        "0x10",
        "None",
        "null",
        "true",
        "[]",
        "{}",
        "\uff11",
    ),
    *(
        "é",
        "\u2028",
        "\x00",
        "\ufeff",
        '"',
        "'",
        "\\",
        "../",
        "*",
        "(",
        "%s",
        "=1+1",
        "x" * 3000,
        "path",
        "id",
        "subject",
    ),
)
SEPARATORS = (",", ";", "\t", "|", " ", ":", "\n", "\r", "\r\n", "\r\r\n", '"', "\v", "\u2028", "")
WORD = re.compile(r"[\w.+-]+")


def any_change(content: bytes, rng: np.random.Generator) -> bytes:
    """One to three of the changes below."""
    for _ in range(rng.choice([1, 1, 2, 3])):
        content = BYTES[rng.integers(len(BYTES))](content, rng)
    return content


def text_change(content: bytes, rng: np.random.Generator) -> bytes:
    """One to three changes of a text; now and then it is written in other letters."""
    text = content.decode("utf-8", "surrogateescape")
    for _ in range(rng.choice([1, 1, 2, 3])):
        text = TEXTS[rng.integers(len(TEXTS))](text, rng)
    if rng.random() < 0.05:
        return text.encode(str(rng.choice(["utf-16", "utf-16-le", "cp1252", "utf-8-sig", "utf-32"])), "replace")
    return text.encode("utf-8", "surrogateescape")


def place(content: bytes, rng: np.random.Generator) -> int:
    """Where to strike: half of the time among the first 600 bytes, where headers lie."""
    end = len(content) if rng.random() < 0.5 else min(len(content), 600)
    return int(rng.integers(max(end, 1)))


def number(rng: np.random.Generator, order: str = "") -> bytes:
    """An extreme number of 1 to 8 bytes, whole or with fractions."""
    order = order or str(rng.choice(["<", ">"]))
    if rng.random() < 0.2:
        with np.errstate(over="ignore"):
            return np.array(FLOATS[rng.integers(len(FLOATS))]).astype(f"{order}f{rng.choice([4, 8])}").tobytes()
    size = int(rng.choice([1, 2, 4, 8]))
    value = int(EXTREMES[rng.integers(len(EXTREMES))]) % 2 ** (8 * size)
    return value.to_bytes(size, "little" if order == "<" else "big")


def _flip(content: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for _ in range(int(rng.choice([1, 1, 2, 8, 64]))):
        if changed:
            changed[place(content, rng)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _noise(content: bytes, rng: np.random.Generator) -> bytes:
    start, length = place(content, rng), int(rng.choice([1, 2, 4, 16, 200]))
    return content[:start] + rng.bytes(length) + content[start + length :]


def _zeros(content: bytes, rng: np.random.Generator) -> bytes:
    start, length = place(content, rng), int(rng.choice([2, 4, 16, 200, 5000]))
    return content[:start] + bytes(min(length, len(content) - start)) + content[start + length :]


def _cut(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: place(content, rng)] if rng.random() < 0.7 else content[: -int(rng.integers(1, 10))]


def _behead(content: bytes, rng: np.random.Generator) -> bytes:
    return content[place(content, rng) :]


def _extend(content: bytes, rng: np.random.Generator) -> bytes:
    length = int(rng.choice([1, 2, 100, 5000]))
    return content + (bytes(length), rng.bytes(length), content, content[:length])[rng.integers(4)]


def _double(content: bytes, rng: np.random.Generator) -> bytes:
    start, length = place(content, rng), int(rng.integers(1, 300))
    return content[: start + length] + content[start:]


def _remove(content: bytes, rng: np.random.Generator) -> bytes:
    start = place(content, rng)
    return content[:start] + content[start + int(rng.integers(1, 300)) :]


def _exchange(content: bytes, rng: np.random.Generator) -> bytes:
    length, (a, b) = int(rng.integers(1, 64)), sorted((place(content, rng), place(content, rng)))
    if b - a < length:
        return content[b:] + content[:b]
    first, second = content[a : a + length], content[b : b + length]
    return content[:a] + second + content[a + length : b] + first + content[b + length :]


def _extreme(content: bytes, rng: np.random.Generator) -> bytes:
    value = number(rng)
    start = place(content, rng) // len(value) * len(value) if rng.random() < 0.7 else place(content, rng)
    return content[:start] + value + content[start + len(value) :]


def _word(text: str, rng: np.random.Generator) -> str:
    found = list(WORD.finditer(text))
    if not found:
        return text
    one = found[rng.integers(len(found))]
    return text[: one.start()] + WORDS[rng.integers(len(WORDS))] + text[one.end() :]


def _word_of_another(text: str, rng: np.random.Generator) -> str:
    found = list(WORD.finditer(text))
    if not found:
        return text
    one, other = found[rng.integers(len(found))], found[rng.integers(len(found))]
    return text[: one.start()] + other[0] + text[one.end() :]


def _separator(text: str, rng: np.random.Generator) -> str:
    there = [mark for mark in SEPARATORS[:-1] if mark in text]
    if not there:
        return text
    old, new = there[rng.integers(len(there))], SEPARATORS[rng.integers(len(SEPARATORS))]
    if rng.random() < 0.5:
        return text.replace(old, new)
    parts = text.split(old)
    k = int(rng.integers(1, len(parts)))
    return old.join(parts[:k]) + new + old.join(parts[k:])


def _line(text: str, rng: np.random.Generator) -> str:
    """A line cut, left out, doubled or moved, or all of them in another order."""
    lines = text.splitlines(keepends=True) or [""]
    k, other = int(rng.integers(len(lines))), int(rng.integers(len(lines)))
    done = (
        [*lines[:k], lines[k][: int(rng.integers(len(lines[k]) + 1))], *lines[k + 1 :]],
        [*lines[:k], *lines[k + 1 :]],
        [*lines[:k], *[lines[k]] * int(rng.choice([2, 3, 300])), *lines[k + 1 :]],
        [*lines[:k], lines[other], *lines[k + 1 :]],
        lines[:k],
        [lines[place] for place in rng.permutation(len(lines))],
    )
    return "".join(done[rng.integers(len(done))])


def _put(text: str, rng: np.random.Generator) -> str:
    where = int(rng.integers(len(text) + 1))
    marks = (*SEPARATORS, *WORDS)
    return text[:where] + marks[rng.integers(len(marks))] + text[where:]


BYTES: tuple[Change, ...] = (
    _flip, _flip, _noise, _zeros, _cut, _behead, _extend, _double, _remove, _exchange, _extreme, _extreme,
)  # fmt: skip
TEXTS: tuple[Callable[[str, np.random.Generator], str], ...] = (
    _word, _word, _word_of_another, _separator, _line, _line, _put,
)  # fmt: skip
