"""Why images cannot be used, counted: a line a reason, and the numbers of one image never stand for others."""

import re
from collections.abc import Iterable

NUMBER = re.compile(r"\d+(?:\.\d+)?")


def reasons(told: Iterable[tuple[str, str]], most: int = 5) -> list[str]:
    """Lines of how many images have which reason, the most frequent first.

    Reasons that differ in nothing but their numbers, such as a size, are one; then the line says whose it quotes.

    Args:
        told: (path, error) of each image; an error may begin with the path.
        most: lines, before one that says how many others there are.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for path, error in told:
        reason = error.removeprefix(f"{path}: ")
        found.setdefault(NUMBER.sub("#", reason), []).append((path, reason))
    ranked = sorted(found.values(), key=len, reverse=True)
    lines = [f"{len(alike)}: {_quoted(alike)}" for alike in ranked[:most]]
    if rest := ranked[most:]:
        images = sum(map(len, rest))
        lines.append(f"{images}: {len(rest)} other reason{'s' if len(rest) > 1 else ''}")
    return lines


def _quoted(alike: list[tuple[str, str]]) -> str:
    path, reason = alike[0]
    return reason if len({each for _, each in alike}) == 1 else f"as {path}: {reason}"
