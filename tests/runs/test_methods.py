"""Methods by name and from a user's own file; settings as words become checked values."""

import hashlib
import sys
from pathlib import Path

import pytest
import torch

from anomaly.detectors import DETECTORS, PCA, Autoencoder, Detector
from anomaly.errors import AnomalyError
from anomaly.runs.methods import code_of, create, find
from anomaly.runs.settings import parse_settings
from anomaly.training.machine import Machine

OWN = '''"""Brightest pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from anomaly.detectors import Detector


@dataclass(kw_only=True)
class Brightest(Detector):
    """The brightest pixel."""

    summary: ClassVar[str] = "brightest pixel"
    cite: ClassVar[str] = "none"
    floor: float = -1.0

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        return nn.BatchNorm1d(1)

    def error(self, x: Tensor) -> Tensor:
        return (x - self.floor).amax(1, keepdim=True)


class Other:
    pass
'''


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    return path


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4", 4), ("0.5", 0.5), ("1e-3", 1e-3), ("-2", -2), ("True", True), ("l1", "l1"), ("'4'", "4"), ("", ""),
        (" ssim ", "ssim"), ("a=b", "a=b"), ("1+x", "1+x"), ("__import__('os')", "__import__('os')"),
    ],
)  # fmt: skip
def test_a_setting_is_read_as_python_writes_it(text, value):
    (parsed,) = parse_settings([f"name={text}"]).values()
    assert parsed == value and type(parsed) is type(value)


def test_settings_are_read_by_name_the_last_one_counts():
    assert parse_settings([]) == {}
    assert parse_settings(["latent=4", " objective = l1", "latent=8"]) == {"latent": 8, "objective": "l1"}


@pytest.mark.parametrize("pair", ["latent", "=4", " =4", ""])
def test_what_is_no_setting_is_told(pair):
    with pytest.raises(AnomalyError, match=f"expected name=value, got {pair!r}"):
        parse_settings([pair])


def test_every_method_is_found_by_its_name():
    assert {name: find(name) for name in DETECTORS} == DETECTORS


def test_an_unknown_method_is_told_with_the_nearest():
    with pytest.raises(
        AnomalyError, match=r"'autoencodr' is unknown; did you mean autoencoder\? there are auto, intensity, "
    ):
        find("autoencodr")
    with pytest.raises(AnomalyError, match=r"'zzz' is unknown; there are .*FILE\.py:CLASS"):
        find("zzz")


def test_an_unknown_setting_is_told_with_the_nearest_and_all_there_are():
    with pytest.raises(
        AnomalyError, match=r"pca has no setting 'componets'; did you mean components\? .*components=32"
    ):
        create("pca", {"componets": 3})
    with pytest.raises(AnomalyError, match=r"intensity has no setting 'zzz'; it has none"):
        create("intensity", {"zzz": 3})
    with pytest.raises(AnomalyError, match="no setting 'net_'"):
        create("pca", {"net_": 3})


def test_values_take_the_type_of_their_field():
    detector = create("autoencoder", {"lr": 1, "latent": 8, "value_from": "l1"})
    assert isinstance(detector, Autoencoder)
    assert (detector.lr, type(detector.lr), detector.latent, detector.value_from) == (1.0, float, 8, "l1")
    assert create("pca") == PCA()
    for settings in ({"latent": "four"}, {"latent": 4.5}, {"latent": True}, {"objective": 3}):
        ((name, value),) = settings.items()
        with pytest.raises(AnomalyError, match=rf"autoencoder expects {name} as [a-z ]+, got {value!r}"):
            create("autoencoder", settings)


def test_the_settings_given_are_left_as_they_were():
    given = {"lr": 1}
    create("autoencoder", given)
    assert given == {"lr": 1} and type(given["lr"]) is int


def test_a_method_of_ones_own_is_taken_from_its_file(own, tmp_path):
    method = f"{own}:Brightest"
    detector = create(method, {"floor": -2})
    assert isinstance(detector, Detector) and detector.settings() == {"floor": -2.0}
    assert detector.name == "Brightest", "a class without a name is called as in its file"
    x = torch.rand(3, 1, 4, 4)
    value = detector.fit(x, machine=Machine(device="cpu")).score(x).value
    torch.testing.assert_close(value, x.mean((1, 2, 3)) + 2)
    detector.save(tmp_path / "weights.safetensors")
    loaded = find(method).load(tmp_path / "weights.safetensors")
    assert torch.equal(loaded.score(x).value, value)


def test_the_code_of_ones_own_method_is_recorded(own):
    expected = hashlib.sha256(own.read_bytes()).hexdigest()
    assert code_of(f"{own}:Brightest") == {"path": str(own), "sha256": expected}
    assert code_of("pca") is None
    own.write_text(OWN + "\n")
    assert code_of(f"{own}:Brightest") != {"path": str(own), "sha256": expected}


def test_a_file_that_changed_is_read_anew(own):
    assert create(f"{own}:Brightest").settings() == {"floor": -1.0}
    own.write_text(OWN.replace("floor: float = -1.0", "floor: float = -3.0"))
    assert create(f"{own}:Brightest").settings() == {"floor": -3.0}


@pytest.mark.parametrize("name", ["Absent", "Other", "Tensor", ""])
def test_a_file_without_the_class_is_told(own, name):
    with pytest.raises(AnomalyError, match=rf"mine\.py holds no class '{name}' that is a dataclass and a Detector"):
        find(f"{own}:{name}")


def test_a_file_that_cannot_be_used_is_told(tmp_path):
    with pytest.raises(AnomalyError, match=r"no file .*absent\.py to take the method 'Mine' from"):
        find(f"{tmp_path / 'absent.py'}:Mine")
    (tmp_path / "notes.txt").write_text("Mine")
    with pytest.raises(AnomalyError, match="is not a Python file"):
        find(f"{tmp_path / 'notes.txt'}:Mine")
    modules = set(sys.modules)
    for content, told in (
        ("def:", "SyntaxError"),
        ("import nothing_of_that_name", "ModuleNotFoundError"),
        ("1/0", "Zero"),
    ):
        (tmp_path / "broken.py").write_text(content)
        with pytest.raises(AnomalyError, match=rf"broken\.py cannot be run: {told}"):
            find(f"{tmp_path / 'broken.py'}:Mine")
    assert set(sys.modules) == modules
