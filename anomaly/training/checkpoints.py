"""Checkpoints that are whole or absent, are checked before use, and run no code when loaded."""

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from anomaly.errors import RunError
from anomaly.files import naming, sha256_of, whole, write_whole

KEPT = 2
FACTS = "anomaly"
END = "end"
"""Beside the numbered checkpoints, the one after the last step, before averages or best weights took their place."""


@dataclass
class Checkpoint:
    """All that a training needs to go on exactly where it stood.

    `weights` maps names to tensors (network, averages, best so far); `state` holds what optimisers and random
    generators gave; `facts` is plain JSON: stage, step, stages done.
    """

    weights: dict[str, Tensor]
    state: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any] | None = None) -> None:
    """Write named tensors as safetensors, whole or not at all; shared storage is written out for each name.

    All facts are one entry of the file's header, with sorted keys: the library writes several entries in an order that
    changes from process to process, and equal trainings are to leave equal bytes.
    """
    told = {FACTS: json.dumps(facts, sort_keys=True)} if facts else None
    with whole(path) as part:
        save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, part, told)


def facts_of(path: Path) -> dict[str, Any]:
    """The facts that `save_tensors` wrote, also by an earlier version, which gave each an entry of its own."""
    with safe_open(path, framework="pt") as stream:
        told = stream.metadata() or {}
    if FACTS in told:
        facts: dict[str, Any] = json.loads(told[FACTS])
        return facts
    return {name: text if name == "method" else json.loads(text) for name, text in told.items()}


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint as `folder/<number>/`, and drop all but the newest two.

    The folder is filled under another name and renamed when it is complete.
    """
    numbers = [int(path.name) for path in _complete(folder)]
    target = save_as(folder / f"{max(numbers, default=0) + 1:06d}", checkpoint)
    for old in _complete(folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def save_as(target: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint as a folder, whole or not at all, in the place of one that is there."""
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        save_tensors(part / "weights.safetensors", checkpoint.weights)
        with naming(target):
            torch.save(_alone(checkpoint.state), part / "state.pt")
        sums = {name: sha256_of(part / name) for name in ("weights.safetensors", "state.pt")}
        write_whole(part / "checkpoint.json", json.dumps({**checkpoint.facts, "sha256": sums}, indent=1))
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)  # where a disk is full, room matters
        raise
    shutil.rmtree(target, ignore_errors=True)
    part.replace(target)
    return target


def newest(folder: Path, device: torch.device | str = "cpu") -> Checkpoint | None:
    """The newest undamaged checkpoint of a folder, or None where there is none at all.

    Raises:
        RunError: there are checkpoints and every one is damaged.
    """
    damaged = []
    for path in reversed(_complete(folder)):
        try:
            facts = json.loads((path / "checkpoint.json").read_text())
            for name, expected in facts.pop("sha256").items():
                if sha256_of(path / name) != expected:
                    raise RunError(f"{path / name} does not match its checksum")
            state = torch.load(path / "state.pt", map_location=device, weights_only=True)
            return Checkpoint(load_file(path / "weights.safetensors", device=str(device)), state, facts)
        except Exception as error:  # whatever a damaged file makes the readers raise
            damaged.append(f"{path.name}: {error}")
    if damaged:
        raise RunError(f"no checkpoint in {folder} can be used ({'; '.join(damaged)}); train again without --resume")
    return None


def _alone(state: Any) -> Any:
    """The same with no text or container in two places unless it is equal text: equal states become equal bytes."""
    if isinstance(state, dict):
        return {_alone(name): _alone(value) for name, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(_alone(value) for value in state)
    return sys.intern(state) if type(state) is str else state


def _complete(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("[0-9]*") if path.is_dir()) if folder.is_dir() else []
