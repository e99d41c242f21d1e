"""What detectors say of prepared images, in a form that can be written down: without ways that depend on the image."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from anomaly.detectors.densities import Memory
from anomaly.errors import AnomalyError, RunError
from anomaly.exporting.graph import Refused
from anomaly.exporting.judgement import Judgement, Said
from anomaly.nets.onnx_network import Network
from anomaly.runs.facts import DETECTOR
from anomaly.runs.run import Run
from anomaly.scoring.ensemble import Ensemble
from anomaly.training.batches import chunks

MAP_Z = "the same in standard deviations of held-out normals at each pixel (n, 1, *space)"


class Everywhere(nn.Module):
    """A memory that is asked of all cells, and not of those alone that count, whose number differs from image to image.

    Args:
        memory: of the cells of normals.
    """

    def __init__(self, memory: Memory) -> None:
        super().__init__()
        self.memory = memory

    def forward(self, features: Tensor, counted: Tensor | None = None) -> Tensor:
        """Distances (N, 1, *cells); 0 of cells that do not count. What neighbours say is as within masks."""
        if counted is None:
            return self.memory(features)
        found = self.memory.everywhere(features, counted)
        return torch.where(counted, found, torch.zeros_like(found))


def saying(run: Run) -> Callable[[Tensor], Said]:
    """What a run says of prepared images (N, C, *space), by name: "value" (N,), "map" and "map_z" (N, 1, *space).

    The run's memories are exchanged for such as can be written down; its numbers stay as they are.

    Raises:
        Refused: it looks through a network that is an ONNX file itself.
    """
    detector, told = run.detector, run.calibration
    if any(isinstance(each, Network) for each in detector.net_.modules()):
        raise Refused("it looks through an ONNX network of its own (network=onnx), which only onnxruntime runs")
    for module in list(detector.net_.modules()):
        for name, child in module.named_children():
            if isinstance(child, Memory) and not isinstance(module, Everywhere):
                module.add_module(name, Everywhere(child))
    mean, sd = torch.from_numpy(told.map_mean), torch.from_numpy(told.map_sd)

    def say(x: Tensor) -> Said:
        score, inside = detector.judge(x), detector.within(x)
        kept = score.map if inside is None else score.map * inside
        z = (kept - mean) / sd
        return {"value": score.value, "map": kept, "map_z": z if inside is None else z * inside}

    return say


def expected(run: Run, images: np.ndarray) -> dict[str, np.ndarray]:
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


def of_detector(run: Run) -> Judgement:
    """The judgement of one detector."""
    told, normals = run.calibration, run.normals
    say: list[Callable[[Tensor], Said]] = []

    def once(x: Tensor) -> Said:  # the run is changed for it, so only when it was asked what is expected
        if not say:
            say.append(saying(run))
        return say[0](x)

    return Judgement(
        kind=DETECTOR, method=run.detector.name, settings=run.detector.settings(), weights=run.identity,
        preprocessing=run.preprocessing, shape=tuple(run.detector.shape_), masked=run.detector.masked_,
        say=once, expected=lambda images: expected(run, images),
        outputs={
            "value": "how far each image departs from normal (n,)",
            "map": "how far each pixel does, in the detector's own unit (n, 1, *space)",
            "map_z": MAP_Z,
        },
        numbers=("value",), arrays=("map_z",), held_out=normals[normals["split"] == "calibrate"].to_dict("records"),
        held_out_are="held-out normals", base=told.mean_image, z={"value": told.z},
        facts={"calibration": {**_calibration(run), "values": _plain(told.values)}},
    )  # fmt: skip


def of_detectors(runs: Sequence[Run]) -> Judgement:
    """The judgement of several detectors as one, as `score` takes them: their maps averaged, their values as they are.

    Raises:
        RunError: runs that cannot judge together, or that take other images.
    """
    Ensemble(runs)
    first, parts = of_detector(runs[0]), [of_detector(run) for run in runs]
    for run in runs[1:]:
        if (run.preprocessing, run.detector.shape_) != (runs[0].preprocessing, runs[0].detector.shape_):
            raise RunError(
                f"{run.folder} and {runs[0].folder} take images that are prepared otherwise, and a model takes images "
                "once: export each by itself, or train both with the same options"
            )
    values = tuple(f"value_{k}" for k in range(1, len(runs) + 1))

    def joined(said: Sequence[Mapping[str, Any]], mean: Callable[[list[Any]], Any]) -> dict[str, Any]:
        own = {name: each["value"] for name, each in zip(values, said, strict=True)}
        return {**own, "map_z": mean([each["map_z"] for each in said])}

    told = {**_calibration(runs[0]), "values": [_plain(run.calibration.values) for run in runs], "map_limits": None}
    limits = Ensemble(runs).map_limits
    told["map_limits"] = None if limits is None else list(limits.values())
    return replace(
        first, kind=SEVERAL, method=", ".join(run.detector.name for run in runs),
        settings=[run.detector.settings() for run in runs], weights=[run.identity for run in runs],
        say=lambda x: joined([each.say(x) for each in parts], lambda maps: sum(maps[1:], maps[0]) / len(maps)),
        expected=lambda images: joined([each.expected(images) for each in parts], lambda maps: np.mean(maps, axis=0)),
        outputs={
            **{name: f"how far each image departs from normal by run {k} (n,)" for k, name in enumerate(values, 1)},
            "map_z": "how far each pixel does, in standard deviations of held-out normals at each pixel, the mean of "
            "all runs (n, 1, *space)",
        },
        numbers=values, z={name: run.calibration.z for name, run in zip(values, runs, strict=True)},
        facts={"calibration": told},
    )  # fmt: skip


SEVERAL = "detectors"


def _calibration(run: Run) -> dict[str, Any]:
    told = run.calibration
    return {
        "weights": _plain(told.weights),
        "people": told.people,
        "unit": _unit(run),
        "map_limits": None if told.map_limits is None else _plain(told.map_limits),
    }


def _unit(run: Run) -> str:
    """What a value of a held-out normal is of: an "image", a "volume" (the mean over its slices), or "either"."""
    normals = run.normals
    several = normals.loc[normals["split"] == "calibrate", "slices"].astype(int) > 1
    return "volume" if several.all() else "either" if several.any() else "image"


def _plain(values: np.ndarray) -> list[float]:
    return [float(each) for each in values]
