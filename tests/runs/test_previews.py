"""The contact sheet and the model card that a training leaves."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from anomaly.detectors import PCA, Detector, Intensity, MeanImage
from anomaly.images.preprocessing import Preprocessing
from anomaly.pictures import heatmaps
from anomaly.runs.calibration import Calibration
from anomaly.runs.previews import generated_sheet, model_card, preview

DATA = {
    "images": 100,
    "subjects": 90,
    "subjects_from": "the column person",
    "calibration_subjects": 29,
    "split": {"train": 60, "choose": 11, "calibrate": 29},
    "fingerprint": "f00d",
    "unreadable": 3,
}


def fitted(detector: Detector, space: tuple[int, ...]) -> tuple[Detector, Calibration, np.ndarray]:
    images = np.random.default_rng(0).uniform(-1, 1, size=(12, 1, *space)).astype(np.float32)
    detector.fit(images)
    maps = detector.score(torch.from_numpy(images)).map.numpy()
    calibration = Calibration(
        np.arange(12.0), np.array(list("abcdefghijkl")), maps.mean(0), maps.std(0) + 0.01, images.mean(0)
    )
    return detector, calibration, images


def drawn(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture).astype(int)


@pytest.mark.parametrize("space", [(16, 16), (8, 8, 8)])
def test_preview_leaves_out_the_row_of_a_method_that_draws_nothing(tmp_path: Path, space: tuple[int, ...]) -> None:
    for detector in (Intensity(), PCA(components=2)):
        detector, calibration, images = fitted(detector, space)
        preview(detector, calibration, images, tmp_path / f"{detector.name}.png")
    two, three = drawn(tmp_path / "intensity.png"), drawn(tmp_path / "pca.png")
    assert len(three) - len(two) == 96 + heatmaps.GAP


@pytest.mark.parametrize(("given", "shown"), [(1, 1), (5, 5), (8, 8), (12, 8)])
def test_preview_shows_up_to_eight(tmp_path: Path, given: int, shown: int) -> None:
    detector, calibration, images = fitted(MeanImage(), (16, 16))
    preview(detector, calibration, images[:given], tmp_path / "preview.png")
    preview(detector, calibration, images[:8], tmp_path / "eight.png")
    narrower = drawn(tmp_path / "eight.png").shape[1] - drawn(tmp_path / "preview.png").shape[1]
    full = (8 - shown) * (96 + heatmaps.GAP)
    assert narrower == min(full, drawn(tmp_path / "eight.png").shape[1] - heatmaps.NARROWEST)


def test_preview_colours_a_planted_departure(tmp_path: Path) -> None:
    detector, calibration, _ = fitted(MeanImage(), (16, 16))
    quiet = np.repeat(calibration.mean_image[None], 4, axis=0)
    planted = quiet.copy()
    planted[:, :, 4:8, 4:8] = 3.0
    preview(detector, calibration, quiet, tmp_path / "quiet.png")
    preview(detector, calibration, planted, tmp_path / "planted.png")

    def colour(name: str) -> int:
        """Pixels with a colour, left of the colour bar."""
        panels = drawn(tmp_path / name)[:, : -heatmaps.BAR - heatmaps.MARGIN - heatmaps.GAP]
        return int((np.ptp(panels, axis=-1) > 20).sum())

    assert colour("quiet.png") == 0
    assert 4 * 24**2 <= colour("planted.png") <= 4 * 30**2  # 4 of 16 pixels in 96, with a rim


def test_slices_of_volumes_are_turned_front_up(tmp_path: Path) -> None:
    detector, calibration, images = fitted(Intensity(), (16, 16))
    turned = np.ascontiguousarray(images.transpose(0, 1, 3, 2)[:, :, ::-1, ::-1])
    back = Calibration(
        calibration.values,
        calibration.subjects,
        np.ascontiguousarray(calibration.map_mean.transpose(0, 2, 1)[:, ::-1, ::-1]),
        np.ascontiguousarray(calibration.map_sd.transpose(0, 2, 1)[:, ::-1, ::-1]),
        calibration.mean_image,
    )
    preview(detector, calibration, images, tmp_path / "slices.png", slices=True)
    preview(detector, back, turned, tmp_path / "pictures.png")
    preview(detector, calibration, images, tmp_path / "as_stored.png")
    assert (drawn(tmp_path / "slices.png") == drawn(tmp_path / "pictures.png")).all()
    assert (drawn(tmp_path / "slices.png") != drawn(tmp_path / "as_stored.png")).any()


def test_model_card_says_what_a_user_must_know() -> None:
    detector, _, _ = fitted(PCA(components=2), (16, 16))
    card = " ".join(model_card(detector, Preprocessing(size=16), DATA, seed=7).split())
    expected = (
        "# Model card: pca", "components: 2", "100 images of 90 subjects", "60 images to train", "(3 more could not",
        "29 images held out to calibrate", "`f00d`", "seed: 7", "size: (16, 16)", "below 0.0333",
        "not a medical device", "Another scanner, site", "exchangeable", "Labels of disease were never used",
        "anomaly score RUN",
        "Jolliffe 2002", "1 x 16 x 16",
    )  # fmt: skip
    assert [words for words in expected if words not in card] == []
    assert "FILE.py:CLASS" not in card


def test_model_card_tells_of_classes_only_where_there_are() -> None:
    detector, _, _ = fitted(PCA(components=2), (16, 16))
    data = {**DATA, "classes": {"sick {0}": 12, "well": 48}}
    card = " ".join(model_card(detector, Preprocessing(), data, seed=7, column="{finding}").split())
    assert "- seed: 7 - classes it learned to draw apart, with images to train on: sick {0} (12), well (48)" in card
    assert "The column `{finding}` told, in training alone, which images" in card
    assert "Labels of disease were never used" not in card
    assert "apart" not in model_card(detector, Preprocessing(), DATA, seed=7)


def test_model_card_of_a_users_own_method_tells_how_to_open_it() -> None:
    class Mine(MeanImage):
        name = "mine"

    detector, _, _ = fitted(Mine(), (16, 16))
    assert "--method FILE.py:CLASS" in model_card(detector, Preprocessing(), DATA, seed=0)


def panels(monkeypatch: pytest.MonkeyPatch, folder: Path, *images: np.ndarray, **options: Any) -> dict[str, np.ndarray]:
    """What the sheet shows in each row, by its label; (panels, rows, columns). Rows without a label are numbered."""
    told: dict[str, np.ndarray] = {}

    def sheet(rows: list[list[np.ndarray]], labels: list[str], **_: Any) -> Image.Image:
        told.update({label or str(i): np.array(row) for i, (label, row) in enumerate(zip(labels, rows, strict=True))})
        return Image.new("L", (8, 8))

    monkeypatch.setattr(heatmaps, "sheet", sheet)
    generated_sheet(folder / "sheet.png", *images, title="", **options)
    return told


def test_the_sheet_shows_new_images_above_real_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = np.linspace(-1, 1, 52, dtype=np.float32)
    new, real = (np.full((len(part), 1, 8, 8), part[:, None, None, None]) for part in (levels[:10], levels[10:]))
    shown = panels(monkeypatch, tmp_path, new, real)
    assert list(shown) == ["new", "1", "real", "3", "4"]
    assert shown["new"][:, 0, 0].tolist() == [5 * i for i in range(8)]
    assert shown["1"][:, 0, 0].tolist() == [40, 45, *[heatmaps.BACKGROUND] * 6]
    assert shown["real"][0, 0, 0] == 50 and shown["4"][-1, 0, 0] == 255  # spread over all


def test_the_sheet_shows_each_class_above_real_images_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = np.linspace(-1, 1, 52, dtype=np.float32)
    new, real = (np.full((len(part), 1, 8, 8), part[:, None, None, None]) for part in (levels[:10], levels[10:]))
    long = "as long as a name can be", "as long as a name may be"
    of, of_real = np.resize(["b", *long], 10), np.array(["b"] * 20 + ["", "c"] + [long[0]] * 20)
    shown = panels(monkeypatch, tmp_path, new, real, classes=of, real_classes=of_real)
    assert list(shown) == [
        "b, new",
        "b, real",
        "as long a...e can be, new",
        "as long a...e can be, real",
        "as long a...e may be, new",
    ]
    assert shown["b, new"][:, 0, 0].tolist() == [0, 15, 30, 45, *[heatmaps.BACKGROUND] * 4]
    assert shown["b, real"][[0, -1], 0, 0].tolist() == [50, 145]  # spread over all of its own
    assert shown["as long a...e can be, real"][[0, -1], 0, 0].tolist() == [160, 255]
    unknown = panels(monkeypatch, tmp_path, new, real, classes=of)
    assert list(unknown)[-1] == "real" and unknown["real"][[0, -1], 0, 0].tolist() == [50, 255]


def test_the_sheet_shows_ten_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = np.zeros((40, 1, 8, 8), dtype=np.float32)
    names = np.array([f"c{k % 20}" for k in range(40)])
    assert list(panels(monkeypatch, tmp_path, new, new[:0], classes=names)) == [f"c{k}, new" for k in range(10)]


def test_the_sheet_shows_volumes_by_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = np.zeros((5, 1, 8, 8, 8), dtype=np.float32)
    names = np.resize(["a", "b"], 5)
    shown = panels(monkeypatch, tmp_path, new, new[:1], affine=np.eye(4), classes=names, real_classes=names[1:2])
    planes = ("axial", "coronal", "sagittal")
    assert list(shown) == [f"{row}, {plane}" for row in ("a, new", "b, new", "b, real") for plane in planes]


@pytest.mark.parametrize("slices", [False, True])
def test_the_sheet_turns_slices_of_volumes_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slices: bool) -> None:
    new = np.random.default_rng(0).uniform(-1, 1, size=(8, 1, 6, 8)).astype(np.float32)
    shown = panels(monkeypatch, tmp_path, new, new[:0], slices=slices)["new"]
    grey = heatmaps.grey(new[3, 0], (-1, 1))
    assert (shown[3] == (grey.T[::-1, ::-1] if slices else grey)).all()


def test_the_sheet_shows_volumes_upright_and_in_proportion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = np.full((1, 1, 8, 8, 4), -1, dtype=np.float32)
    volume[..., 3:] = 1.0  # the end of the third axis; the first quarter of the second is grey
    volume[:, :, :, :2, :3] = 0.0
    for up in (1.0, -1.0):
        affine = np.diag([1.0, 1.0, 2.0 * up, 1.0])  # as high as it is wide
        shown = panels(monkeypatch, tmp_path, volume, volume[:0], affine=affine)
        assert list(shown) == ["new, axial", "new, coronal", "new, sagittal"]
        axial, coronal, sagittal = (row[0] for row in shown.values())
        assert axial.shape == coronal.shape == sagittal.shape == (256, 256)
        assert (axial[:140] == 0).all() and (axial[-15:] == 128).all()  # front up
        head = slice(0, 15) if up > 0 else slice(-15, None)
        feet = slice(-100, None) if up > 0 else slice(0, 100)
        assert (coronal[head] == 255).all() and (coronal[feet] == 0).all()
        assert (sagittal[head] == 255).all()
        assert (sagittal[feet, :140] == 0).all() and (sagittal[feet, -15:] == 128).all()  # front to the left
