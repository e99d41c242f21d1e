"""A run for programs that know nothing of this one: an ONNX graph, how images are prepared, what values mean."""

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
from anomaly.exporting.judging import judgement
from anomaly.exporting.operations import OPERATIONS
from anomaly.exporting.readme import ORDER, SCRIPT, readme
from anomaly.exporting.recording import recorded
from anomaly.exporting.verifying import TOLERANCE, shown, verified
from anomaly.files import PART, bare, part_of
from anomaly.runs.run import Run
from anomaly.shown import Readable
from anomaly.training.batches import chunks

MODEL, FACTS, EXAMPLE = "model.onnx", "preprocessing.json", "example.npz"
KILLED = 3600  # seconds after which an unfinished folder is nobody's
EXTRA = "pip install 'anomaly-explain[onnx]'"


@dataclass(frozen=True, repr=False)
class Exported(Readable):
    """What `export` wrote.

    Args:
        folder: with the model and what stands beside it.
        differences: of each result the largest difference from PyTorch, as a share of the largest of the same
            image; None where onnxruntime is not installed, so that nothing was compared.
        images: what both were shown, in words.
    """

    folder: Path
    differences: Mapping[str, float] | None
    images: str

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
        worst = max(self.differences.values())
        return f"largest difference from PyTorch {worst:.1e} of an image's largest, over {self.images}"


def export(run: Path | str, out: Path | str | None = None, *, method: str | None = None) -> Exported:
    """Write a run as an ONNX model, with all that is needed to use it without this program.

    The model takes prepared images (n, C, *space), float32 in [-1, 1], as many as are given, and says of each `value`,
    `map` (both as the detector gives them) and `map_z` (in standard deviations of held-out normals). Beside it lie how
    images are prepared and what a value means (`preprocessing.json`), made images with what is expected of them
    (`example.npz`; no person's), and a script that uses it (`score.py`).

    Args:
        run: folder of a trained detector.
        out: folder to make; None takes `onnx` within the run.
        method: FILE.py:CLASS again, for a user's own method.

    Raises:
        MissingPackage: onnx is not installed.
        AnomalyError: the method cannot be written as a graph (it takes a gradient or draws random numbers when it
            scores), or the graph says something else than the run; nothing is written then. Or the folder is there.
        RunError: the run cannot be used.
    """
    if importlib.util.find_spec("onnx") is None:
        raise MissingPackage(f"an export to ONNX needs the package onnx; {EXTRA}")
    folder = Path(run)
    out = folder / "onnx" if out is None else Path(out)
    if out.exists() and (not out.is_dir() or not bare(out)):
        raise AnomalyError(f"{out} is there already; remove it, or give another --out")
    opened = Run.open(folder, method=method)
    images, told = shown(opened)
    expected = _expected(opened, images)
    content = _written(opened)
    ran = importlib.util.find_spec("onnxruntime") is not None
    found = verified(content, images, expected, opened.calibration.z) if ran else None
    example = {"image": images[-2:], **{name: each[-2:] for name, each in expected.items()}}  # made: of no person
    _placed(out, content, facts(opened, found, told), example)
    return Exported(out, found, told)


def _expected(run: Run, images: np.ndarray) -> dict[str, np.ndarray]:
    """What the run says of images, in PyTorch."""
    scores = [run.detector.score(x) for x in chunks(images, run.detector.device)]
    values, z = torch.cat([each.value for each in scores]).numpy(), run.judge(images)
    if not np.array_equal(values, z.value.numpy(), equal_nan=True):
        raise AnomalyError(
            f"a run of {run.detector.name} with these settings cannot be exported: it says something else of the same "
            "images each time (it draws random numbers at test time); score with it here"
        )
    return {
        "value": values,
        "map": torch.cat([each.map for each in scores]).numpy(),
        "map_z": z.map.numpy(),
    }


def _written(run: Run) -> bytes:
    """The model as a file holds it."""
    shape, name = run.detector.shape_, run.detector.name
    example = torch.from_numpy(run.calibration.mean_image[None].astype(np.float32))
    try:
        graph, image, results = recorded(judgement(run), example, OPERATIONS)
    except Refused as error:
        raise AnomalyError(
            f"a run of {name} with these settings cannot be exported: {error}; score with it here, or train another "
            "method for export"
        ) from None
    if graph.bytes > BYTES:
        raise AnomalyError(
            f"the model would have {graph.bytes / 2**30:.1f} GiB, and an ONNX file ends at 2; train with a smaller "
            "--size or fewer members or components"
        )
    told = {"method": name, "settings": json.dumps(run.detector.settings()), "weights": run.identity}
    return model(graph, image, results, shape, told).SerializeToString()


def facts(run: Run, differences: Mapping[str, float] | None, images: str) -> dict[str, Any]:
    """What has to be known beside the graph, for `preprocessing.json`."""
    told = run.calibration
    return {
        "model": MODEL,
        "verified": differences is not None,
        "opset": OPSET,
        "method": run.detector.name,
        "settings": run.detector.settings(),
        "weights": run.identity,
        "input": {"image": ["n", *run.detector.shape_], "type": "float32", "range": [-1, 1]},
        "outputs": {
            "value": "how far each image departs from normal (n,)",
            "map": "how far each pixel does, in the detector's own unit (n, 1, *space)",
            "map_z": "the same in standard deviations of held-out normals at each pixel (n, 1, *space)",
        },
        "preprocessing": asdict(run.preprocessing),
        "order": ORDER,
        "outside_of_a_mask": -1.0 if run.detector.masked_ else None,
        "context_channels": run.preprocessing.context_channels,
        "calibration": {
            "values": [float(each) for each in told.values],
            "weights": [float(each) for each in told.weights],
            "people": told.people,
            "map_limits": None if told.map_limits is None else [float(each) for each in told.map_limits],
        },
        "compared": {
            "differences": None if differences is None else dict(differences),
            "images": images,
            "tolerance": TOLERANCE,
        },
    }


def _placed(out: Path, content: bytes, told: Mapping[str, Any], example: Mapping[str, Any]) -> None:
    """Write all files beside their place, and move them there at once; into an empty folder one by one."""
    out.parent.mkdir(parents=True, exist_ok=True)
    for left in out.parent.glob(f".*.part.{out.name}"):  # of exports that were killed; one that runs takes minutes
        if PART.fullmatch(left.name) and left.is_dir() and time.time() - left.stat().st_mtime > KILLED:
            shutil.rmtree(left, ignore_errors=True)
    part = part_of(out)
    try:
        part.mkdir()
        (part / MODEL).write_bytes(content)
        (part / FACTS).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        (part / "score.py").write_bytes(SCRIPT.read_bytes())
        (part / "README.md").write_text(readme(told), encoding="utf-8")
        np.savez(part / EXAMPLE, **example)
        if not out.is_dir():
            os.replace(part, out)
            return
        for each in sorted(part.iterdir(), key=lambda each: each.name == FACTS):  # it may hold the lock of a command
            os.replace(each, out / each.name)
    finally:
        shutil.rmtree(part, ignore_errors=True)
