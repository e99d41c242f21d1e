"""Drawn images: on the grid of their label map, marked as drawn, only what is missing; by a run, and by physics."""

import nibabel as nib
import numpy as np
import pandas as pd
import PIL.Image
import pytest
from synthesized import cohort, drawn_map, synthesizing, volumes

from anomaly.cohorts.cohort import read_cohort
from anomaly.errors import AnomalyError, CohortError, RunError
from anomaly.images import read
from anomaly.images.pictures import write_grey
from anomaly.images.preprocessing import Preprocessing
from anomaly.painters.tissues import Tissue
from anomaly.synthesis.applying import synthesize
from anomaly.synthesis.listing import seed_of, seeds_of
from anomaly.synthesis.scattering import read_tissues
from anomaly.synthesis.staged import synthesize_ultrasound


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mapped")
    synthesizing(cohort(folder), folder / "run")
    return folder


def test_what_is_drawn_is_what_the_network_says(home, tmp_path):
    done = synthesize(home / "run", home / "labels", tmp_path / "out", draws=2, seed=5, device="cpu")
    assert (done.new, done.before, done.failed) == (10, 0, 0)
    from anomaly.synthesis.run import SynthesizerRun

    run = SynthesizerRun.open(home / "run")
    places = run.labels.places(np.asarray(PIL.Image.open(home / "labels" / "p004.png")))[None]
    for draw, name in enumerate(("p004", "p004-2")):
        written = PIL.Image.open(tmp_path / "out" / f"{name}_synthesized.png")
        drawn = run.draw(places, [seed_of(5, "p004", draw)])[0, 0]
        assert np.abs(np.asarray(written) - (drawn + 1) * 127.5).max() < 0.51
        assert written.info["Description"] == f"anomaly: drawn by pix2pix-labels {run.identity[:12]}, not measured"
    table = read_cohort(done.cohort)
    assert len(table) == 20 and {"labels", "drawn_from", "run"} <= set(table)
    assert (table["drawn_from"] == str(home / "labels" / "p000.png")).sum() == 2


def test_maps_of_nobody_and_of_another_size_are_drawn(home, tmp_path):
    moved = np.zeros((31, 44), dtype=np.uint8)
    moved[4:28, 5:40], moved[20:26, 30:38] = 3, 7
    (tmp_path / "maps").mkdir()
    write_grey(tmp_path / "maps" / "mine.png", moved)
    done = synthesize(home / "run", tmp_path / "maps", tmp_path / "out", device="cpu")
    assert read(tmp_path / "out" / "mine_synthesized.png").space == (31, 44) and done.new == 1


def test_numbers_that_the_run_does_not_know_are_refused_by_name(home, tmp_path):
    strange = drawn_map(1)
    strange[5, 5] = 9
    (tmp_path / "maps").mkdir()
    write_grey(tmp_path / "maps" / "a.png", strange)
    write_grey(tmp_path / "maps" / "b.png", drawn_map(2))
    done = synthesize(home / "run", tmp_path / "maps", tmp_path / "out", device="cpu")
    assert (done.new, done.failed) == (1, 1)
    (error,) = pd.read_csv(done.errors)["error"]
    assert "holds 9, which the run has not learned; it knows 3 3, 7 7" in error


def test_a_second_call_does_what_is_missing(home, tmp_path):
    synthesize(home / "run", home / "cohort.csv", tmp_path, device="cpu")
    kept = (tmp_path / "p003_synthesized.png").read_bytes()
    (tmp_path / "p003_synthesized.png").unlink()
    again = synthesize(home / "run", home / "cohort.csv", tmp_path, device="cpu")
    assert (again.new, again.before) == (1, 9)
    assert (tmp_path / "p003_synthesized.png").read_bytes() == kept
    with pytest.raises(RunError, match="seed"):
        synthesize(home / "run", home / "cohort.csv", tmp_path, seed=1, device="cpu")
    with pytest.raises(AnomalyError, match="draws is 0"):
        synthesize(home / "run", home / "labels", tmp_path / "x", draws=0, device="cpu")
    with pytest.raises(CohortError, match="no column 'maps'"):
        synthesize(home / "run", home / "cohort.csv", tmp_path / "x", column="maps", device="cpu")


def test_what_was_drawn_of_an_edited_map_is_drawn_anew(home, tmp_path):
    cohort(tmp_path, 4)
    asked = {"device": "cpu", "draws": 2}
    synthesize(home / "run", tmp_path / "labels", tmp_path / "out", **asked)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.png")}
    edited = drawn_map(2)
    edited[4:16, 4:8] = 7
    write_grey(tmp_path / "labels" / "p002.png", edited)
    again = synthesize(home / "run", tmp_path / "labels", tmp_path / "out", **asked)
    after = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.png")}
    assert (again.new, again.before) == (1, 3)
    assert {name for name in before if before[name] != after[name]} == {
        "p002_synthesized.png",
        "p002-2_synthesized.png",
    }


def test_slices_of_a_volume_have_one_style_and_each_its_own_grain(tmp_path):
    table = volumes(tmp_path)
    asked = {"steps": 4, "batch": 2, "width": 4, "levels": 2, "critic_width": 4, "halved": 1, "style": 3, "hidden": 4}
    prepared = Preprocessing(size=12, slices="axial")
    run = synthesizing(table, tmp_path / "run", "spade", settings=asked, preprocessing=prepared)
    places, grains, styles = np.zeros((3, 12, 12), dtype=np.uint8), list[object](), list[object]()
    drawn = run.draw(places, seeds_of(7, 3), [7] * 3)
    assert np.abs(drawn[0] - drawn[1]).max() > 0 and np.abs(drawn[1] - drawn[2]).max() > 0
    np.testing.assert_allclose(drawn[0], run.draw(places[:1], [7])[0], atol=1e-4)  # a picture has one seed for both
    real = type(run.synthesizer).draw

    def spied(self, maps, seeds, own=None):
        grains.append(list(seeds))
        styles.append(list(own))
        return real(self, maps, seeds, own)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(run.synthesizer), "draw", spied)
        synthesize(tmp_path / "run", table, tmp_path / "out", device="cpu", workers=1)
    assert all(len(set(each)) == len(each) > 2 for each in grains) and all(len(set(each)) == 1 for each in styles)
    assert [each[0] for each in grains] == [each[0] for each in styles] and len({each[0] for each in styles}) == 6


@pytest.mark.parametrize("dims", [2, 3])
def test_volumes_come_back_on_their_grid(tmp_path, dims):
    table = volumes(tmp_path)
    synthesizing(table, tmp_path / "run", preprocessing=Preprocessing(size=12, dims=dims))
    done = synthesize(tmp_path / "run", table, tmp_path / "out", device="cpu")
    assert done.failed == 0
    written, source = nib.load(tmp_path / "out" / "v2_synthesized.nii.gz"), nib.load(tmp_path / "labels" / "v2.nii.gz")
    assert written.shape == source.shape and b"drawn by pix2pix-labels" in bytes(written.header["descrip"])
    np.testing.assert_allclose(written.affine, source.affine)
    values = written.get_fdata()
    assert values.min() >= 0 and values.max() <= 1 and values.std() > 0


def test_masks_are_asked_for_where_the_run_has_them(tmp_path):
    table = cohort(tmp_path, mask=True)
    synthesizing(table, tmp_path / "run")
    with pytest.raises(CohortError, match="trained with masks"):
        synthesize(tmp_path / "run", tmp_path / "labels", tmp_path / "out", device="cpu")
    synthesize(tmp_path / "run", table, tmp_path / "out", device="cpu")
    written = read(tmp_path / "out" / "p002_synthesized.png").pixels[0]
    assert (written[:2] == 0).all() and written[5:10, 5:10].min() > 0


# By physics alone


def test_ultrasound_needs_no_training(tmp_path):
    cohort(tmp_path, 3)
    asked = {"classes": "bone=3,effusion=7", "settings": {"frequency": 7.5, "pixel": 0.6}}
    done = synthesize_ultrasound(tmp_path / "labels", tmp_path / "out", draws=2, **asked)
    assert done.new == 3 and done.failed == 0
    written = PIL.Image.open(tmp_path / "out" / "p001_synthesized.png")
    assert written.size == (20, 20) and "ultrasound physics" in written.info["Description"]
    shown = np.asarray(written).astype(float)
    assert shown[3, 5:15].mean() > shown[13, 5:15].mean() + 50  # the surface of the bone, and its shadow
    assert len(read_cohort(done.cohort)) == 6
    with pytest.raises(RunError, match="choose another --out"):
        synthesize_ultrasound(tmp_path / "labels", tmp_path / "out", draws=2, **{**asked, "settings": {}})


def test_slices_in_nifti_have_the_probe_on_top_as_they_are_shown(tmp_path):
    """A slice is shown with its second axis upwards: bone at its end casts its shadow towards the beginning."""
    places = np.ones((40, 60), dtype=np.uint8)
    places[10:30, 40:45] = 2
    (tmp_path / "maps").mkdir()
    nib.save(nib.Nifti1Image(places, np.diag([0.5, 0.5, 1, 1])), tmp_path / "maps" / "a.nii.gz")
    asked = {"classes": "liver=1,bone=2"}
    synthesize_ultrasound(tmp_path / "maps", tmp_path / "out", **asked)
    drawn = nib.load(tmp_path / "out" / "a_synthesized.nii.gz").get_fdata()[..., 0]
    assert drawn.shape == (40, 60) and drawn[13:27, 5:35].mean() < drawn[13:27, 50:].mean() - 40
    synthesize_ultrasound(tmp_path / "maps", tmp_path / "right", settings={"beam": "left"}, **asked)
    drawn = nib.load(tmp_path / "right" / "a_synthesized.nii.gz").get_fdata()[..., 0]
    assert drawn[32:, 41:44].mean() < drawn[2:8, 41:44].mean()  # shown with the first axis to the left


def test_volumes_are_refused_by_name(tmp_path):
    volumes(tmp_path, 2)
    with pytest.raises(CohortError, match="none of the 2 label maps"):
        synthesize_ultrasound(tmp_path / "labels", tmp_path / "out")
    assert "is a volume" in (tmp_path / "out" / "errors.csv").read_text()


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"freq": 3}, "no setting 'freq'"), ({"frequency": "high"}, "expected a number"), ({"kind": 3}, "expected text")],
)
def test_settings_that_are_none_are_told(tmp_path, settings, message):
    with pytest.raises(AnomalyError, match=message):
        synthesize_ultrasound(cohort(tmp_path), tmp_path / "out", settings=settings)


def test_tables_of_tissues(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("class,amplitude,density,attenuation\nbone,0.5,,7\nbackground,0,10,0\n")
    told = {"bone": Tissue(amplitude=0.5, attenuation=7), "background": Tissue(amplitude=0, density=10, attenuation=0)}
    assert read_tissues(table) == told
    other = tmp_path / "t.json"
    other.write_text('[{"class": "bone", "amplitude": 0.5, "attenuation": 7}]')
    assert read_tissues(other) == {"bone": told["bone"]}
    for text, message in (
        ("name,amplitude\nbone,1\n", "expected rows with class"),
        ("class,amplitude\nbone,1\nbone,2\n", "names the class 'bone' twice"),
        ("class,amplitude\nbone,loud\n", "'loud'; expected a number"),
        ("class,colour\nbone,1\n", "has the column 'colour'"),
        ("class,amplitude\nbone,-1\n", "is -1"),
    ):
        table.write_text(text)
        with pytest.raises(AnomalyError, match=message):
            read_tissues(table)
