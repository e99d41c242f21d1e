"""Which part of the project may know of which, read from the syntax tree of every file.

An import counts wherever it stands: at the top, in a function, under TYPE_CHECKING, by import_module("...").
"""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PRODUCT = ("anomaly", "explain", "cli")
ABOVE_DETECTORS = tuple(
    f"anomaly.{name}"
    for name in (
        *("images", "preprocessing", "cohort", "caching", "calibration", "learning", "run", "previews", "scoring"),
        *("ensemble", "maps", "tables", "heatmaps", "evaluation", "reporting", "methods", "demonstration"),
        *("joining", "results", "simulation", "analyses", "options", "exits"),
        *("generation", "comparison", "synthesis", "classes", "watching"),
    )
)


@dataclass(frozen=True)
class Rule:
    parts: tuple[str, ...]  # each a module, NAME.py, or a package, NAME/
    modules: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    besides: tuple[str, ...] = ()


RULES = {
    "anomaly imports neither explain nor cli": Rule(("anomaly",), ("explain", "cli")),
    "explain imports no detectors": Rule(("explain",), ("anomaly.detectors",)),
    "nobody imports cli": Rule(("anomaly", "explain", "benchmarks"), ("cli",)),
    "detectors know no tables and nothing above them": Rule(
        ("anomaly/detectors",), ("pandas", "nibabel", "pydicom", "PIL", *ABOVE_DETECTORS)
    ),
    "a method does not touch the disk": Rule(
        ("anomaly/detectors",),
        ("io", "os", "pathlib", "shutil", "tempfile"),
        ("open", "read_bytes", "read_text", "write_bytes", "write_text"),
        # The base saves and loads for all methods; the register finds a method in a user's own file.
        besides=("anomaly/detectors/__init__.py", "anomaly/detectors/base.py"),
    ),
    "metrics and statistics know no torch": Rule(("anomaly/metrics", "anomaly/statistics"), ("torch",)),
    "images, preprocessing, cohort and simulation know no torch": Rule(
        ("anomaly/images", "anomaly/preprocessing", "anomaly/cohort", "anomaly/simulation"), ("torch",)
    ),
    "association knows no torch": Rule(("explain/association",), ("torch",)),
    "statistics know no files and nothing above them": Rule(
        ("anomaly/statistics", "anomaly/metrics"),
        ("anomaly.images", "anomaly.joining", "anomaly.results", "anomaly.evaluation", "anomaly.files", "pathlib"),
    ),
    "simulation knows nothing of training, scoring and evaluation": Rule(
        ("anomaly/simulation",),
        tuple(f"anomaly.{name}" for name in ("detectors", "training", "learning", "scoring", "evaluation", "joining")),
    ),
    "nothing imports packages that would hold torch back": Rule(
        (*PRODUCT, "benchmarks"),
        ("torchvision", "torchmetrics", "timm", "lightning", "pytorch_lightning"),
    ),
    "nothing unpickles": Rule(PRODUCT, ("pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib")),
}


def imported(tree: ast.AST, package: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import; `from a import b` gives a.b, relative names are made whole."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *filter(None, [node.module])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and called(node) in ("import_module", "__import__"):
            names = (word.value for word in node.args[:1] if isinstance(word, ast.Constant))
            yield from ((node.lineno, str(name)) for name in names)


def called(node: ast.Call) -> str:
    """The last name of what is called: `open` of open(...) and of path.open(...)."""
    return getattr(node.func, "id", getattr(node.func, "attr", ""))


def violations(source: str, package: str, rule: Rule) -> list[tuple[int, str]]:
    """Line and name of what a source in a package has that the rule forbids."""
    tree = ast.parse(source)
    modules = ((line, name) for line, name in imported(tree, package) if within(name, rule.modules))
    calls = ((node.lineno, called(node)) for node in ast.walk(tree) if isinstance(node, ast.Call))
    return sorted([*modules, *((line, f"{name}()") for line, name in calls if name in rule.calls)])


def within(name: str, modules: Iterable[str]) -> bool:
    return any(f"{name}.".startswith(f"{module}.") for module in modules)


def sources(parts: Iterable[str], besides: Iterable[str] = ()) -> dict[str, str]:
    """The text of every file of the parts, by its path from the root."""
    paths = {path for part in parts for name in (f"{part}.py", f"{part}/**/*.py") for path in ROOT.glob(name)}
    found = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in sorted(paths)}
    return {path: text for path, text in found.items() if path not in set(besides)}


def package_of(path: str) -> str:
    return ".".join(Path(path).parent.parts)


def places(check: Callable[[str, str], Iterable[tuple[int, str]]], files: dict[str, str]) -> list[str]:
    """What a check of (source, package) finds, each as file:line: name."""
    return [f"{path}:{line}: {name}" for path, text in files.items() for line, name in check(text, package_of(path))]


@pytest.mark.parametrize("name", RULES)
def test_rule_holds(name: str) -> None:
    rule = RULES[name]
    for part in rule.parts:
        assert sources([part], rule.besides), f"{part} has no files: was it renamed?"
    found = places(lambda text, package: violations(text, package, rule), sources(rule.parts, rule.besides))
    assert not found, f"{name}, but:\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import explain.base", [(1, "explain.base")]),
        ("import numpy\nfrom explain import base", [(2, "explain.base")]),
        ("def f():\n    import cli", [(2, "cli")]),
        ("if TYPE_CHECKING:\n    from cli import app", [(2, "cli.app")]),
        ("import importlib\nimportlib.import_module('cli')", [(2, "cli")]),
        ("from ..explain import base", [(1, "explain.base")]),
        ("from . import explain", []),
        ("import explainable, click\nfrom anomaly import cli_options", []),
    ],
)
def test_planted_import_is_caught(source: str, expected: list[tuple[int, str]]) -> None:
    rule = RULES["anomaly imports neither explain nor cli"]
    package = "anomaly"
    assert violations(source, package, rule) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from ..cohort import split", [(1, "anomaly.cohort.split")]),
        ("from .. import images", [(1, "anomaly.images")]),
        ("from .base import Detector", []),
        ("from anomaly.losses import l1", []),
    ],
)
def test_relative_import_is_caught(source: str, expected: list[tuple[int, str]]) -> None:
    rule = RULES["detectors know no tables and nothing above them"]
    assert violations(source, "anomaly.detectors", rule) == expected


@pytest.mark.parametrize("source", ["open('a')", "with path.open() as f: ...", "Path('a').read_text()"])
def test_planted_call_is_caught(source: str) -> None:
    assert len(violations(source, "anomaly.detectors", RULES["a method does not touch the disk"])) == 1


def normal(name: str) -> str:
    """A distribution's name as indexes compare it, from a requirement such as `Name>=1`."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", name)[0]).lower()


def test_what_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [name for part, names in project["optional-dependencies"].items() if part != "dev" for name in names]
    declared = {normal(name) for name in project["dependencies"] + extras}
    distributions = packages_distributions()
    known = {*sys.stdlib_module_names, "anomaly", "explain"}

    def undeclared(text: str, package: str) -> Iterator[tuple[int, str]]:
        for line, name in imported(ast.parse(text), package):
            top = name.partition(".")[0]
            owners = {normal(owner) for owner in distributions.get(top, [top])}
            if top not in known and owners.isdisjoint(declared):
                yield line, top

    found = places(undeclared, sources(PRODUCT))
    assert not found, "no dependency or extra in pyproject.toml for:\n" + "\n".join(found)


@pytest.mark.parametrize(
    "module",
    [
        *("anomaly.metrics", "anomaly.statistics", "anomaly.images", "anomaly.cohort", "anomaly.evaluation", "cli"),
        *("anomaly.simulation", "explain.association"),
    ],
)
def test_import_does_not_load_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr or f"{module} loads torch"
