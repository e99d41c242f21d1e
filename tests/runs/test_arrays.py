"""A notebook: a run opened, and whatever is at hand scored as its file would be, or refused by name."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import torch
from studies import SOLID, pictures, trained, volumes

import anomaly
from anomaly.errors import AnomalyError, CohortError
from anomaly.images import read
from anomaly.runs.run import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("normals")
    return trained(pictures(folder / "normals", 20), folder / "run")


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return sorted(pictures(tmp_path_factory.mktemp("others"), 3, name="o", side=20).iterdir())


def test_whatever_holds_the_image_is_scored_as_its_file(run: Run, others: list[Path], tmp_path: Path) -> None:
    scored = anomaly.score(run, others, tmp_path, heatmaps=("none",), device="cpu", workers=1)
    table = pd.read_csv(scored.path)
    arrays = [np.asarray(PIL.Image.open(path)) for path in others]
    batch = np.stack(arrays)[:, None]
    given: list[Any] = [others, arrays, batch, torch.from_numpy(batch), [PIL.Image.open(path) for path in others]]
    for each in given:
        found = run.score(each)
        for name in ("value", "z", "p_value"):
            np.testing.assert_allclose(getattr(found, name), table[name], rtol=1e-5, err_msg=str(type(each)))
        assert [map.shape for map in found.maps] == [(20, 20)] * 3
    assert run.score(str(others[1])).value == pytest.approx(table["value"][1:2].to_numpy())
    colours = np.repeat(arrays[0][..., None], 3, axis=-1)
    np.testing.assert_allclose(run.score(colours).value, table["value"][:1], rtol=1e-4)
    prepared = run.preprocessing.apply(read(others[0]))
    np.testing.assert_allclose(run.score(arrays[0]).maps[0], prepared.restore(run.judge(prepared.pixels).map.numpy()))
    assert repr(run.score(others)).startswith("ImageScores: 3 images\nvalue")


def test_a_volume_is_scored_as_its_file(tmp_path: Path) -> None:
    whole = trained(volumes(tmp_path / "normals", 20), tmp_path / "run", preprocessing=SOLID)
    file = next(volumes(tmp_path / "others", 1, name="o", space=(8, 10, 9)).iterdir())
    volume = read(file)
    np.testing.assert_allclose(whole.score(volume.pixels[0], affine=volume.affine).value, whole.score(file).value)
    assert whole.score(volume.pixels[0]).maps[0].shape == (8, 10, 9)


def test_a_run_of_masked_images_takes_a_mask_beside(tmp_path: Path) -> None:
    inside = np.zeros((12, 12), np.uint8)
    inside[2:11, 3:10] = 255
    for part, count in (("normals", 20), ("others", 2)):
        for file in pictures(tmp_path / part, count, name=part[0]).iterdir():
            (tmp_path / f"{part}_masks").mkdir(exist_ok=True)
            PIL.Image.fromarray(inside).save(tmp_path / f"{part}_masks" / file.name)
    run = trained(tmp_path / "normals", tmp_path / "run", mask=tmp_path / "normals_masks")
    given = {"mask": tmp_path / "others_masks", "heatmaps": ("none",), "device": "cpu", "workers": 1}
    table = pd.read_csv(anomaly.score(run, tmp_path / "others", tmp_path / "out", **given).path)
    files = sorted((tmp_path / "others").iterdir())
    for mask in ([inside, inside > 0], sorted((tmp_path / "others_masks").iterdir())):
        found = run.score(files, mask=mask)
        np.testing.assert_allclose(found.value, table["value"], rtol=1e-5)
        assert not found.maps[0][inside == 0].any()
    with pytest.raises(AnomalyError, match="got 1 masks for 2 images"):
        run.score(files, mask=inside)
    with pytest.raises(AnomalyError, match="has no mask"):
        run.score(files)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros((5, 12, 12), np.uint8), r"an array \(5, 12, 12\), which may be a batch, channels or a volume"),
        (np.zeros((5, 12, 12, 3), np.uint8), r"channels seem to come last; give numpy.moveaxis\(x, -1, 1\)"),
        (np.zeros((0, 1, 12, 12)), "without a value"),
        (np.full((12, 12), np.nan), "NaN or infinite"),
        (pd.DataFrame({"path": ["a.png"]}), r"got a table; score what it lists by anomaly.score"),
        ([], "an empty list"),
        ({"a": 1}, "got dict; expected a file, an array"),
        ("nowhere.png", "nowhere.png: no such file"),
        (".", "is a folder; score it by anomaly.score"),
    ],
)
def test_what_could_mean_several_things_is_refused_by_name(run: Run, given: Any, said: str) -> None:
    with pytest.raises(AnomalyError, match=said):
        run.score(given)


def test_values_that_are_not_prepared_are_refused(run: Run) -> None:
    with pytest.raises(AnomalyError, match=r"go from 0 to 255; expected prepared images, in \[-1, 1\].* run.score"):
        run.judge(np.linspace(0, 255, 144, dtype=np.float32).reshape(1, 1, 12, 12))
    with pytest.raises(AnomalyError, match="go from nan to nan"):
        run.judge(torch.full((1, 1, 12, 12), torch.nan))


@pytest.mark.parametrize(("images", "said"), [(np.zeros((2, 1, 9, 9)), "ndarray for images"), ([], "an empty list")])
def test_what_lists_no_files_is_refused(run: Run, images: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=said):
        anomaly.score(run, images, tmp_path, device="cpu")
