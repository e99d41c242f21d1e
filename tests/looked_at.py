"""What a person sees of an object that a call gave back, in a terminal and in a notebook."""

from html.parser import HTMLParser
from typing import Any

from anomaly.shown import LINES

TAGS = {"div", "strong", "table", "tbody", "tr", "th", "td"}


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def looked_at(thing: Any) -> dict[str, str]:
    """The lines of an object by their names, the title under "", once both of its looks are known to be sound."""
    first, *rest = repr(thing).split("\n")
    assert len(rest) <= LINES and all(line.isprintable() for line in (first, *rest)), repr(thing)
    name, _, title = first.partition(": ")
    assert name == type(thing).__name__ and title
    page = _Page()
    page.feed(thing._repr_html_())
    assert set(page.tags) <= TAGS, "something in it is taken for markup"
    assert page.texts[:2] == [name, f": {title}"]
    cells = dict(zip(page.texts[2::2], page.texts[3::2], strict=True))
    wide = max(map(len, cells), default=0) + 2
    assert rest == [f"{each:<{wide}}{value}" for each, value in cells.items()]
    return {"": title, **cells}
