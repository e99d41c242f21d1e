"""What forecasts are refused or told of: images for maps, folders of others, persons twice, what was simulated."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image as PIL
from test_progress_inputs import PLAINLY
from test_progressing import study, trained

from anomaly.errors import AnomalyError, CohortError, RunError
from anomaly.progression.commands_evolution import visited
from anomaly.progression.evaluating import evaluate_progression
from anomaly.progression.pairing import Visits
from anomaly.progression.predicting import predict_progression, refuse_no_maps
from anomaly.progression.run import ForecasterRun
from anomaly.progression.telling import picture


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ForecasterRun]:
    folder = tmp_path_factory.mktemp("refusals")
    study(folder / "test", persons=3, visits=3, first="t")
    return folder, trained(study(folder / "train"), folder / "run")


def test_images_are_not_taken_as_maps_where_maps_lay_beside(noisy: tuple[Path, ForecasterRun], tmp_path: Path) -> None:
    folder, run = noisy
    told = ForecasterRun(
        run.folder, {**run.facts, "pairs": {"maps": "map"}}, run.forecaster, run.reading, run.calibration
    )
    with pytest.raises(CohortError, match=r"learned from maps beside the images .map., and none are given"):
        refuse_no_maps(told, None)
    refuse_no_maps(told, "path")
    refuse_no_maps(run, None)
    test = folder / "test" / "cohort.csv"
    as_maps = predict_progression(run.folder, test, tmp_path / "path", device="cpu", maps="path")
    plain = predict_progression(run.folder, test, tmp_path / "plain", device="cpu")
    names = ["id", "volume", "change"]
    pd.testing.assert_frame_equal(pd.read_csv(as_maps.path)[names], pd.read_csv(plain.path)[names])


def test_folders_of_other_commands_and_years_that_are_none_are_refused(
    noisy: tuple[Path, ForecasterRun], tmp_path: Path
) -> None:
    folder, run = noisy
    test = folder / "test" / "cohort.csv"
    (tmp_path / "change.json").write_text("{}")
    (tmp_path / "errors.csv").write_text("id,path,error\n")
    with pytest.raises(RunError, match=r"holds changes\.csv of another command"):
        predict_progression(run.folder, test, tmp_path, device="cpu")
    with pytest.raises(RunError, match=r"holds changes\.csv of another command"):
        evaluate_progression(run.folder, Visits(images=test, visits="year"), tmp_path, device="cpu")
    assert (tmp_path / "errors.csv").exists()
    for years in (0.0, -1.0, float("nan")):
        with pytest.raises(AnomalyError, match=f"years is {years:g}; expected a number above 0"):
            predict_progression(run.folder, test, tmp_path / "new", device="cpu", years=years)


def test_several_images_of_a_person_are_told_and_nothing_of_growth_without_calibration(
    noisy: tuple[Path, ForecasterRun], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, run = noisy
    done = predict_progression(run.folder, folder / "test" / "cohort.csv", tmp_path / "all", device="cpu")
    assert "9 images are of persons with several (t0, t1, t2)" in caplog.text
    assert pd.read_csv(done.path)["p_growing"].isna().all() and run.calibration.why_none
    caplog.clear()
    predict_progression(run.folder, folder / "test" / "cohort.csv", tmp_path / "one", device="cpu", where={"year": "2"})
    assert "with several" not in caplog.text
    found = pd.DataFrame({"true_change": [1.0, 2], "drawn_change": [1.0, 2], "change_low": [0.0] * 2, "change_high": 3})
    assert picture(found, "mm3") != picture(found.assign(change_low=np.nan, change_high=np.nan), "mm3")


def test_what_is_made_of_simulated_persons_says_so(noisy: tuple[Path, ForecasterRun], tmp_path: Path) -> None:
    _, real = noisy
    for name, first in (("train", "p"), ("test", "t")):
        table = study(tmp_path / name, first=first, persons=8 if first == "p" else 2)
        pd.read_csv(table).assign(simulated=1).to_csv(table, index=False)
    run = trained(tmp_path / "train" / "cohort.csv", tmp_path / "run", **PLAINLY)
    assert "SIMULATED" in (run.folder / "MODEL_CARD.md").read_text() and run.facts["data"]["simulated"]
    assert "SIMULATED" not in (real.folder / "MODEL_CARD.md").read_text() and not real.simulated
    visits = Visits(images=tmp_path / "test" / "cohort.csv", visits="year")
    for name, how in (("run", run), ("real", real)):  # the persons tested are simulated in both
        found = evaluate_progression(how.folder, visits, tmp_path / f"e_{name}", device="cpu")
        assert "images are simulated" in found.sentences[-1] and "images are simulated" in found.page.read_text()
        shown = np.asarray(PIL.open(tmp_path / f"e_{name}" / "progression.png").convert("RGB")).astype(int)
        assert ((shown - (176, 0, 0)) ** 2).sum(-1)[-25:, -110:].min() < 50  # stamped


def test_visits_are_in_the_column_visit_unless_told(tmp_path: Path) -> None:
    table = study(tmp_path)
    given = {"subject": None, "subject_pattern": None, "where": (), "match": (), "exclude": (), "mask": None,
             "visits": None, "which": None, "unit": None, "date": None, "side": None, "contrast": None}  # fmt: skip
    pd.read_csv(table).rename(columns={"year": "visit"}).to_csv(table, index=False)
    assert visited(table, None, None, given)["visits"] == "visit"
    with pytest.raises(CohortError, match="leave --visits out"):
        visited(None, table, None, {**given, "visits": "visit"})
