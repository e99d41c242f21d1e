"""What methods say of themselves, read from their source without running it, so that torch is not imported for it.

A method is a dataclass: its settings, their defaults, what they may be and what they mean stand in its source as plain
values. `Sources` rebuilds these classes without their methods and without what they import from elsewhere. They are
real dataclasses, so the checks of `runs.settings` and `training.limits` hold for them as for the methods themselves;
what a method checks beyond that it still checks when it is made.
"""

import ast
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from anomaly.training.limits import Limited

ROOT = Path(__file__).parents[2]
OURS = ("anomaly", "explain")


class Unknown:
    """Stands for a value that only running the source would tell."""


UNKNOWN = Unknown()


@dataclasses.dataclass(frozen=True)
class Function:
    """A function by what its source says: its docstring, and the defaults of what it takes, `UNKNOWN` for none."""

    doc: str
    takes: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Elsewhere:
    """A name that a module takes from another one of this project, looked up when it is needed."""

    module: str
    name: str


@dataclasses.dataclass(frozen=True)
class Module:
    """A module that another one takes names from."""

    sources: "Sources"
    module: str

    def __getattr__(self, name: str) -> Any:
        return self.sources.find(self.module, name)


class Sources:
    """The names of modules, by their source: constants as they are, classes and functions as far as they say."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self._modules: dict[str, dict[str, Any]] = {}

    def find(self, module: str, name: str) -> Any:
        """What a name at the top of a module of this project stands for; `UNKNOWN` where the source does not tell."""
        if (module, name) == (Limited.__module__, Limited.__name__):
            return Limited
        found = self._names(module).get(name, UNKNOWN)
        if found is UNKNOWN and self._place(f"{module}.{name}").is_file():
            return Module(self, f"{module}.{name}")
        if isinstance(found, Elsewhere):
            return self.find(found.module, found.name)
        if isinstance(found, ast.AST):  # read only now: most names of a module are never asked for
            found = self._modules[module][name] = self._made(found, module)
        return found

    def _names(self, module: str) -> dict[str, Any]:
        if module not in self._modules:
            path = self._place(module)
            source = path.read_text(encoding="utf-8") if path.is_file() else ""
            self._modules[module] = {name: told for node in ast.parse(source).body for name, told in _names_of(node)}
        return self._modules[module]

    def _place(self, module: str) -> Path:
        folder = self._root / Path(*module.split("."))
        return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")

    def _made(self, node: ast.AST, module: str) -> Any:
        """What a definition at the top of a module says."""
        if isinstance(node, ast.ClassDef):
            return self._class(node, module)
        if isinstance(node, ast.FunctionDef):
            return self._function(node, module)
        return self._value(node, module)

    def _class(self, node: ast.ClassDef, module: str) -> Any:
        bases = tuple(base for each in node.bases if isinstance(base := self._value(each, module), type))
        body: dict[str, Any] = {"__doc__": ast.get_docstring(node), "__annotations__": {}, "__module__": __name__}
        for each in node.body:
            if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
                told = ast.unparse(each.annotation)
                value = UNKNOWN if each.value is None else self._value(each.value, module, body)
                body["__annotations__"][each.target.id] = ClassVar[Any] if told.startswith("ClassVar") else told
                if each.target.id == "choices" and isinstance(value, dict):  # what cannot be told is not checked here
                    value = {name: known for name, known in value.items() if known is not UNKNOWN}
                if value is not UNKNOWN:
                    body[each.target.id] = value
        made = type(node.name, bases, body)
        decorated = any("dataclass" in ast.unparse(each) for each in node.decorator_list)
        return dataclasses.dataclass(kw_only=True)(made) if decorated else made

    def _function(self, node: ast.FunctionDef, module: str) -> Function:
        """Its docstring and what it takes by name, in order."""
        plain = [*node.args.posonlyargs, *node.args.args]
        defaults: list[ast.expr | None] = [None] * (len(plain) - len(node.args.defaults))
        pairs = [*zip(plain, [*defaults, *node.args.defaults], strict=True)]
        pairs += zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
        takes = {each.arg: UNKNOWN if default is None else self._value(default, module) for each, default in pairs}
        return Function(ast.get_docstring(node) or "", takes)

    def _value(self, node: ast.AST, module: str, nearer: Mapping[str, Any] = MappingProxyType({})) -> Any:
        """The value of an expression that is made of plain values and known names; `UNKNOWN` for any other."""
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return nearer[name] if name in nearer else self.find(module, name)
            case ast.Attribute(value=owner, attr=name):
                return getattr(self._value(owner, module, nearer), name, UNKNOWN)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return -value
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                return tuple(self._parts(parts, module, nearer))
            case ast.Dict(keys=keys, values=values):
                return dict(self._pairs(keys, values, module, nearer))
            case ast.DictComp(
                key=ast.Attribute(value=ast.Name(id=owner), attr=attr),
                value=ast.Name(id=made),
                generators=[ast.comprehension(target=ast.Name(id=each), iter=several, ifs=[])],
            ) if owner == made == each:  # a register: {cls.name: cls for cls in CLASSES}
                classes = self._value(several, module, nearer)
                return UNKNOWN if classes is UNKNOWN else {getattr(cls, attr): cls for cls in classes}
            case ast.Subscript(value=owner, slice=ast.Constant(value=index)) if isinstance(index, int):
                several = self._value(owner, module, nearer)
                return several[index] if isinstance(several, tuple) else UNKNOWN
            case ast.Call(func=func, keywords=given) if ast.unparse(func).endswith("field"):
                told = {each.arg: self._value(each.value, module, nearer) for each in given if each.arg}
                return dataclasses.field(**{name: value for name, value in told.items() if value is not UNKNOWN})
        return UNKNOWN

    def _pairs(
        self, keys: list[ast.expr | None], values: list[ast.expr], module: str, nearer: Mapping[str, Any]
    ) -> Iterator[tuple[Any, Any]]:
        for key, each in zip(keys, values, strict=True):
            value = self._value(each, module, nearer)
            if key is not None:
                yield self._value(key, module, nearer), value
            elif isinstance(value, Mapping):
                yield from value.items()

    def _parts(self, parts: list[ast.expr], module: str, nearer: Mapping[str, Any]) -> Iterator[Any]:
        for part in parts:
            if not isinstance(part, ast.Starred):
                yield self._value(part, module, nearer)
            elif (several := self._value(part.value, module, nearer)) is not UNKNOWN:
                yield from several


def _names_of(node: ast.stmt) -> Iterator[tuple[str, Any]]:
    """The names that a statement at the top of a module gives, each with the syntax that says what it is."""
    match node:
        case ast.ImportFrom(module=str(module), names=names) if module.split(".")[0] in OURS:
            yield from ((alias.asname or alias.name, Elsewhere(module, alias.name)) for alias in names)
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
            yield name, node
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            yield name, value
        case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
            pairs = zip(targets, values, strict=True)
            yield from ((target.id, value) for target, value in pairs if isinstance(target, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            yield name, value
