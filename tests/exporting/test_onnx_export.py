"""A run as an ONNX model: what it says under onnxruntime is what the run says, or it is refused by name."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import onnxruntime
import pytest
import torch
from studies import AE, FLAT, pictures, values
from tiny import CASES, CPU, TINY, normals, with_lesion

import anomaly
from anomaly.detectors import Detector
from anomaly.errors import AnomalyError
from anomaly.exporting import verifying
from anomaly.exporting.export import export
from anomaly.exporting.graph import model
from anomaly.exporting.judging import judgement
from anomaly.exporting.operations import OPERATIONS
from anomaly.exporting.recording import Refused, recorded
from anomaly.exporting.verifying import TOLERANCE, differences, session
from anomaly.images.preprocessing import Preprocessing
from anomaly.runs.calibration import Calibration
from anomaly.runs.learning import learn
from anomaly.runs.methods import create
from anomaly.runs.run import Run

GRADIENT = ("vae, combined", "vae, gradient")
SHORT = {"steps": 2, "encoder_steps": 2}
SMALL = {"2D": (1, 18, 20), "3D": (1, 10, 12, 9)}


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


def compared(run: Run, x: torch.Tensor) -> tuple[dict[str, float], list[str]]:
    """How far a run's graph is from the run, of each result."""
    score, z = run.detector.score(x), run.judge(x).map
    graph, image, results, reasons = recorded(judgement(run), x[:1], OPERATIONS)
    ran = session(model(graph, image, results, run.detector.shape_, {}).SerializeToString())
    found = {}
    for batch in (x, x[:1]):
        given = dict(zip(results, ran.run(list(results), {"image": batch.numpy()}), strict=True))
        expected = {"value": score.value, "map": score.map, "map_z": z}
        for key, each in differences(given, {k: v[: len(batch)].numpy() for k, v in expected.items()}).items():
            found[key] = max(found.get(key, 0), each)
    return found, reasons


@pytest.mark.parametrize("shape", SMALL)
@pytest.mark.parametrize("case", [case for case in CASES if case not in GRADIENT])
def test_every_method_says_under_onnxruntime_what_it_says_here(case, shape):
    found, _ = compared(*run_of(case, SMALL[shape]))
    assert max(found.values()) <= TOLERANCE, found


@pytest.mark.parametrize("case", ["auto", "texture, memory", "nearby", "autoencoder", "mean-image"])
def test_masks_are_kept(case):
    found, _ = compared(*run_of(case, SMALL["2D"], masked=True))
    assert max(found.values()) <= TOLERANCE, found


@pytest.mark.parametrize("case", GRADIENT)
def test_what_takes_a_gradient_at_test_time_says_so(case):
    found, reasons = compared(*run_of(case, SMALL["2D"]))
    assert found["value"] == np.inf and "takes a gradient at test time" in reasons[0]


def test_a_number_of_patches_that_masks_decide_is_refused():
    with pytest.raises(Refused, match="depends on the image"):
        compared(*run_of("irregularity", SMALL["2D"], masked=True))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run over pictures of 12 pixels."""
    home = tmp_path_factory.mktemp("exported")
    return learn(
        pictures(home / "normals", 24), home / "run", method="autoencoder", settings=AE, preprocessing=FLAT, machine=CPU
    )


@pytest.fixture(scope="module")
def exported(run: Run) -> Path:
    return export(run.folder).folder


def test_what_is_written_can_be_used_with_numpy_and_onnxruntime_alone(run, exported):
    assert exported == run.folder / "onnx"
    names = ["README.md", "example.npz", "model.onnx", "preprocessing.json", "score.py"]
    assert sorted(each.name for each in exported.iterdir()) == names
    told, example = json.loads((exported / "preprocessing.json").read_text()), np.load(exported / "example.npz")
    ran = onnxruntime.InferenceSession(str(exported / "model.onnx"))
    for name in told["outputs"]:
        (found,) = ran.run([name], {"image": example["image"]})
        assert np.abs(found - example[name]).max() <= TOLERANCE * np.abs(example[name]).max()
    assert max(told["compared"]["differences"].values()) <= TOLERANCE
    assert "held-out normals" in told["compared"]["images"] and told["preprocessing"]["size"] == [12, 12]


@pytest.mark.parametrize("space", [(12, 12), (30, 21)])
def test_the_script_beside_it_gives_the_value_and_the_p_of_the_run(run, exported, tmp_path, space):
    import PIL.Image

    PIL.Image.fromarray(values(space, seed=5)).save(tmp_path / "new.png")
    answer = subprocess.run(
        [sys.executable, exported / "score.py", "new.png"], cwd=tmp_path, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    _, value, _, p = answer.stdout.split()
    expected = run.score(tmp_path / "new.png")
    assert float(value) == pytest.approx(expected.value[0], rel=1e-3)
    assert float(p) == pytest.approx(expected.p_value[0], abs=1e-4)
    assert np.load(tmp_path / "map_z.npy").shape == (1, 1, 12, 12)


def test_the_script_turns_and_samples_volumes_as_the_run_does(tmp_path):
    home = tmp_path / "normals"
    home.mkdir()
    for k in range(12):
        nib.save(nib.Nifti1Image(values((9, 8, 11), seed=k), np.diag([-2.0, 1, 1, 1])), home / f"v{k}.nii.gz")
    solid = Preprocessing(dims=3, size=8)
    run = learn(home, tmp_path / "run", method="mean-image", preprocessing=solid, machine=CPU)
    folder = export(run.folder, tmp_path / "model").folder
    answer = subprocess.run(
        [sys.executable, folder / "score.py", home / "v3.nii.gz"], cwd=tmp_path, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    expected = run.score(home / "v3.nii.gz")
    assert float(answer.stdout.split()[1]) == pytest.approx(expected.value[0], rel=1e-3)


def test_a_model_that_says_something_else_is_not_left_behind(run, tmp_path, monkeypatch):
    monkeypatch.setattr(verifying, "TOLERANCE", 1e-12)
    with pytest.raises(AnomalyError, match=r"largest difference of value .*nothing was written"):
        export(run.folder, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_place_that_is_taken_is_kept(run, exported, tmp_path):
    with pytest.raises(AnomalyError, match="is there already"):
        export(run.folder)
    (tmp_path / "empty").mkdir()
    assert export(run.folder, tmp_path / "empty").differences is not None


def test_the_same_run_gives_the_same_bytes(run, exported, tmp_path):
    again = export(run.folder, tmp_path / "again").folder
    for name in ("model.onnx", "preprocessing.json"):
        assert (again / name).read_bytes() == (exported / name).read_bytes()


def test_it_is_a_function_of_the_library():
    assert anomaly.export is export
