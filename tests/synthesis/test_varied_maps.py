"""Label maps of nobody: whole classes, no folds, lesions where their tissue is; files on the grid of their map."""

import numpy as np
import pandas as pd
import pytest
from synthesized import cohort, volumes

from anomaly.errors import AnomalyError, CohortError
from anomaly.images import read
from anomaly.synthesis.varied import Varying, bent, laid_in, vary, without
from anomaly.synthesis.varying import vary_maps


def two():
    """A body (1) with a wall (2) in its middle; in the first a lesion (3) of 2 x 3 in the body."""
    first = np.zeros((16, 20), dtype=np.uint8)
    first[2:14, 2:18] = 1
    first[:, 9:11] = 2
    second = first.copy()
    first[4:6, 4:7] = 3
    return first, second


def test_a_lesion_comes_to_lie_on_its_tissue_whole():
    donor, places = two()
    starts = set()
    for seed in range(30):
        found = laid_in(places, donor, 3, np.random.default_rng(seed))
        there = found == 3
        rows, columns = np.nonzero(there)
        assert there.sum() == 6 and np.ptp(rows) == 1 and np.ptp(columns) == 2
        assert (places[there] == 1).all() and (found[~there] == places[~there]).all()
        starts.add((int(rows.min()), int(columns.min())))
    assert len(starts) > 10  # of 55 + 55 places
    assert not (places == 3).any()  # what was given stays


def test_where_there_is_no_room_nothing_is_laid_in():
    donor, places = two()
    places[places == 1] = 4  # no body at all
    np.testing.assert_array_equal(laid_in(places, donor, 3, np.random.default_rng(0)), places)
    np.testing.assert_array_equal(laid_in(places, places, 3, np.random.default_rng(0)), places)  # no lesion
    donor[3:7, 3:5], donor[3:7, 5:7] = 4, 2
    donor[4:6, 4:7] = 3  # its rim is 4 pixels of one tissue, 4 of another and 2 of a third: it lies in none
    np.testing.assert_array_equal(laid_in(two()[1], donor, 3, np.random.default_rng(0)), two()[1])
    with pytest.raises(AnomalyError, match="prepare them alike"):
        laid_in(places, donor[1:], 3, np.random.default_rng(0))


def test_what_is_taken_out_is_filled_with_what_is_around():
    donor, places = two()
    np.testing.assert_array_equal(without(donor, 3), places)
    np.testing.assert_array_equal(without(places, 3), places)
    all_of_it = np.full((3, 3), 3, np.uint8)
    np.testing.assert_array_equal(without(all_of_it, 3), all_of_it)


@pytest.mark.parametrize("space", [(40, 50), (12, 20, 18)])
def test_bending_keeps_classes_whole_and_folds_nothing(space):
    places = np.zeros(space, dtype=np.uint8)
    places[tuple(slice(side // 4, side - side // 4) for side in space)] = 5
    places[..., -1] = 255
    moved = bent(places, np.random.default_rng(1), 0.05)
    assert set(np.unique(moved)) <= {0, 5, 255} and moved.dtype == places.dtype
    assert 0.001 < (moved != places).mean() < 0.5
    assert (moved == 5).sum() == pytest.approx((places == 5).sum(), rel=0.35)
    # Rows of an index image may close up and part, but never change their order.
    ramp = np.broadcast_to(np.arange(space[0]).reshape(-1, *[1] * (len(space) - 1)), space).astype(np.int32)
    assert (np.diff(bent(ramp, np.random.default_rng(1), 0.2), axis=0) >= 0).all()
    np.testing.assert_array_equal(bent(places, np.random.default_rng(1), 0.0), places)


def test_the_same_chance_gives_the_same_map():
    donor, places = two()
    varying = Varying(lesions=(3,), chance=1.0, mirror=(1,), bend=0.03)
    one, again, other = (vary(places, np.random.default_rng(seed), varying, [donor]) for seed in (4, 4, 5))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any() and (one == 3).any()
    mirrored = {
        vary(places, np.random.default_rng(seed), Varying(bend=0.0, mirror=(0,))).tobytes() for seed in range(9)
    }
    assert mirrored == {places.tobytes(), places[::-1].tobytes()} or len(mirrored) == 1  # which is its own mirror


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"bend": -1}, "bend is -1"), ({"chance": 2}, "chances are 2"), ({"lesions": (0,)}, "the background, 0")],
)
def test_what_cannot_be_is_told(wrong, message):
    with pytest.raises(AnomalyError, match=message):
        Varying(**wrong)


def test_files_lie_on_the_grid_of_their_maps_with_their_numbers(tmp_path):
    table = cohort(tmp_path)
    done = vary_maps(table, tmp_path / "out", lesions=["7"], draws=2, seed=3)
    rows = pd.read_csv(done.path, dtype=str)
    assert done.count == len(rows) == 20 and done.failed == 0 and rows["seed"].nunique() == 20
    for row in rows.itertuples():
        found, source = read(tmp_path / "out" / row.path), read(row.varied_from)
        assert found.space == source.space and set(np.unique(found.pixels)) <= {0, 3, 7}
    before = (tmp_path / "out" / "p001-2_varied.png").read_bytes()
    (tmp_path / "out" / "p001-2_varied.png").unlink()
    vary_maps(table, tmp_path / "out", lesions=["7"], draws=2, seed=3)
    assert (tmp_path / "out" / "p001-2_varied.png").read_bytes() == before
    with pytest.raises(CohortError, match="varied otherwise"):
        vary_maps(table, tmp_path / "out", lesions=["7"], draws=2, seed=4)
    with pytest.raises(AnomalyError, match="no class 'cyst'"):
        vary_maps(table, tmp_path / "other", lesions=["cyst"])


def test_volumes_keep_their_affine(tmp_path):
    volumes(tmp_path, 2)
    done = vary_maps(tmp_path / "labels", tmp_path / "out", varying=Varying(bend=0.08))
    row = pd.read_csv(done.path).iloc[0]
    found, source = read(tmp_path / "out" / row["path"]), read(row["varied_from"])
    np.testing.assert_allclose(found.affine, source.affine)
    assert set(np.unique(found.pixels)) <= {0, 3, 7} and (found.pixels != source.pixels).any()
