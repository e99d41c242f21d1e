"""Several outcomes in one folder: each answer stands by itself, whole, and an index page lists them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from anomaly.errors import EvaluationError
from anomaly.evaluation import evaluate
from anomaly.reporting import report

AGED = {"adjust": ["age"]}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    rng = np.random.default_rng(4)
    worse, pain = rng.integers(0, 2, 90), np.tile(["none", "severe"], 45)
    table = {"id": [f"k{n}" for n in range(90)], "worse / ever": worse, "pain": pain, "age": rng.normal(60, 9, 90)}
    pd.DataFrame(table | {"visit": np.repeat([0, 1], 45)}).to_csv(tmp_path / "people.csv", index=False)
    (tmp_path / "scores").mkdir()
    scores = pd.DataFrame({"id": table["id"], "value": worse + rng.normal(size=90)})
    scores.to_csv(tmp_path / "scores" / "scores.csv", index=False)
    return tmp_path


def ask(study: Path, out: str = "scores", **asked):
    return evaluate(study / "scores", study / "people.csv", out=study / out, **asked)


def test_a_second_outcome_leaves_the_first_as_it_was(study):
    first = ask(study, outcome="worse / ever", **AGED).out
    before = {file.name: file.read_bytes() for file in first.iterdir()}
    second = ask(study, outcome="pain", positive="severe")
    later = ask(study, outcome="pain", positive="severe", where={"visit": "1"})
    assert [each.name for each in (first, second.out, later.out)] == [
        "worse___ever", "pain_severe", "pain_severe_visit-1",
    ]  # fmt: skip
    assert {file.name: file.read_bytes() for file in first.iterdir()} == before
    assert not (second.out / "adjusted_roc.csv").exists()


def test_the_same_outcome_asked_again_leaves_nothing_of_the_first_answer(study):
    out = ask(study, outcome="worse / ever", **AGED).out
    (out / "notes.txt").write_text("mine")
    assert (out / "adjusted_roc.csv").is_file() and (out / "adjusted_roc.png").is_file()
    ask(study, outcome="worse / ever")
    assert not list(out.glob("adjusted_roc*")) and not list(out.glob("added_value*"))
    assert (out / "evaluation.csv").is_file() and (out / "notes.txt").read_text() == "mine"


def test_the_index_lists_every_outcome_and_links_to_its_report(study):
    for asked in ({"outcome": "worse / ever"}, {"outcome": "pain", "positive": "severe"}):
        found = ask(study, **asked)
        assert report(found.out) == found.out / "report.html"
    page = (study / "scores" / "index.html").read_text(encoding="utf-8")
    assert 'href="worse___ever/report.html"' in page and 'href="pain_severe/report.html"' in page
    assert page.count("AUROC 0.") == 2 and "All images" not in page
    report(study / "scores")
    assert 'href="report.html"' in (study / "scores" / "index.html").read_text(encoding="utf-8")


def test_a_folder_of_evaluations_alone_is_reported_as_one(study):
    ask(study, "answers", outcome="worse / ever")
    ask(study, "answers", outcome="pain", positive="severe")
    assert report(study / "answers") == study / "answers" / "index.html"
    assert all((study / "answers" / name / "report.html").is_file() for name in ("worse___ever", "pain_severe"))


def test_a_study_that_was_moved_still_finds_its_scores(study):
    out = ask(study, outcome="worse / ever").out.name
    (study / "scores").rename(study / "moved")
    assert "90 images scored" in report(study / "moved" / out).read_text(encoding="utf-8")
    (study / "moved" / "scores.csv").unlink()
    with pytest.raises(EvaluationError, match=r"holds no scores\.csv"):
        report(study / "moved" / out)


def test_a_far_score_that_stretches_the_standard_deviation_is_noted(study):
    table = pd.read_csv(study / "scores" / "scores.csv")
    assert not [note for note in ask(study, outcome="worse / ever").notes if "lie so far out" in note]
    table.loc[3, "value"] = 1e3
    table.to_csv(study / "scores" / "scores.csv", index=False)
    notes = ask(study, outcome="worse / ever").notes
    assert any(note.startswith("A few scores of value lie so far out that one standard deviation is") for note in notes)
