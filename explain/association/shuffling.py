"""What shufflings give, computed at once or by shards: the largest statistic of each, in files that are joined."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from anomaly.errors import EvaluationError
from anomaly.files import write_whole
from anomaly.statistics.permutation import Plan

STEM, MAXIMA = "shufflings", "maxima"
_PART = re.compile(STEM + r"-(\d+)-of-(\d+)\.safetensors")
AGAIN = "remove these files, or choose another --out"


def fingerprint(maps: np.ndarray, mask: np.ndarray, plan: Plan, asked: Mapping[str, Any]) -> str:
    """SHA-256 of all that shufflings depend on: maps (n, V), mask (*space), the model, and what is asked of it."""
    digest = hashlib.sha256(json.dumps([*sorted(asked.items()), maps.shape, mask.shape]).encode())
    partner = np.empty(0) if plan.partner is None else plan.partner
    for array in (maps, mask, plan.kept, partner, plan.levels, plan.blocks, plan.tested, plan.basis):
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def keep_part(folder: Path, shard: tuple[int, int], maxima: np.ndarray, of: str) -> Path:
    """Write the maxima (statistics, shufflings) of a shard; `of` is the fingerprint of what was shuffled."""
    width = len(str(shard[1]))
    path = folder / f"{STEM}-{shard[0]:0{width}d}-of-{shard[1]}.safetensors"
    write_whole(path, save({MAXIMA: np.ascontiguousarray(maxima)}, metadata={"of": of}))
    return path


def parts(folder: Path) -> list[Path]:
    """The files of shards in a folder, in order; none where nothing was shared out.

    Raises:
        EvaluationError: some are missing, or they are of several sharings.
    """
    found = {path: match for path in folder.glob(f"{STEM}-*") if (match := _PART.fullmatch(path.name))}
    if not found:
        return []
    totals = {int(match[2]) for match in found.values()}
    if len(totals) > 1:
        raise EvaluationError(
            f"{folder} holds shufflings of {' and of '.join(map(str, sorted(totals)))} shards; {AGAIN}"
        )
    there = {int(match[1]) for match in found.values()}
    absent = [str(each) for each in range(1, max(totals) + 1) if each not in there]
    if absent:
        raise EvaluationError(
            f"{folder} lacks the shufflings of {len(absent)} of {max(totals)} shards ({', '.join(absent[:10])}); "
            f"run these, or {AGAIN}"
        )
    return sorted(found, key=lambda path: int(found[path][1]))


def joined(files: list[Path], of: str, permutations: int) -> np.ndarray:
    """The maxima (statistics, shufflings) of all shards; their order does not matter to any p.

    Raises:
        EvaluationError: a file cannot be read, or holds shufflings of other maps or of other settings.
    """
    found = []
    for path in files:
        try:
            with safe_open(path, framework="numpy") as stored:
                told = (stored.metadata() or {}).get("of")
                found.append(stored.get_tensor(MAXIMA))
        except (SafetensorError, OSError) as error:
            raise EvaluationError(f"{path} cannot be read ({error}); run its shard again") from error
        if told != of:
            raise EvaluationError(f"{path} holds shufflings of other maps, people or settings; {AGAIN}")
    maxima = np.concatenate(found, axis=1)
    if maxima.shape[1] != permutations:
        raise EvaluationError(f"{files[0].parent} holds {maxima.shape[1]} shufflings, expected {permutations}; {AGAIN}")
    return maxima
