"""From a judgement to a folder: the graph, what it differs by from the run, and all that is told beside."""

import hashlib
import importlib.util
import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anomaly.errors import AnomalyError, MissingPackage
from anomaly.exporting.graph import BYTES, OPSET, Refused, model
from anomaly.exporting.judgement import Judgement, shown
from anomaly.exporting.operations import OPERATIONS
from anomaly.exporting.readme import ORDER, in_words, readme, scripts
from anomaly.exporting.recording import recorded
from anomaly.exporting.verifying import TOLERANCE, verified
from anomaly.files import PART, bare, part_of
from anomaly.shown import Readable

MODEL, FACTS, EXAMPLE = "model.onnx", "preprocessing.json", "example.npz"
KILLED = 3600  # seconds after which an unfinished folder is nobody's
EXTRA = "pip install 'anomaly-explain[onnx]'"


@dataclass(frozen=True, repr=False)
class Exported(Readable):
    """What `export` wrote.

    Args:
        folder: with the model and what stands beside it.
        differences: of each result the largest difference from PyTorch, as a share of what `shares_of` says; None
            where onnxruntime is not installed, so that nothing was compared.
        images: what both were shown, in words.
        shares_of: of each result what that share is of, in words.
    """

    folder: Path
    differences: Mapping[str, float] | None
    images: str
    shares_of: Mapping[str, str]

    def _in_short(self) -> tuple[str, dict[str, object]]:
        return f"ONNX model: {self.folder / MODEL}", {"compared": self.told}

    @property
    def told(self) -> str:
        """How far the graph is from the run, in words."""
        if self.differences is None:
            return (
                "NOT VERIFIED: onnxruntime is not installed, so it was not compared with the run; before you use it, "
                f"{EXTRA}, and export again"
            )
        return f"largest difference from PyTorch {in_words(self.differences, self.shares_of)}, over {self.images}"


def refuse_place(out: Path) -> None:
    """Say at once when nothing can be written, or not there.

    Raises:
        MissingPackage: onnx is not installed.
        AnomalyError: something is there already.
    """
    if importlib.util.find_spec("onnx") is None:
        raise MissingPackage(f"an export to ONNX needs the package onnx; {EXTRA}")
    if out.exists() and (not out.is_dir() or not bare(out)):
        raise AnomalyError(f"{out} is there already; remove it, or give another --out")


def written(judged: Judgement, out: Path) -> Exported:
    """Write a judgement as a graph, compare both, and put the folder in its place.

    Raises:
        AnomalyError: it cannot be written as a graph, or the graph says something else; nothing is written then.
    """
    images, told = shown(judged)
    expected = judged.expected(images)
    content = as_graph(judged)
    ran = importlib.util.find_spec("onnxruntime") is not None
    found = verified(content, images, expected, judged.z, judged.least, judged.drawn) if ran else None
    example = {"image": images[-2:], **{name: each[-2:] for name, each in expected.items()}}  # made: of no person
    place(out, content, facts(judged, content, found, told), example)
    return Exported(out, found, told, judged.shares_of)


def as_graph(judged: Judgement) -> bytes:
    """The model as a file holds it.

    Raises:
        AnomalyError: something in it cannot be written as a graph, which is named.
    """
    example = torch.from_numpy(judged.base[None].astype(np.float32))
    try:
        graph, image, results, shapes = recorded(judged.say, example, OPERATIONS)
    except Refused as error:
        raise AnomalyError(
            f"a run of {judged.method} with these settings cannot be exported: {error}; use it with this program, or "
            "train another method for export"
        ) from None
    if graph.bytes > BYTES:
        raise AnomalyError(
            f"the model would have {graph.bytes / 2**30:.1f} GiB, and an ONNX file ends at 2; train with a smaller "
            "--size or fewer members or components"
        )
    weights = judged.weights if isinstance(judged.weights, str) else ", ".join(judged.weights)
    told = {"method": judged.method, "settings": json.dumps(judged.settings), "weights": weights}
    return model(graph, image, results, judged.shape, shapes, told).SerializeToString()


def facts(judged: Judgement, content: bytes, differences: Mapping[str, float] | None, images: str) -> dict[str, Any]:
    """What has to be known beside the graph, for `preprocessing.json`."""
    return {
        "model": MODEL,
        "sha256": hashlib.sha256(content).hexdigest(),
        "verified": differences is not None,
        "opset": OPSET,
        "kind": judged.kind,
        "method": judged.method,
        "settings": judged.settings,
        "weights": judged.weights,
        "input": {"image": ["n", *judged.shape], "type": "float32", "range": [-1, 1]},
        "outputs": dict(judged.outputs),
        "numbers": list(judged.numbers),
        "arrays": list(judged.arrays),
        "preprocessing": asdict(judged.preprocessing),
        "order": ORDER,
        "outside_of_a_mask": -1.0 if judged.masked else None,
        "context_channels": judged.preprocessing.context_channels,
        **judged.facts,
        "compared": {
            "differences": None if differences is None else dict(differences),
            "shares_of": judged.shares_of,
            "images": images,
            "tolerance": TOLERANCE,
        },
    }


def place(out: Path, content: bytes, told: Mapping[str, Any], example: Mapping[str, Any]) -> None:
    """Write all files beside their place, and move them there at once; into an empty folder one by one."""
    out.parent.mkdir(parents=True, exist_ok=True)
    for left in out.parent.glob(f".*.part.{out.name}"):  # of exports that were killed; one that runs takes minutes
        if PART.fullmatch(left.name) and left.is_dir() and abs(time.time() - left.stat().st_mtime) > KILLED:
            shutil.rmtree(left, ignore_errors=True)
    part = part_of(out)
    try:
        part.mkdir()
        (part / MODEL).write_bytes(content)
        (part / FACTS).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        for name, text in scripts().items():
            (part / name).write_text(text, encoding="utf-8")
        (part / "README.md").write_text(readme(told), encoding="utf-8")
        np.savez(part / EXAMPLE, **example)
        if not out.is_dir():
            os.replace(part, out)
            return
        for each in sorted(part.iterdir(), key=lambda each: each.name == FACTS):  # it may hold the lock of a command
            os.replace(each, out / each.name)
    finally:
        shutil.rmtree(part, ignore_errors=True)
