import csv
import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import anomaly.demonstration.data
from anomaly.demonstration.data import unpack_chest_xray


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack_chest_xray(tmp_path_factory.mktemp("demo") / "chest_xray")


@pytest.fixture(scope="module")
def cohort(demo: Path) -> list[dict[str, str]]:
    with (demo / "cohort.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_columns_are_those_a_user_would_have(cohort: list[dict[str, str]]) -> None:
    assert list(cohort[0]) == ["id", "path", "subject", "pneumonia", "finding", "split"]
    assert len({row["id"] for row in cohort}) == len(cohort)


def test_counts_are_those_its_readme_states(cohort: list[dict[str, str]]) -> None:
    counts = Counter((row["split"], row["pneumonia"], row["finding"]) for row in cohort)
    assert counts == {
        ("train", "0", "normal"): 450,
        ("test", "0", "normal"): 90,
        ("test", "1", "bacteria"): 97,
        ("test", "1", "virus"): 53,
    }


def test_no_subject_is_on_both_sides(cohort: list[dict[str, str]]) -> None:
    train, test = ({row["subject"] for row in cohort if row["split"] == split} for split in ("train", "test"))
    assert train and test and train.isdisjoint(test)


def test_every_row_has_its_image_and_every_image_its_row(demo: Path, cohort: list[dict[str, str]]) -> None:
    written = {path.relative_to(demo).as_posix() for path in demo.rglob("*.png")}
    assert written == {row["path"] for row in cohort}


@pytest.mark.parametrize(
    ("path", "sha256"),
    [
        ("train/IM-0006_0002.png", "0a748cc85c6ed9609d4db9f5b4311c018d36ee83070bf0a67e92fe79a617785f"),
        (
            "train/NORMAL2-IM-0765_0910.png",
            "fc2d1acb51f9709cf8ac59de9c179cdc2c133e222bcca0ae921f9aa6ddcdd264",
        ),
        ("test/person952_3025.png", "9bd5d6f17b0df8d72097a0cbc0ab813f5e0964f66642469a9104d9bcf12d240e"),
    ],
    ids=["first", "middle", "last"],
)
def test_pixels_are_those_of_the_public_set(demo: Path, path: str, sha256: str) -> None:
    with Image.open(demo / path) as image:
        pixels = np.asarray(image)
    assert (pixels.shape, pixels.dtype) == ((64, 64), np.uint8)
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == sha256


def test_attribution_goes_with_the_images(demo: Path) -> None:
    text = (demo / "README.md").read_text(encoding="utf-8")
    assert "CC BY 4.0" in text and "10.17632/rscbjbr9sj" in text


def test_unpacking_again_changes_nothing(demo: Path) -> None:
    (demo / "own.txt").write_text("kept")
    before = {path: path.read_bytes() for path in demo.rglob("*") if path.is_file()}
    unpack_chest_xray(demo)
    assert {path: path.read_bytes() for path in demo.rglob("*") if path.is_file()} == before


def test_embedded_data_stay_small() -> None:
    folder = Path(anomaly.demonstration.data.__file__).parent
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 3_000_000
