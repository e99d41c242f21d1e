"""How what a call gives back looks: few lines, nothing that a name could smuggle in, no colours of its own."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from looked_at import looked_at

from anomaly.shown import Readable, aligned, several

EVIL = "<script>alert('a & b')</script>"


@dataclass(frozen=True, repr=False)
class Thing(Readable):
    """Something with a title and lines."""

    title: str
    lines: dict[str, Any]

    def _in_short(self) -> tuple[str, dict[str, Any]]:
        return self.title, self.lines


def test_names_and_values_stand_below_each_other() -> None:
    thing = Thing("two of them", {"a": 1, "longer": Path("some/where")})
    assert repr(thing) == "Thing: two of them\na       1\nlonger  some/where"
    assert looked_at(thing) == {"": "two of them", "a": "1", "longer": "some/where"}


def test_lines_without_a_value_are_left_out() -> None:
    assert looked_at(Thing("t", {"none": None, "empty": "", "nought": 0})) == {"": "t", "nought": "0"}
    alone = Thing("t", {"none": None})
    assert repr(alone) == "Thing: t" and "<table" not in alone._repr_html_()


@pytest.mark.parametrize("thing", [Thing(EVIL, {"path": EVIL}), Thing("t", {EVIL: Path(EVIL)})])
def test_what_comes_from_strangers_is_escaped(thing: Thing) -> None:
    assert EVIL in repr(thing)
    html = thing._repr_html_()
    assert "<script" not in html and "&lt;script&gt;alert(&#x27;a &amp; b&#x27;)" in html
    looked_at(thing)


@pytest.mark.parametrize(
    "name", ["two\nlines", "tab\there", "\x1b[31mred", "from \u202e the right", "\udce9.png", "\0"]
)
def test_a_line_stays_one_line_and_can_be_printed(name: str) -> None:
    told = looked_at(Thing(name, {"path": name}))
    assert told[""] == told["path"] == name.encode("unicode_escape").decode()
    repr(Thing(name, {"path": name})).encode()


def test_letters_and_signs_stay_as_they_are() -> None:
    assert looked_at(Thing("Röntgen 95 % ≤ 頭部 −1", {}))[""] == "Röntgen 95 % ≤ 頭部 −1"


def test_a_notebook_keeps_its_colours_and_takes_no_dollar_for_a_formula() -> None:
    html = Thing("$t$", {"path": "$HOME/$x"})._repr_html_()
    assert not re.search(r"colou?r|background|font", html)
    assert html.startswith('<div class="tex2jax_ignore mathjax_ignore">')


def test_equality_is_that_of_the_dataclass() -> None:
    thing = Thing("t", {"a": 1})
    assert thing == Thing("t", {"a": 1}) and thing != replace(thing, title="u")


def test_lists_are_cut_between_their_items() -> None:
    items = ["one", "two", "three"]
    assert several(items) == "one, two, three" and several([]) == ""
    assert several(items, 8) == "one, two and 1 more"
    assert several(items, 1) == "one and 2 more"


def test_a_width_may_be_given() -> None:
    assert aligned({"a": 1, "bc": 2}, 5) == "a    1\nbc   2" and aligned({}) == ""
