"""Label maps of nobody: whole classes, no folds, lesions where their tissue is; files on the grid of their map."""

import numpy as np
import pandas as pd
import pytest
from synthesized import cohort, volumes

from anomaly.errors import AnomalyError, CohortError
from anomaly.images import read
from anomaly.images.pictures import write_grey
from anomaly.synthesis.varied import Varying, bent, displacement, laid_in, vary, without
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
    np.testing.assert_array_equal(bent(places, np.random.default_rng(1), 0.0), places)


@pytest.mark.parametrize("space", [(64, 64), (40, 50), (12, 20, 18)])
@pytest.mark.parametrize("bend", [0.01, 0.02, 0.04, 0.06])
def test_a_map_is_bent_as_much_as_asked_and_nothing_folds(space, bend):
    """The standard deviation of what each axis is moved by, and the determinant of the Jacobian, which a fold turns."""
    for seed in range(5):
        moved = displacement(space, np.random.default_rng(seed), bend, 0.12)
        np.testing.assert_allclose([each.std() for each in moved], bend * np.array(space), rtol=0.02)
        at = np.indices(space) + moved
        slopes = np.stack([np.stack([np.gradient(each, axis=axis) for axis in range(len(space))]) for each in at])
        assert np.linalg.det(np.moveaxis(slopes, (0, 1), (-2, -1))).min() > 0


def test_the_same_chance_gives_the_same_map():
    donor, places = two()
    varying = Varying(lesions=(3,), chance=1.0, mirror=(1,), bend=0.03)
    one, again, other = (vary(places, np.random.default_rng(seed), varying, [donor]) for seed in (4, 4, 5))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any() and (one == 3).any()
    mirrored = {vary(donor, np.random.default_rng(seed), Varying(bend=0.0, mirror=(0,))).tobytes() for seed in range(9)}
    assert mirrored == {donor.tobytes(), donor[::-1].tobytes()}
    with pytest.raises(AnomalyError, match="axis 2 is to be mirrored, and the map has 2"):
        vary(places, np.random.default_rng(0), Varying(mirror=(2,)))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"bend": -1}, "bend is -1"),
        ({"bend": 0.1}, "half of smooth at most"),
        ({"bend": float("nan")}, "bend is nan"),
        ({"mirror": (5,)}, "axes from 0 to 2"),
        ({"chance": 2}, "chances are 2"),
        ({"lesions": (0,)}, "the background, 0"),
    ],
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


def test_draws_stand_one_after_the_other_and_more_of_them_can_be_added(tmp_path):
    table = cohort(tmp_path, 4)
    vary_maps(table, tmp_path / "out", lesions=["7"])
    first = pd.read_csv(tmp_path / "out" / "cohort.csv", dtype=str, keep_default_na=False)
    times = {path: (tmp_path / "out" / path).stat().st_mtime_ns for path in first["path"]}
    done = vary_maps(table, tmp_path / "out", lesions=["7"], draws=2)
    rows = pd.read_csv(done.path, dtype=str, keep_default_na=False)
    pd.testing.assert_frame_equal(rows.head(4), first)
    assert list(rows["draw"]) == ["1"] * 4 + ["2"] * 4 and list(rows["id"])[4:] == [f"p00{k}-2" for k in range(4)]
    assert times == {path: (tmp_path / "out" / path).stat().st_mtime_ns for path in times}


def test_whose_lesion_was_laid_in_is_told(tmp_path):
    table = cohort(tmp_path)
    sure = Varying(bend=0.0, chance=1.0, removed=1.0)
    rows = pd.read_csv(vary_maps(table, tmp_path / "out", lesions=["7"], varying=sure).path, dtype=str)
    assert (rows["lesion_from"] != rows["subject"]).all() and set(rows["lesion_from"]) <= set(rows["subject"])
    none = Varying(bend=0.0, chance=0.0)
    rows = pd.read_csv(vary_maps(table, tmp_path / "none", lesions=["7"], varying=none).path, dtype=str)
    assert rows["lesion_from"].isna().all()


def test_maps_of_others_under_the_same_names_are_refused_and_edited_ones_made_anew(tmp_path):
    one, other = cohort(tmp_path / "a"), cohort(tmp_path / "b", first=0, side=24)
    vary_maps(one, tmp_path / "out")
    with pytest.raises(CohortError, match=r"has p000 varied from .*a/labels/p000.png, which now is"):
        vary_maps(other, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.png")}
    edited = read(tmp_path / "a" / "labels" / "p003.png").pixels[0].astype(np.uint8)
    edited[2:18, 2:18] = 7
    write_grey(tmp_path / "a" / "labels" / "p003.png", edited)
    vary_maps(one, tmp_path / "out")
    after = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.png")}
    assert [name for name in before if before[name] != after[name]] == ["p003_varied.png"]


def test_a_name_that_two_would_have_is_refused(tmp_path):
    table = pd.read_csv(cohort(tmp_path, 2)).assign(
        id=["a", "a-2"], labels=lambda t: [str(tmp_path / p) for p in t["labels"]]
    )
    assert vary_maps(table, tmp_path / "one").count == 2
    with pytest.raises(CohortError, match="a-2 is the name of a label map and of a draw of a"):
        vary_maps(table, tmp_path / "two", draws=2)


def test_a_map_without_the_axis_to_mirror_is_named(tmp_path):
    with pytest.raises(AnomalyError, match=r"p000.png has 2 axes, counted from 0, and axis 2"):
        vary_maps(cohort(tmp_path, 2), tmp_path / "out", varying=Varying(mirror=(2,)))


def test_a_folder_of_label_maps_is_taken_whole(tmp_path):
    """Even one that is all one class, or empty: they are told from images by nothing but that they were asked for."""
    cohort(tmp_path)
    write_grey(tmp_path / "labels" / "p001.png", np.full((20, 20), 3, dtype=np.uint8))
    write_grey(tmp_path / "labels" / "p002_mask.png", np.zeros((20, 20), dtype=np.uint8))
    done = vary_maps(tmp_path / "labels", tmp_path / "out", subject_pattern=r"^p00(\d)")
    rows = pd.read_csv(done.path, dtype=str)
    assert done.count == 11 and list(rows["id"])[:4] == ["p000", "p001", "p002", "p002_mask"]
    assert list(rows["subject"])[:4] == ["0", "1", "2", "2"]
    assert vary_maps(tmp_path / "labels", tmp_path / "few", exclude="*_mask*", match="p*").count == 10


def test_volumes_keep_their_affine(tmp_path):
    volumes(tmp_path, 2)
    done = vary_maps(tmp_path / "labels", tmp_path / "out", varying=Varying(bend=0.05))
    row = pd.read_csv(done.path).iloc[0]
    found, source = read(tmp_path / "out" / row["path"]), read(row["varied_from"])
    np.testing.assert_allclose(found.affine, source.affine)
    assert set(np.unique(found.pixels)) <= {0, 3, 7} and (found.pixels != source.pixels).any()
