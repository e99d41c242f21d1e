"""Explaining images: what is written of each, on which grid, beside which figures, and how a stopped call goes on."""

import re
import shutil
import signal
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import PIL.Image
import pytest
import torch
from explained import ADDITIVE, BOX, RANGE, SIDE, SOLID, explaining, solid_sides, two_sides
from looked_at import looked_at
from studies import broken, call, start, trained

from anomaly.errors import AnomalyError, CohortError, RunError
from anomaly.images import read
from anomaly.images.fields import read_field
from anomaly.images.preprocessing import Preprocessing
from explain import IntegratedGradients
from explain.pictures.walks import Told
from explain.runs.explaining import prepare, records
from explain.runs.given import files_trained_in, trained_in
from explain.runs.mapping import map_images
from explain.runs.run import LearnedRun
from explain.runs.source import Source, open_source
from explain.sides.sides import Sides

WALKER = f"{Path(__file__).parents[2] / 'walker.py'}:Walker"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_sides(tmp_path_factory.mktemp("sides"))


@pytest.fixture(scope="module")
def runs(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, LearnedRun]:
    home, sides = tmp_path_factory.mktemp("runs"), Sides(cohort=cohort, outcome="sick")
    return {
        "additive": explaining(sides, home / "additive"),
        "deformation": explaining(sides, home / "deformation", "deformation", settings={**ADDITIVE, "reach": 0.3}),
        "target": explaining(sides, home / "target", "classifier"),
        "judge": explaining(sides, home / "judge", "classifier", seed=1),
    }


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of people nobody was trained on, 10 x 14 pixels."""
    folder = tmp_path_factory.mktemp("others")
    for i in range(5):
        image = np.random.default_rng(i).integers(0, 120, (10, 14), dtype=np.uint8)
        image[BOX] += 100
        PIL.Image.fromarray(image).save(folder / f"o{i}.png")
    return folder


def explained(run: Path | str, images: Path, out: Path, **options) -> pd.DataFrame:
    mapped = map_images(run, images, out, device="cpu", workers=1, **options)
    return pd.read_csv(mapped.path, dtype={"id": str})


def test_each_image_has_a_row_and_its_files(runs, others: Path, tmp_path: Path) -> None:
    table = explained(runs["additive"].folder, others, tmp_path, judge=runs["judge"].folder)
    assert list(table["id"]) == [f"o{i}" for i in range(5)]
    assert {"change", "unchanged", "judge_before", "judge_after", "judge_flipped"} <= set(table)
    for row in table.to_dict("records"):
        names = row["files"].split(";")
        assert names == [f"maps/{row['id']}{end}" for end in ("_map.nii.gz", "_counterfactual.png", ".png")]
        assert all((tmp_path / name).is_file() for name in names)


def test_figures_are_those_of_the_explainer(runs, others: Path, tmp_path: Path) -> None:
    table = explained(runs["additive"].folder, others, tmp_path, judge=runs["judge"].folder)
    explainer, judge = runs["additive"].explainer, runs["judge"].learned
    x = torch.from_numpy(np.stack([RANGE.apply(read(others / f"o{i}.png")).pixels[0] for i in range(5)]))
    found = explainer.explain(x)
    np.testing.assert_allclose(table["change"], found.map.abs().flatten(1).mean(1), rtol=1e-4)
    np.testing.assert_allclose(table["judge_before"], judge.logit(x), rtol=1e-4)
    np.testing.assert_allclose(table["judge_after"], judge.logit(found.counterfactual), rtol=1e-4)
    flips = (judge.logit(x) > 0) & (judge.logit(found.counterfactual) <= 0)
    assert list(table["judge_flipped"]) == flips.int().tolist()


def test_figures_name_the_method_what_it_explains_and_the_image(
    runs, others: Path, tmp_path: Path, monkeypatch
) -> None:
    titles = []
    monkeypatch.setattr("explain.runs.records.save_figure", lambda *_, title, **__: titles.append(title))
    explained(runs["additive"].folder, others, tmp_path / "a", outputs=("png",))
    explained("saliency", others, tmp_path / "b", target=runs["target"].folder, outputs=("png",))
    assert {f"additive (additive): o{i}" for i in range(5)} | {f"saliency of target: o{i}" for i in range(5)} == set(
        titles
    )


def test_map_and_counterfactual_lie_on_the_source_grid(runs, others: Path, tmp_path: Path) -> None:
    explained(runs["additive"].folder, others, tmp_path)
    source = read(others / "o2.png")
    prepared = RANGE.apply(source)
    found = runs["additive"].explainer.explain(torch.from_numpy(prepared.pixels))
    map = nib.load(tmp_path / "maps" / "o2_map.nii.gz").get_fdata()[..., 0]
    assert map.shape == (10, 14)
    np.testing.assert_allclose(map, prepared.restore(found.map.numpy()), atol=1e-6)
    drawn = np.asarray(PIL.Image.open(tmp_path / "maps" / "o2_counterfactual.png")).astype(float)
    # 8 bits stand for a range of 2, so a change of 1 is 127.5 grey values.
    np.testing.assert_allclose(drawn, np.clip(source.pixels[0] - map * 127.5, 0, 255), atol=0.51)


def test_a_field_is_written_in_millimetres_of_the_source(runs, others: Path, tmp_path: Path) -> None:
    table = explained(runs["deformation"].folder, others, tmp_path)
    assert {"displacement", "folded"} <= set(table)
    displacement, affine = read_field(tmp_path / "maps" / "o0_field.nii.gz")
    assert displacement.shape == (10, 14, 3) and np.array_equal(affine, np.eye(4))
    prepared = RANGE.apply(read(others / "o0.png"))
    field = runs["deformation"].explainer.explain(torch.from_numpy(prepared.pixels)).field.numpy()
    rows = prepared.restore(field[:, :1]) * prepared.matrix[0, 0]
    np.testing.assert_allclose(displacement[..., 0], rows, atol=1e-5)
    assert np.abs(displacement[..., :2]).max() > 0 and not displacement[..., 2].any()


def test_an_attribution_explains_a_classifier_or_a_detector(runs, cohort: Path, others: Path, tmp_path: Path) -> None:
    detector = trained(cohort.parent / "controls", tmp_path / "detector", preprocessing=RANGE)
    for name, target in (("classifier", runs["target"].folder), ("detector", detector.folder)):
        table = explained("saliency", others, tmp_path / name, target=target)
        assert "target_before" in table and "change" not in table
        assert (tmp_path / name / "maps" / "o0_map.nii.gz").is_file()
        assert not list((tmp_path / name / "maps").glob("*counterfactual*"))


def test_attributions_of_a_detector_begin_from_the_mean_of_its_normals_and_say_where_black_is_above(
    cohort: Path, others: Path, tmp_path: Path
) -> None:
    run, told = trained(cohort.parent / "controls", tmp_path / "detector", preprocessing=RANGE), {}
    for name, settings in (("mean", {}), ("zero", {"baseline": "zero"})):
        out = {"target": run.folder, "outputs": ("none",), "device": "cpu", "workers": 1}
        mapped = map_images("occlusion", others, tmp_path / name, settings=settings, **out)
        told[name] = pd.read_csv(mapped.path)["baseline"], mapped.remark
    origins = {"mean": run.calibration.mean_image, "zero": np.full_like(run.calibration.mean_image, -1)}
    for name, origin in origins.items():
        expected = float(run.detector.value(torch.from_numpy(origin[None])))
        np.testing.assert_allclose(told[name][0], expected, rtol=1e-4, atol=1e-6)
    assert not told["mean"][1] and told["zero"][1].startswith(
        "The baseline is above the image in 5 of 5, by the target"
    )


def test_integrated_gradients_of_a_detector_that_draws_begin_from_its_drawing_and_explain_each_image_once(
    cohort: Path, others: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(
        cohort.parent / "controls", tmp_path / "detector", preprocessing=RANGE, method="pca", settings={"components": 3}
    )
    asked, explain = list[int](), Source.as_drawn
    monkeypatch.setattr(Source, "as_drawn", lambda self, x: asked.append(len(x)) or explain(self, x))
    given = {"target": run.folder, "outputs": ("none",)}
    table = explained("integrated-gradients", others, tmp_path / "maps", **given)
    assert sum(asked) == len(table) == 5 and list(table["id"]) == [f"o{i}" for i in range(5)]
    for row in table.to_dict("records"):
        x = torch.from_numpy(RANGE.apply(read(Path(row["path"]))).pixels)
        expected = float(run.detector.value(run.detector.reconstruct(x)))
        assert row["baseline"] == pytest.approx(expected, rel=1e-3, abs=1e-6) and abs(row["gap"]) < 1e-4
    asked.clear()
    assert len(explained("integrated-gradients", others, tmp_path / "maps", **given)) == 5
    assert sum(asked) == 1  # to know the columns
    gone_on = explained("integrated-gradients", others, tmp_path / "stopped", match="o3*", **given)
    assert list(gone_on["id"]) == ["o3"]
    again = explained("integrated-gradients", others, tmp_path / "stopped", **given)
    assert list(again["id"]) == ["o3", "o0", "o1", "o2", "o4"]


def test_of_a_committee_that_draws_they_begin_from_the_mean_unless_told(cohort: Path, tmp_path: Path) -> None:
    options = {"members": "texture,autoencoder", "steps": 2}
    run = trained(cohort.parent / "controls", tmp_path / "run", preprocessing=RANGE, method="auto", settings=options)
    x = torch.from_numpy(RANGE.apply(read(cohort.parent / "cases" / "ca000.png")).pixels)
    for settings in ({}, {"baseline": "counterfactual"}):
        told = open_source("integrated-gradients", settings=settings, target=run.folder, device="cpu").explainer
        mean = torch.from_numpy(run.calibration.mean_image)[None]
        expected = run.detector.reconstruct(x) if settings else mean
        torch.testing.assert_close(told.origins(x)[0], expected)
        assert not torch.allclose(run.detector.reconstruct(x), mean, atol=0.01)


def test_counterfactual_where_none_is_drawn_is_refused() -> None:
    with pytest.raises(AnomalyError, match=r"baseline=counterfactual .* draws none"):
        IntegratedGradients(target=torch.sum, baseline="counterfactual").explain(torch.zeros(1, 1, 4, 4))


def test_integrated_gradients_start_from_counterfactuals(runs, others: Path, tmp_path: Path) -> None:
    given = {"target": runs["target"].folder, "baseline": runs["additive"].folder}
    table = explained("integrated-gradients", others, tmp_path, settings={"steps": 4}, **given)
    x = torch.from_numpy(RANGE.apply(read(others / "o1.png")).pixels)
    drawn = runs["additive"].explainer.explain(x).counterfactual
    assert table["baseline"][1] == pytest.approx(float(runs["target"].learned.logit(drawn)), rel=1e-4)
    with pytest.raises(AnomalyError, match="saliency takes no baseline"):
        explained("saliency", others, tmp_path / "other", **given)


def test_volumes_whole_and_slice_by_slice(tmp_path: Path) -> None:
    sides = solid_sides(tmp_path)
    sliced = Preprocessing(size=8, fit="resize", orientation="keep")
    for name, prepared in (("whole", SOLID), ("sliced", sliced)):
        run = explaining(sides, tmp_path / name, "deformation", preprocessing=prepared, settings=ADDITIVE)
        images = tmp_path / f"{name}-images"
        images.mkdir()
        values = np.random.default_rng(0).integers(0, 200, (10, 8, 6)).astype(np.int16)
        nib.save(nib.Nifti1Image(values, np.diag([1.0, 2.0, 3.0, 1.0])), images / "v.nii.gz")
        table = explained(run.folder, images, tmp_path / f"{name}-maps")
        assert len(table) == 1
        for end in ("map", "counterfactual"):
            file = nib.load(tmp_path / f"{name}-maps" / "maps" / f"v_{end}.nii.gz")
            assert file.shape == (10, 8, 6) and np.allclose(file.affine, np.diag([1, 2, 3, 1]))
        assert nib.load(tmp_path / f"{name}-maps" / "maps" / "v_field.nii.gz").shape == (10, 8, 6, 1, 3)


def test_a_walk_is_drawn_as_a_strip_and_as_a_moving_picture(runs, others: Path, tmp_path: Path) -> None:
    given = {"target": runs["target"].folder, "batch": 2}
    table = explained(WALKER, others, tmp_path, **given)
    files = [f"maps/o0{end}" for end in ("_map.nii.gz", "_counterfactual.png", ".png", "_walk.png", "_walk.gif")]
    assert table["files"][0].split(";") == files and all((tmp_path / name).is_file() for name in files)
    with PIL.Image.open(tmp_path / files[-1]) as moving:
        assert moving.n_frames == 8 and moving.width == 22 * SIDE  # the first multiple above 256
    (tmp_path / "maps" / "o3_walk.gif").unlink()
    again = map_images(WALKER, others, tmp_path, device="cpu", workers=1, **given)
    assert (again.new, again.before) == (1, 4) and (tmp_path / "maps" / "o3_walk.gif").is_file()
    explained(WALKER, others, tmp_path / "without", outputs=("nifti",), **given)
    assert not list((tmp_path / "without" / "maps").glob("*walk*"))


def test_a_walk_tells_the_target_of_its_frames(runs, cohort: Path, others: Path, tmp_path: Path) -> None:
    image = read(others / "o0.png")
    x, logit = torch.from_numpy(RANGE.apply(image).pixels), runs["target"].learned.logit
    detector = trained(cohort.parent / "controls", tmp_path / "detector", preprocessing=RANGE)
    bound = detector.calibration.bound(0.05)
    for run, value, told in ((runs["target"], logit, Told()), (detector, detector.detector.value, Told(bound, False))):
        source = open_source(WALKER, target=run.folder, device="cpu")
        walk = records(source, prepare(image, source), [image])[0].walk
        frames = source.explain(x).walk.frames[0]
        np.testing.assert_allclose(walk.values, value(frames).detach(), rtol=1e-4)
        assert walk.value == pytest.approx(float(value(x)), rel=1e-4) and walk.told == told
        record, saved = records(source, prepare(image, source), [image])[0], source.explain(x).counterfactual
        np.testing.assert_allclose(record.walk.counterfactual, saved[0, 0], atol=1e-6)
        told_of_it = float(value(saved))
        assert record.walk.counterfactual_value == pytest.approx(told_of_it, rel=1e-4)
        assert record.figures["target_after"] == pytest.approx(told_of_it, rel=1e-4)


def test_images_that_cannot_be_read_are_named_and_cost_no_other(runs, others: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    bad = broken(images)
    for path in others.iterdir():
        (images / path.name).write_bytes(path.read_bytes())
    mapped = map_images(runs["additive"].folder, images, tmp_path / "out", device="cpu", workers=1)
    assert (mapped.new, mapped.before, mapped.failed) == (6, 0, len(bad) - 1)  # "constant" has a range to scale by
    assert set(pd.read_csv(mapped.errors, keep_default_na=False)["id"]) == bad - {"constant"}


def test_subjects_of_the_training_are_refused(runs, cohort: Path, tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="or give --allow-overlap"):
        explained(runs["additive"].folder, cohort, tmp_path / "out")
    held_out = runs["additive"].cohort.query("part == 'choose'")[["id", "path", "subject"]]
    assert len(explained(runs["additive"].folder, held_out, tmp_path / "held-out")) == len(held_out)
    assert len(explained(runs["additive"].folder, cohort, tmp_path / "all", allow_overlap=True)) == 40


def test_files_of_the_training_are_refused_whatever_their_persons_are_called(runs, tmp_path: Path) -> None:
    known = runs["additive"].cohort.query("part == 'train'")[["id", "path"]].assign(subject="somebody else")
    with pytest.raises(CohortError, match=f"knows {len(known)} of these images .* or give --allow-overlap"):
        explained(runs["additive"].folder, known, tmp_path / "out")
    renamed = runs["additive"].cohort.query("part == 'choose'")[["id", "path"]].assign(subject="somebody else")
    assert len(explained(runs["additive"].folder, renamed, tmp_path / "held-out")) == len(renamed)


@pytest.mark.parametrize(("kind", "known"), [("detector", {"b.png"}), ("explainer", {"a.png"}), (None, {"b.png"})])
def test_who_was_trained_on_stands_in_the_column_of_the_kind_of_run(
    tmp_path: Path, kind: str | None, known, monkeypatch
):
    """A user's own column may have the name of the other."""
    table = "id,path,subject,part,split\na,a.png,A,train,choose\nb,b.png,B,choose,train\n"
    (tmp_path / "cohort.csv").write_text(table)
    monkeypatch.setattr("explain.runs.given.read_facts", lambda folder: {} if kind is None else {"kind": kind})
    assert files_trained_in(tmp_path) == known
    assert trained_in(tmp_path) == {path[0].upper() for path in known}


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("saliency", {}, "saliency explains a target; give --target"),
        ("salience", {}, "did you mean saliency"),
        ("additive", {}, "additive is trained: `anomaly explain train --method additive`"),
        ("RUN", {"settings": {"steps": 3}}, "is a trained explainer, which takes no settings"),
        ("RUN", {"outputs": ("jpeg",)}, "outputs are auto, nifti, png, none; got jpeg"),
    ],
)
def test_what_does_not_go_together_is_told(runs, others: Path, tmp_path: Path, source, options, message) -> None:
    run = runs["additive"].folder if source == "RUN" else source
    with pytest.raises((AnomalyError, RunError), match=message):
        explained(run, others, tmp_path / "out", **options)


def test_another_explainer_may_not_go_on_in_the_folder(runs, others: Path, tmp_path: Path) -> None:
    explained(runs["additive"].folder, others, tmp_path)
    with pytest.raises(RunError, match="holds explanations made with another source"):
        explained(runs["deformation"].folder, others, tmp_path)


def test_control_c_keeps_what_was_done(runs, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for i in range(200):
        PIL.Image.fromarray(np.random.default_rng(i).integers(0, 200, (SIDE, SIDE), dtype=np.uint8)).save(
            images / f"i{i:03d}.png"
        )
    words = ["explain", "map", runs["additive"].folder, "--images", images, "--out", tmp_path / "out", "--batch", 2]
    words += ["--device", "cpu", "--workers", 1]
    process, table = start(*words), tmp_path / "out" / "explanations.csv"
    end = time.monotonic() + 300
    while not (table.exists() and table.read_bytes().count(b"\n") > 5):
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130 and "Traceback" not in errors
    done = table.read_bytes().count(b"\n") - 1
    assert 5 <= done < 200
    code, out, errors = call(*words)
    assert code == 0 and f"({200 - done} new, {done} from before, 0 unreadable)" in out, errors
    assert list(pd.read_csv(table)["id"]) == [f"i{i:03d}" for i in range(200)]


def test_what_was_explained_is_shown_in_five_lines(runs, others: Path, tmp_path: Path) -> None:
    images, out = shutil.copytree(others, tmp_path / "images"), tmp_path / "<script>"
    (images / "empty.png").write_bytes(b"")
    mapped = map_images(runs["additive"].folder, images, out, device="cpu", workers=1)
    shutil.rmtree(out)
    shown = looked_at(mapped)
    assert re.fullmatch(r"Nothing changes yet: the largest change in 5 images is [\d.]+ % of .*", shown.pop("remark"))
    assert shown == {
        "": "5 images new, 0 from before, 1 unreadable; by additive",
        "table": str(out / "explanations.csv"), "maps": str(out / "maps"), "errors": str(out / "errors.csv"),
    }  # fmt: skip
    nothing = map_images(runs["additive"].folder, others, tmp_path / "out", outputs=["none"], device="cpu", workers=1)
    assert nothing.maps is None and looked_at(nothing)["maps"] == "none" and "errors" not in looked_at(nothing)
