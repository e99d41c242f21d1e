"""What can be known of the documentation without building it; `make docs` builds it and checks every link."""

import ast
import importlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from anomaly.detectors import DETECTORS
from explain import EXPLAINERS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
SCRIPTS = sorted((DOCS / "gallery" / "scripts").glob("*.py"))
# Made while the pages are built, so not there before.
MADE = re.compile(r"api/(anomaly|explain)[\w.]*|gallery/[\w/]+|notebooks/\d_\w+")
FENCE = re.compile(r"^(`{3,}|:{3,}).*?^\1$", re.MULTILINE | re.DOTALL)
TOCTREE = re.compile(r"^```\{toctree\}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[(?:[^\]`]|`[^`]*`)*\]\(([^)\s]+)\)")
MAY_IMPORT = ("anomaly", "explain", "matplotlib", "numpy", "pandas", "pathlib", "tempfile", "torch")


def name_of(path: Path) -> str:
    """A page as toctrees name it."""
    return path.relative_to(DOCS).with_suffix("").as_posix()


def links(text: str) -> list[str]:
    """Where the links and pictures of a page lead; what stands in fences or `code` is no link."""
    return LINK.findall(re.sub(r"(?<!`)`[^`\n]+`(?!`)", "`code`", FENCE.sub("", text)))


def broken(path: Path, found: list[str]) -> list[str]:
    """Those of the links of a file that lead to no file of the repository."""
    local = (link.partition("#")[0] for link in found if not re.match(r"[a-z]+:", link))
    targets = {link: (path.parent / link).resolve() for link in local if link}
    return [
        link
        for link, target in targets.items()
        if not target.exists() and not (target.is_relative_to(DOCS) and MADE.fullmatch(name_of(target)))
    ]


def below(page: str) -> Iterator[str]:
    """The pages that the toctrees of a page name."""
    source = DOCS / f"{page}.md"
    if not source.is_file():
        return
    for tree in TOCTREE.findall(source.read_text(encoding="utf-8")):
        for line in filter(None, (line.strip() for line in tree.splitlines())):
            entry = re.sub(r"^.*<(.*)>$", r"\1", line).removesuffix(".md").removesuffix(".ipynb")
            if line.startswith(":"):
                continue
            folder = source.parent
            if "*" in entry:
                yield from (name_of(path) for path in folder.glob(f"{entry}.md"))
            else:
                yield (folder / entry).resolve().relative_to(DOCS.resolve()).as_posix()


@pytest.mark.parametrize("name", [*DETECTORS, *EXPLAINERS])
def test_method_has_a_page_that_shows_its_settings(name: str) -> None:
    page = DOCS / "methods" / f"{name}.md"
    assert page.is_file(), f"write docs/methods/{name}.md"
    assert f"```{{method}} {name}\n```" in page.read_text(encoding="utf-8")


def test_every_page_is_reachable() -> None:
    reached, to_open = set(), ["index"]
    while to_open:
        page = to_open.pop()
        if page not in reached:
            reached.add(page)
            to_open += below(page)
    lost = {name_of(path) for path in PAGES} - reached
    nowhere = {page for page in reached if not (DOCS / f"{page}.md").is_file() and not MADE.fullmatch(page)}
    assert not lost, f"no toctree names {sorted(lost)}"
    assert not nowhere, f"toctrees name pages that are not there: {sorted(nowhere)}"


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_of_page_lead_somewhere(path: Path) -> None:
    assert not broken(path, links(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_of_front_files_lead_somewhere(name: str) -> None:
    assert not broken(ROOT / name, links((ROOT / name).read_text(encoding="utf-8")))


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_a_planted_link_is_caught() -> None:
    text = "[a](howto/none.md) `[b](c.md)` ![d](images/e.png)\n```\n[f](g.md)\n```\n[h](index.md#x) [i](https://j.org)"
    assert broken(DOCS / "index.md", links(text)) == ["howto/none.md", "images/e.png"]
    assert not broken(DOCS / "index.md", ["notebooks/1_detection.ipynb", "gallery/index.rst", "api/anomaly.images.rst"])


def test_checker_of_built_pages_finds_what_is_wrong(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("check_links", DOCS / "_ext" / "check_links.py")
    checker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(checker)
    good = '<p id="here"></p><a href="#here"></a><a href="b.html"></a><a href="https://elsewhere.org"></a>'
    (tmp_path / "a.html").write_text(good)
    (tmp_path / "b.html").write_text('<a href="a.html#here"></a><img src="data:image/png;base64,"/>')
    assert checker.faults(tmp_path.resolve()) == []
    wrong = [
        '<a href="a.html#gone"></a>',
        '<img src="gone.png"/>',
        '<script src="https://elsewhere.org/x.js"></script>',
    ]
    (tmp_path / "b.html").write_text("".join(wrong))
    assert [fault.rpartition(": ")[2] for fault in checker.faults(tmp_path.resolve())] == [
        "no such anchor",
        "no such file",
        "is to be had from the network alone",
    ]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_gallery_script_uses_public_code_alone(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    assert all(name.split(".")[0] in MAY_IMPORT for name in names), names
    assert not [name for name in names if any(part.startswith("_") for part in name.split("."))]
    told = " ".join((ast.get_docstring(tree) or "").lower().split())
    assert "simulated" in told or "kermany et al. 2018, cc by 4.0" in told, "say what is simulated and whose images"
    assert len(text.splitlines()) <= 80, "a gallery is read at a glance"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_what_a_gallery_script_imports_of_ours_is_there(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in ("anomaly", "explain"):
            package = str(node.module)
            there = importlib.import_module(package)
            for alias in node.names:
                lies = hasattr(there, alias.name) or importlib.util.find_spec(f"{package}.{alias.name}")
                assert lies, f"{package} has no {alias.name}"


def test_there_is_a_gallery() -> None:
    assert len(SCRIPTS) >= 8
