"""Who is a case and who a control, whoever tells so."""

from pathlib import Path

import pandas as pd
import pytest
from explained import two_sides
from studies import pictures

from anomaly.errors import AnomalyError, CohortError
from explain.sides.sides import Sides


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_sides(tmp_path_factory.mktemp("sides"))


def test_folders_and_a_table_tell_the_same(cohort: Path) -> None:
    by_folder = Sides(cases=cohort.parent / "cases", controls=cohort.parent / "controls").read(0.2)
    by_table = Sides(cohort=cohort, outcome="sick").read(0.2)
    for table in (by_folder, by_table):
        assert table["label"].sum() == 20 and len(table) == 40
        assert all(("cases" in path) == label for path, label in zip(table["path"], table["label"], strict=True))
    assert set(by_folder["path"]) == set(by_table["path"])


def test_no_subject_is_in_both_parts_and_all_parts_have_both_sides(cohort: Path) -> None:
    table = Sides(cohort=cohort, outcome="sick").read(0.2)
    assert (table.groupby("subject")["part"].nunique() == 1).all()
    assert set(table["split"]) == {"train control", "train case", "choose control", "choose case"}
    assert (table["split"] == table["part"] + " " + table["label"].map({0: "control", 1: "case"})).all()
    again = Sides(cohort=cohort, outcome="sick").read(0.2)
    assert (again["part"] == table["part"]).all()


def test_unknown_outcomes_are_left_out_and_words_can_be_outcomes(cohort: Path, tmp_path: Path) -> None:
    table = pd.read_csv(cohort)
    table["path"] = [str(cohort.parent / path) for path in table["path"]]
    table["finding"] = table["sick"].map({0: "normal", 1: "ill"})
    table.loc[0, "finding"] = None
    read = Sides(cohort=table, outcome="finding", positive="ill").read(0.2)
    assert len(read) == 39 and read["label"].sum() == 20


def test_pairs_stand_in_one_order_on_both_sides(cohort: Path) -> None:
    table = Sides(cohort=cohort, pair="twin").read(0.2)
    assert len(table) == 40
    for part in ("train", "choose"):
        cases, twins = (table[table["split"] == f"{part} {side}"] for side in ("case", "control"))
        assert list(cases["pair"]) == list(twins["pair"]) and list(cases["subject"]) == list(twins["subject"])
        names = zip(cases["path"], twins["path"], strict=True)
        assert all(Path(a).name == Path(b).name and Path(b).parent.name == "twins" for a, b in names)
    assert table["id"].is_unique


def test_files_of_one_name_on_both_sides_are_told_apart(tmp_path: Path) -> None:
    sides = Sides(cases=pictures(tmp_path / "cases", 6), controls=pictures(tmp_path / "controls", 6))
    table = sides.read(0.3)
    assert table["id"].is_unique and table["subject"].nunique() == 12


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "say who is a case"),
        ({"cases": "cases"}, "say who is a case"),
        ({"cohort": "cohort.csv"}, "say who is a case"),
        ({"cohort": "cohort.csv", "outcome": "sick", "pair": "twin"}, "say who is a case"),
        ({"cases": "cases", "controls": "controls", "outcome": "sick"}, "say who is a case"),
    ],
)
def test_what_is_neither_is_refused(given: dict, message: str) -> None:
    with pytest.raises(AnomalyError, match=message):
        Sides(**given)


def test_what_cannot_be_used_is_told(cohort: Path) -> None:
    folder = cohort.parent
    with pytest.raises(CohortError, match="images are both cases and controls"):
        Sides(cases=folder / "cases", controls=folder / "cases").read(0.2)
    with pytest.raises(CohortError, match="no column 'twins'; its columns are"):
        Sides(cohort=cohort, pair="twins").read(0.2)
    with pytest.raises(CohortError, match="no row has a counterpart"):
        Sides(cohort=cohort, pair="twin", where={"sick": "0"}).read(0.2)
    with pytest.raises(CohortError, match="both sides are needed"):
        Sides(cohort=cohort, outcome="sick", where={"sick": "1"}).read(0.2)
    with pytest.raises(CohortError, match="is left in the part 'choose'"):
        Sides(cohort=cohort, outcome="sick").read(0.01)
    one = next((folder / "cases").iterdir())
    (folder / "one").mkdir()
    (folder / "one" / f"alone{one.suffix}").write_bytes(one.read_bytes())
    with pytest.raises(CohortError, match="1 of all subjects has one; give two at least"):
        Sides(cases=folder / "one", controls=folder / "controls").read(0.2)
    (folder / "notes").write_text("read me")
    with pytest.raises(CohortError, match="notes: a file, neither a folder nor a table"):
        Sides(cases=folder / "notes", controls=folder / "controls").read(0.2)
