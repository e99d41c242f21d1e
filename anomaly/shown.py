"""How what a call gives back shows itself: a few lines that a person can read, and a small table in a notebook."""

from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path

LINES = 4
"""Below the title, at most."""


class Readable:
    """Shows itself as a title and up to four named lines, and not as all that it holds.

    A dataclass that is one says repr=False, or its own would come first.
    """

    def _in_short(self) -> tuple[str, Mapping[str, object]]:
        """A title, and lines by their names; a line that is None or empty is left out.

        No file is read: an object is shown as well when the folder it tells of is gone.
        """
        raise NotImplementedError

    def __repr__(self) -> str:
        title, lines = self._in_short()
        text = aligned(lines)
        return plain(f"{type(self).__name__}: {title}") + (f"\n{text}" if text else "")

    def _repr_html_(self) -> str:
        title, lines = self._in_short()
        return table(type(self).__name__, title, lines)


def aligned(lines: Mapping[str, object], width: int | None = None) -> str:
    """Names and values below each other, a line each; names take `width`, or as much as the longest needs."""
    given = _given(lines)
    width = width or max((len(name) + 2 for name in given), default=0)
    return "\n".join(f"{name:<{width}}{plain(value)}" for name, value in given.items())


def table(name: str, title: str, lines: Mapping[str, object]) -> str:
    """The same as HTML. It sets no colours, so that a notebook's own hold, light or dark; `$` begins no formula."""
    left = "text-align:left;vertical-align:top"
    rows = "".join(
        f'<tr><th scope="row" style="{left};white-space:nowrap">{_safe(each)}</th>'
        f'<td style="{left};overflow-wrap:anywhere">{_safe(value)}</td></tr>'
        for each, value in _given(lines).items()
    )
    below = f'<table style="margin:0.3em 0"><tbody>{rows}</tbody></table>' if rows else ""
    return (
        '<div class="tex2jax_ignore mathjax_ignore">'
        f'<div style="overflow-wrap:anywhere"><strong>{_safe(name)}</strong>: {_safe(title)}</div>{below}</div>'
    )


def plain(value: object) -> str:
    """A value as text of one line: what cannot be printed, such as a line break in a path, stands escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(value))


def several(items: Iterable[str], most: int = 100) -> str:
    """Items with commas between, as many as fit into `most` characters, and how many there are beside."""
    listed = list(items)
    fitting = [count for count in range(1, len(listed) + 1) if len(", ".join(listed[:count])) <= most]
    shown = max(fitting, default=1)
    rest = len(listed) - shown
    return ", ".join(listed[:shown]) + (f" and {rest} more" if rest > 0 else "")


def unread(count: int, what: str, errors: Path) -> str | None:
    """How many of some images could not be read, and which table names them; None where all could."""
    return f"{count} of the {what}, see {errors}" if count else None


def _given(lines: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in lines.items() if value is not None and value != ""}


def _safe(value: object) -> str:
    return escape(plain(value))
