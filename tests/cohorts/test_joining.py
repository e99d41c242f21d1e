"""Scores beside the rows of a cohort: ids by one rule, outcomes with codes for missing, tables that go on."""

from pathlib import Path

import pandas as pd
import pytest

from anomaly.cohorts import joining
from anomaly.cohorts.results import read_table
from anomaly.cohorts.tables import SCORES, GrowingTable
from anomaly.errors import EvaluationError, RunError


def joined(scored: pd.DataFrame, people: pd.DataFrame) -> tuple[list, list, list[str]]:
    notes: list[str] = []
    left, right = joining.join(scored, read_table(people, "cohort"), Path("/a"), Path("/b"), notes)
    return list(left["id"]), list(right["oa"]), notes


def test_ids_join_by_the_rule_that_scoring_writes_them_by() -> None:
    scored = pd.DataFrame({"id": ["P_1", "x_y", "7", "Müller_2"]})
    people = pd.DataFrame({"id": ["x/y", " P 1 ", "Müller 2", 7.0], "oa": [1, 2, 3, 4]})
    assert joined(scored, people)[:2] == (["P_1", "x_y", "7", "Müller_2"], [2, 1, 4, 3])


def test_ids_that_only_file_names_confuse_are_refused_where_it_matters() -> None:
    people = pd.DataFrame({"id": ["a b", "a_b", "c"], "oa": [1, 2, 3]})
    with pytest.raises(EvaluationError, match=r"differ only in characters that file names cannot hold \(a b, a_b\)"):
        joined(pd.DataFrame({"id": ["a_b"]}), people)
    assert joined(pd.DataFrame({"id": ["c"]}), people)[1] == [3]


def test_ids_of_the_cohort_are_found_among_the_names_of_files() -> None:
    scored = pd.DataFrame({"id": ["s1_a", "s2_b"], "path": ["/x/s1/a.nii.gz", "/x/s2/b.nii.gz"]})
    for names in (["b", "a"], ["b.nii.gz", "a.nii.gz"]):
        ids, oa, notes = joined(scored, pd.DataFrame({"id": names, "oa": [1, 2]}))
        assert (ids, oa) == (["s1_a", "s2_b"], [2, 1])
        assert "2 of 2 scores joined the cohort on id, by the names of the scored files." in notes


def outcome(values: list, positive: str | None = None) -> list:
    return joining.events(pd.DataFrame({"oa": values}), "oa", positive, []).tolist()


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        ([0, 1, -9], "-9"),
        ([0, 1, 999], "999"),
        ([0.0, 1.0, 9.0], "9"),
        (["0", "1", "."], "."),
        (["0", "1", "NA"], "NA"),
        ([0, 1, -9, 999], "-9,999"),
        ([0, 1, -1], "-1"),
        (["0", "1", "unknown", "88"], "88,unknown"),
    ],
)
def test_codes_for_missing_are_told_as_such(values: list, codes: str) -> None:
    with pytest.raises(EvaluationError, match=f"holds 0 and 1, and beside them .* look like codes for missing: "
                                              f"add --missing {codes} "):  # fmt: skip
        outcome(values)


def test_an_event_is_not_compared_with_what_is_missing() -> None:
    with pytest.raises(EvaluationError, match=r"holds 1 and 2, and beside them -9 .*--missing -9 "):
        outcome([1, 2, -9], "2")
    with pytest.raises(EvaluationError, match=r"say which is the event, such as --positive 2 .*-9 look like codes"):
        outcome([1, 2, -9])
    assert outcome([0, 1, 2, 3, 4, 8, 9], "9")[-1] == 1  # a grade, where grades lead up to it
    assert outcome([-1, 0, 1], "1") == [0, 0, 1]  # got better, same, worse
    assert outcome(["healthy", "unknown"], "healthy") == [1, 0]


def test_missing_cells_are_counted_in_the_notes() -> None:
    people = read_table(pd.DataFrame({"id": ["a", "b"], "oa": [1, -9]}), "cohort", missing=["-9"])
    notes: list[str] = []
    joining.join(pd.DataFrame({"id": ["a", "b"]}), people, Path("/a"), Path("/b"), notes)
    assert notes[0] == "Cells of the cohort table that hold a code for missing, by column: oa: 1."
    assert people["oa"].isna().tolist() == [False, True]


def test_what_an_older_rule_called_otherwise_is_not_done_again(tmp_path: Path) -> None:
    row = {"subject": "p", "value": 1, "z": 1, "p_value": 1, "flagged": 1, "heatmap": ""}
    with GrowingTable(SCORES, tmp_path, settings={}, columns=[]) as table:
        table.add([{**row, "id": "scan", "path": "/d/s1/scan.png"}])
    again = GrowingTable(SCORES, tmp_path, settings={}, columns=[])
    rows = [{"id": "s1_scan", "path": "/d/s1/scan.png"}, {"id": "s2_scan", "path": "/d/s2/scan.png"}]
    assert again.left(rows) == rows[1:] and again.name(rows[0]) == "scan"
    with pytest.raises(RunError, match=r"has /d/s1/scan\.png as scan, which now is /d/scan\.png"):
        again.left([{"id": "scan", "path": "/d/scan.png"}])
