"""The benchmark of registration tells of what it was asked, not of what an earlier call left."""

import argparse
from pathlib import Path

import numpy as np
import pytest

benchmark = pytest.importorskip("benchmarks.registration", reason="benchmarks are not part of this copy")


def test_a_resumed_training_with_other_settings_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "knees.json"
    benchmark.refuse_others(file, {"seed": 0, "settings": {"sides": (1, 2)}}, resume=False)
    benchmark.refuse_others(file, {"seed": 0, "settings": {"sides": (1, 2)}}, resume=True)
    with pytest.raises(SystemExit, match="leave --resume out"):
        benchmark.refuse_others(file, {"seed": 1, "settings": {"sides": (1, 2)}}, resume=True)
    benchmark.refuse_others(file, {"seed": 1}, resume=False)


def test_fewer_images_than_asked_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "knees.npz", learn=np.zeros((4, 8, 8)), test=np.zeros((2, 8, 8)))
    asked = argparse.Namespace(out=tmp_path, pairs=3, xrays=None)
    with pytest.raises(SystemExit, match="holds 2 images to test on, asked 3"):
        benchmark.images("knees", asked)
    asked.pairs = 2
    assert benchmark.images("knees", asked)[1].shape == (2, 1, 8, 8)
