"""What a person, and a browser, meet in a page: its words, pictures, links and tags."""

import re
from html.parser import HTMLParser

INLINE = {"a", "strong", "small", "time"}
UNSEEN = {"script", "style", "noscript"}
EMPTY = {"meta", "link", "img", "input", "br", "hr", "path"}


class Reader(HTMLParser):
    """Collects what a page links to, its tags, the faces of each and its visible text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.text: list[str] = []
        self.facts: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = {name: value or "" for name, value in attrs}
        self.links += [found[name] for name in ("src", "href", "data", "action", "poster") if name in found]
        self.facts.append((tag, found))
        self.open += [] if tag in EMPTY else [tag]
        self.text += [] if tag in INLINE else [" "]

    def handle_endtag(self, tag: str) -> None:
        assert tag in EMPTY or self.open.pop() == tag
        self.text += [] if tag in INLINE else [" "]

    def handle_data(self, data: str) -> None:
        self.text += [] if UNSEEN & {*self.open} else [data]

    def of(self, tag: str) -> list[dict[str, str]]:
        """The attributes of each such tag."""
        return [found for name, found in self.facts if name == tag]

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.text))


def words_of(page: str) -> str:
    """The visible text of a page, without its tags."""
    return Reader(page).words
