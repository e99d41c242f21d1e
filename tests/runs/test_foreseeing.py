"""What a training would be: the settings filled in, the images found, and not a file written."""

from pathlib import Path

import pytest
from studies import AE, pictures, volumes

import anomaly
from anomaly.errors import AnomalyError, RunError
from anomaly.images.preprocessing import Preprocessing
from anomaly.runs import telling
from anomaly.training.forecast import Forecast
from anomaly.training.machine import Machine

CPU = Machine(device="cpu")


def test_a_dry_run_says_all_and_writes_nothing(tmp_path: Path) -> None:
    normals = volumes(tmp_path / "normals", 6)
    told = anomaly.foresee(
        normals, tmp_path / "run", method="autoencoder", settings={"width": 2, "hidden": 8},
        preprocessing=Preprocessing(dims=3, size=16), machine=CPU,
    )  # fmt: skip
    assert (told.settings["steps"], told.settings["batch"], told.shape) == (400, 4, (1, 16, 16, 16))
    assert sum(told.images.values()) == 6 and told.forecast.seconds > 0 and told.forecast.memory > 0
    assert "400 steps, about" in told.told() and "batch=4" in told.told()
    assert [each.name for each in tmp_path.iterdir()] == ["normals"]
    with pytest.raises(AnomalyError, match="unexpected keyword argument 'setings'"):
        anomaly.foresee(normals, setings={})


def test_a_folder_that_is_taken_is_told(tmp_path: Path) -> None:
    normals, out = pictures(tmp_path / "normals", 6), tmp_path / "run"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="holds no training"):
        anomaly.foresee(normals, out, method="mean-image", machine=CPU)


def test_too_little_memory_is_a_warning_and_far_too_little_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = anomaly.DETECTORS["autoencoder"](**AE)
    monkeypatch.setattr(type(detector), "foresee", lambda *_: Forecast(60, 8 * 2**30, 100))
    for gigabytes, warned in ((20, False), (8, True), (None, False)):
        monkeypatch.setattr(telling, "free", lambda _, g=gigabytes: None if g is None else g * 2**30)
        assert ("would take about 8.0 GB" in telling.tell(detector, None, CPU)[1]) == warned
    monkeypatch.setattr(telling, "free", lambda _: 2 * 2**30)
    with pytest.raises(AnomalyError, match=r"2\.0 GB are free; give a lower --set batch"):
        telling.tell(detector, None, CPU)


def test_slices_with_context_are_learned_and_scored_and_others_refuse_them(tmp_path: Path) -> None:
    normals, others = volumes(tmp_path / "normals", 6), volumes(tmp_path / "others", 2, name="w")
    prepared = Preprocessing(size=12, context=1)
    run = anomaly.learn(normals, tmp_path / "run", method="gradients", preprocessing=prepared, machine=CPU)
    assert run.detector.shape_ == (4, 12, 12) and run.facts["preprocessing"]["context"] == 1
    scored = anomaly.score(tmp_path / "run", others, tmp_path / "scores", heatmaps=("nifti",), device="cpu")
    assert scored.new == 2 and scored.failed == 0
    with pytest.raises(AnomalyError, match="pca makes nothing of context; leave --context out, or take one of: auto"):
        anomaly.foresee(normals, method="pca", preprocessing=prepared, machine=CPU)
    with pytest.raises(RunError, match="was trained with --context"):
        run.refuse_context()
