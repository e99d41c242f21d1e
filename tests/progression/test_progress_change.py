"""Pairs of visits as files: maps on the grid of the images, tables, what is named, and going on where it stopped."""

import inspect
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import ndimage
from typer.testing import CliRunner

import cli
from anomaly.errors import AnomalyError, CohortError, RunError
from anomaly.progression.changing import change_between_visits
from anomaly.progression.commands import commands
from anomaly.progression.comparing import Asked
from anomaly.progression.pairing import Visits
from anomaly.progression.volumes import told

SPACE = (16, 18, 10)
AFFINE = np.diag([-2.0, 2, 3, 1])
LESION = np.s_[6:9, 7:10, 4:6]


def scans(seed: int, count: int = 2) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    tissue = ndimage.gaussian_filter(rng.normal(size=SPACE), 2)
    tissue = 100 + 30 * tissue / tissue.std()
    return [(tissue + rng.normal(scale=3, size=SPACE)).astype(np.float32) for _ in range(count)]


def save(path: Path, values: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(values.astype(np.float32), AFFINE), path)
    return path


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two persons with two visits, one of them with a new lesion; masks of lesions and brains beside."""
    inside = np.ones(SPACE)
    inside[:2] = 0
    save(tmp_path / "brain.nii.gz", inside)
    rows = []
    for person in range(2):
        for visit, scan in enumerate(scans(person)):
            truth = np.zeros(SPACE)
            if person == 0 and visit == 1:
                truth[LESION] = 1
            save(tmp_path / f"p{person}_v{visit}.nii.gz", np.where(truth > 0, 230, scan))
            save(tmp_path / f"p{person}_v{visit}_truth.nii.gz", truth)
            rows.append(
                {
                    "id": f"p{person} v{visit}",
                    "path": f"p{person}_v{visit}.nii.gz",
                    "subject": f"p{person}",
                    "visit": visit,
                    "mask": "brain.nii.gz",
                    "truth": f"p{person}_v{visit}_truth.nii.gz",
                }
            )
    pd.DataFrame(rows).to_csv(tmp_path / "visits.csv", index=False)
    return tmp_path


def asked(study: Path, **more: object) -> Visits:
    return Visits(**{"images": study / "visits.csv", "visits": "visit", "mask": "mask", **more})


def test_a_new_lesion_is_found_in_its_place_and_size(study):
    done = change_between_visits(asked(study, maps="truth"), study / "out", asked=Asked(smallest=60))
    table = pd.read_csv(done.path, index_col="subject")
    assert (done.new, done.failed, done.left_out) == (2, 0, 0) and (table["unit"] == "mm3").all()
    assert table.loc["p0", ["new", "volume_before", "volume_after", "increases"]].tolist() == [1, 0, 18 * 12, 1]
    assert 18 * 12 <= table.loc["p0", "increase"] <= 3 * 18 * 12  # the map is smoothed
    assert table.loc["p1", ["new", "increases", "decreases"]].tolist() == [0, 0, 0]
    (lesion,) = pd.read_csv(done.lesions).to_dict("records")
    assert (lesion["id"], lesion["kind"], lesion["centre_i"], lesion["centre_k"]) == ("p0_v1", "new", 7, 4.5)
    image = nib.load(study / "out" / "p0_v1_change.nii.gz")
    z = np.asarray(image.dataobj)
    assert image.shape == SPACE and np.array_equal(image.affine, AFFINE)
    assert z[LESION].min() > 3 and not z[:2].any()
    assert np.asarray(Image.open(study / "out" / "p0_v1.png")).shape[2] == 3


def test_without_maps_lesions_are_regions_of_change(study):
    done = change_between_visits(asked(study), study / "out", asked=Asked(smallest=30))
    found = pd.read_csv(done.lesions)
    assert found["kind"].tolist() == ["increase"] and found["peak"].iloc[0] > 5
    assert "new" not in pd.read_csv(done.path)


def test_maps_of_irregularity_are_made_on_one_scale(study):
    done = change_between_visits(asked(study, maps="irregularity"), study / "out", asked=Asked(at=0.45))
    before, after = (
        np.asarray(nib.load(study / "out" / f"p0_v1_{name}.nii.gz").dataobj) for name in ("before", "after")
    )
    assert after[LESION].mean() > 0.5 > 0.3 > before[LESION].mean()
    assert (before.min(), before.max()) == (0, 1) and not before[:2].any()
    assert pd.read_csv(done.path, index_col="subject").loc["p0", "new_change"] > 100


@pytest.mark.parametrize("match", ["quantiles", "line"])
def test_irregular_lesions_that_quadruple_are_told_as_growing(tmp_path, match):
    rng, grid = np.random.default_rng(1), np.indices((100, 100, 2))[:2]
    brain = (grid[0] - 50) ** 2 + (grid[1] - 50) ** 2 < 47**2
    tissue = ndimage.gaussian_filter(rng.normal(size=brain.shape), (3, 3, 0))
    volumes = []
    for visit, radius in enumerate((4, 8)):
        near = [(grid[0] - i) ** 2 + (grid[1] - j) ** 2 <= radius**2 for i in (35, 65) for j in (35, 65)]
        lesions = np.any(near, axis=0)
        scan = 100 + 10 * tissue / tissue.std() + 100 * lesions + rng.normal(scale=3, size=brain.shape)
        save(tmp_path / f"v{visit}.nii.gz", np.where(brain, (1 - 0.4 * visit) * scan, 0))
        volumes.append(12 * lesions.sum())
    table = pd.DataFrame({"id": ["a", "b"], "path": ["v0.nii.gz", "v1.nii.gz"], "subject": "p", "year": [0, 2]})
    table.to_csv(tmp_path / "visits.csv", index=False)
    visits = Visits(images=tmp_path / "visits.csv", visits="year", unit="years", maps="irregularity")
    done = change_between_visits(visits, tmp_path / "out", asked=Asked(match=match, at=0.5, smallest=100))
    (row,) = pd.read_csv(done.path).to_dict("records")
    assert [row[kind] for kind in ("growing", "new", "shrinking", "resolved")] == [4, 0, 0, 0]
    for name, volume in zip(("volume_before", "volume_after"), volumes, strict=True):
        assert row[name] == pytest.approx(volume, rel=0.3)
    assert row["change"] == row["volume_after"] - row["volume_before"] and row["change_per_year"] == row["change"] / 2
    assert row["increase_per_year"] == row["increase"] / 2 > 0
    lesions = pd.read_csv(done.lesions)
    assert lesions["change_per_year"].tolist() == (lesions["change"] / 2).tolist()


def test_it_goes_on_where_it_stopped_and_refuses_other_settings(study):
    first = change_between_visits(asked(study), study / "out")
    whole = first.path.read_bytes()
    (study / "out" / "p1_v1_change.nii.gz").unlink()
    again = change_between_visits(asked(study), study / "out")
    assert (again.new, again.before) == (1, 1)
    assert sorted(first.path.read_bytes().splitlines()) == sorted(whole.splitlines())
    with pytest.raises(RunError, match="threshold"):
        change_between_visits(asked(study), study / "out", asked=Asked(threshold=3))
    for other, named in (({"mask": None}, "mask"), ({"maps": "truth"}, "maps"), ({"unit": "years"}, "unit")):
        with pytest.raises(RunError, match=f"made with another {named}"):
            change_between_visits(asked(study, **other), study / "out")
    change_between_visits(asked(study, maps="truth"), study / "told")
    table = pd.read_csv(study / "visits.csv")
    table.assign(drawn=table["truth"]).to_csv(study / "visits.csv", index=False)
    with pytest.raises(RunError, match="maps_from"):
        change_between_visits(asked(study, maps="drawn"), study / "told")


def test_a_skewed_voxel_has_the_volume_it_spans(study):
    skewed = AFFINE.copy()
    skewed[1, 2] = 3 * np.tan(np.radians(20))  # a tilted gantry: 12 mm3 all the same
    for file in study.glob("*.nii.gz"):
        nib.save(nib.Nifti1Image(np.asarray(nib.load(file).dataobj), skewed), file)
    done = change_between_visits(asked(study, maps="truth"), study / "out")
    assert pd.read_csv(done.path, index_col="subject").loc["p0", "volume_after"] == pytest.approx(18 * 12)


def test_contrasts_are_joined_and_a_missing_one_is_named(study):
    table = pd.read_csv(study / "visits.csv").assign(contrast="FLAIR")
    other = table[table["subject"] == "p0"].assign(contrast="T1w", id=["t0", "t1"])
    darker = []
    for row in other.to_dict("records"):
        truth = np.asarray(nib.load(study / row["truth"]).dataobj) > 0
        values = 300 - np.where(truth, 230, scans(0, 4)[2 + len(darker)])  # of other noise
        darker.append(save(study / f"{row['id']}.nii.gz", values).name)
    pd.concat([table, other.assign(path=darker)]).to_csv(study / "visits.csv", index=False)
    done = change_between_visits(asked(study), study / "out", asked=Asked(join=("FLAIR", "-T1w")))
    assert pd.read_csv(done.path)["subject"].tolist() == ["p0"] and done.failed == 1
    assert "no pair of T1w of these visits, only of FLAIR" in pd.read_csv(done.errors)["error"].iloc[0]
    assert pd.read_csv(done.path)["least"].isna().all()  # of no one contrast
    alone = change_between_visits(asked(study, where={"contrast": "FLAIR"}), study / "alone")
    joined, lead = (np.asarray(nib.load(each.path.parent / "p0_v1_change.nii.gz").dataobj) for each in (done, alone))
    assert joined[LESION].mean() > lead[LESION].mean()
    leads = change_between_visits(asked(study), study / "leads", asked=Asked(join=("-T1w", "FLAIR")))
    errors = pd.read_csv(leads.errors)  # p1 lacks the leading contrast
    assert pd.read_csv(leads.path)["id"].tolist() == ["t1"] and errors["id"].tolist() == ["p1_v1"]
    assert "no pair of T1w of these visits, only of FLAIR" in errors["error"].iloc[0]
    with pytest.raises(CohortError, match="no pair of visits is of the contrast T2w; there are FLAIR"):
        change_between_visits(asked(study), study / "none", asked=Asked(join=("T2w",)))


def test_the_command_names_what_cannot_be_used_and_goes_on(study):
    save(study / "p1_v1.nii.gz", np.ones((16, 18, 9)))
    table = pd.read_csv(study / "visits.csv")
    single = table.iloc[:1].assign(id="single", subject="p9", path="p9.nii.gz")
    pd.concat([table, single]).to_csv(study / "visits.csv", index=False)
    given = ["--images", str(study / "visits.csv"), "--visits", "visit", "--mask", "mask", "--out", str(study / "out")]
    result = CliRunner().invoke(cli.commands, ["progress", "change", *given])
    assert result.exit_code == 3, result.output
    error = pd.read_csv(study / "out" / "errors.csv")["error"].iloc[0]
    assert "16 x 18 x 10 there, 16 x 18 x 9 here" in error and "register them first: anomaly register visits" in error
    assert pd.read_csv(study / "out" / "changes.csv")["subject"].tolist() == ["p0"]
    assert pd.read_csv(study / "out" / "left_out.csv")["id"].tolist() == ["single"]


def test_pairs_of_a_table_and_pictures(tmp_path):
    rng = np.random.default_rng(0)
    tissue = ndimage.gaussian_filter(rng.normal(size=(60, 50)), 2)
    tissue = 120 + 40 * tissue / tissue.std()
    for name, change in (("a", 0), ("b", 60)):
        values = tissue + rng.normal(scale=3, size=tissue.shape)
        values[20:25, 20:25] += change
        Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "pairs.csv").write_text("id,path,baseline,subject\nb,b.png,a.png,p\nc,absent.png,a.png,q\n")
    arguments = ["--pairs", str(tmp_path / "pairs.csv"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(cli.commands, ["progress", "change", *arguments])
    assert result.exit_code == 3, result.output
    (row,) = pd.read_csv(tmp_path / "out" / "changes.csv").to_dict("records")
    assert row["unit"] == "pixels" and row["increases"] == 1 and 15 <= row["increase"] <= 50
    assert pd.read_csv(tmp_path / "out" / "errors.csv")["id"].tolist() == ["c"]
    assert np.isnan(row["increase_per_year"])  # nobody told the years
    both = CliRunner().invoke(cli.commands, ["progress", "change", *arguments, "--images", str(tmp_path / "pairs.csv")])
    assert both.exit_code != 0


def test_the_command_takes_for_given_what_the_function_does():
    (command,) = (each for each in commands.registered_commands if each.callback.__name__ == "change")
    given = {name: each.default for name, each in inspect.signature(command.callback).parameters.items()}
    for option, name in {
        **{name: name for name in ("threshold", "smallest", "grown", "least", "smooth")},
        "matching": "match",
    }.items():
        assert given[option] == getattr(Asked(), name)


def errors_of(study: Path, **more: object) -> list[str]:
    """What is said of pairs that cannot be used, in a new folder."""
    out = study / f"errors{len(list(study.glob('errors*')))}"
    asking = more.pop("asked", None)
    done = change_between_visits(asked(study, **more), out, asked=asking)
    return pd.read_csv(done.errors)["error"].tolist() if done.failed else []


def test_maps_of_another_scale_are_refused_unless_the_cut_is_told(study):
    graded = np.linspace(5, 95, np.prod(SPACE)).reshape(SPACE)
    for name in ("p0_v0", "p0_v1"):
        save(study / f"{name}_truth.nii.gz", graded)
    (said,) = errors_of(study, maps="truth")
    assert "p0_v0_truth.nii.gz: its values go from 5 to 95, a map's from 0 to 1" in said and "--at 50" in said
    assert errors_of(study, maps="truth", asked=Asked(at=50)) == []
    save(study / "p0_v0_truth.nii.gz", graded / 100)
    for how in (Asked(), Asked(at=50)):
        (said,) = errors_of(study, maps="truth", asked=how)
        assert "p0_v1_truth.nii.gz: its values go from 5 to 95" in said
    labels = np.zeros(SPACE)
    labels[LESION] = 255
    for name in ("p0_v0", "p0_v1"):
        save(study / f"{name}_truth.nii.gz", labels)
    assert errors_of(study, maps="truth") == []  # a mask, in whatever number


def test_a_blank_visit_is_named(study):
    for name, which in (("p0_v1", "second"), ("p1_v0", "first")):
        save(study / f"{name}.nii.gz", np.zeros(SPACE))
        said = errors_of(study)
        assert f"the {which} image has one value wherever it counts" in said[-1]


def test_a_corrected_table_is_not_taken_for_the_old_one(study):
    table = pd.read_csv(study / "visits.csv")
    table.assign(visit=["2020-01-01", "2022-01-01"] * 2).to_csv(study / "visits.csv", index=False)
    change_between_visits(asked(study), study / "out")
    table.assign(visit=["2020-01-01", "2030-01-01"] * 2).to_csv(study / "visits.csv", index=False)
    with pytest.raises(RunError, match="years"):
        change_between_visits(asked(study), study / "out")


def test_an_image_beside_itself_is_left_out(study):
    table = pd.read_csv(study / "visits.csv")
    later = table.iloc[1::2].assign(baseline=["p0_v0.nii.gz", "p1_v1.nii.gz"])
    later.to_csv(study / "pairs.csv", index=False)
    done = change_between_visits(asked(study, images=study / "pairs.csv", visits=None), study / "out")
    left = pd.read_csv(study / "out" / "left_out.csv")
    assert (done.new, done.left_out) == (1, 1) and left["reason"].tolist() == ["its baseline is the image itself"]
    later.assign(baseline=later["path"]).to_csv(study / "pairs.csv", index=False)
    with pytest.raises(CohortError, match="all 2 pairs are of an image with itself"):
        change_between_visits(asked(study, images=study / "pairs.csv", visits=None), study / "none")


def test_a_folder_of_another_command_is_refused(study):
    (study / "out").mkdir()
    (study / "out" / "progress.json").write_text("{}")
    with pytest.raises(RunError, match=r"holds predictions.csv of another command \(progress.json\)"):
        change_between_visits(asked(study), study / "out")
    assert not (study / "out" / "changes.csv").exists()


def test_without_noise_the_least_change_is_warned_of(study, caplog):
    first = np.asarray(nib.load(study / "p0_v0.nii.gz").dataobj)
    rng = np.random.default_rng(0)
    some = rng.random(SPACE) < 0.3
    save(
        study / "p0_v1.nii.gz",
        np.where(some, first + rng.normal(scale=3, size=SPACE), first + 1e-3 * rng.normal(size=SPACE)),
    )
    change_between_visits(asked(study), study / "out", asked=Asked(smooth=0))
    said = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert len(said) == 1 and "p0_v1.nii.gz" in said[0] and "next to nothing beside what differs" in said[0]


def test_the_column_mask_counts_by_default(study):
    table = pd.read_csv(change_between_visits(asked(study, mask=None), study / "out").path)
    pd.testing.assert_frame_equal(table, pd.read_csv(change_between_visits(asked(study), study / "told").path))


def test_what_is_asked_is_a_number_and_contrasts_are_of_any_case(study):
    for name in ("threshold", "at", "least"):
        with pytest.raises(AnomalyError, match=f"{name} is inf; expected a number"):
            Asked(**{name: np.inf})
    pd.read_csv(study / "visits.csv").assign(contrast="FLAIR").to_csv(study / "visits.csv", index=False)
    assert change_between_visits(asked(study), study / "out", asked=Asked(join=("flair",))).new == 2


@pytest.mark.parametrize(("value", "said"), [(775548.2, "775 548 mm3"), (12.345, "12.35 mm3"), (0, "0 mm3")])
def test_volumes_are_told_in_digits(value, said):
    assert told(value, "mm3") == said
