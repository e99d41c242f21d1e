"""A training of a synthesizer from files: its folder, who is held out, resuming, masks, volumes, refusals."""

import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from synthesized import TINY, cohort, drawn_map, synthesizing, volumes

from anomaly.errors import AnomalyError, CohortError, RunError
from anomaly.images.pictures import write_grey
from anomaly.images.preprocessing import Preprocessing
from anomaly.synthesis.run import SynthesizerRun


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mapped")
    return synthesizing(cohort(folder), folder / "run")


def test_a_run_says_what_it_is(run):
    names = {path.name for path in run.folder.iterdir()}
    assert {"run.json", "weights.safetensors", "cohort.csv", "preview.png", "MODEL_CARD.md", "training.csv"} <= names
    assert "checkpoint" not in names and "errors.csv" not in names
    assert run.facts["kind"] == "synthesizer" and run.labels.numbers == ((3,), (7,)) and run.background == []
    card = (run.folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "pix2pix-labels" in card and "- 7: 7 (4 persons)" in card and "was not measured" in card
    assert "2 of which" not in card and "classes" in str(run)


def test_nobody_is_on_both_sides(run):
    table = run.cohort
    assert (table.groupby("subject")["split"].nunique() == 1).all() and set(table["split"]) == {"train", "choose"}
    assert run.trained == set(table.loc[table["split"] == "train", "subject"])


def test_a_run_that_was_stopped_ends_as_one_that_was_not(run, tmp_path, monkeypatch):
    from anomaly.painters.synthesizer import Synthesizer

    table = cohort(tmp_path)
    calls, real = [], Synthesizer.critics_loss

    def stops(self, batch):
        calls.append(0)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, batch)

    monkeypatch.setattr(Synthesizer, "critics_loss", stops)
    with pytest.raises(KeyboardInterrupt):
        synthesizing(table, tmp_path / "run", save_every=1)
    with pytest.raises(RunError, match="add --resume"):
        synthesizing(table, tmp_path / "run", save_every=1)
    with pytest.raises(RunError, match="names was"):
        synthesizing(table, tmp_path / "run", save_every=1, resume=True, classes="one=3+7")
    again = synthesizing(table, tmp_path / "run", save_every=1, resume=True)
    weights = [each.folder / "weights.safetensors" for each in (run, again)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert synthesizing(table, tmp_path / "run", resume=True).identity == again.identity


def test_a_trained_run_can_be_trained_on(run, tmp_path):
    table = cohort(tmp_path)
    synthesizing(table, tmp_path / "run", settings={**TINY, "steps": 2})
    # The rate falls over all steps, so more of them are another training from the start.
    with pytest.raises(RunError, match="cannot be gone on with"):
        synthesizing(table, tmp_path / "run", resume=True)


def test_masks_are_kept(tmp_path):
    made = synthesizing(cohort(tmp_path, mask=True), tmp_path / "run", mask=None)
    assert made.preprocessing.mask == "given" and made.synthesizer.masked_
    places = np.full((1, 20, 20), 255, dtype=np.uint8)
    places[:, 4:9, 4:12] = 1
    drawn = made.draw(places, [3])
    assert (drawn[places[:, None] == 255] == -1).all() and (drawn[places[:, None] == 1] > -1).all()


def test_slices_and_volumes(tmp_path):
    table = volumes(tmp_path)
    flat = synthesizing(table, tmp_path / "flat", preprocessing=Preprocessing(size=16, slices="axial"))
    assert flat.synthesizer.shape_ == (1, 16, 16) and (flat.cohort["slices"].astype(int) > 1).all()
    solid = synthesizing(table, tmp_path / "solid", "spade", preprocessing=Preprocessing(size=16, dims=3))
    assert solid.synthesizer.shape_ == (1, 16, 16, 16)


def test_label_maps_found_by_name_and_classes_asked(tmp_path):
    cohort(tmp_path)
    made = synthesizing(tmp_path / "images", tmp_path / "run", labels=tmp_path / "labels", classes="lesion=7")
    assert made.labels.names == ("lesion",) and made.background == [3]


def test_one_bad_label_map_is_named_and_the_rest_goes_on(tmp_path):
    table = cohort(tmp_path)
    write_grey(tmp_path / "labels" / "p003.png", drawn_map(3)[:-1])
    made = synthesizing(table, tmp_path / "run")
    errors = pd.read_csv(made.folder / "errors.csv")
    assert list(errors["id"]) == ["p003"] and "another grid" in errors["error"][0]
    assert made.facts["data"]["unreadable"] == 1


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"classes": "lesion=9"}, CohortError, "no label map holds the class lesion"),
        ({"method": "spaed"}, AnomalyError, "did you mean spade"),
        ({"settings": {"steps": 4, "halved": 3}}, AnomalyError, "too small for a critic"),
        ({"tissues": {"3": None}}, AnomalyError, "makes nothing of tissues"),
        ({"labels": "lables"}, CohortError, "no column 'lables'"),
    ],
)
def test_what_cannot_be_is_told(tmp_path, asked, error, message):
    with pytest.raises(error, match=message):
        synthesizing(cohort(tmp_path), tmp_path / "run", **{"method": "pix2pix-labels", **asked})


def test_a_class_that_nobody_was_trained_on_is_refused_and_one_of_one_person_told(tmp_path, caplog):
    """Class 9 on the two images of a held-out person, then on one of a person that is trained on."""
    table = cohort(tmp_path)
    split = synthesizing(table, tmp_path / "all").cohort.set_index("id")["split"]

    def mark(name):
        for k in range(10):
            values = drawn_map(k)
            if f"p{k:03d}" == name:
                values[8:12, 8:12] = 9
            write_grey(tmp_path / "labels" / f"p{k:03d}.png", values)

    mark(split.index[split == "choose"][0])
    with pytest.raises(CohortError, match="nobody that is trained on has the class 9"):
        synthesizing(table, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    mark(split.index[split == "train"][0])
    made = synthesizing(table, tmp_path / "run")
    assert "of 9 one person alone" in caplog.text and made.facts["data"]["persons"] == {"3": 4, "7": 4, "9": 1}
    assert "- 9: 9 (1 person)" in (made.folder / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_ultrasound_takes_the_millimetres_of_its_files(tmp_path, caplog):
    """Voxels of 1.5 x 2 mm at twice the size: 0.75 x 1; and slices are shown turned."""
    table = volumes(tmp_path)
    affine = np.diag([1.5, 2.0, 3.0, 1.0])
    for path in [*(tmp_path / "images").iterdir(), *(tmp_path / "labels").iterdir()]:
        nib.save(nib.Nifti1Image(np.asarray(nib.load(path).dataobj), affine), path)
    asked = {"preprocessing": Preprocessing(size=40, slices="axial", fit="resize"), "classes": "bone=3,lesion=7"}
    made = synthesizing(table, tmp_path / "run", "ultrasound", **asked).synthesizer
    assert (made.pixel, made.across, made.turned) == (pytest.approx(0.75), pytest.approx(1.0), True)
    assert "have others once prepared" not in caplog.text
    for path in (tmp_path / "images" / "v0.nii.gz", tmp_path / "labels" / "v0.nii.gz"):
        nib.save(nib.Nifti1Image(np.asarray(nib.load(path).dataobj), affine * 1.3), path)
    mixed = synthesizing(table, tmp_path / "mixed", "ultrasound", settings={**TINY, "pixel": 0.75}, **asked).synthesizer
    assert (mixed.pixel, mixed.across) == (0.75, 0.0) and "have others once prepared" in caplog.text


def test_pictures_tell_no_millimetres_and_stand_upright(tmp_path):
    made = synthesizing(cohort(tmp_path), tmp_path / "run", "ultrasound", classes="bone=3,lesion=7").synthesizer
    assert (made.pixel, made.across, made.turned, made.beam) == (0.5, 0.0, False, "down")


def test_ultrasound_keeps_its_tissues(tmp_path):
    from anomaly.painters.tissues import BONE, Tissue

    clear = Tissue(attenuation=0.0)
    made = synthesizing(
        cohort(tmp_path), tmp_path / "run", "ultrasound", classes="bone=3,lesion=7", tissues={"lesion": clear}
    )  # fmt: skip
    again = SynthesizerRun.open(made.folder)
    assert again.synthesizer.scattering()[1:] == [BONE, clear]
    assert json.loads((made.folder / "run.json").read_text())["settings"]["tissues"][4] == BONE.amplitude
