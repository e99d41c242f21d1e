"""A run of every method as an ONNX graph: what it says under onnxruntime is what the run says."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import CASES as OF_ALL
from tiny import CPU, TINY, normals, with_lesion

from anomaly.detectors import DETECTORS, Detector
from anomaly.exporting.graph import Refused, model
from anomaly.exporting.judging import saying
from anomaly.exporting.operations import OPERATIONS
from anomaly.exporting.recording import recorded
from anomaly.exporting.verifying import TOLERANCE, differences, session
from anomaly.images.preprocessing import Preprocessing
from anomaly.runs.calibration import Calibration
from anomaly.runs.methods import create
from anomaly.runs.run import Run

CASES = {
    **OF_ALL,
    "auto": ("auto", {"members": ""}),  # the members that it takes by default
    "diffusion": ("diffusion", {"inference_steps": 2}),
}
GRADIENT = ("vae, combined", "vae, gradient")
OTHERS = (
    "pca, mahalanobis",
    "texture, memory",
    "gradients, place",
    "restoration, mask",
    "diffusion, simplex, in one step",
)
"""Beside the settings of each method: what takes another way through its graph."""
SOLID = ("mean-image", "nearby", "autoencoder", "restoration", "diffusion")
MASKED = ("auto", "texture", "texture, memory", "nearby", "mean-image", "autoencoder")
SHORT = {"steps": 2, "encoder_steps": 2}
SMALL = {"2D": (1, 18, 20), "3D": (1, 8, 8, 8)}


def masks(images: torch.Tensor) -> torch.Tensor:
    """Images whose first columns lie outside a mask, of each another number."""
    images = images.clamp_min(-0.95)
    for k, image in enumerate(images):
        image[..., : 2 + k % 3] = -1
    return images


def run_of(case: str, shape: tuple[int, ...], masked: bool = False) -> tuple[Run, torch.Tensor]:
    """A run that was trained for a moment, and images that are to be judged."""
    name, settings = CASES[case]
    asked = {**TINY[name], **settings}
    asked |= {key: steps for key, steps in SHORT.items() if key in asked}
    images, held_out, x = normals(10, shape, 1), normals(6, shape, 2), with_lesion(normals(3, shape, 3))
    if masked:
        images, held_out, x = masks(images), masks(held_out), masks(x)
    detector: Detector = create(name, asked).fit(images, held_out, machine=CPU, seed=0, masked=masked)
    maps = detector.score(held_out).map.numpy()
    told = Calibration(np.arange(6.0), np.array([*"abcdef"]), maps.mean(0), maps.std(0) + 0.1, images[0].numpy())
    return Run(Path(), {"files": {}}, detector, Preprocessing(dims=len(shape) - 1), told), x


def compared(run: Run, x: torch.Tensor) -> dict[str, float]:
    """How far a run's graph is from the run, of each result."""
    score, z = run.detector.score(x), run.judge(x).map
    graph, image, results, shapes = recorded(saying(run), x[:1], OPERATIONS)
    ran = session(model(graph, image, results, run.detector.shape_, shapes, {}).SerializeToString())
    found = {}
    for batch in (x, x[:1]):
        given = dict(zip(results, ran.run(list(results), {"image": batch.numpy()}), strict=True))
        expected = {"value": score.value, "map": score.map, "map_z": z}
        for key, each in differences(given, {k: v[: len(batch)].numpy() for k, v in expected.items()}).items():
            found[key] = max(found.get(key, 0), each)
    return found


@pytest.mark.parametrize("case", [*DETECTORS, *OTHERS])
def test_every_method_says_under_onnxruntime_what_it_says_here(case):
    found = compared(*run_of(case, SMALL["2D"]))
    assert max(found.values()) <= TOLERANCE, found


@pytest.mark.parametrize("case", SOLID)
def test_volumes_as_well(case):
    found = compared(*run_of(case, SMALL["3D"]))
    assert max(found.values()) <= TOLERANCE, found


@pytest.mark.parametrize("case", MASKED)
def test_masks_are_kept(case):
    found = compared(*run_of(case, SMALL["2D"], masked=True))
    assert max(found.values()) <= TOLERANCE, found


@pytest.mark.parametrize("case", GRADIENT)
def test_what_takes_a_gradient_at_test_time_says_so(case):
    with pytest.raises(Refused, match="takes a gradient at test time"):
        compared(*run_of(case, SMALL["2D"]))


def test_a_number_of_patches_that_masks_decide_is_refused():
    with pytest.raises(Refused, match="depends on the image"):
        compared(*run_of("irregularity", SMALL["2D"], masked=True))
