"""Images to come beside the normals: who they are, what a run keeps of them, and what is refused."""

import json
from pathlib import Path

import pandas as pd
import pytest
from studies import SIDE, call, pictures, trained

from anomaly import score
from anomaly.errors import AnomalyError, CohortError

MEMBERS = {"members": "texture,gradients"}


@pytest.fixture(scope="module")
def normals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("normals"), 30)


@pytest.fixture(scope="module")
def to_come(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("others"), 12, name="other", first=50)


def test_they_are_looked_at_and_are_no_normals(normals: Path, to_come: Path, tmp_path: Path) -> None:
    run = trained(normals, tmp_path / "run", "auto", settings=MEMBERS, unlabelled=to_come)
    told = json.loads((run.folder / "run.json").read_text())
    assert told["unlabelled"]["images"] == 12 and len(told["unlabelled"]["fingerprint"]) == 64
    assert told["data"]["images"] == 30 and "unlabelled" not in told["data"]["split"]
    cohort = pd.read_csv(run.folder / "cohort.csv")
    assert set(cohort["split"]) == {"train", "choose", "calibrate"} and len(cohort) == 30
    assert "images to come" in (run.folder / "MODEL_CARD.md").read_text()
    # the same images may be scored: nobody has learned of them
    assert score(run.folder, to_come, tmp_path / "scores", heatmaps=("none",)).new == 12


def test_a_run_without_them_says_so_and_is_not_resumed_with_them(normals: Path, to_come: Path, tmp_path: Path) -> None:
    run = trained(normals, tmp_path / "run", "auto", settings=MEMBERS)
    assert json.loads((run.folder / "run.json").read_text())["unlabelled"] is None
    with pytest.raises(AnomalyError, match="unlabelled was None, now"):
        trained(normals, tmp_path / "run", "auto", settings=MEMBERS, unlabelled=to_come, resume=True)


def test_people_who_are_among_the_normals_are_left_out(normals: Path, to_come: Path, tmp_path: Path, caplog) -> None:
    both = pd.DataFrame({"path": [*map(str, sorted(normals.iterdir())), *map(str, sorted(to_come.iterdir()))]})
    with caplog.at_level("INFO"):
        run = trained(normals, tmp_path / "run", "auto", settings=MEMBERS, unlabelled=both)
    assert json.loads((run.folder / "run.json").read_text())["unlabelled"]["images"] == 12
    assert "30 of 42 unlabelled images are left out" in caplog.text
    with pytest.raises(AnomalyError, match="all 30 unlabelled images are of people whose images are among the normals"):
        trained(normals, tmp_path / "again", "auto", settings=MEMBERS, unlabelled=normals)


def test_whoever_makes_nothing_of_them_says_so_before_anything_is_read(normals: Path, tmp_path: Path) -> None:
    with pytest.raises(AnomalyError, match="texture makes nothing of unlabelled images"):
        trained(normals, tmp_path / "run", "texture", unlabelled=normals)
    words = ("train", "--normals", normals, "--out", tmp_path / "run", "--size", SIDE, "--unlabelled")
    code, _, told = call(*words, normals, "--method", "pca")
    assert code == 2 and "pca makes nothing of unlabelled images; leave --unlabelled out, or take auto" in told
    code, _, told = call(*words, tmp_path / "nowhere")
    assert code != 0 and "no such file or folder" in told
    assert not (tmp_path / "run").exists()


def test_none_that_can_be_read_is_refused_by_name(normals: Path, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    folder.mkdir()
    (folder / "one.png").write_bytes(b"no picture")
    with pytest.raises(CohortError, match="no readable image is left in the part 'unlabelled'"):
        trained(normals, tmp_path / "run", "auto", settings=MEMBERS, unlabelled=folder)
