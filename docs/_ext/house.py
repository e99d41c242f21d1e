"""The rooms of the program: pages of the API, a table, and a picture of who imports whom, from the table of floors.

Table and imports are those of `tests/rooms.py`, by which the test of layers holds the program to its floors.
"""

from __future__ import annotations

import importlib
import inspect
from functools import cache
from html import escape
from pathlib import Path

import told
from docstrings import as_plain_text, opening
from docutils import nodes
from docutils.parsers.rst import Directive
from rooms import FLOORS, PRODUCT, imports, module_of, sources

WIDE, HIGH, GAP, LEFT, STOREY = 104, 32, 8, 24, 84


class Floors(Directive):
    """`{floors}`: every room with its floor, what happens in it, and what it imports but the ground floor."""

    def run(self) -> list[nodes.Node]:
        """Write the table, the highest floor first."""
        rows = []
        for floor, rooms in reversed(list(enumerate(FLOORS, start=1))):
            for room in rooms:
                below = ", ".join(sorted(imports()[room] - set(FLOORS[0])))
                name = told.page(room, f"api/{room}") if room != "cli" else told.page(room, "commands")
                rows.append([str(floor), name, opening(importlib.import_module(room)), below or "–"])
        return [told.table(["floor", "room", "what happens there", "imports"], rows, [1, 3, 6, 5])]


class Picture(Directive):
    """`{rooms}`: the rooms as boxes on their floors, with a line to each room that one imports."""

    def run(self) -> list[nodes.Node]:
        """Draw it into the page itself, so that it takes on the colours of the page."""
        return [nodes.raw("", drawing(), format="html")]


def drawing() -> str:
    """The rooms as an SVG: floors from below upwards, lines only where no other way by imports leads there."""
    places = _places()
    width = max(x for x, _ in places.values()) + WIDE + GAP
    height = len(FLOORS) * STOREY + GAP
    lines = "".join(_line(places[above], places[below]) for above, below in _direct())
    boxes = "".join(_box(room, *places[room]) for room in places) + _corridor()
    labels = "".join(
        f'<text x="8" y="{_height(floor) + HIGH / 2 + 4}" class="floor">{floor}</text>'
        for floor in range(1, len(FLOORS) + 1)
    )
    title = "Rooms of the program on their floors; each line leads down to a room that is imported"
    return (
        f'<div class="rooms"><svg viewBox="0 0 {width} {height}" role="img" aria-label="{title}">'
        f"{lines}{boxes}{labels}</svg></div>"
    )


def write_api(out: Path) -> None:
    """Write a page of the API for every room; pages of rooms that are gone are removed."""
    out.mkdir(exist_ok=True)
    pages = {f"{room}.rst": _page(room) for rooms in FLOORS for room in rooms if room != "cli"}
    for path in out.glob("*.rst"):
        if path.name not in pages:
            path.unlink()
    for name, text in pages.items():
        path = out / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _page(room: str) -> str:
    """What a room is for, and all of its modules."""
    modules = [module for module in _modules() if module == room or module.startswith(f"{room}.")]
    if room in ("anomaly", "explain"):
        modules = [room]
    parts = [room, "=" * len(room), ""]
    if len(modules) > 1:
        parts += as_plain_text((inspect.getdoc(importlib.import_module(room)) or "").split("\n"))
        modules.remove(room)
    for module in modules:
        if module != room:
            parts += ["", module, "-" * len(module)]
        parts += ["", f".. automodule:: {module}", "   :members:", "   :ignore-module-all:", ""]
    return "\n".join([*parts, ""])


def _modules() -> list[str]:
    return sorted(module_of(path) for path in sources(PRODUCT) if path.endswith(".py"))


def _direct() -> list[tuple[str, str]]:
    """Pairs of rooms, one importing the other, that are not joined by a longer way as well; not to the ground."""
    ground = set(FLOORS[0])
    below = {room: others - ground for room, others in imports().items()}

    @cache
    def reached(room: str) -> frozenset[str]:
        return frozenset(below[room]).union(*(reached(each) for each in below[room]))

    return [
        (room, other)
        for room in sorted(below)
        for other in sorted(below[room])
        if not any(other in reached(between) for between in below[room] - {other})
    ]


def _places() -> dict[str, tuple[float, float]]:
    """Left upper corner of each room's box; the rooms of `anomaly` to the left, those of `explain` to the right."""
    most = _across()
    places: dict[str, tuple[float, float]] = {}
    for floor, rooms in enumerate(FLOORS, start=1):
        if floor == 1:
            continue
        left = [room for room in rooms if room.startswith("anomaly")]
        right = [room for room in rooms if room not in left]
        start = LEFT + (most - len(left)) * (WIDE + GAP) / 2
        places |= {room: (start + k * (WIDE + GAP), _height(floor)) for k, room in enumerate(left)}
        start = LEFT + most * (WIDE + GAP) + 2 * GAP
        places |= {room: (start + k * (WIDE + GAP), _height(floor)) for k, room in enumerate(right)}
    return places


def _across() -> int:
    """How many rooms of `anomaly` lie on one floor at most, the ground floor aside."""
    return max(sum(room.startswith("anomaly") for room in rooms) for rooms in FLOORS[1:])


def _corridor() -> str:
    """The ground floor: what everybody may use."""
    names = [room.rpartition(".")[2] for room in FLOORS[0] if room not in ("anomaly", "explain")]
    wide, y = _across() * (WIDE + GAP) - GAP, _height(1)
    start = LEFT + wide + 3 * GAP
    return (
        f'<g class="anomaly"><rect x="{LEFT}" y="{y}" width="{wide}" height="{HIGH}" rx="5"/>'
        f'<text x="{LEFT + wide / 2}" y="{y + HIGH / 2 + 4}">anomaly: {", ".join(names)}</text></g>'
        f'<g class="explain"><rect x="{start}" y="{y}" width="{WIDE}" height="{HIGH}" rx="5"/>'
        f'<text x="{start + WIDE / 2}" y="{y + HIGH / 2 + 4}">explain</text></g>'
    )


def _height(floor: int) -> float:
    return (len(FLOORS) - floor) * STOREY + GAP


def _line(above: tuple[float, float], below: tuple[float, float]) -> str:
    (x, y), (u, v) = (above[0] + WIDE / 2, above[1] + HIGH), (below[0] + WIDE / 2, below[1])
    bend = (v - y) / 2
    return f'<path d="M{x} {y} C{x} {y + bend} {u} {v - bend} {u} {v}"/>'


def _box(room: str, x: float, y: float) -> str:
    told_in = escape(opening(importlib.import_module(room)))
    target = "commands.html" if room == "cli" else f"api/{room}.html"
    kind = "explain" if room.startswith("explain") else "anomaly" if room.startswith("anomaly") else "cli"
    name = room.rpartition(".")[2]
    return (
        f'<a href="{target}"><g class="{kind}"><title>{escape(room)}: {told_in}</title>'
        f'<rect x="{x}" y="{y}" width="{WIDE}" height="{HIGH}" rx="5"/>'
        f'<text x="{x + WIDE / 2}" y="{y + HIGH / 2 + 4}">{name}</text></g></a>'
    )
