"""Methods by name: look one up, check its settings, or take a user's own class from a file."""

import importlib.util
import inspect
import sys
from collections.abc import Mapping
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any, TypeVar

from anomaly.detectors import DETECTORS, Detector
from anomaly.errors import AnomalyError, RunError
from anomaly.files import sha256_of
from anomaly.runs.settings import checked, known

Method = TypeVar("Method")


def find(method: str) -> type[Detector]:
    """The class of a detector: one of `DETECTORS` by name, or a user's own as `FILE.py:CLASS`.

    Raises:
        AnomalyError: no such method; or the file or the class in it cannot be used.
    """
    return find_among(DETECTORS, Detector, method)  # type: ignore[type-abstract]


def find_among(methods: Mapping[str, type[Method]], base: type[Method], method: str) -> type[Method]:
    """The same among other methods, where a user's own must be a `base`."""
    if ":" in method:
        return _own(method, base)
    return known(methods, method)


def create(method: str, settings: Mapping[str, Any] | None = None) -> Detector:
    """A detector by the name of its method, with settings checked against its fields."""
    return make(find(method), settings)


def make(cls: type[Method], settings: Mapping[str, Any] | None = None) -> Method:
    """An object of a method's class, with settings checked against its fields."""
    return cls(**checked(cls, settings or {}))


class _FromSource(SourceFileLoader):
    """Runs the file as it is, never compiled code kept from an earlier one of the same size and second."""

    def get_code(self, fullname: str) -> CodeType:
        """Compile the file."""
        return self.source_to_code(self.get_data(self.path), self.path)


def _own(method: str, base: type[Method]) -> type[Method]:
    place, _, name = method.rpartition(":")
    path = Path(place)
    if not path.is_file():
        raise AnomalyError(f"no file {path} to take the method {name!r} from; give --method FILE.py:CLASS")
    if path.suffix != ".py":
        raise AnomalyError(f"{path} is not a Python file; give --method FILE.py:CLASS")
    full_name = f"anomaly_own_{sha256_of(path)[:12]}"
    spec = importlib.util.spec_from_file_location(full_name, path, loader=_FromSource(full_name, str(path)))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look up annotations that are strings
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[spec.name]
        raise AnomalyError(f"{path} cannot be run: {type(error).__name__}: {error}") from error
    cls = getattr(module, name, None)
    if not (inspect.isclass(cls) and issubclass(cls, base) and "__dataclass_fields__" in vars(cls)):
        raise AnomalyError(f"{path} holds no class {name!r} that is a dataclass and a {base.__name__}")
    if "name" not in vars(cls):  # one inherited would let files of both be mixed up
        cls.name = name  # type: ignore[attr-defined]
    return cls


def code_of(method: str) -> dict[str, str] | None:
    """Path and SHA-256 of the file a user's own method comes from; None for the methods that ship."""
    if ":" not in method:
        return None
    path = Path(method.rpartition(":")[0])
    if not path.is_file():
        raise AnomalyError(f"no file {path} to take the method from; give --method FILE.py:CLASS")
    return {"path": str(path), "sha256": sha256_of(path)}


def method_of(facts: Mapping[str, Any], method: str | None, folder: Path) -> str:
    """The method of a run: its name, or for a user's own the file that is given again, once it is the same one.

    Raises:
        RunError: it was trained with a user's own method, which was not given, or has changed since.
    """
    code = facts.get("code")
    if code is None:
        if ":" in facts["method"]:  # a name of a file, which would be run
            raise RunError(f"{folder} names the method {facts['method']!r}, which is none of this program; train again")
        return str(facts["method"])
    if method is None:
        raise RunError(
            f"{folder} was trained with a method of your own, {code['path']}; "
            "give it again with --method FILE.py:CLASS, since a run never loads code by itself"
        )
    given = code_of(method)
    if given is None or given["sha256"] != code["sha256"]:
        raise RunError(f"{method} is not the file that {folder} was trained with (sha256 {code['sha256'][:12]}...)")
    return method
