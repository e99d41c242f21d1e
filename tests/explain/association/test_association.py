import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import PIL.Image
import pytest
from looked_at import looked_at

from anomaly.errors import AnomalyError, EvaluationError
from anomaly.images import write_volume
from anomaly.images.frame import Frame
from anomaly.statistics import metrics
from anomaly.statistics.permutation import plan
from explain.association import associate, findings, pictures
from explain.association.clusters import clusters, tfce
from explain.association.groupmap import GroupMap, group_map, t_threshold
from explain.association.load import loads, map_weights, prediction, units
from explain.association.maps import Maps, list_maps, read_maps
from explain.association.people import Sample
from explain.association.regions import COLUMNS, peak, regions
from explain.association.voxels import voxel_auroc

SIDE = 20
PLACE = (slice(3, 8), slice(12, 17))


def cohort(folder, size=40, *, effect=1.5, space=(SIDE, SIDE), affine=None, seed=0, persons=None):
    """A folder as scoring leaves it: scores.csv and a NIfTI map an image, a block of it shifted in the cases."""
    rng = np.random.default_rng(seed)
    maps = rng.normal(size=(size, *space)).astype(np.float32)
    persons = size if persons is None else persons
    pain = np.arange(size) % 2
    maps[(pain == 1, *PLACE)] += effect
    names = [f"k{i:02d}" for i in range(size)]
    for name, each in zip(names, maps, strict=True):
        write_volume(folder / "heatmaps" / f"{name}_anomaly.nii.gz", each, np.eye(4) if affine is None else affine)
    people = [f"p{i * persons // size}" for i in range(size)]
    table = pd.DataFrame({"id": names, "subject": people, "path": names, "value": maps.mean((*range(1, maps.ndim),))})
    table["heatmap"] = [f"heatmaps/{name}_anomaly.nii.gz;heatmaps/{name}.png" for name in names]
    table.to_csv(folder / "scores.csv", index=False)
    people = pd.DataFrame({"id": names, "subject": people, "pain": pain, "age": rng.normal(60, 8, size)})
    people["worse"] = np.where(rng.random(size) < 0.2, 1 - pain, pain)
    people["site"] = rng.choice(["A", "B"], size)
    people.to_csv(folder / "cohort.csv", index=False)
    return maps


def run(folder, out="out", **options):
    options = {"outcome": "pain", "permutations": 99, **options}
    return associate(folder, folder / "cohort.csv", out=folder / out, **options)


# clusters


def test_clusters_by_hand():
    t = np.array([[[0, 3, 4, 0], [0, 0, 5, 0], [-4, 0, 0, 6], [-3, -2, 0, 0]], [[3, 0, 0, 0]] + [[0] * 4] * 3], float)
    mass, extent = clusters(t, 2.0)
    # 3, 4 and 5 touch by faces; 6 touches 5 only by a corner; -2 does not exceed the threshold; maps do not touch.
    np.testing.assert_allclose(mass[0], [[0, 6, 6, 0], [0, 0, 6, 0], [3, 0, 0, 4], [3, 0, 0, 0]])
    np.testing.assert_array_equal(extent[0], [[0, 3, 3, 0], [0, 0, 3, 0], [2, 0, 0, 1], [2, 0, 0, 0]])
    assert mass[1].sum() == 1 and extent[1, 0, 0] == 1
    assert clusters(t, 9.0).sum() == 0


def test_tfce_by_hand():
    t = np.zeros((1, 4, 4, 4))
    t[0, 0, 0, 0] = 1.05
    t[0, 2, 2, :2] = -0.55
    found = tfce(t)[0, 0]
    assert found[0, 0, 0] == pytest.approx(sum((k / 10) ** 2 * 0.1 for k in range(1, 11)))
    assert found[2, 2, 1] == pytest.approx(2**0.5 * sum((k / 10) ** 2 * 0.1 for k in range(1, 6)))
    assert np.count_nonzero(found) == 3


def test_tfce_rewards_support():
    t = np.zeros((2, 9, 9))
    t[0, 4, 4] = t[1, 4, 4] = 3.0
    t[1, 3:6, 3:6] += 1.0
    alone, supported = tfce(t - np.array([0, 1])[:, None, None] * (t == 4.0))[0, :, 4, 4]
    # Nine voxels up to 1, one from there to 3.
    assert supported - alone == pytest.approx(2 * sum((k / 10) ** 2 * 0.1 for k in range(1, 10)), rel=1e-5)


# group maps


def smooth_maps(size=60, seed=0):
    return np.random.default_rng(seed).normal(size=(size, SIDE * SIDE)).astype(np.float32)


def test_voxel_auroc_is_the_auroc_of_each_voxel():
    maps, outcome = np.round(smooth_maps()[:, :30]), np.arange(60) % 3 == 0
    expected = [metrics.auroc(outcome, voxel) for voxel in maps.T]
    np.testing.assert_allclose(voxel_auroc(maps, outcome), expected, rtol=1e-12)


def test_one_image_a_subject_agrees_with_nilearn():
    permuted_ols = pytest.importorskip("nilearn.mass_univariate").permuted_ols
    maps, outcome = smooth_maps(), np.arange(60) % 3 == 0
    age = np.random.default_rng(1).normal(size=(60, 1))
    maps[outcome, :40] += 1.2
    model, mask = plan(outcome, age), np.ones((SIDE, SIDE), dtype=bool)
    mine = group_map(maps, outcome, model, mask, permutations=999, robust=False)
    other = permuted_ols(outcome[:, None].astype(float), maps.astype(float), age, n_perm=999, random_state=0)
    np.testing.assert_allclose(mine.t, other["t"][0], atol=1e-4)
    theirs = 10.0 ** -other["logp_max_t"][0]
    # Both are shares of 999 draws.
    assert np.abs(mine.p - theirs).max() < 4.5 * np.sqrt(2 * 0.25 / 999)
    assert (mine.p <= 0.05).sum() > 3


@pytest.mark.parametrize("correction", ["max-t", "cluster", "tfce"])
def test_a_group_map_does_not_depend_on_the_portions_and_ignores_what_lies_outside(correction, monkeypatch):
    maps, outcome = smooth_maps(40), np.arange(40) % 2 == 0
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[:10] = True
    maps = maps[:, :200]
    maps[outcome, 43:46] += 2
    found = group_map(maps, outcome, plan(outcome), mask, correction=correction, permutations=30)
    monkeypatch.setattr("explain.association.groupmap._HELD", 7 * SIDE * SIDE)
    again = group_map(maps, outcome, plan(outcome), mask, correction=correction, permutations=30)
    np.testing.assert_allclose(found.t, again.t, rtol=1e-6)
    np.testing.assert_array_equal(found.p, again.p)
    assert found.p.shape == (200,) and found.p[44] == 1 / 31
    assert (found.p_extent is not None) == (found.threshold is not None) == (correction == "cluster")


def test_the_cluster_threshold_is_a_p_or_a_t():
    model = plan(np.arange(32) % 2)
    assert t_threshold(model, 0.05, False) == pytest.approx(2.0423, abs=1e-4)  # 30 degrees of freedom
    assert t_threshold(model, 2.5, False) == 2.5
    paired = plan(np.arange(32) % 2, None, np.repeat(np.arange(16), 2))
    assert t_threshold(paired, 0.05, True) == pytest.approx(2.1314, abs=1e-4)  # 15: persons, not images


def test_settings_that_make_no_sense_say_so():
    maps, outcome = smooth_maps(20), np.arange(20) % 2
    for wrong in ({"correction": "fdr"}, {"permutations": 0}, {"cluster_threshold": 0.0}):
        with pytest.raises(EvaluationError):
            group_map(maps, outcome, plan(outcome), np.ones((SIDE, SIDE), dtype=bool), **wrong)


# maps


def test_maps_of_a_folder_of_files(tmp_path):
    for name in ("a_anomaly.nii.gz", "b_map.nii", "a_field.nii.gz"):
        write_volume(tmp_path / name, np.zeros((3, 3)), np.eye(4))
    np.save(tmp_path / "c_map.npy", np.zeros((3, 3)))
    table, folder = list_maps(tmp_path)
    assert sorted(table["id"]) == ["a", "b", "c"] and folder == tmp_path
    plain = tmp_path / "plain"
    plain.mkdir()
    np.save(plain / "x.npy", np.zeros((3, 3)))
    assert list_maps(plain)[0]["id"].tolist() == ["x"]


def test_maps_of_a_table_and_of_scores(tmp_path):
    pd.DataFrame({"id": ["007"], "path": ["maps/x.npy"]}).to_csv(tmp_path / "maps.csv", index=False)
    assert list_maps(tmp_path / "maps.csv")[0]["map"].tolist() == [str((tmp_path / "maps/x.npy").resolve())]
    cohort(tmp_path / "scored", 2)
    for source in ("scored", "scored/scores.csv"):
        table, folder = list_maps(tmp_path / source)
        assert Path(table["map"][1]).name == "k01_anomaly.nii.gz" and folder == tmp_path / "scored"


def test_pictures_are_no_maps(tmp_path):
    scores = pd.DataFrame({"id": ["a"], "path": ["a.png"], "value": [1.0], "heatmap": ["heatmaps/a.png"]})
    scores.to_csv(tmp_path / "scores.csv", index=False)
    with pytest.raises(EvaluationError, match="--heatmaps nifti"):
        list_maps(tmp_path)
    (tmp_path / "only").mkdir()
    PIL.Image.new("L", (4, 4)).save(tmp_path / "only" / "a.png")
    with pytest.raises(EvaluationError, match="pictures are no data"):
        list_maps(tmp_path / "only")
    pd.DataFrame({"name": ["a"]}).to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(EvaluationError, match="needs the columns id and map"):
        list_maps(tmp_path / "other.csv")


def saved(folder, arrays):
    for number, array in enumerate(arrays):
        np.save(folder / f"m{number}.npy", array)
    return list_maps(folder)[0]


def test_maps_are_read_as_they_are_where_they_vary(tmp_path):
    arrays = np.random.default_rng(0).normal(size=(5, 4, 6)).astype(np.float32)
    arrays[:, 1, 2] = 7
    table = saved(tmp_path, arrays)
    found = read_maps(table)
    assert not found.mask[1, 2] and found.mask.sum() == 23
    np.testing.assert_array_equal(found.values, arrays[:, found.mask])
    np.testing.assert_array_equal(found.volume(found.values[3], 7), arrays[3])
    mask = np.zeros((4, 6))
    mask[1] = 1
    np.save(tmp_path / "mask.npy", mask)
    masked = read_maps(table, tmp_path / "mask.npy")
    np.testing.assert_array_equal(masked.values, arrays[:, 1, [0, 1, 3, 4, 5]])
    np.save(tmp_path / "mask.npy", np.zeros((6, 4)))
    with pytest.raises(EvaluationError, match="another grid than the maps"):
        read_maps(table, tmp_path / "mask.npy")


def test_maps_on_another_grid_are_named_and_unreadable_ones_left_out(tmp_path):
    table = saved(tmp_path, [np.eye(4) * i for i in range(1, 6)])
    np.save(tmp_path / "m1.npy", np.full((4, 4), np.nan))
    np.save(tmp_path / "m3.npy", np.zeros((2, 4, 4, 4)))
    found = read_maps(table)
    assert found.read.tolist() == [0, 2, 4] and found.failed["id"].tolist() == ["m1", "m3"]
    assert "NaN" in found.failed["error"][0] and "2 channels" in found.failed["error"][1]
    np.testing.assert_array_equal(found.values[:, 0], [1, 3, 5])
    np.save(tmp_path / "m4.npy", np.zeros((4, 5)))
    with pytest.raises(EvaluationError, match=r"1 of 5 maps lie on another grid than that of m0 \(4, 4\) \(m4\)"):
        read_maps(table)


def test_an_affine_makes_another_grid_too(tmp_path):
    for number in range(2):
        write_volume(tmp_path / f"m{number}.nii.gz", np.ones((3, 3, 3)) * number, np.diag([1, 1, 1 + number, 1]))
    with pytest.raises(EvaluationError, match="register the images"):
        read_maps(list_maps(tmp_path)[0])


def test_maps_that_are_all_the_same_say_so(tmp_path):
    with pytest.raises(EvaluationError, match="no voxel differs between the 3 maps"):
        read_maps(saved(tmp_path, [np.eye(3)] * 3))


def test_smoothing_is_a_full_width_in_millimetres(tmp_path):
    point = np.zeros((31, 31, 5), dtype=np.float32)
    point[15, 15, 2] = 1
    for number in range(2):
        write_volume(tmp_path / f"m{number}.nii.gz", point * (1 + number), np.diag([2.0, 1.0, 50.0, 1.0]))
    found = read_maps(list_maps(tmp_path)[0], smooth=8.0)
    blurred = found.volume(found.values[0])
    # Half the height at 4 mm: two voxels of 2 mm, four of 1 mm; 50 mm are out of reach.
    assert blurred[17, 15, 2] / blurred[15, 15, 2] == pytest.approx(0.5, abs=0.01)
    assert blurred[15, 19, 2] / blurred[15, 15, 2] == pytest.approx(0.5, abs=0.01)
    assert blurred[15, 15, 1] == 0


# regions


def found_map(t, p, affine=None):
    """A group map on a grid, as if found, and the maps it is of."""
    t, p = np.asarray(t, np.float32), np.asarray(p)
    flat = GroupMap(t.ravel() / 10, t.ravel(), np.full(t.size, 0.7), p.ravel(), None, None)
    mask = np.ones(t.shape, dtype=bool)
    affine = np.eye(4) if affine is None else affine
    return flat, Maps(np.zeros((1, t.size), np.float32), mask, Frame(affine), np.arange(1), pd.DataFrame())


def test_regions_by_hand_in_a_picture():
    t = np.array([[5, 4, 0, 0, -6], [0, 3, 0, 0, -4], [0, 0, 0, 0, 4]])
    found, maps = found_map(t, np.where(np.abs(t) >= 4, 0.05, 0.2))
    table = regions(found, maps, 0.05)
    assert table["sign"].tolist() == ["less", "more", "more"]
    assert table["peak_t"].tolist() == [-6, 5, 4] and table["voxels"].tolist() == [2, 2, 1]
    assert table["side"].tolist() == [f"{side} half of the picture" for side in ("right", "left", "right")]
    assert table[["peak_i", "peak_j"]].to_numpy().tolist() == [[0, 4], [0, 0], [2, 4]]
    assert table["mean_difference"].tolist() == pytest.approx([-0.5, 0.45, 0.4])
    assert (table["unit"] == "voxels").all() and table["peak_x"].isna().all()
    assert peak(found, maps) == {"voxel": [0, 4], "t": -6.0, "p_corrected": 0.05}


def test_regions_by_hand_in_a_body():
    t = np.zeros((9, 4, 3))
    t[1, 1, 1], t[1, 2, 1], t[4, 0, 0], t[8, 3, 2] = 6, 5, 4.5, 4
    affine = np.array([[-2.0, 0, 0, 8], [0, 2, 0, -3], [0, 0, 5, 10], [0, 0, 0, 1]])
    found, maps = found_map(t, np.where(t > 3, 0.02, 1.0), affine)
    table = regions(found, maps, 0.05)
    assert table["side"].tolist() == ["right", "midline", "left"]
    assert table["size"].tolist() == [40, 20, 20] and (table["unit"] == "mm3").all()
    assert table.loc[0, ["peak_x", "peak_y", "peak_z"]].tolist() == [6, -1, 15]
    assert table.loc[0, ["centroid_x", "centroid_y", "centroid_z"]].tolist() == [6, 0, 15]
    assert peak(found, maps)["mm"] == [6, -1, 15]


def test_nothing_significant_is_an_empty_table():
    table = regions(*found_map(np.eye(3), np.ones((3, 3))), 0.05)
    assert table.empty and tuple(table) == COLUMNS


# load


def sample(outcome, **columns):
    return Sample(pd.DataFrame({"outcome": np.asarray(outcome, int), **columns}), None)


def test_the_load_of_nothing_tells_nothing_and_would_tell_much_if_it_were_not_cross_fitted():
    fair, leaking = [], []
    for seed in range(25):
        maps, people = smooth_maps(80, seed), sample(np.arange(80) % 2)
        fair.append(metrics.auroc(people.outcome, loads(maps, people, seed=seed)["load"]))
        leaking.append(metrics.auroc(people.outcome, maps @ map_weights(maps, people, np.arange(80))))
    assert np.mean(fair) == pytest.approx(0.5, abs=0.05)
    assert np.mean(leaking) > 0.8


def test_the_load_finds_a_planted_effect_of_either_sign_by_persons():
    maps, outcome = smooth_maps(80, 3), np.arange(80) % 4 < 2
    maps[outcome, :12] += 0.8
    maps[outcome, 12:24] -= 0.8
    people = sample(outcome, subject=np.repeat(np.arange(40), 2))
    table = loads(maps, people)
    assert metrics.auroc(outcome, table["load"]) > 0.8 > 0.6 > metrics.auroc(outcome, table["mean_of_map"])
    assert (table.groupby(people.names("subject"))["fold"].nunique() == 1).all()
    assert table["fold"].nunique() == 5
    assert table.loc[~outcome].groupby("fold")["load"].std().between(0.4, 3).all()


def test_persons_and_sets_that_share_members_never_part():
    people = sample([1, 0, 1, 0, 1, 0], subject=list("abacde"), match=[0, 0, 1, 1, 2, 2])
    assert units(people).tolist()[:4] == [units(people)[0]] * 4 and units(people)[4] == units(people)[5]
    assert np.unique(units(people)).size == 2


def test_more_folds_than_persons_say_so():
    people = sample(np.arange(40) % 2, subject=np.repeat(np.arange(4), 10))
    with pytest.raises(EvaluationError, match="expected 2 to 4 folds"):
        loads(smooth_maps(40), people, folds=5)


def test_prediction_sets_the_load_beside_the_floor():
    rng = np.random.default_rng(0)
    worse = np.where(np.arange(60) < 50, np.arange(60) % 2, np.nan)
    table = pd.DataFrame({"worse": worse, "load": worse + rng.normal(size=60), "mean_of_map": -worse})
    table["load"] = table["load"].fillna(0)
    notes = []
    found = prediction(table, ["worse"], np.arange(60), notes).set_index("score")
    assert found.index.tolist() == ["load", "mean_of_map_reversed"]
    assert found.loc["mean_of_map_reversed", "auroc"] == 1
    assert found.loc["load", "auroc"] == pytest.approx(metrics.auroc(worse[:50], table["load"][:50]))
    difference = found.loc["load", "auroc"] - 1
    assert found.loc["mean_of_map_reversed", "load_minus_score"] == pytest.approx(difference)
    assert notes == ["Of 10 images worse is not known; they tell nothing of it."]


# the whole


def test_a_planted_block_is_found_and_told(tmp_path):
    maps = cohort(tmp_path)
    found = run(tmp_path, adjust=["age", "site"], predict=["worse"])
    truth = np.zeros((SIDE, SIDE), dtype=bool)
    truth[PLACE] = True
    volumes = {path.name[:-7]: nib.load(path).get_fdata()[..., 0] for path in (tmp_path / "out").glob("*.nii.gz")}
    assert sorted(volumes) == ["auroc", "mean_difference", "p_corrected", "significant", "t"]
    significant = volumes["p_corrected"] <= 0.05
    assert significant[truth].mean() > 0.4 and significant[~truth].mean() < 0.02
    np.testing.assert_array_equal(volumes["significant"], np.where(significant, volumes["t"], 0))
    assert volumes["auroc"][truth].mean() > 0.75
    cases = np.arange(40) % 2 == 1
    crude = maps[cases].mean(axis=0) - maps[~cases].mean(axis=0)
    assert np.corrcoef(crude.ravel(), volumes["mean_difference"].ravel())[0, 1] > 0.9
    assert found.regions.loc[0, "sign"] == "more" and found.regions.loc[0, "side"] == "right half of the picture"
    assert found.headline.startswith("Maps are higher with pain in a region of ")
    assert "40 images, 20 with pain, adjusted for age, site" in found.headline
    told = json.loads((tmp_path / "out" / "association.json").read_text())
    assert told["headline"] == found.headline and told["n"] == 40 and told["events"] == 20 and told["voxels"] == 400
    assert pd.read_csv(tmp_path / "out" / "load.csv")["load"].notna().all()
    by_score = pd.read_csv(tmp_path / "out" / "prediction.csv").set_index("score")
    assert by_score.loc["load", "auroc"] > 0.65 and {"value"} < set(by_score.index)
    picture = np.asarray(PIL.Image.open(tmp_path / "out" / "association.png").convert("RGB")).astype(int)
    assert ((picture[..., 0] - picture[..., 2]) > 100).sum() > 1000  # vermilion
    again = run(tmp_path, "again", adjust=["age", "site"], predict=["worse"])
    assert again.headline == found.headline
    for path in (tmp_path / "out").glob("*.csv"):
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
    for path in (tmp_path / "out").glob("*.nii.gz"):
        np.testing.assert_array_equal(nib.load(path).get_fdata(), nib.load(tmp_path / "again" / path.name).get_fdata())


def test_nothing_planted_is_nothing_found(tmp_path):
    cohort(tmp_path, effect=0)
    found = run(tmp_path)
    assert found.regions.empty and found.load is None and found.prediction is None
    assert found.headline.startswith("No region differs (40 images, 20 with pain): the largest t, ")
    assert len(pd.read_csv(tmp_path / "out" / "regions.csv")) == 0
    assert not list((tmp_path / "out").glob("load.csv"))


@pytest.mark.parametrize("correction", ["cluster", "tfce"])
def test_volumes_of_two_knees_a_person(tmp_path, correction):
    affine = np.array([[-2.0, 0, 0, 5], [0, 2, 0, -30], [0, 0, 3, 0], [0, 0, 0, 1]])
    cohort(tmp_path, 44, space=(10, 18, 6), affine=affine, persons=22)
    found = run(tmp_path, correction=correction, cluster_threshold=0.01, match="subject", permutations=59)
    assert found.regions.loc[0, "unit"] == "mm3" and found.regions.loc[0, "side"] == "left"
    assert found.notes[-1] == "22 pairs: signs of differences change, in 22 independent units."
    saved = nib.load(tmp_path / "out" / "t.nii.gz")
    np.testing.assert_allclose(saved.affine, affine)
    assert saved.shape == (10, 18, 6)
    assert found.regions["p_extent"].notna().all() == (correction == "cluster")


def test_whole_persons_change_places_and_matching_is_advised(tmp_path):
    cohort(tmp_path, persons=20)
    found = run(tmp_path, permutations=19)
    assert "(40 images of 20 persons, 20 with pain)" in found.headline
    notes = " ".join(found.notes)
    assert "Whole persons change places, and the images of a person among themselves." in notes
    assert "matching by person (match) finds more" in notes


def test_what_is_left_out_is_counted_and_named(tmp_path):
    cohort(tmp_path, 44)
    people = pd.read_csv(tmp_path / "cohort.csv")
    people.loc[0, "pain"], people.loc[[1, 2], "age"] = np.nan, np.nan
    people.drop(index=3).to_csv(tmp_path / "cohort.csv", index=False)
    (tmp_path / "heatmaps" / "k04_anomaly.nii.gz").write_bytes(b"no map")
    found = run(tmp_path, adjust=["age"], permutations=19)
    notes = " ".join(found.notes)
    assert "1 scored images have no row in the cohort, or none that is kept, and were left out (k03)." in notes
    assert "Of 1 images pain or map is not known; they were left out (k00)." in notes
    assert "Of 2 images age is not known; they were left out (k01, k02)." in notes
    assert "1 maps could not be read and were left out (k04)." in notes
    assert found.failed["id"].tolist() == ["k04"]
    assert pd.read_csv(tmp_path / "out" / "errors.csv")["id"].tolist() == ["k04"]
    assert json.loads((tmp_path / "out" / "association.json").read_text())["n"] == 39


def test_rows_can_be_kept_by_their_columns(tmp_path):
    cohort(tmp_path, 60)
    people = pd.read_csv(tmp_path / "cohort.csv").assign(visit=np.repeat([0.0, 1.0], 30))
    found = associate(
        tmp_path, people, outcome="pain", out=tmp_path / "out", where={"visit": "0"}, permutations=19, robust=False
    )
    assert json.loads((tmp_path / "out" / "association.json").read_text())["n"] == 30
    with pytest.raises(AnomalyError, match="no row is left with visit 9"):
        associate(tmp_path, people, outcome="pain", out=tmp_path / "out", where={"visit": "9"})
    assert found.out == tmp_path / "out"


def test_mistakes_are_told_in_a_sentence(tmp_path):
    cohort(tmp_path)
    people = pd.read_csv(tmp_path / "cohort.csv")
    people = people.assign(years=people["age"] * 2, same=1, never=0, kind=people["pain"], few=people.index < 3)
    for options, sentence in [
        ({"outcome": "never"}, "0 events and 40 controls"),
        ({"outcome": "few"}, "3 events and 37 controls"),
        ({"outcome": "absent"}, "no column 'absent'"),
        ({"adjust": ["same"]}, "same: the same in every image"),
        ({"adjust": ["age", "years"]}, "age, years: one of these follows"),
        ({"adjust": ["kind"]}, "determine the outcome"),
        ({"adjust": ["height"]}, "no column 'height'"),
        ({"match": "kind"}, "the same within every matched set"),
        ({"match": "set"}, "no column 'set'"),
        ({"where": {"arm": "1"}}, "no column 'arm'"),
        ({"predict": ["few"]}, "3 events and 37 controls for 'few'"),
        ({"predict": ["value"]}, "'value' is the name of another column"),
        ({"permutations": 9}, "alpha = 0.05 needs 20"),
        ({"alpha": 5.0}, "alpha must lie between 0 and 1"),
    ]:
        with pytest.raises(EvaluationError, match=sentence):
            associate(tmp_path, people, **{"outcome": "pain", "out": tmp_path / "out", **options})
    with pytest.raises(EvaluationError, match="none of 40 scores joins the cohort"):
        associate(tmp_path, people.assign(id=people["id"] + "x"), outcome="pain", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_too_few_persons_to_shuffle_say_how_many_there_are(tmp_path):
    cohort(tmp_path)
    people = pd.read_csv(tmp_path / "cohort.csv")
    people["pain"], people["subject"] = np.repeat([1, 0, 0, 1], 10), np.repeat(list("abcd"), 10)
    with pytest.raises(EvaluationError, match="3 distinct shufflings respect persons"):
        associate(tmp_path, people, outcome="pain", out=tmp_path / "out")


def test_unequal_spreads_are_warned_of_where_they_do_harm():
    outcome = np.arange(40) % 4 == 0
    values, people, model = smooth_maps(40), sample(outcome), plan(outcome)
    assert findings.about_spread(values, people, model, True) == []
    values[outcome] *= 2
    assert (
        "with the outcome are the fewer and spread 1.9 times" in findings.about_spread(values, people, model, True)[0]
    )
    assert "use robust variance" in findings.about_spread(values, people, model, False)[0]
    # The more may spread more, and enough persons allow for it; the images of one person are not enough.
    assert findings.about_spread(values, sample(~outcome), model, True)[0].startswith("Images without the outcome")
    values[outcome] /= 4
    assert findings.about_spread(values, people, model, False) == []
    values[outcome] *= 4
    many, whose = np.tile(outcome, 10), np.tile(np.arange(40), 10)
    assert findings.about_spread(np.tile(values, (10, 1)), sample(many), plan(many), True) == []
    assert findings.about_spread(np.tile(values, (10, 1)), sample(many, subject=whose), plan(many), True) != []


def test_pictures_are_drawn_with_and_without_regions():
    t = np.zeros((8, 9, 5), np.float32)
    t[2, 3, 1] = 5
    empty = pd.DataFrame(columns=list(COLUMNS))
    found, maps = found_map(t, np.where(t > 3, 0.01, 1.0), np.diag([-2.0, 2, 4, 1]))
    table = regions(found, maps, 0.05)
    with_region = pictures.association(t, t > 3, t, maps.affine, table, "title")
    without = pictures.association(t, t > 9, t, np.eye(4), empty, "title")
    sizes = [PIL.Image.open(io.BytesIO(each)).size for each in (with_region, without)]
    assert all(width > 1000 and height > 400 for width, height in sizes)
    assert with_region != without


def test_group_maps_need_no_torch():
    code = "import sys, explain.association; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[3]
    answer = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr or "explain.association loads torch"


def test_what_was_found_is_shown_in_five_lines_without_its_tables(tmp_path):
    cohort(tmp_path)
    (tmp_path / "heatmaps" / "k00_anomaly.nii.gz").write_bytes(b"no map")
    found = run(tmp_path, out="<script>", predict=["worse", "pain"])
    shutil.rmtree(found.out)
    assert looked_at(found) == {
        "": found.headline,
        "predicts": f"{found.sentences[0]} 1 more in .sentences",
        "regions": f"{len(found.regions)} significant; {len(found.notes)} notes",
        "unreadable": f"1 of the maps, see {found.out / 'errors.csv'}",
        "folder": str(found.out),
    }
    assert len(found.regions) and len(found.notes) > 1
    plain = looked_at(run(tmp_path))
    assert "predicts" not in plain


# which voxels count


def with_images(folder, *, masks=False, dark=4):
    """The cohort with its images: noise of tissue, dark at the rim; or a mask each, that of k03 wider."""
    maps = cohort(folder)
    table = pd.read_csv(folder / "scores.csv")
    rng = np.random.default_rng(1)
    for k, name in enumerate(table["id"]):
        tissue = np.zeros((SIDE, SIDE), np.float32)
        tissue[dark:, :] = rng.uniform(0.5, 1, (SIDE - dark, SIDE))
        tissue[12:15, 4:8] = 0.0  # dim, and surrounded by tissue
        inside = tissue > -1
        inside[:2] = False
        inside[:, 0] = name != "k03"
        write_volume(folder / "images" / f"{name}.nii.gz", tissue, np.eye(4))
        write_volume(folder / "masks" / f"{name}.nii.gz", inside.astype(np.uint8), np.eye(4))
        table.loc[k, "path"] = f"images/{name}.nii.gz"
        if masks:
            table.loc[k, "mask"] = f"masks/{name}.nii.gz"
    table.to_csv(folder / "scores.csv", index=False)
    return maps


def test_the_air_before_the_shin_does_not_count(tmp_path):
    with_images(tmp_path)
    found = run(tmp_path)
    assert f"{16 * 20} of 400 voxels count: those of the body" in " ".join(found.notes)
    written = np.asarray(nib.load(tmp_path / "out" / "t.nii.gz").dataobj).squeeze()
    assert not written[:4].any() and written[12:15, 4:8].all()
    everything = run(tmp_path, "all", mask="none")
    assert json.loads((tmp_path / "all" / "association.json").read_text())["voxels"] == 400
    assert any("All 400 voxels count, those outside the body too (mask none)" in each for each in everything.notes)


def test_voxels_inside_all_masks_count_and_the_mask_that_takes_most_away_is_named(tmp_path):
    with_images(tmp_path, masks=True)
    told = " ".join(run(tmp_path).notes)
    assert f"{18 * 19} of 400 voxels count: those inside the masks of all 40 images (k03 takes most" in told
    assert "away, 20 that all others have" in told
    other = np.zeros((SIDE, SIDE), np.uint8)
    other[:2] = 1
    write_volume(tmp_path / "masks" / "k05.nii.gz", other, np.eye(4))
    with pytest.raises(EvaluationError, match=r"no voxel lies inside the masks of all 40 images \(k05 takes"):
        run(tmp_path, "elsewhere")
    write_volume(tmp_path / "masks" / "k05.nii.gz", 0 * other, np.eye(4))
    with pytest.raises(EvaluationError, match=r"masks/k05.nii.gz: the mask of k05 is empty"):
        run(tmp_path, "empty")


def test_a_column_of_visits_is_named_where_persons_have_several_images(tmp_path):
    cohort(tmp_path, persons=20)
    table = pd.read_csv(tmp_path / "cohort.csv").assign(visit=["V00", "V12"] * 20, pain=[0, 0, 1, 1] * 10)
    table.to_csv(tmp_path / "cohort.csv", index=False)
    told = " ".join(run(tmp_path).notes)
    assert "All 40 images of 20 persons count, each alike, whatever their visit (V00, V12)" in told
    assert "--where visit=VALUE" in told
    assert "whatever their" not in " ".join(run(tmp_path, "one", where={"visit": "V00"}).notes)
