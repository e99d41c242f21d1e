"""Which part of the project may know of which: the floors of `rooms`, and what they leave open."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from rooms import (
    CORRIDOR,
    DOORS,
    FLOOR,
    FLOORS,
    HIDDEN,
    PRODUCT,
    ROOT,
    called,
    imported,
    module_of,
    package_of,
    room_of,
    signpost,
    sources,
)

ABOVE_DETECTORS = tuple(
    room for room, floor in FLOOR.items() if floor > FLOOR["anomaly.detectors"] and room.startswith("anomaly")
)
TORCHLESS = (
    *("anomaly/statistics", "anomaly/images", "anomaly/cohorts", "anomaly/pictures", "anomaly/simulation"),
    *("anomaly/evaluation", "anomaly/reporting", "explain/association"),
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
    "nobody imports cli": Rule(
        ("anomaly", "explain", "benchmarks"),
        ("cli",),
        besides=("benchmarks/killed_processes.py",),  # forks the program from a process that has imported it
    ),
    "detectors know no tables, no images and nothing above them": Rule(
        ("anomaly/detectors",),
        (
            *("pandas", "nibabel", "pydicom", "PIL", "anomaly.images", "anomaly.cohorts", "anomaly.pictures"),
            *ABOVE_DETECTORS,
        ),
    ),
    "a method does not touch the disk": Rule(
        ("anomaly/detectors",),
        ("io", "os", "pathlib", "shutil", "tempfile"),
        ("open", "read_bytes", "read_text", "write_bytes", "write_text"),
        besides=("anomaly/detectors/base.py",),  # the base saves and loads for all methods
    ),
    "rooms of numbers, tables and pictures know no torch": Rule(
        TORCHLESS,
        (
            *("torch", "anomaly.training", "anomaly.nets", "anomaly.detectors", "anomaly.runs"),
            *("explain.trained", "explain.classifier", "explain.base"),
        ),
    ),
    "statistics know no files and nothing above them": Rule(
        ("anomaly/statistics",),
        ("anomaly.images", "anomaly.training", "anomaly.nets", "anomaly.files", "pathlib"),
    ),
    "training knows no method, no network and no image": Rule(
        ("anomaly/training",), ("anomaly.images", "anomaly.nets", "anomaly.statistics")
    ),
    "nothing imports packages that would hold torch back": Rule(
        (*PRODUCT, "benchmarks"),
        ("torchvision", "torchmetrics", "timm", "lightning", "pytorch_lightning"),
    ),
    "nothing unpickles": Rule(PRODUCT, ("pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib")),
}


def violations(source: str, package: str, rule: Rule) -> list[tuple[int, str]]:
    """Line and name of what a source in a package has that the rule forbids."""
    tree = ast.parse(source)
    modules = ((line, name) for line, name in imported(tree, package) if within(name, rule.modules))
    calls = ((node.lineno, called(node)) for node in ast.walk(tree) if isinstance(node, ast.Call))
    return sorted([*modules, *((line, f"{name}()") for line, name in calls if name in rule.calls)])


def within(name: str, modules: Iterable[str]) -> bool:
    return any(f"{name}.".startswith(f"{module}.") for module in modules)


def places(check: Callable[[str, str], Iterable[tuple[int, str]]], files: dict[str, str]) -> list[str]:
    """What a check of (source, package) finds, each as file:line: name."""
    return [f"{path}:{line}: {name}" for path, text in files.items() for line, name in check(text, package_of(path))]


def climbs(source: str, path: str) -> list[tuple[int, str]]:
    """Line and name of what a file imports from its own floor or above, without its own room, or out of sight."""
    here = room_of(module_of(path))
    found = []
    for line, name in imported(ast.parse(source), package_of(path)):
        there = room_of(name) if within(name, PRODUCT) else ""
        if HIDDEN in name and here not in DOORS:
            found.append((line, f"{name}: name the module in plain text, or import it from its room"))
        elif there not in ("", here) and not {here, there} <= CORRIDOR and FLOOR[there] >= FLOOR[here]:
            found.append((line, f"{name} ({there}, floor {FLOOR[there]}) from {here}, floor {FLOOR[here]}"))
    return found


def modules() -> dict[str, str]:
    """Path of every module of the product by its dotted name."""
    return {module_of(path): path for path in sources(PRODUCT) if path.endswith(".py")}


def test_every_file_lies_in_a_room_that_the_table_knows() -> None:
    homeless = [path for module, path in modules().items() if not room_of(module)]
    nested = {name: room for name in modules() if (room := room_of(name)) in ("anomaly", "explain") and name != room}
    assert not homeless, homeless
    assert not nested, f"give these a floor in FLOORS: {sorted(nested)}"
    assert set(FLOOR) == {room_of(module) for module in modules()}, "a room of the table is empty"


def test_no_import_runs_up() -> None:
    found = [f"{path}:{line}: {told}" for path, text in sources(PRODUCT).items() for line, told in climbs(text, path)]
    assert not found, "imports that climb:\n" + "\n".join(found)
    assert len(FLOORS) <= 8
    for floor, rooms in reversed(list(enumerate(FLOORS, start=1))):
        print(floor, *rooms)


def test_no_import_runs_in_a_circle() -> None:
    names = modules()
    edges = {
        module: {
            target
            for _, name in imported(ast.parse((ROOT / path).read_text(encoding="utf-8")), package_of(path))
            if (target := name if name in names else name.rpartition(".")[0]) in names and target != module
        }
        for module, path in names.items()
    }
    try:
        order = list(TopologicalSorter(edges).static_order())
    except CycleError as error:
        raise AssertionError("a circle of imports: " + " <- ".join(error.args[1])) from None
    assert len(order) == len(names)


@pytest.mark.parametrize(
    ("path", "source", "line"),
    [
        ("anomaly/images/x.py", "import os\nfrom anomaly.cohorts import tables", 2),
        ("anomaly/cohorts/x.py", "def f():\n    from anomaly.runs.run import Run", 2),
        ("anomaly/images/x.py", "from anomaly import nets", 1),
        ("anomaly/images/__init__.py", "from ..training import loop", 1),
        ("explain/base.py", "from explain.runs.run import LearnedRun", 1),
        ("anomaly/errors.py", "import cli", 1),
        ("anomaly/images/x.py", "from anomaly import score", 1),
        ("anomaly/images/x.py", "import anomaly", 1),
        ("explain/base.py", "from explain import Additive", 1),
        ("explain/sides/x.py", "from explain import EXPLAINERS", 1),
        ("anomaly/images/x.py", "import lazy_loader\nlazy_loader.load('anomaly.runs')", 2),
        ("anomaly/images/x.py", "from importlib import import_module\nimport_module(name='anomaly.runs')", 2),
        ("anomaly/images/x.py", "from importlib import import_module as im\nim('.runs', 'anomaly')", 2),
        ("anomaly/images/__init__.pyi", "from anomaly.runs.run import Run as Run", 1),
    ],
)
def test_a_planted_climb_is_caught(path: str, source: str, line: int) -> None:
    assert {found for found, _ in climbs(source, path)} == {line}


def test_steps_down_and_within_a_room_are_free() -> None:
    source = "from anomaly.images.reading import read\nfrom anomaly.files import whole\nimport numpy\n"
    assert climbs(source, "anomaly/images/x.py") == []
    assert climbs("from anomaly.errors import AnomalyError", "anomaly/streams.py") == []


def test_rooms_say_what_happens_in_them_and_where_they_lie_and_hold_names_alone() -> None:
    for room in FLOOR:
        path = ROOT / Path(*room.split(".")) / "__init__.py"
        if not path.is_file() or room in DOORS:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        said = " ".join((ast.get_docstring(tree) or "").split())
        assert signpost(room) in said, f"{path.relative_to(ROOT)} should say: {signpost(room)}"
        others = [node for node in tree.body[1:] if not isinstance(node, ast.Import | ast.ImportFrom | ast.Assign)]
        assert not others, f"{path}:{others[0].lineno}: something other than names for users"


def test_the_corridors_are_short() -> None:
    assert len(list((ROOT / "anomaly").glob("*.py"))) <= 7
    assert len(list((ROOT / "explain").glob("*.py"))) <= 5


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
        ("from ..cohorts import split", [(1, "anomaly.cohorts.split")]),
        ("from .. import images", [(1, "anomaly.images")]),
        ("from .base import Detector", []),
        ("from anomaly.nets.losses import l1", []),
    ],
)
def test_relative_import_is_caught(source: str, expected: list[tuple[int, str]]) -> None:
    rule = RULES["detectors know no tables, no images and nothing above them"]
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
    # What need not be installed is named here, where its name is not that of its package.
    distributions = {"skimage": ["scikit-image"], **packages_distributions()}
    known = {*sys.stdlib_module_names, "anomaly", "explain", HIDDEN}

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
    [*(path.replace("/", ".") for path in TORCHLESS), "anomaly.commandline.options", "cli"],
)
def test_import_does_not_load_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr or f"{module} loads torch"
