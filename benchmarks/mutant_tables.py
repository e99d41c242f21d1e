"""Cohorts in the dialects that people's programs write, and runs trained in a moment, to be damaged."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from anomaly import Preprocessing, learn
from anomaly.images.pictures import write_grey
from benchmarks.mutant_seeds import Seed

HEADER = ("path", "subject", "age", "sex", "bmi", "outcome", "note")
KIND, PACKED = "cohort, CSV in seven dialects", ("bytes", "gzip text", "gzip text")
METHODS: dict[str, dict[str, Any]] = {
    "mean-image": {},
    "vae": {"latent": 2, "width": 2, "hidden": 8, "steps": 2, "batch": 8},
}


def cohorts() -> list[Seed]:
    """The same table with other separators, quotes, letters and line ends."""
    rows = [(f"{k}.png", f"00{k // 2}", 50.5 + k, "FM"[k % 2], 22 + k, k % 3 == 0, "ja, öfter") for k in range(8)]
    forms = {
        "commas": _written(rows, ",", '"'),
        "semicolons": _written([[str(cell).replace(".5", ",5") for cell in row] for row in rows], ";", ""),
        "tabs": _written(rows, "\t", "", "\r\n"),
        "sep": "sep=;\r\n" + _written(rows, ";", ""),
        "R": _written([(k + 1, *row) for k, row in enumerate(rows)], " ", '"'),
    }
    texts = {f"{name}.csv": text.encode() for name, text in forms.items()}
    texts |= {"wide.csv": forms["tabs"].encode("utf-16"), "windows.csv": forms["semicolons"].encode("cp1252")}
    packed = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in texts.items()}
    images = {f"{k}.png": b"" for k in range(8)}
    plain = Seed(KIND, {**texts, **images}, tuple(texts), "*", "table", ("text", "text", "text", "bytes"))
    return [plain, plain, plain, replace(plain, files={**packed, **images}, targets=tuple(packed), changes=PACKED)]


def _written(rows: Any, separator: str, quote: str, end: str = "\n") -> str:
    lines = [HEADER, *rows]
    return end.join(separator.join(f"{quote}{cell}{quote}" for cell in line) for line in lines) + end


def runs() -> list[Seed]:
    """Trained runs, damaged as they lie there, and with checksums that were made to match."""
    seeds = []
    for method, settings in METHODS.items():
        files = _trained(method, settings)
        tensors = ("bytes", "safetensors header", "safetensors header", "safetensors values")
        seeds.append(Seed("run, any file", files, tuple(files), "", "run", ("bytes",)))
        for kind, name, changes in (
            ("run, run.json", "run.json", ("JSON", "JSON", "JSON", "text")),
            ("run, weights", "weights.safetensors", tensors),
            ("run, calibration", "calibration.safetensors", tensors),
            ("run, cohort.csv", "cohort.csv", ("text", "bytes")),
        ):
            seeds.append(Seed(f"{kind}, sums made to match", files, (name,), "", "run, mended", changes))
    return seeds


def _trained(method: str, settings: dict[str, Any]) -> dict[str, bytes]:
    """The files that a run needs, of a training on noise."""
    rng = np.random.default_rng(3)
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as place:
        normals, out = Path(place) / "normals", Path(place) / "run"
        normals.mkdir()
        for k in range(20):
            write_grey(normals / f"n{k:02d}.png", rng.integers(0, 255, (12, 12)).astype(np.uint8))
        learn(normals, out, method=method, settings=settings, preprocessing=Preprocessing(size=12), calibrate=0.2)
        files = {name: (out / name).read_bytes() for name in ("run.json", "cohort.csv")}
        files |= {one.name: one.read_bytes() for one in sorted(out.glob("*.safetensors"))}
    logging.disable(logging.NOTSET)
    facts = {**json.loads(files["run.json"]), "created": "2026-01-01T00:00:00+00:00"}
    cohort = files["cohort.csv"].decode().replace(place, "place").encode()
    return matched({**files, "cohort.csv": cohort, "run.json": json.dumps(facts).encode()})


def matched(files: dict[str, bytes]) -> dict[str, bytes]:
    """The same run with the sums in `run.json` that its files have, where it is still JSON that holds some."""
    try:
        facts = json.loads(files["run.json"])
        for name in facts["files"]:
            if name in files and isinstance(facts["files"][name], str) and len(facts["files"][name]) == 64:
                facts["files"][name] = hashlib.sha256(files[name]).hexdigest()
    except (ValueError, KeyError, TypeError, RecursionError):
        facts = None
    return files if facts is None else {**files, "run.json": _signed(files["run.json"], facts)}


def _signed(content: bytes, facts: dict[str, Any]) -> bytes:
    if not isinstance(facts, dict):
        return content
    facts.pop("checksum", None)
    return json.dumps(
        {**facts, "checksum": hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()}
    ).encode()
