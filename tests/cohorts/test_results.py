import pandas as pd
import pytest

from anomaly.cohorts import results
from anomaly.errors import EvaluationError


def test_tables_parted_by_tabs_are_known_by_their_ending(tmp_path):
    (tmp_path / "cohort.tsv").write_text("id\tsubject\tgrade\n01\tNA\tNA\n02\t\t3\n", encoding="utf-8")
    found = results.read_table(tmp_path / "cohort.tsv", "cohort")
    assert list(found["id"]) == ["01", "02"]
    assert found["subject"][0] == "NA" and pd.isna(found["subject"][1])
    assert pd.isna(found["grade"][0]) and found["grade"][1] == 3


def test_names_stay_text_and_only_an_empty_one_is_missing(tmp_path):
    rows = "id,subject,person,heatmap,age\n001,NA,None,,NA\nnull, 7,007,a.png,61\n"
    (tmp_path / "cohort.csv").write_text(rows, encoding="utf-8-sig")
    found = results.read_table(tmp_path / "cohort.csv", "cohort", names=["person", "absent"])
    assert list(found) == ["id", "subject", "person", "heatmap", "age"]
    assert found[["id", "subject", "person"]].to_numpy().tolist() == [["001", "NA", "None"], ["null", "7", "007"]]
    assert list(found["heatmap"].isna()) == [True, False] and list(found["age"].isna()) == [True, False]
    plain = results.read_table(tmp_path / "cohort.csv", "cohort")
    assert plain["person"][1] == 7


def test_facts_are_none_where_the_file_is_absent_and_an_error_where_it_is_damaged(tmp_path):
    assert results.read_facts(tmp_path / "score.json") == {}
    assert not results.scored_trained(tmp_path / "scores.csv")
    (tmp_path / "score.json").write_text('{"allow_overlap": true}', encoding="utf-8")
    assert results.scored_trained(tmp_path / "scores.csv")
    (tmp_path / "score.json").write_text("{", encoding="utf-8")
    with pytest.raises(EvaluationError, match="is not valid JSON"):
        results.scored_trained(tmp_path / "scores.csv")
