"""How near restored images come: beside floors, inside masks, for a judge; and the commands, which refuse early."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Pillow
from poor import TINY, pictures
from typer.testing import CliRunner

from anomaly import learn
from anomaly.errors import CohortError, EvaluationError, RunError
from anomaly.images import Image
from anomaly.images.preprocessing import Preprocessing
from anomaly.reporting import report
from anomaly.restoration.evaluating import _held_out, evaluate_restorer
from anomaly.restorers.learning import learn_restorer
from anomaly.restorers.run import RestorerRun
from anomaly.statistics import fidelity
from anomaly.training.machine import Machine
from cli import commands

CPU = Machine(device="cpu")
RANGE = Preprocessing(intensity="range")
RANGE_16 = Preprocessing(size=16, intensity="range")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("run")
    settings = {**TINY, "factor": 2, "steps": 2}
    table = pictures(place / "images")
    return learn_restorer(
        table, place / "run", degrade="downsample", settings=settings, preprocessing=RANGE, machine=CPU
    ).folder  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    table = pictures(tmp_path_factory.mktemp("test"), count=26, side=25)
    mask = np.zeros((25, 25), np.uint8)
    mask[4:16, 5:15] = 1
    for k in range(26):
        with Pillow.open(table.parent / f"p{k:02d}.png") as picture:
            large = np.zeros(picture.size[::-1], np.uint8)
        large[:25, :25] = mask
        Pillow.fromarray(large).save(table.parent / f"m{k:02d}.png")
    found = pd.read_csv(table).assign(lesion=[f"m{k:02d}.png" for k in range(26)])
    found["subject"] = [f"t{k:02d}" for k in range(26)]
    found.to_csv(table, index=False)
    return table


def test_figures_stand_beside_floors_with_intervals_and_a_difference(run: Path, images: Path, tmp_path: Path) -> None:
    found = evaluate_restorer(run, images, tmp_path / "out", mask="lesion", device="cpu")
    told = found.summary.set_index(["version", "measure"])
    assert {"linear", "cubic", "restored"} <= set(found.summary["version"])
    assert "degraded" not in set(found.summary["version"])  # which is what linear is
    table = pd.read_csv(found.path)
    assert len(table) == 26
    assert told.loc[("linear", "psnr"), "value"] == pytest.approx(table["degraded_psnr"].mean())
    best = max(("linear", "cubic"), key=lambda name: table[f"{name}_psnr"].mean())
    apart = told.loc[(f"restored - {best}", "psnr")]
    assert apart["value"] == pytest.approx((table["restored_psnr"] - table[f"{best}_psnr"]).mean())
    assert apart["low"] < apart["value"] < apart["high"]
    assert told.loc[("restored", "nmse_inside"), "subjects"] == 26
    page = found.page.with_suffix(".md").read_text()
    assert f"of {best}, the best of what needs no learning" in page
    row = next(line for line in page.splitlines() if line.startswith("| restored | nmse_inside |"))
    inside = table["restored_nmse_inside"].mean()
    assert f"| {inside:.4g} |" in row
    assert "26 images of 26 subjects, cropped to multiples of 2 pixels" in page
    assert f"Inside the mask: NMSE of restored images: {inside:.4f}" in page
    assert (tmp_path / "out" / "fidelity.png").stat().st_size > 5000
    opened = found.page.read_text()
    assert found.page.name == "fidelity.html"
    assert f"of {best}, the best of what needs no learning" in opened
    assert 'src="data:image/png;base64,' in opened
    assert "nmse_inside</td>" in opened
    with pytest.raises(EvaluationError, match="has its page already: fidelity"):
        report(tmp_path / "out")


def test_a_row_is_what_its_image_says(run: Path, images: Path, tmp_path: Path) -> None:
    """The poor image worked out from the file: means of 2 x 2 pixels, bilinear between."""
    found = evaluate_restorer(run, images, tmp_path / "out", device="cpu")
    with Pillow.open(images.parent / "p03.png") as picture:
        x = np.asarray(picture)[:24, :24].astype(float) / 255 * 2 - 1
    few = x.reshape(12, 2, 12, 2).mean((1, 3))
    place = np.clip((np.arange(24) - 0.5) / 2, 0, 11)
    low = np.floor(place).astype(int)
    high, part = np.minimum(low + 1, 11), place - low
    rows = few[low] * (1 - part)[:, None] + few[high] * part[:, None]
    poor = rows[:, low] * (1 - part) + rows[:, high] * part
    row = pd.read_csv(found.path, index_col="id").loc["p03"]
    assert row["degraded_psnr"] == pytest.approx(fidelity.psnr(x, poor, data_range=2), abs=1e-3)
    assert row["degraded_rmse"] == pytest.approx(fidelity.rmse(x, poor) * 127.5, rel=1e-4)


def test_a_judge_is_asked_of_good_poor_and_restored_images(run: Path, images: Path, tmp_path: Path) -> None:
    asked: list[tuple[int, ...]] = []

    def brightest(image: Image) -> float:
        asked.append(image.space)
        return float(image.pixels.max())

    found = evaluate_restorer(run, images, tmp_path / "out", judge=brightest, outcome="label", device="cpu")
    table = pd.read_csv(found.path)
    assert table["truth_judged"].max() == pytest.approx(255, abs=0.1)
    assert (table["degraded_judged"] < table["truth_judged"]).all()
    assert {space for space in asked[:-5]} == {(24, 24)}
    areas = found.summary[found.summary["measure"] == "auroc"].set_index("version")
    assert {"truth", "degraded", "restored", "restored - degraded", "restored - truth"} <= set(areas.index)
    assert "The judge's AUROC is" in found.page.with_suffix(".md").read_text()


def whitest(image: Image) -> float:
    return float(image.pixels.max())


def test_a_judge_is_told_by_its_name_not_by_where_it_lies(run: Path, images: Path, tmp_path: Path) -> None:
    evaluate_restorer(run, images, tmp_path / "out", judge=whitest, device="cpu")
    told = json.loads((tmp_path / "out" / "fidelity.json").read_text())["judge"]
    assert told == f"{__name__}.whitest"


def test_people_a_judge_learned_from_are_refused_also_those_it_was_calibrated_on(
    run: Path, images: Path, tmp_path: Path
) -> None:
    judge = learn(images, tmp_path / "judge", method="intensity", preprocessing=RANGE_16, machine=CPU)
    calibrated = judge.normals.loc[judge.normals["split"] != "train"]
    table = pd.read_csv(images)
    some = table[table["subject"].isin(calibrated["subject"])].assign(
        path=lambda t: [str(images.parent / path) for path in t["path"]]
    )
    assert len(some)
    for asked in (images, some.drop(columns="lesion")):
        with pytest.raises(CohortError, match=r"are in both .*judge\); .* or give --allow-overlap"):
            evaluate_restorer(run, asked, tmp_path / "out", judge=judge.folder, device="cpu")
    found = evaluate_restorer(run, images, tmp_path / "out", judge=judge.folder, allow_overlap=True, device="cpu")
    assert pd.read_csv(found.path)["restored_judged"].notna().all()


def test_pairs_are_judged_as_they_are(images: Path, tmp_path: Path) -> None:
    table = pictures(tmp_path / "poor", count=14)
    pd.read_csv(table).assign(better=[f"p{(k + 6) % 12:02d}.png" for k in range(14)])[:12].to_csv(table, index=False)
    run = learn_restorer(
        table, tmp_path / "run", pairs="better", settings={**TINY, "steps": 2}, preprocessing=RANGE, machine=CPU
    ).folder  # fmt: skip
    found = evaluate_restorer(run, table, tmp_path / "out", pairs="better", device="cpu", allow_overlap=True)
    assert set(found.summary["version"]) == {"degraded", "restored", "restored - degraded"}
    with pytest.raises(RunError, match="learned from pairs; give --pairs"):
        evaluate_restorer(run, table, tmp_path / "other", device="cpu")


def test_what_cannot_be_asked_is_refused(run: Path, images: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="makes images poor by itself; leave --pairs out"):
        evaluate_restorer(run, images, tmp_path, pairs="lesion", device="cpu")
    with pytest.raises(RunError, match="an outcome is for a judge to tell"):
        evaluate_restorer(run, images, tmp_path, outcome="label", device="cpu")


def test_the_commands_do_all_of_it(tmp_path: Path) -> None:
    table, run = pictures(tmp_path / "images"), tmp_path / "run"
    options = ["--degrade", "downsample", "--set", "factor=2", "--intensity", "range", "--device", "cpu"]
    options += [word for name, value in TINY.items() for word in ("--set", f"{name}={value}")]
    done = CliRunner().invoke(commands, ["restore", "train", "--images", str(table), "--out", str(run), *options])
    assert done.exit_code == 0, done.output
    assert "held out: PSNR" in done.output
    others = str(pictures(tmp_path / "others", count=13))
    (tmp_path / "others" / "p02.png").write_bytes(b"no picture")
    asked = ["--images", others, "--device", "cpu", "--allow-overlap"]
    done = CliRunner().invoke(commands, ["restore", "apply", str(run), "--out", str(tmp_path / "out"), *asked])
    assert done.exit_code == 3, done.output
    assert "(12 new, 0 from before, 1 unreadable)" in done.output
    done = CliRunner().invoke(commands, ["restore", "evaluate", str(run), "--out", str(tmp_path / "told"), *asked])
    assert done.exit_code == 3, done.output
    assert "the best of what needs no learning" in done.output


def test_a_run_says_how_to_train_one_like_it(run: Path, tmp_path: Path) -> None:
    table = pictures(tmp_path / "images")
    asked = ["--config", str(run / "run.json"), "--images", str(table), "--out", str(tmp_path / "again")]
    done = CliRunner().invoke(commands, ["restore", "train", *asked, "--device", "cpu"])
    assert done.exit_code == 0, done.output
    first, again = (RestorerRun.open(folder).facts for folder in (run, tmp_path / "again"))
    for name in ("settings", "degradation", "preprocessing", "seed", "choose"):
        assert first[name] == again[name]


def test_commands_refuse_at_once(tmp_path: Path) -> None:
    table = pictures(tmp_path / "images", count=2)

    def refused(*words: str) -> str:
        done = CliRunner().invoke(commands, ["restore", *words])
        assert done.exit_code != 0
        return str(done.exception) + done.output

    train = ["train", "--images", str(table), "--out", str(tmp_path / "run")]
    assert "say what makes images poor" in refused(*train)
    assert "degradation 'blur' is unknown" in refused(*train, "--degrade", "blur")
    assert "there is no setting 'sigm'; did you mean sigma" in refused(*train, "--degrade", "noise", "--set", "sigm=1")
    assert "expects factor as a whole number" in refused(*train, "--degrade", "downsample", "--set", "factor=two")
    assert "leave it out" in refused(*train, "--degrade", "noise", "--mask", "brains")
    assert "holds no run.json" in refused(
        "apply", str(tmp_path), "--images", str(table), "--out", str(tmp_path / "out")
    )


def test_no_explanation_is_of_a_restorer_and_no_report_of_drawn_images(run: Path, images: Path, tmp_path: Path) -> None:
    asked = ["--images", str(images), "--out", str(tmp_path / "out")]
    for words in (["map", str(run)], ["map", str(run), "--target", str(run)]):
        done = CliRunner().invoke(commands, ["explain", *words, *asked])
        assert isinstance(done.exception, RunError)
        assert "holds a restorer (restorer), which is neither an explainer nor" in str(done.exception)
        assert f"`anomaly restore apply {run}`" in str(done.exception)
    done = CliRunner().invoke(commands, ["explain", "map", "saliency", "--target", str(run), *asked])
    assert "holds a restorer; a target is a detector or a classifier" in str(done.exception)
    (tmp_path / "restore.json").write_text("{}")
    with pytest.raises(EvaluationError, match="holds drawn images, of which there is no report; `anomaly restore eval"):
        report(tmp_path)


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from cli import commands; "
        "done = CliRunner().invoke(commands, ['restore', 'train', '--help']); "
        "assert done.exit_code == 0; assert 'torch' not in sys.modules; assert 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_masks_are_not_shown_where_they_are_refused() -> None:
    told = {
        name: CliRunner().invoke(commands, ["restore", name, "--help"]).output
        for name in ("train", "apply", "evaluate")
    }
    assert [name for name, each in told.items() if "--mask" in each] == ["evaluate"]
    assert all("--subject" in each for each in told.values())


def test_filters_are_chosen_by_nobody_who_is_judged(tmp_path: Path) -> None:
    settings = {**TINY, "sigma": 0.1, "coarse": 1, "steps": 1}
    table = pictures(tmp_path / "images")
    run = learn_restorer(
        table, tmp_path / "run", degrade="noise", settings=settings, preprocessing=RANGE, choose=0.3, machine=CPU
    )
    cohort = pd.read_csv(run.folder / "cohort.csv", dtype=str)
    held_out = cohort.loc[cohort["split"] == "choose"]
    assert len(held_out) > 1
    judged = held_out.iloc[:1]
    assert _held_out(run, judged) == list(held_out["path"].iloc[1:])
    found = evaluate_restorer(run.folder, held_out[["path", "subject"]], tmp_path / "all", device="cpu")
    assert re.search(r"Untuned: .*gaussian", found.page.with_suffix(".md").read_text())
    assert "gaussian" in json.loads((tmp_path / "all" / "fidelity.json").read_text())["untuned"]
    found = evaluate_restorer(run.folder, judged[["path", "subject"]], tmp_path / "one", device="cpu")
    assert "Untuned" not in found.page.with_suffix(".md").read_text()
