"""The demonstration, with a training so short that nobody would trust it."""

from pathlib import Path

import pandas as pd
import pytest

from anomaly.demonstration.demonstrate import demo
from anomaly.images import intake
from anomaly.runs.run import Run
from anomaly.scoring import score as scoring

ROWS = 25


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Score the first few of each class only; what is trained on stays whole."""

    def fewer(run, cohort, out, **options):
        table = pd.read_csv(cohort)
        table["path"] = [str(Path(cohort).parent / path) for path in table["path"]]
        chosen = table[table["split"] == "test"].groupby("pneumonia").head(ROWS)
        return scoring.score(run, chosen, out, device="cpu", **options)

    monkeypatch.setattr("anomaly.demonstration.demonstrate.score", fewer)


def untouched(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def alike(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_second_demonstration_does_only_what_is_missing(short, tmp_path, monkeypatch):
    page = demo(tmp_path, steps=5)
    assert page.suffix == ".html" and "<html" in page.read_text(encoding="utf-8").lower()
    scores = pd.read_csv(tmp_path / "scores" / "scores.csv")
    assert len(scores) == 2 * ROWS
    facts = Run.open(tmp_path / "run").facts
    assert facts["settings"]["steps"] == 5 and facts["data"]["images"] == 450
    assert page == tmp_path / "scores" / "pneumonia" / "report.html"
    assert {"index.html", "scores.csv", "heatmaps"} <= {path.name for path in (tmp_path / "scores").iterdir()}

    kept, drawn = untouched(tmp_path / "run"), alike(tmp_path / "scores" / "heatmaps")
    (tmp_path / "scores" / scores["heatmap"][3]).unlink()
    read = []
    original = intake.read
    monkeypatch.setattr(intake, "read", lambda path: read.append(path) or original(path))
    assert demo(tmp_path, steps=5) == page
    # Bits hang on who is in a batch, so the whole batch of the missing one is scored again, and leaves the same bytes.
    assert scores["path"][3] in set(map(str, read)) and len(set(read)) <= 32
    assert untouched(tmp_path / "run") == kept and alike(tmp_path / "scores" / "heatmaps") == drawn
    again = pd.read_csv(tmp_path / "scores" / "scores.csv").sort_values("id")
    pd.testing.assert_frame_equal(again.reset_index(drop=True), scores.sort_values("id").reset_index(drop=True))
