"""The judge of a painter: whom it has seen, how much it knows itself, and what follows when it knows little."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from anomaly.errors import CohortError
from anomaly.translation.figures import Figure
from explain.painting import evaluating, judging
from explain.painting.evaluating import evaluate_painter, halves
from explain.painting.keeping import Kept
from explain.painting.run import PainterRun
from explain.painting.telling import sentences


def figures(lesions: float, normal: float) -> list[Figure]:
    """Of a painter whose lesions are all taken for their class, by a judge that knows so much."""
    measures = {
        "painted_in": ("painted", "copy-paste", "smooth", "local mean", "chance"), "painted_in_dark": ("painted",),
        "in_place": ("painted",), "painted_out": ("painted", "smooth", "local mean", "unchanged"),
        "normal_off": ("painted", "mean of 4", "laplace", "local mean"), "normal_grain": ("painted", "real", "laplace"),
        "draws_apart": ("painted",), "changed_outside": ("painted",),
    }  # fmt: skip
    found = [Figure(measure, of, 1.0) for measure, ways in measures.items() for of in ways]
    return [*found, Figure("painted_in", "real", lesions), Figure("painted_out", "real", normal)]


@pytest.mark.parametrize(("lesions", "normal"), [(0.69, 1.0), (1.0, 0.5)])
def test_nothing_is_concluded_by_a_blind_judge(lesions: float, normal: float) -> None:
    told = sentences(figures(lesions, normal), ["dark"])
    assert told[0].startswith("Nothing can be concluded")
    assert f"real lesions in {lesions:.3f} and real normal tissue in {normal:.3f}" in told[0]
    assert not any("taken for" in each for each in told)


def test_what_the_judge_knows_itself_is_told() -> None:
    told = sentences(figures(0.9, 0.8), ["dark"])
    assert "look like their class" in told[0]
    assert "it knows the class of real lesions in 0.900, real normal tissue in 0.800" in told[1]
    assert "cannot say much" in sentences(figures(0.75, 0.8), ["dark"])[0]


def test_the_judge_never_learns_from_whom_the_painter_learned(home: Path, tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="subjects are in both"):
        evaluate_painter(home / "run", home / "p.csv", "mask", tmp_path / "out")
    trained = PainterRun.open(home / "run").trained
    names = [*sorted(trained), *(f"q{k}" for k in range(12))]
    table = pd.DataFrame({"id": names, "subject": names, "slices": 1})
    size = len(names) * 4
    arrays = {"images": np.zeros(size, np.float32), "lesions": np.zeros(size, np.uint8), "tissues": np.zeros(size)}
    found = halves(Kept(table, np.full((len(names), 2), 2), 1, arrays, {}), 0, trained)
    assert trained.isdisjoint(table["subject"][found == judging.JUDGE])
    assert (found == judging.JUDGE).sum() == 6  # half of the others


def test_how_many_were_looked_at_is_told(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluating, "MOST", 17)
    found = evaluate_painter(home / "run", home / "q.csv", "mask", tmp_path, segment=False, judge_steps=1)
    assert "Of 18 images 17 were looked at" in found.sentences[-1]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["painting.csv", "painting.json", "preview.png"]
