"""The whole of it: an installation, a trial, and a place if one is given."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from anomaly.checkup import installation
from anomaly.checkup.findings import Finding, gathered, nameless
from anomaly.shown import plain

WIDTH = 18


@dataclass(frozen=True)
class Checkup:
    """What was found of the installation, and of a place.

    Args:
        installation: versions, devices, memory, the self test.
        place: of the images or the run; empty where none was given.
    """

    installation: tuple[Finding, ...]
    place: tuple[Finding, ...] = ()

    @property
    def fine(self) -> bool:
        """Whether nothing that is needed is broken."""
        return not any(each.wrong for each in (*self.installation, *self.place))

    def __str__(self) -> str:
        parts = [_lines(part) for part in (self.installation, self.place) if part]
        wrong = [each.name for each in (*self.installation, *self.place) if each.wrong]
        end = "fine: nothing that is needed is broken" if self.fine else f"broken: {', '.join(wrong)} (marked !)"
        return "\n\n".join([*parts, end])

    def as_json(self) -> str:
        """The same for a program to read."""
        told = {part: [dataclasses.asdict(each) for each in getattr(self, part)] for part in ("installation", "place")}
        return json.dumps({"fine": self.fine, **told}, indent=1)


def checkup(place: Path | str | None = None) -> Checkup:
    """Say what this installation is and can do, and what lies in a place; this is `anomaly doctor`.

    Nothing stops it: whatever fails is a line of what is found. No line has a folder of this person but the place.

    Args:
        place: a folder or a table of images, a glob, or a run.
    """
    asked = [*installation.questions(), ("self test", _trial)]
    found = tuple(_without_folders(gathered(asked), None))
    if place is None:
        return Checkup(found)
    given = str(place)
    return Checkup(found, tuple(_without_folders(gathered([("place", lambda: _place(given))]), given)))


def _trial() -> Iterator[Finding]:
    """Only now is imported what may be broken."""
    from anomaly.checkup.trial import tried

    yield from tried()


def _place(given: str) -> Iterator[Finding]:
    from anomaly.checkup.place import looked_at

    yield from looked_at(given)


def _without_folders(found: Iterator[Finding], place: str | None) -> Iterator[Finding]:
    for each in found:
        yield dataclasses.replace(each, told=nameless(each.told, place))


def _lines(found: tuple[Finding, ...]) -> str:
    return "\n".join(f"{'!' if each.wrong else ' '} {each.name:<{WIDTH}} {plain(each.told)}" for each in found)
