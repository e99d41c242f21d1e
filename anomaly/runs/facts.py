"""`run.json`: what a run folder says of itself, whose presence says that it is complete, and nothing in it is code."""

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from anomaly.errors import RunError
from anomaly.files import sha256_of, write_whole

FORMAT = 1
DETECTOR, EXPLAINER, CLASSIFIER = "detector", "explainer", "classifier"
MADE_BY = {DETECTOR: "train", EXPLAINER: "explain train", CLASSIFIER: "explain classifier"}
A = {DETECTOR: "a detector", EXPLAINER: "an explainer", CLASSIFIER: "a classifier"}
PACKAGES = ("anomaly-explain", "torch", "numpy", "lightning-fabric")


def write_facts(folder: Path, facts: Mapping[str, Any], *, device: str, checked: Iterable[str]) -> None:
    """Write `run.json`, last of all.

    Args:
        folder: the run folder.
        facts: method, settings, preprocessing, data, seed and whatever else is to be known; plain JSON.
        device: where it was trained.
        checked: files of the folder whose SHA-256 is recorded.
    """
    told: dict[str, Any] = {
        "format": FORMAT,
        **facts,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"device": device, "system": platform.platform(), "python": platform.python_version()},
        "versions": {package: _version(package) for package in PACKAGES},
        "files": {name: sha256_of(folder / name) for name in checked},
    }
    write_whole(folder / "run.json", json.dumps({**told, "checksum": _checksum(told)}, indent=1) + "\n")


def read_facts(folder: Path) -> dict[str, Any]:
    """What `run.json` says, after its own checksum and format were checked."""
    path = folder / "run.json"
    if not path.is_file():
        unfinished = (folder / "checkpoint").is_dir()
        hint = "its training is unfinished; go on with --resume" if unfinished else "give a folder made by train"
        raise RunError(f"{folder} holds no run.json: {hint}")
    try:
        facts: dict[str, Any] = json.loads(path.read_text())
        checksum, form = facts.pop("checksum", None), facts.get("format")
    except (ValueError, AttributeError, TypeError) as error:
        raise RunError(f"{path} is not readable ({error}); copy the run again, or train again") from error
    if form != FORMAT:
        raise RunError(f"{path} has format {form}, this version reads {FORMAT}; use the version that wrote it")
    if checksum != _checksum(facts):
        raise RunError(f"{path} was edited after training; restore it, or train again with the settings you want")
    return facts


def kind_of(facts: Mapping[str, Any]) -> str:
    """Whether a run is a detector, an explainer or a classifier."""
    return str(facts.get("kind", DETECTOR))


def expect(folder: Path, facts: Mapping[str, Any], kind: str) -> None:
    """Say plainly when a run is of another kind.

    Raises:
        RunError: it is.
    """
    if kind_of(facts) != kind:
        raise RunError(
            f"{folder} holds {A[kind_of(facts)]} ({facts['method']}), expected {A[kind]}; "
            f"give a folder made by `anomaly {MADE_BY[kind]}`"
        )


def verify(folder: Path, facts: Mapping[str, Any]) -> None:
    """Check every file against what `run.json` recorded.

    Raises:
        RunError: one is missing or was changed.
    """
    for file, expected in facts["files"].items():
        path = folder / file
        if not path.is_file():
            raise RunError(f"{folder} lacks {file}; copy the whole run folder, or train again")
        if sha256_of(path) != expected:
            raise RunError(f"{path} was changed or cut short after training; copy it again, or train again")


def _checksum(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version  # slow to import, and only asked when a run is written

    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
