"""Formulas as MathML, which browsers draw by themselves: no script, nothing from the network."""

from __future__ import annotations

import re
from html import escape, unescape
from typing import Any
from xml.etree import ElementTree

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)
# What docutils does not know, by what comes near.
OTHERWISE = {r"\texttt{": r"\text{", r"\dots": r"\ldots", r"\big/": "/"}
HALVES = re.compile(r"\\([td]?frac)(\d)(\w)")  # \frac12 is a half; docutils would take 12 for the upper part
ENTITY = re.compile(r"&(?!lt;|gt;|amp;|quot;|apos;|#)\w+;")  # names that HTML knows and XML does not
BARS = ("¯", "‾", "_")
MATHML = "http://www.w3.org/1998/Math/MathML"
ElementTree.register_namespace("", MATHML)


def inline(writer: Any, node: nodes.math) -> None:
    """A formula in a sentence."""
    writer.body.append(_drawn(node, as_block=False))
    raise nodes.SkipNode


def displayed(writer: Any, node: nodes.math_block) -> None:
    """A formula on lines of its own."""
    writer.body.append(f'<div class="math">{_drawn(node, as_block=True)}</div>\n')
    raise nodes.SkipNode


def _drawn(node: nodes.Element, *, as_block: bool) -> str:
    text = node.astext().strip()
    for command, known in OTHERWISE.items():
        text = text.replace(command, known)
    text = HALVES.sub(r"\\\1{\2}{\3}", text)
    try:
        drawn = ENTITY.sub(lambda found: unescape(found[0]), str(tex2mathml(text, as_block=as_block)))
        return _with_whole_bars(drawn)
    except (MathError, SyntaxError) as error:
        logger.warning("formula cannot be read: %s: %s", error, node.astext(), location=node)
        return escape(text)


def _with_whole_bars(formula: str) -> str:
    """Lines over more than a letter as borders: many fonts have none that grows with what it covers."""
    tree = ElementTree.fromstring(formula)
    for each in tree.iter(f"{{{MATHML}}}mover"):
        covered, mark = each
        if mark.text in BARS and (len(covered) or len(covered.text or "") > 1):
            each.remove(mark)
            each.tag, each.attrib = f"{{{MATHML}}}mrow", {"class": "over"}
    return ElementTree.tostring(tree, encoding="unicode")


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls."""
    app.add_html_math_renderer("mathml", (inline, None), (displayed, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
