"""Volumes, whole and slice by slice, however their axes lie: what is painted lies where the mask says."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch

from anomaly.images.preprocessing import Preprocessing
from anomaly.painters.lesions import Holes, LesionPainter
from explain.painting.cohort import Lesions
from explain.painting.learning import learn_painter
from explain.painting.painting import crops, paint_image
from explain.painting.putting_in import paint_in
from explain.painting.taking_out import paint_out

SPACE = (12, 14, 10)
TURNED = np.array([[0, -2.0, 0, 5], [0, 0, 3.0, 1], [-1.0, 0, 0, 2], [0, 0, 0, 1]])
"""Axes that lie otherwise than those a network sees."""
TINY: dict[str, Any] = dict(steps=3, width=4, levels=2, critic_width=4, halved=1, batch=4, window=8)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Volumes of int16 with a slope, half of them with a lesion."""
    home = tmp_path_factory.mktemp("volumes")
    rows = []
    for k in range(16):
        rng = np.random.default_rng(k)
        values = rng.integers(300, 400, SPACE).astype(np.int16)
        mask = np.zeros(SPACE, dtype=np.uint8)
        a, b, c = rng.integers(0, [8, 10, 6])
        mask[a : a + 3, b : b + 2, c : c + 4] = 1
        values[mask > 0] += 200
        file = nib.Nifti1Image(values, TURNED)
        file.header.set_slope_inter(0.5, -100)
        nib.save(file, home / f"v{k}.nii.gz")
        nib.save(nib.Nifti1Image(mask, TURNED), home / f"m{k}.nii.gz")
        rows.append({"path": f"v{k}.nii.gz", "subject": f"s{k}", "ill": k % 2, "mask": f"m{k}.nii.gz" if k % 2 else ""})
    pd.DataFrame(rows).assign(kind="cyst").to_csv(home / "all.csv", index=False)
    return home / "all.csv"


def stored(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj.get_unscaled())


@pytest.mark.parametrize("dims", [2, 3])
def test_volumes_change_in_their_mask_alone(dims: int, table: Path, tmp_path: Path) -> None:
    preprocessing = Preprocessing(dims=dims, intensity="window", window=(0, 250))
    run = learn_painter(
        table, tmp_path / "run", Lesions(given="mask", column="kind"), settings=TINY, preprocessing=preprocessing
    )  # fmt: skip
    assert run.window == (8,) * dims
    asked: dict[str, Any] = dict(allow_overlap=True)
    done = paint_out(run.folder, table, "mask", tmp_path / "out", **asked)
    rows = pd.read_csv(done.path)
    assert len(rows) == 8
    for row in rows.to_dict("records"):
        source = Path(row["path"])
        mask = stored(source.parent / source.name.replace("v", "m")) > 0
        twin = tmp_path / f"out/images/{row['id']}_painted-out.nii.gz"
        before, after = stored(source), stored(twin)
        assert after.dtype == np.int16
        assert np.array_equal(before != after, mask)  # what was bright is darker everywhere in it
        assert np.array_equal(nib.load(twin).affine, TURNED)
        map_ = np.asarray(nib.load(tmp_path / f"out/maps/{row['id']}_map.nii.gz").dataobj)
        change = (before.astype(float) - after) * 0.5 / 125  # of a window of 250, a range of 2
        assert np.abs(map_ - change).max() < 0.5 / 125
    made = paint_in(run.folder, table, "cyst", tmp_path / "in", where={"ill": "0"}, **asked)
    for row in pd.read_csv(made.path).to_dict("records"):
        mask = stored(tmp_path / "in" / row["mask"]) > 0
        changed = stored(tmp_path / "in" / row["path"]) != stored(Path(row["drawn_from"]))
        assert mask.sum() == row["pixels"] == (24 if dims == 3 else row["pixels"])
        assert changed.any()
        assert not changed[~mask].any()


def test_crops_hold_a_margin_and_lie_within_the_image() -> None:
    hole = np.zeros((40, 30), dtype=bool)
    hole[0:3, 27:30] = True  # in a corner
    ((box, here),) = crops(hole, (16, 16))
    assert box == (slice(0, 16), slice(14, 30))
    assert here.sum() == 9
    hole[:] = False
    hole[10:30, 5:10] = True  # larger than a window: with a quarter of one on each side
    ((box, _),) = crops(hole, (16, 16))
    assert box == (slice(6, 34), slice(0, 16))


def test_a_part_does_not_see_the_other_parts_of_its_hole() -> None:
    class Remembers(LesionPainter):
        def paint(self, holes: Holes, *given: Any, **further: Any) -> torch.Tensor:
            seen.append(int(holes.hole.sum()))
            return torch.zeros_like(holes.x)[None]

    seen = list[int]()
    painter = Remembers()
    painter.shape_ = (1, 16, 16)
    places = np.zeros((1, 60, 60), dtype=np.uint8)
    places[0, 2:5, 2:5] = places[0, 2:5, 10:12] = places[0, 50:55, 50:55] = 1
    x = np.ones((1, 1, 60, 60), dtype=np.float32)
    painted = paint_image(painter, x, places, 0, np.zeros_like(places), "a")[0]
    assert seen == [9 + 6, 6, 25]
    assert np.array_equal(painted[:, 0] == 0, places > 0)


def test_parts_that_lie_far_apart_are_painted_one_after_another() -> None:
    hole = np.zeros((100, 100), dtype=bool)
    hole[2:5, 2:5] = hole[90:95, 90:95] = True
    found = crops(hole, (16, 16))
    assert [int(here.sum()) for _, here in found] == [9, 25]
    whole = np.zeros_like(hole)
    for box, here in found:
        whole[box] |= here
    assert np.array_equal(whole, hole)
