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
RESTORER, TRANSLATOR, FORECASTER, REGISTRAR = "restorer", "translator", "forecaster", "registrar"
SEGMENTER, SYNTHESIZER, PAINTER = "segmenter", "synthesizer", "painter"
MADE_BY = {
    DETECTOR: "train", EXPLAINER: "explain train", CLASSIFIER: "explain classifier", RESTORER: "restore train",
    TRANSLATOR: "translate train", FORECASTER: "progress train", REGISTRAR: "register train",
    SEGMENTER: "segment train", SYNTHESIZER: "synthesize train", PAINTER: "paint train",
}  # fmt: skip
A = {
    DETECTOR: "a detector", EXPLAINER: "an explainer", CLASSIFIER: "a classifier", RESTORER: "a restorer",
    TRANSLATOR: "a translator", FORECASTER: "a forecaster", REGISTRAR: "a registrar",
    SEGMENTER: "a segmenter", SYNTHESIZER: "a synthesizer", PAINTER: "a painter",
}  # fmt: skip
COUNT = "a count"
PLAIN: dict[str, Any] = {
    "method": str, "settings": dict, "preprocessing": dict, "seed": int, "shape": [int], "created": str,
    "machine": {"device": str}, "versions": {"": str}, "files": {"": str},
    "data": {
        "images": COUNT, "subjects": COUNT, "subjects_from": str, "split": {"": COUNT}, "calibration_subjects?": COUNT,
    },
    "kind?": str, "code?": {"path": str, "sha256": str}, "classes?": {"column": str, "names": [str]},
}  # fmt: skip
"""What every `run.json` says, and of what type: COUNT is 0 or more, [int] a list of whole numbers, {"": str} names with
texts; what ends with a question mark may be absent or null."""
CHECKED = {DETECTOR: ("weights.safetensors", "calibration.safetensors", "cohort.csv")}
ALWAYS_CHECKED = ("weights.safetensors", "cohort.csv")
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
    """What `run.json` says, after its own checksum and format were checked, and that it says all it has to.

    Raises:
        RunError: there is none, it was edited or cut short, is of another version, or tells less than a run does.
    """
    path = folder / "run.json"
    if not path.is_file():
        unfinished = (folder / "checkpoint").is_dir()
        hint = "its training is unfinished; go on with --resume" if unfinished else "give a folder made by train"
        raise RunError(f"{folder} holds no run.json: {hint}")
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        checksum, form = facts.pop("checksum", None), facts.get("format")
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise RunError(f"{path} is not readable ({error}); copy the run again, or train again") from error
    if form != FORMAT:
        raise RunError(f"{path} has format {form}, this version reads {FORMAT}; use the version that wrote it")
    if checksum != _checksum(facts):
        raise RunError(f"{path} was edited after training; restore it, or train again with the settings you want")
    wrong = [name.rstrip("?") for name, form in PLAIN.items() if not _is(facts, {name: form})]
    if wrong or kind_of(facts) not in MADE_BY:
        raise RunError(
            f"{path} does not tell {', '.join(wrong) or 'kind'} as a run does; copy the run again, or train again"
        )
    return facts


def kind_of(facts: Mapping[str, Any]) -> str:
    """Whether a run is a detector, an explainer or a classifier."""
    return str(facts.get("kind") or DETECTOR)


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


def opened(folder: Path, kind: str) -> dict[str, Any]:
    """What `run.json` of a run of this kind says, every file checked against it.

    Raises:
        RunError: no run there, one of another kind, or a damaged one.
    """
    facts = read_facts(folder)
    expect(folder, facts, kind)
    verify(folder, facts)
    return facts


def verify(folder: Path, facts: Mapping[str, Any]) -> None:
    """Check every file against what `run.json` recorded.

    Raises:
        RunError: one is missing or was changed.
    """
    kept = CHECKED.get(kind_of(facts), ALWAYS_CHECKED)
    unchecked = [name for name in kept if name not in facts["files"]]
    if unchecked:
        raise RunError(f"{folder / 'run.json'} has no checksum of {unchecked[0]}; copy the run again, or train again")
    moving = (folder / "longer" / "run.json").is_file()
    for file, expected in facts["files"].items():
        path = folder / file
        if moving and (not path.is_file() or sha256_of(path) != expected):
            raise RunError(f"{folder} is half replaced by a longer training; end that by its command with --resume")
        if not path.is_file():
            raise RunError(f"{folder} lacks {file}; copy the whole run folder, or train again")
        if sha256_of(path) != expected:
            raise RunError(f"{path} was changed or cut short after training; copy it again, or train again")


def _is(value: Any, form: Any) -> bool:
    """Whether a value of JSON has a form, as `PLAIN` writes them."""
    if form == COUNT:
        return _is(value, int) and value >= 0
    if isinstance(form, list):
        return isinstance(value, list) and all(_is(each, form[0]) for each in value)
    if isinstance(form, type):
        return isinstance(value, form) and not isinstance(value, bool)
    if "" in form:
        return isinstance(value, dict) and all(_is(each, form[""]) for each in value.values())
    if not isinstance(value, dict):
        return False
    told = {name: value.get(name.rstrip("?")) for name in form}
    return all(_is(told[name], each) or (name[-1] == "?" and told[name] is None) for name, each in form.items())


def _checksum(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version  # slow to import, and only asked when a run is written

    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
