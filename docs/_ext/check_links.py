"""Checks every link of the built pages: python docs/_ext/check_links.py docs/_build/html

What a page links to or shows must exist, with its anchor. Nothing that a page needs may come from the network: no
script, style or picture. Links to other sites are not followed.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

NEEDED = {
    **{tag: ("src",) for tag in ("script", "img", "iframe", "source", "video", "audio", "embed", "track")},
    "object": ("data",),
    "video": ("src", "poster"),
}
LINKED = {"stylesheet", "icon", "preload", "modulepreload", "prefetch", "manifest"}
IN_STYLES = re.compile(r"""(?:url\(\s*|@import\s+)["']?((?:https?:)?//[^"')\s;]+)""")
SELDOM = ("genindex.html", "py-modindex.html", "search.html")  # pages whose anchors nobody links to


class Page(HTMLParser):
    """What one page links to, needs, and can be linked at."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.needed: list[str] = []
        self.anchors: set[str] = set()
        self._style = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag tells."""
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        elif tag == "link" and given.get("href") and LINKED & set(given.get("rel", "").lower().split()):
            self.needed.append(given["href"])
        self.needed += [given[name] for name in NEEDED.get(tag, ()) if given.get(name)]
        self.needed += [each.split()[0] for each in given.get("srcset", "").split(",") if each.strip()]
        self.needed += IN_STYLES.findall(given.get("style", ""))
        self._style = tag == "style"

    def handle_data(self, data: str) -> None:
        """Note what styles in the page itself take from elsewhere."""
        if self._style:
            self.needed += IN_STYLES.findall(data)


def faults(site: Path) -> list[str]:
    """What is wrong with the links of a site, each as page: link, why."""
    pages = {path: Page(path) for path in sorted(site.rglob("*.html")) if "_static" not in path.parts}
    found = []
    for path, page in pages.items():
        for link in dict.fromkeys(page.links + page.needed):
            why = _wrong(site, path, link, pages, needed=link in page.needed)
            if why:
                found.append(f"{path.relative_to(site)}: {link}: {why}")
    for path in sorted(site.rglob("*.css")):
        taken = IN_STYLES.findall(path.read_text(encoding="utf-8", errors="replace"))
        found += [f"{path.relative_to(site)}: {link}: is to be had from the network alone" for link in taken]
    return found


def _wrong(site: Path, path: Path, link: str, pages: dict[Path, Page], *, needed: bool) -> str:
    parts = urlsplit(link)
    if parts.scheme == "data":
        return ""
    if parts.scheme or parts.netloc:
        return "is to be had from the network alone" if needed else ""
    target = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
    if target.is_dir():
        target = target / "index.html"
    if not target.is_file() or not target.is_relative_to(site):
        return "no such file"
    anchor = unquote(parts.fragment)
    if anchor and target in pages and target.name not in SELDOM and anchor not in pages[target].anchors:
        return "no such anchor"
    return ""


def main() -> None:
    """Print what is wrong; the exit code says whether anything is."""
    site = Path(sys.argv[1]).resolve()
    pages = len(list(site.rglob("*.html")))
    if not pages:
        sys.exit(f"{site} holds no pages; build them first")
    wrong = faults(site)
    print("\n".join(wrong) if wrong else f"all links of {pages} pages lead somewhere")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
