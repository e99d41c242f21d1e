"""Simulated persons seen twice: what grows, by how much, what tells it, and the same bytes for the same seed."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from anomaly.errors import CohortError
from anomaly.images import read
from anomaly.simulation import simulate
from anomaly.simulation.evolving import (
    GROWS,
    OBEYS,
    SHRINKS,
    STAYS,
    Lesion,
    ceiling,
    drawn_person,
    drawn_visits,
    expected_ratio,
)


def test_a_lesion_has_the_volume_of_its_ellipsoid_and_grows_by_its_factor() -> None:
    grid = np.indices((80, 80)).astype(float)
    lesion = Lesion(np.array([40.0, 38.0]), np.array([12.0, 18.0]), "rim", 1.2)
    assert (lesion.distance(grid) < 0).sum() == pytest.approx(np.pi * 12 * 18, rel=0.03)
    assert (lesion.distance(grid, 1.2) < 0).sum() == pytest.approx(1.44 * np.pi * 12 * 18, rel=0.03)


@pytest.mark.parametrize("dims", [2, 3])
def test_expected_growth_is_the_mean_over_many_draws(dims: int) -> None:
    rng = np.random.default_rng(0)
    up, down = (1 + 2 * rng.uniform(*GROWS, 200_000)) ** dims, (1 - 2 * rng.uniform(*SHRINKS, 200_000)) ** dims
    assert expected_ratio("rim", 2, dims) == pytest.approx(OBEYS * up.mean() + (1 - OBEYS) * down.mean(), rel=2e-3)
    assert expected_ratio("faint", 2, dims) == pytest.approx((1 - OBEYS) * up.mean() + OBEYS * down.mean(), rel=2e-3)
    stays = (1 + rng.normal(0, STAYS, 200_000)) ** dims
    assert expected_ratio("plain", 2, dims) == pytest.approx(stays.mean(), abs=1e-3)


def test_maps_say_where_the_masks_are_and_tissue_is_the_same_at_both_visits() -> None:
    visits = drawn_visits(drawn_person("test", 1, dims=2, size=64, seed=0), dims=2, size=64)
    for visit in visits:
        agreed = 2 * ((visit.map > 0.5) & visit.mask).sum() / ((visit.map > 0.5).sum() + visit.mask.sum())
        assert agreed > 0.9 and 0 <= visit.image.min() and visit.image.max() <= 1
    rest = ~(visits[0].map > 0.2) & ~(visits[1].map > 0.2)
    assert np.corrcoef(visits[0].image[rest], visits[1].image[rest])[0, 1] > 0.5


@pytest.mark.parametrize("dims", [2, 3])
def test_the_folder_tells_the_truth_and_has_the_same_bytes_again(tmp_path: Path, dims: int) -> None:
    sums = []
    for name in ("a", "b"):
        path = simulate("evolving", tmp_path / name, count=20, size=24, dims=dims)
        files = sorted(each for each in (tmp_path / name).rglob("*") if each.is_file())
        sums.append([(f.relative_to(tmp_path / name), hashlib.sha256(f.read_bytes()).hexdigest()) for f in files])
    assert sums[0] == sums[1]
    table = pd.read_csv(path)
    assert len(table) == 40 and set(table["split"]) == {"train", "val", "test"}
    for row in table.iloc[:4].to_dict("records"):
        assert (read(path.parent / row["mask"]).pixels > 0).sum() == row["volume"]
        likely = read(path.parent / row["map"])
        assert (likely.pixels > 0.5 * (likely.limits or (0, 1))[1]).sum() == row["map_volume"]
    pair = table[table["subject"] == table["subject"].iloc[0]]
    assert pair["change"].iloc[1] == pair["volume"].iloc[1] - pair["volume"].iloc[0]
    oracle = json.loads((path.parent / "truth.json").read_text())["oracle"]
    assert oracle["persons"] == 4 and 0 <= oracle["accuracy"] <= 1


def test_the_ceiling_is_of_all_persons_whose_map_changes_enough() -> None:
    table = pd.DataFrame(
        {
            "split": ["test"] * 5 + ["train"],
            "stable": [0, 0, 1, 0, 0, 0],
            "map_change": [20.0, -30, 15, 5, np.nan, 90],
            "expected_change": [10.0, 10, 1, -9, np.nan, 0],
        }
    )
    told = ceiling(table, least=10)
    assert told["persons"] == 4 and told["judged"] == 3 and told["accuracy"] == pytest.approx(2 / 3, abs=1e-4)
    assert told["absolute_error"] == (10 + 40 + 14 + 14) / 4 and told["volume_error_mean"] == (-10 + 40 - 14 - 14) / 4
    assert ceiling(table)["judged"] == 4


def test_settings_out_of_range_are_named(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="persons is 3; expected 20 or more"):
        simulate("evolving", tmp_path, count=3)
    with pytest.raises(CohortError, match="dims is 4"):
        simulate("evolving", tmp_path, dims=4)


def test_the_folder_says_that_nobody_in_it_exists(tmp_path: Path) -> None:
    simulate("evolving", tmp_path, count=20, size=24)
    told = (tmp_path / "README.txt").read_text()
    assert told.startswith("SIMULATED") and "20 persons" in told
    columns = {name for name in pd.read_csv(tmp_path / "cohort.csv")}
    assert all(name in told for name in columns)
