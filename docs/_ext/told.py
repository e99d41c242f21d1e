"""Small pieces of a page, made of docutils nodes, so that no text is read as markup by mistake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from docstrings import CODE
from docutils import nodes
from sphinx import addnodes

Cell: TypeAlias = "str | nodes.Node | list[nodes.Node]"


def inline(text: str) -> list[nodes.Node]:
    """Plain text with `code` in it."""
    parts = (part for part in CODE.split(text) if part)
    return [code(part[1:-1]) if CODE.fullmatch(part) else nodes.Text(part) for part in parts]


def code(text: str) -> nodes.Node:
    """Something to be typed."""
    return nodes.literal(text, text)


def paragraph(*cells: Cell) -> nodes.paragraph:
    """Texts and nodes in one paragraph."""
    return nodes.paragraph("", "", *(node for cell in cells for node in _nodes(cell)))


def page(name: str, docname: str) -> nodes.Node:
    """A link to another page of the documentation, given from its root, with a name of its own as code."""
    return addnodes.pending_xref(
        "", code(name), refdomain="std", reftype="doc", reftarget=f"/{docname}", refexplicit=True, refwarn=True
    )


def api(target: str, name: str | None = None) -> nodes.Node:
    """A link to where the API describes an object, by its full name."""
    return addnodes.pending_xref(
        "", code(name or target), refdomain="py", reftype="obj", reftarget=target, refexplicit=True, refwarn=True
    )


def table(head: Sequence[str], rows: Sequence[Sequence[Cell]], widths: Sequence[int]) -> nodes.table:
    """A table, with a line of headings where there are some; widths are shares."""
    group = nodes.tgroup("", *(nodes.colspec(colwidth=width) for width in widths), cols=len(widths))
    if head:
        group += nodes.thead("", _row(head))
    group += nodes.tbody("", *(_row(row) for row in rows))
    return nodes.table("", group, classes=["colwidths-given"])


def section(title: str, anchor: str, *body: nodes.Node, literal: bool = True) -> nodes.section:
    """A section with a heading that can be linked to."""
    heading = nodes.title("", "", code(title) if literal else nodes.Text(title))
    return nodes.section("", heading, *body, ids=[anchor], names=[anchor])


def shown(value: object) -> Cell:
    """A default as it would be typed."""
    if value in (None, ""):
        return "–"
    return code(",".join(map(str, value)) if isinstance(value, tuple) else str(value))


def _row(cells: Sequence[Cell]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", paragraph(cell)) for cell in cells))


def _nodes(cell: Cell) -> list[nodes.Node]:
    if isinstance(cell, str):
        return inline(cell)
    return cell if isinstance(cell, list) else [cell]
