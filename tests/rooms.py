"""The house: which rooms there are, on which floor each lies, and what each imports, read from the syntax tree.

An import counts wherever it stands: at the top, in a function, under TYPE_CHECKING, in a stub, by
import_module("..."). What is taken from a front door (`from anomaly import learn`) counts as taken from where the door
leads. The test of layers holds the program to this; the design page draws it.
"""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = ("anomaly", "explain", "cli")

# Each floor with its rooms, a room being a folder or a file. A room imports what lies below it, or itself; never its
# own floor, never upwards. The two front doors (`anomaly`, `explain`: their __init__.py) name what they open as text.
FLOORS = (
    (
        *("anomaly", "anomaly.errors", "anomaly.files", "anomaly.levels", "anomaly.progress", "anomaly.shown"),
        *("anomaly.streams", "explain"),
    ),
    (
        *("anomaly.degradations", "anomaly.images", "anomaly.training", "anomaly.nets", "anomaly.statistics"),
        "explain.base",
    ),
    (
        *("anomaly.changes", "anomaly.classical", "anomaly.clusters", "anomaly.cohorts", "anomaly.detectors"),
        "anomaly.evolution",
        *("anomaly.painters", "anomaly.pictures", "anomaly.registrars", "anomaly.translators"),
        *("explain.attributions", "explain.classifier", "explain.measures", "explain.trained"),
    ),
    (
        *("anomaly.runs", "anomaly.evaluation", "anomaly.reporting", "anomaly.segmenters", "anomaly.simulation"),
        *("explain.association", "explain.counterfactuals", "explain.latent", "explain.pictures", "explain.sides"),
    ),
    (
        *("anomaly.scoring", "anomaly.generation", "anomaly.commandline", "anomaly.restorers"),
        *("explain.runs", "explain.evaluating"),
    ),
    (
        *(
            "anomaly.checkup",
            "anomaly.demonstration",
            "anomaly.exporting",
            "anomaly.longitudinal",
            "anomaly.progression",
            "anomaly.registration",
        ),
        *("anomaly.restoration", "anomaly.segmentation", "anomaly.translation", "explain.checking"),
    ),
    ("anomaly.commands", "anomaly.synthesis", "explain.commands", "explain.exporting", "explain.painting"),
    ("cli",),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS, start=1) for room in rooms}
CORRIDOR = {room for room in FLOORS[0] if room.startswith("anomaly.")}  # these know one another
DOORS = ("anomaly", "explain")
HIDDEN = "what only running it would tell"
LOADERS = ("import_module", "__import__", "load", "attach")


def _table(door: str, table: str) -> dict[str, str]:
    """A table of names and the modules they lie in, as a front door writes it."""
    tree = ast.parse((ROOT / door / "__init__.py").read_text(encoding="utf-8"))
    (found,) = (
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == table
    )
    pairs = zip(found.keys, found.values, strict=True)  # type: ignore[attr-defined]
    return {key.value: each.value for key, each in pairs if key is not None}


@cache
def doors() -> dict[str, tuple[str, ...]]:
    """Where each name of the two front doors leads: `anomaly.learn` to anomaly.runs.learning."""
    found: dict[str, tuple[str, ...]] = {}
    for door in DOORS:
        named = {**(_table(door, "_EXPLAINERS") if door == "explain" else {}), **_table(door, "_PLACES")}
        found |= {f"{door}.{name}": (place,) for name, place in named.items()}
    # The table of all explainers opens every one of them.
    found["explain.EXPLAINERS"] = tuple(set(_table("explain", "_EXPLAINERS").values()))
    return found


def imported(tree: ast.AST, package: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import; `from a import b` gives a.b, relative names are made whole.

    A module that is loaded by a name which is no plain text, or taken whole through a front door, is `HIDDEN`.
    """
    loaders = set(LOADERS[:2])
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, f"{alias.name}.{HIDDEN}" if alias.name in DOORS else alias.name
        elif isinstance(node, ast.ImportFrom):
            loaders |= {alias.asname or alias.name for alias in node.names if alias.name in LOADERS[:2]}
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *filter(None, [node.module])])
            for alias in node.names:
                yield from (
                    (node.lineno, name) for name in doors().get(f"{base}.{alias.name}", (f"{base}.{alias.name}",))
                )
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (called(node) in loaders or ast.unparse(node.func) == "lazy_loader.load"):
            name = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
            yield node.lineno, name if isinstance(name, str) and name[:1] != "." else HIDDEN


def called(node: ast.Call) -> str:
    """The last name of what is called: `open` of open(...) and of path.open(...)."""
    return str(getattr(node.func, "id", getattr(node.func, "attr", "")))


def sources(parts: Iterable[str], besides: Iterable[str] = ()) -> dict[str, str]:
    """The text of every file of the parts, stubs among them, by its path from the root."""
    forms = ("{}.py", "{}/**/*.py", "{}/**/*.pyi")
    paths = {path for part in parts for form in forms for path in ROOT.glob(form.format(part))}
    found = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in sorted(paths)}
    return {path: text for path, text in found.items() if path not in set(besides)}


def module_of(path: str) -> str:
    """`anomaly/images/__init__.py` -> anomaly.images."""
    return ".".join(Path(path).with_suffix("").parts).removesuffix(".__init__")


def package_of(path: str) -> str:
    """The package that relative imports of a file start from."""
    return ".".join(Path(path).parent.parts)


def room_of(name: str) -> str:
    """The room that holds a module or one of its names: `anomaly.images.read` lies in anomaly.images; else nothing."""
    parts = name.split(".")
    return next((room for end in (2, 1) if (room := ".".join(parts[:end])) in FLOOR), "")


@cache
def imports() -> dict[str, set[str]]:
    """Which rooms each room imports, itself not counted."""
    found: dict[str, set[str]] = {room: set() for room in FLOOR}
    for path, text in sources(PRODUCT).items():
        here = room_of(module_of(path))
        for _, name in imported(ast.parse(text), package_of(path)):
            if room_of(name) not in ("", here):
                found[here].add(room_of(name))
    return found


def signpost(room: str) -> str:
    """What the first lines of a room's __init__.py say of its place: its floor, what it imports, who imports it."""

    def listed(others: Iterable[str]) -> str:
        package = room.partition(".")[0]
        names = sorted(each.removeprefix(f"{package}.") for each in others if each not in FLOORS[0])
        return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]])) or "nobody else"

    above = (other for other, below in imports().items() if room in below)
    below = listed(imports()[room]).replace("nobody else", "the ground floor alone")
    return f"Floor {FLOOR[room]}: may import what lies below. Imports {below}; imported by {listed(above)}."
