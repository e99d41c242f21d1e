"""From images, or visits of persons, to a run: what it leaves, what it refuses, how it goes on, and what it draws."""

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import PIL.Image
import pytest
import torch
from scipy import ndimage
from studies import values
from tiny import CPU
from typer.testing import CliRunner

from anomaly.errors import AnomalyError, CohortError, RunError
from anomaly.images import read
from anomaly.images.prepared import Prepared, scaled
from anomaly.images.preprocessing import Preprocessing
from anomaly.nets.fields import warp
from anomaly.registrars.laying import deformation
from anomaly.registrars.linear import by_header
from anomaly.registrars.transforms import Transform
from anomaly.registration.counting import together
from anomaly.registration.keeping import keep_images, kept_images
from anomaly.registration.learning import learn_registration
from anomaly.registration.pairing import Pairing
from anomaly.registration.run import RegistrarRun, on_source
from anomaly.registration.visits import register_visits
from anomaly.runs.describing import describe
from anomaly.runs.run import Run
from cli import commands

TINY = {"width": 2, "levels": 2, "steps": 4, "batch": 2}
SIDE = 24
PREPARED = Preprocessing(size=SIDE)
FILES = {"run.json", "weights.safetensors", "cohort.csv", "training.csv", "training.png", "MODEL_CARD.md"}


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(image, np.eye(4)), path)


def persons(folder: Path, count: int = 6) -> Path:
    """Two visits of each, the later one moved by two pixels; persons p0, p1, ..."""
    rows = []
    for k in range(count):
        image = values((28, 26), seed=k)
        for visit in (0, 12):
            file = f"images/p{k}_{visit}.nii.gz"
            write(folder / file, ndimage.shift(image, (visit / 6, 0), mode="nearest")[..., None])
            rows.append({"path": file, "subject": f"p{k}", "visit": visit})
    pd.DataFrame(rows).to_csv(folder / "cohort.csv", index=False)
    return folder / "cohort.csv"


def learned(table: Path, out: Path, pairing: dict[str, Any] | None = None, **options: Any) -> RegistrarRun:
    asked = {"start": "none", **(pairing or {})}
    given = {"settings": TINY, "preprocessing": PREPARED, "machine": CPU, "workers": 1, "choose": 0.3, **options}
    return learn_registration(Pairing(images=table, **asked), out, **given)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return persons(tmp_path_factory.mktemp("persons"))


@pytest.fixture(scope="module")
def run(table: Path) -> RegistrarRun:
    return learned(table, table.parent / "run", {"visits": "visit"})


def test_a_run_folder_is_complete(run: RegistrarRun) -> None:
    assert {path.name for path in run.folder.iterdir()} == FILES | {"preview.png", "samples"}
    data, told = run.facts["data"], run.facts["held_out"]
    assert data["images"] == 12 and data["subjects"] == 6 and sum(data["split"].values()) == 12
    assert set(told) == {
        "correlation_before", "correlation_start", "correlation", "disagreement_start", "disagreement", "folded",
        "moved", "there_and_back",
    }  # fmt: skip
    assert told["correlation_before"] == told["correlation_start"]  # nothing was done before
    card = (run.folder / "MODEL_CARD.md").read_text()
    assert "visits" in card and "{" not in card
    assert "voxelmorph(" in describe(run.folder) and "visits" in repr(run)
    assert len(run.trained) == 4 and run.trained < {f"p{k}" for k in range(6)}


def test_the_card_tells_commands_that_there_are(run: RegistrarRun, table: Path, tmp_path: Path) -> None:
    pytest.importorskip("SimpleITK")
    lines = [each.split()[1:] for each in (run.folder / "MODEL_CARD.md").read_text().splitlines() if "--by RUN" in each]
    images = sorted((table.parent / "images").glob("p0_*.nii.gz"))
    given = {"MOVING": images[1], "FIXED": images[0], "IMAGES": table, "COLUMN": "visit", "RUN": run.folder}
    for k, words in enumerate(lines):
        asked = [str({**given, "OUT": tmp_path / str(k)}.get(word, word)) for word in words]
        done = CliRunner().invoke(commands, asked)
        assert done.exit_code == 0, done.output
        rows = pd.read_csv(tmp_path / str(k) / "pairs.csv")
        assert Path(rows["moving"][0]).name == images[1].name and Path(rows["baseline"][0]).name == images[0].name
    assert [words[1] for words in lines] == ["pair", "visits"]


def test_other_kinds_of_runs_say_what_they_are(run: RegistrarRun) -> None:
    with pytest.raises(RunError, match=r"a registrar \(voxelmorph\), expected a detector"):
        Run.open(run.folder)


def test_nobody_is_in_two_parts_and_any_two_images_pair(table: Path, tmp_path: Path) -> None:
    run = learned(table, tmp_path / "run")
    parts = pd.read_csv(run.folder / "cohort.csv").groupby("subject")["split"].nunique()
    assert (parts == 1).all() and run.facts["pairing"]["of"] == "any two images"


def test_a_start_lays_later_visits_on_earlier_ones(table: Path, tmp_path: Path) -> None:
    pytest.importorskip("SimpleITK")
    told = learned(table, tmp_path / "run", {"visits": "visit", "start": "rigid"}).facts["held_out"]
    assert told["correlation_start"] > told["correlation_before"] + 0.05


def test_same_seed_same_bytes(table: Path, run: RegistrarRun, tmp_path: Path) -> None:
    again = learned(table, tmp_path / "again", {"visits": "visit"})
    assert again.identity == run.identity
    other = learned(table, tmp_path / "other", {"visits": "visit"}, seed=1)
    assert other.identity != run.identity


def test_a_finished_run_is_returned_and_other_settings_are_refused(table: Path, run: RegistrarRun) -> None:
    assert learned(table, run.folder, {"visits": "visit"}, resume=True).identity == run.identity
    with pytest.raises(RunError, match="width was 2, now 3"):
        learned(table, run.folder, {"visits": "visit"}, resume=True, settings={**TINY, "width": 3})
    with pytest.raises(RunError, match="already holds"):
        learned(table, run.folder, {"visits": "visit"})


def test_what_cannot_be_used_is_named_and_its_pair_is_left_out(table: Path, tmp_path: Path) -> None:
    shutil.copytree(table.parent / "images", tmp_path / "images")
    shutil.copy(table, tmp_path)
    (tmp_path / "images" / "p1_12.nii.gz").write_bytes(b"nothing")
    run = learned(tmp_path / "cohort.csv", tmp_path / "run", {"visits": "visit"})
    errors = pd.read_csv(run.folder / "errors.csv")
    assert list(errors["id"]) == ["p1_12"] and run.facts["data"]["images"] == 10
    assert "p1" not in set(pd.read_csv(run.folder / "cohort.csv")["subject"])


def test_refused_before_long_work(table: Path, tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="no column phase"):
        learned(table, tmp_path / "run", {"visits": "phase"})
    with pytest.raises(AnomalyError, match="start is 'warm'"):
        Pairing(images=table, start="warm")
    with pytest.raises(AnomalyError, match="intensity is 'range'"):
        learned(table, tmp_path / "run", preprocessing=Preprocessing(intensity="range"))
    with pytest.raises(AnomalyError, match="no setting 'sharpness'"):
        learned(table, tmp_path / "run", settings={"sharpness": 2})
    assert not (tmp_path / "run").exists()


def test_volumes_are_not_taken_apart(tmp_path: Path) -> None:
    for k in range(4):
        write(tmp_path / "images" / f"v{k}.nii.gz", values((10, 9, 8), seed=k))
    with pytest.raises(CohortError, match="give --dims 3"):
        learned(tmp_path / "images", tmp_path / "run")
    solid = Preprocessing(dims=3, size=8)
    run = learned(tmp_path / "images", tmp_path / "solid", preprocessing=solid)
    assert run.registrar.shape_ == (1, 8, 8, 8)


def test_a_run_is_a_registrar_for_images_of_any_grid(run: RegistrarRun) -> None:
    moving, fixed = (values((40, 33), seed=k)[None].astype(np.float32) for k in (1, 2))
    field = run.field(moving, fixed, spacing=(1.0, 1.0))
    assert field.shape == (2, 40, 33) and field.dtype == np.float32 and np.isfinite(field).all()
    assert np.array_equal(run.field(moving, fixed, spacing=(1.0, 1.0)), field)
    with pytest.raises(AnomalyError, match="images of 2 axes, these have 3"):
        run.field(np.zeros((1, 8, 8, 8)), np.zeros((1, 8, 8, 8)), spacing=(1, 1, 1))


def test_a_field_comes_back_to_the_grid_of_the_file() -> None:
    """Axes exchanged and turned round, pixels of two voxels: a shift stays the shift that it is."""
    matrix = np.array([[0, -2.0, 18], [2.0, 0, 1], [0, 0, 1]])
    field = np.zeros((2, 10, 10), dtype=np.float32)
    field[0] = 1.5  # along the prepared first axis, which is the file's second
    inside = np.ones((1, 1, 10, 10), dtype=bool)
    found = on_source(field, Prepared(inside.astype(np.float32), inside, matrix, (20, 22), None, np.ones(1)))
    assert found.shape == (2, 20, 22) and np.allclose(found[1], 3.0) and np.allclose(found[0], 0.0)
    image = torch.arange(22.0).view(1, 1, 1, 22).expand(1, 1, 20, 22)
    assert torch.allclose(warp(image, torch.from_numpy(found)[None])[0, 0, 5, :18], torch.arange(3.0, 21.0))


def test_a_stopped_training_goes_on_to_the_same_bytes(
    table: Path, run: RegistrarRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anomaly.registrars.learned import VoxelMorph

    loss, calls = VoxelMorph.loss, []

    def stopping(self: VoxelMorph, batch: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return loss(self, batch)

    monkeypatch.setattr(VoxelMorph, "loss", stopping)
    with pytest.raises(KeyboardInterrupt):
        learned(table, tmp_path / "run", {"visits": "visit"}, save_every=2)
    monkeypatch.undo()
    assert json.loads((tmp_path / "run" / "checkpoint" / "plan.json").read_text())["kind"] == "registrar"
    again = learned(table, tmp_path / "run", {"visits": "visit"}, save_every=2, resume=True)
    assert again.identity == run.identity and not (tmp_path / "run" / "checkpoint").exists()


def test_masks_are_taken_along(table: Path, tmp_path: Path) -> None:
    pytest.importorskip("SimpleITK")
    shutil.copytree(table.parent / "images", tmp_path / "images")
    rows = pd.read_csv(table)
    for path in rows["path"]:
        mask = np.zeros((28, 26, 1), dtype=np.uint8)
        mask[5:23, 5:21] = 1
        write(tmp_path / path.replace("images", "masks"), mask)
    rows.assign(mask=rows["path"].str.replace("images", "masks")).to_csv(tmp_path / "cohort.csv", index=False)
    run = learned(tmp_path / "cohort.csv", tmp_path / "run", {"visits": "visit", "start": "rigid"})
    assert run.registrar.masked_ and run.preprocessing.mask == "given"
    inside = np.zeros((28, 26), dtype=bool)
    inside[5:23, 5:21] = True
    image = values((28, 26), seed=3)[None].astype(np.float32)
    assert np.isfinite(run.field(image, image[:, ::-1], spacing=(1, 1), inside=inside)).all()


def box(low: tuple[int, int], high: tuple[int, int]) -> np.ndarray:
    mask = np.zeros((64, 64, 1), dtype=np.uint8)
    mask[low[0] : high[0], low[1] : high[1]] = 1
    return mask


@pytest.mark.parametrize("visits", ["visit", None])
def test_images_that_lie_on_one_another_do_so_when_prepared_whatever_their_masks(
    visits: str | None, tmp_path: Path
) -> None:
    image = values((64, 64), seed=0)[..., None].astype(np.float32)
    rows = []
    for k in range(4):
        for visit in (0, 1):
            name = f"p{k}_{visit}"
            write(tmp_path / f"{name}.nii.gz", image)
            write(tmp_path / f"m{name}.nii.gz", box((10, 10), (50, 50)) if visit else box((10, 5), (60, 50)))
            rows.append({"path": f"{name}.nii.gz", "subject": f"p{k}", "visit": visit, "mask": f"m{name}.nii.gz"})
    pd.DataFrame(rows).to_csv(tmp_path / "cohort.csv", index=False)
    parted = Pairing(images=tmp_path / "cohort.csv", visits=visits, start="none").parted(0.3)
    (tmp_path / "out" / "kept").mkdir(parents=True)
    keep_images(parted, Preprocessing(size=64, mask="given", fit="resize"), tmp_path / "out" / "kept", workers=1)
    first, second = kept_images(tmp_path / "out" / "kept").part("train")[:2]
    both = (first > -1) & (second > -1)
    assert both.mean() > 0.5 and np.abs(first - second)[both].max() < 0.15
    if visits:
        assert np.array_equal(first, second)


def test_what_lies_outside_changes_nothing_in_use(run: RegistrarRun) -> None:
    moving, fixed = (values((40, 33), seed=k)[None].astype(np.float32) for k in (1, 2))
    inside = np.zeros((40, 33), dtype=bool)
    inside[5:30, :25] = True
    found = [
        run.field(*(np.where(inside, each, outside) for each in (moving, fixed)), spacing=(1, 1), inside=inside)
        for outside in (0, -1000, 50)
    ]
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])


def test_what_a_network_sees_in_use_is_what_it_saw_in_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the later image is not there: that half is -1, and has no say in the brightness of the rest."""
    image = values((30, 30), seed=0).astype(np.float32) + 5
    for k in range(4):
        for visit in (0, 1):
            lies = np.diag([1.0, 1.0, 1.0, 1.0])
            lies[0, 3] = 12 * visit
            path = tmp_path / f"p{k}_{visit}.nii.gz"
            nib.save(nib.Nifti1Image(image[12 * visit :, :, None], lies), path)
    rows = [{"path": f"p{k}_{v}.nii.gz", "subject": f"p{k}", "visit": v} for k in range(4) for v in (0, 1)]
    pd.DataFrame(rows).to_csv(tmp_path / "cohort.csv", index=False)
    run = learned(tmp_path / "cohort.csv", tmp_path / "run", {"visits": "visit"}, preprocessing=Preprocessing(size=30))
    images = [read(tmp_path / f"p0_{visit}.nii.gz") for visit in (1, 0)]
    begun = Transform.linear(by_header(*images), *images)
    trained = [
        scaled(run.preprocessing.apply(each), each.path)
        for each in together([begun.image(images[0]), images[1]], False)
    ]
    seen: list[Any] = []

    def looking(moving: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
        seen.extend([moving, fixed])
        return torch.zeros(1, 2, 30, 30)

    monkeypatch.setattr(run.registrar, "field", looking)
    deformation(begun, run)
    assert all(np.array_equal(a.numpy(), b.pixels) for a, b in zip(seen, trained, strict=True))
    assert (seen[0] == -1).float().mean() == pytest.approx(0.4, abs=0.04) and torch.equal(seen[0], seen[1])


def test_colour_pictures_are_registered_as_they_were_learned_from(tmp_path: Path) -> None:
    pytest.importorskip("SimpleITK")
    rows = []
    for k in range(4):
        for visit in (0, 1):
            grey = (255 * values((26, 26), seed=k)).clip(0, 255).astype(np.uint8)
            colours = np.stack([np.roll(grey, visit, 0) // (1 + c) for c in range(3)], -1)
            PIL.Image.fromarray(colours).save(tmp_path / f"p{k}_{visit}.png")
            rows.append({"path": f"p{k}_{visit}.png", "subject": f"p{k}", "visit": visit})
    pd.DataFrame(rows).to_csv(tmp_path / "cohort.csv", index=False)
    run = learned(tmp_path / "cohort.csv", tmp_path / "run", {"visits": "visit"})
    done = register_visits(
        tmp_path / "cohort.csv", tmp_path / "out", visits="visit", by=str(run.folder), workers=1, device="cpu"
    )
    assert done.new == 4 and done.failed == 0


def test_the_command_trains(table: Path, tmp_path: Path) -> None:
    settings = [option for name, value in TINY.items() for option in ("--set", f"{name}={value}")]
    asked = ["register", "train", "--images", str(table), "--visits", "visit", "--start", "none", "--size", str(SIDE)]
    asked += ["--out", str(tmp_path / "run")]
    done = CliRunner().invoke(commands, [*asked, "--choose", "0.3", "--device", "cpu", *settings])
    assert done.exit_code == 0 and "held out: local correlation" in done.output
    done = CliRunner().invoke(commands, [*asked, "--set", "sharpness=1"])
    assert done.exit_code != 0


def test_the_command_knows_visits_by_name(table: Path, tmp_path: Path) -> None:
    rows = pd.read_csv(table)
    rows.assign(
        path=[str(table.parent / path) for path in rows["path"]], visit=rows["visit"].map({0: "start", 12: "later"}),
        knee="left",
    ).to_csv(tmp_path / "cohort.csv", index=False)  # fmt: skip
    asked = [
        "register",
        "train",
        "--images",
        str(tmp_path / "cohort.csv"),
        "--visits",
        "visit",
        "--order",
        "start, later",
    ]
    asked += ["--side", "knee", "--start", "none", "--size", str(SIDE), "--out", str(tmp_path / "run")]
    settings = [option for name, value in TINY.items() for option in ("--set", f"{name}={value}")]
    done = CliRunner().invoke(commands, [*asked, "--choose", "0.3", "--device", "cpu", *settings])
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "run" / "run.json").read_text())["pairing"]
    assert told["order"] == ["start", "later"] and told["side"] == "knee"
    assert CliRunner().invoke(commands, [*asked[:-1], str(tmp_path / "x"), "--contrast", "absent"]).exit_code != 0


def test_images_are_registered_by_a_run(
    table: Path, run: RegistrarRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("SimpleITK")
    asked: dict[str, Any] = {"visits": "visit", "by": str(run.folder), "start": "rigid", "workers": 1, "device": "cpu"}
    worse = pd.read_csv(register_visits(table, tmp_path / "worse", **asked).path)
    assert worse["warning"].str.contains("not deformed").all() and (worse["moved"] == 0).all()  # four steps: noise
    monkeypatch.setattr("anomaly.registrars.laying.gains", lambda *_: True)
    done = register_visits(table, tmp_path / "out", **asked)
    rows = pd.read_csv(done.path)
    assert done.new == 6 and done.failed == 0 and (rows["moved"] > 0).all() and (rows["folded"] == 0).all()
    warned = set(rows.loc[rows["warning"].fillna("").str.contains("learned from this person"), "subject"])
    assert warned == run.trained
    with pytest.raises(RunError, match="holds no run"):
        register_visits(table, tmp_path / "other", visits="visit", by=str(tmp_path / "out" / "registered"))
