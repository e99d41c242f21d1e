"""Small folders of images, runs trained on them in a moment, and the program called as a user calls it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import PIL.Image
import pydicom
import pytest
from pydicom.data import get_testdata_file
from scipy import ndimage
from tiny import CPU

import cli
from anomaly.images.preprocessing import Preprocessing
from anomaly.runs.learning import learn
from anomaly.runs.run import Run

ROOT = Path(__file__).parents[1]
SIDE = 12
FLAT = Preprocessing(size=SIDE)
SOLID = Preprocessing(dims=3, size=8, fit="resize", orientation="keep")
AE = {"steps": 5, "width": 2, "hidden": 8, "latent": 2, "batch": 8}


def values(space: tuple[int, ...], seed: int) -> np.ndarray:
    """An image of 8 bits that shares a pattern with all others of its size."""
    pattern = np.random.default_rng(99).normal(size=space)
    own = np.random.default_rng(seed).normal(size=space)
    smooth = ndimage.gaussian_filter(pattern, 2) * 2 + ndimage.gaussian_filter(own, 1) / 2
    return np.clip(128 + 100 * smooth, 0, 255).astype(np.uint8)


def pictures(folder: Path, count: int, *, name: str = "n", first: int = 0, side: int = SIDE) -> Path:
    """A folder of PNG files n000.png, n001.png, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(first, first + count):
        PIL.Image.fromarray(values((side, side), seed=1000 * ord(name[0]) + i)).save(folder / f"{name}{i:03d}.png")
    return folder


def volumes(folder: Path, count: int, *, name: str = "v", space: tuple[int, ...] = (8, 8, 8)) -> Path:
    """A folder of NIfTI files."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        file = nib.Nifti1Image(values(space, seed=1000 * ord(name[0]) + i), np.eye(4))
        nib.save(file, folder / f"{name}{i:03d}.nii.gz")
    return folder


def broken(folder: Path) -> set[str]:
    """Put one of each kind of file that cannot be used into a folder; their ids."""
    whole = volumes(folder / "whole", 1) / "v000.nii.gz"
    (folder / "cut.nii.gz").write_bytes(whole.read_bytes()[:200])
    whole.unlink()
    (folder / "text.nii.gz").write_text("not an image")
    (folder / "empty.png").write_bytes(b"")
    np.save(folder / "nan.npy", np.full((SIDE, SIDE), np.nan, dtype=np.float32))
    PIL.Image.fromarray(np.full((SIDE, SIDE), 7, dtype=np.uint8)).save(folder / "constant.png")
    for i in range(4):
        data = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
        data.SeriesInstanceUID = f"1.2.{i // 2}"
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{i}"
        data.ImagePositionPatient = [0, 0, i]
        (folder / "mixed").mkdir(exist_ok=True)
        data.save_as(folder / "mixed" / f"{i}.dcm")
    return {"cut", "text", "empty", "nan", "constant", "mixed"}


def trained(normals: Path, out: Path, method: str = "mean-image", **options: Any) -> Run:
    """A run on the CPU, prepared as small pictures unless told otherwise."""
    return learn(normals, out, method=method, **{"preprocessing": FLAT, "machine": CPU, "workers": 1, **options})


def table(path: Path) -> pd.DataFrame:
    """A table of scores with ids as text, in the order of ids."""
    return (
        pd.read_csv(path, dtype={"id": str, "subject": str}, keep_default_na=False)
        .sort_values("id")
        .reset_index(drop=True)
    )


def start(*arguments: object, **options: Any) -> "subprocess.Popen[str]":
    """`anomaly ARGUMENTS` as a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "cli.py"), *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **options,
    )  # fmt: skip


def call(*arguments: object) -> tuple[int, str, str]:
    """Exit code, output and errors of `anomaly ARGUMENTS`."""
    process = start(*arguments)
    out, errors = process.communicate(timeout=120)
    return process.returncode, out, errors


def calling(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """A function that calls the program in this process, from a folder: exit code, output and errors."""
    monkeypatch.chdir(home)

    def ran(words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["anomaly", *words.split()])
        with pytest.raises(SystemExit) as ended:
            cli.app()
        return ended.value.code or 0, *capsys.readouterr()

    return ran
