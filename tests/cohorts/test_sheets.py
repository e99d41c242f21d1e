"""Tables as strangers write them: separators, letters, decimal commas, row numbers, missing values, kinds."""

import gzip
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.cohorts.cohort import read_cohort
from anomaly.cohorts.results import read_table
from anomaly.cohorts.sheets import NoTable, read_sheet
from anomaly.errors import CohortError, EvaluationError

TEXTS = ["id", "subject", "path"]
PLAIN = "id,age,site,oa\n001,61.5,A,0\nNA,70.25,B,1\n1e5,55,A,1\n"


def sheet(folder: Path, content: str | bytes, name: str = "cohort.csv") -> Path:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder / name


def plain(table: pd.DataFrame) -> None:
    """The table that all of these files hold."""
    assert list(table) == ["id", "age", "site", "oa"]
    assert list(table["id"]) == ["001", "NA", "1e5"]
    assert list(table["age"]) == [61.5, 70.25, 55] and table["age"].dtype == float
    assert list(table["site"]) == ["A", "B", "A"] and list(table["oa"]) == [0, 1, 1]
    assert table["oa"].dtype == np.int64 and list(table.index) == [0, 1, 2]


GERMAN = PLAIN.replace(",", ";").replace(".", ",")
ROWS = '"id" "age" "site" "oa"\n"1" "001" 61.5 "A" 0\n"2" "NA" 70.25 "B" 1\n"3" "1e5" 55 "A" 1\n'
FILES: dict[str, tuple[str | bytes, str]] = {
    "comma": (PLAIN, ""),
    "mark of UTF-8": ("\ufeff" + PLAIN, ""),
    "semicolon": (PLAIN.replace(",", ";"), "parted by semicolons"),
    "decimal comma": (GERMAN, "parted by semicolons, with decimal commas in age"),
    "sep line": ("sep=;\r\n" + GERMAN.replace("\n", "\r\n"), "parted by semicolons, with decimal commas in age"),
    "sep line of a comma": ('"sep=,"\n' + PLAIN, ""),
    "tab": (PLAIN.replace(",", "\t"), "parted by tabs"),
    "tab and decimal comma": (GERMAN.replace(";", "\t"), "parted by tabs, with decimal commas in age"),
    "bar": (PLAIN.replace(",", "|"), "parted by bars"),
    "UTF-16": (PLAIN.encode("utf-16"), "in UTF-16"),
    "UTF-16 without mark": (PLAIN.encode("utf-16-le"), "in UTF-16"),
    "Unicode text of Excel": (PLAIN.replace(",", "\t").encode("utf-16"), "parted by tabs, in UTF-16"),
    "gzip": (gzip.compress(PLAIN.encode()), ""),
    "trailing separators": (PLAIN.replace("\n", ",\n"), ""),
    "trailing separators of the rows": ("id,age,site,oa\n" + PLAIN[15:].replace("\n", ",,\n"), ""),
    "empty rows": (PLAIN + ";;;\n\n".replace(";", ","), ""),
    "blanks": (" id ,age, site,oa \n001 , 61.5,A ,0\nNA,70.25 ,\xa0B,1\n 1e5,55, A\xa0, 1 \n", ""),
    "blanks and quotes": ('"id" , "age","site" ,oa\n"001" ,61.5, "A" ,0\n NA ,70.25,"B ",1\n"1e5",55,A,1\n', ""),
    "lines of old Macs": (PLAIN.replace("\n", "\r"), ""),
    "R's write.table": (ROWS, "parted by blanks, its row numbers left out"),
    "R's write.table with tabs": (ROWS.replace(" ", "\t"), "parted by tabs, its row numbers left out"),
    "R's write.table with commas": (ROWS.replace(" ", ","), "its row numbers left out"),
    "R's write.csv": ('"",' + ROWS.replace(" ", ","), "its row numbers left out"),
    "pandas": (",id,age,site,oa\n0,001,61.5,A,0\n1,NA,70.25,B,1\n2,1e5,55,A,1\n", "its row numbers left out"),
    "padded": ("id    age site oa\n001  61.5    A  0\nNA  70.25    B  1\n1e5    55    A  1\n", "parted by blanks"),
    "a column without anything": ("id,age,,site,oa\n001,61.5,,A,0\nNA,70.25,,B,1\n1e5,55,,A,1\n", ""),
    "end of a file of DOS": (PLAIN + "\x1a", ""),
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_one_table_in_every_form(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content, told = FILES[kind]
    with caplog.at_level(logging.INFO):
        plain(read_sheet(sheet(tmp_path, content), TEXTS))
    assert [record.getMessage().partition("taken for a table ")[2] for record in caplog.records] == (
        [told] if told else []
    )


def test_letters_of_windows_are_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = sheet(tmp_path, "id;größe\nMüller;1,85\n".encode("cp1252"))
    with caplog.at_level(logging.INFO):
        table = read_sheet(path, TEXTS)
    assert table.to_dict("list") == {"id": ["Müller"], "größe": [1.85]}
    assert "parted by semicolons, in Windows-1252, with decimal commas in größe" in caplog.text


@pytest.mark.parametrize(
    ("content", "values"),
    [
        ("a;b\n1.234,5;x\n61,0;y\n", [1234.5, 61.0]),  # dots between thousands
        ("a;b\n1,234;x\n2,345;y\n", [1.234, 2.345]),  # parted by semicolons: decimal commas
        ("a;b\n1,234;0.5\n2,345;1.5\n", ["1,234", "2,345"]),  # points elsewhere: thousands, and no number is made up
        ('a,b\n"1,234",x\n"2,345",y\n', ["1,234", "2,345"]),  # English thousands, or not: nobody knows
        ('a,b\n"1,5",x\n"2,25",y\n', [1.5, 2.25]),  # cannot be thousands
        ("a;b\n1,2,3;x\n1,2;y\n", ["1,2,3", "1,2"]),  # a list
    ],
)
def test_a_comma_is_a_decimal_point_only_where_nothing_speaks_against_it(content, values, tmp_path: Path) -> None:
    assert list(read_sheet(sheet(tmp_path, content), [])["a"]) == values


def test_a_column_of_mixed_kinds_is_text_however_long_the_table_is(tmp_path: Path) -> None:
    rows = [f"i{n},{n % 3 + 1}" for n in range(300_000)] + ["z,B"]
    table = read_sheet(sheet(tmp_path, "id,site\n" + "\n".join(rows) + "\n"), TEXTS)
    assert set(table["site"]) == {"1", "2", "3", "B"}  # and no number 1 beside a text "1"


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["None", "Mild", "Severe"], ["None", "Mild", "Severe"]),  # a level
        (["None", "1", "2"], [None, 1, 2]),  # as Python writes what is missing
        (["None", "True", "False"], [None, True, False]),
        (["NA", "Mild", "NaN"], [None, "Mild", None]),
        (["NULL", "1.5", "#N/A"], [None, 1.5, None]),
        (["TRUE", "FALSE", "TRUE"], [True, False, True]),
        ([".", "61", "70"], [".", "61", "70"]),  # not guessed: see the codes for missing
        (["90+", "61", "70"], ["90+", "61", "70"]),
        (["01", "1", "2"], [1, 1, 2]),
        (["1_000", "0x1A", "2"], ["1_000", "0x1A", "2"]),
    ],
)
def test_what_is_missing_and_what_is_a_level(cells: list[str], values: list, tmp_path: Path) -> None:
    found = read_sheet(sheet(tmp_path, "id,x\n" + "".join(f"{n},{cell}\n" for n, cell in enumerate(cells))), TEXTS)["x"]
    assert [None if pd.isna(each) else each for each in found] == values


def test_rows_that_end_otherwise_than_their_neighbours_are_rows(tmp_path: Path) -> None:
    path = sheet(tmp_path, "id,age\n" + "".join(f"p{k},{k}\r" for k in range(300)) + "\nq,7\n")
    assert read_sheet(path, TEXTS).shape == (301, 2)


def test_codes_for_missing_are_missing_in_all_but_names(tmp_path: Path) -> None:
    path = sheet(tmp_path, "id,subject,age,oa\n999,-9,61,0\n2,p,.,-9\n3,q,999.0,1\n")
    table = read_sheet(path, TEXTS, missing=["-9", "999", "."])
    assert list(table["id"]) == ["999", "2", "3"] and list(table["subject"]) == ["-9", "p", "q"]
    assert table["age"].isna().tolist() == [False, True, True] and table["age"][0] == 61
    assert table["oa"].isna().tolist() == [False, True, False]
    assert table.attrs["missing"] == {"age": 2, "oa": 1}
    again = read_table(read_sheet(path, TEXTS), "cohort", missing=["-9", "999", "."])
    assert again["age"].tolist()[0] == 61 and again.attrs["missing"] == {"age": 2, "oa": 1}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("id,age,age\n1,2,3\n", "2 columns called 'age'"),
        ("id,age, age \n1,2,3\n", "2 columns called 'age'"),
        ("id,age\np1,61,5\np2,70\n", "row 1 has 3 cells, the header 2 names"),
        ("id,age\np1,61,5\np2,70,5\n", "row 1 has 3 cells, the header 2 names"),  # commas within numbers, no row names
        ("id,age\np1,61\np2,70,5,6\n", "has 4 cells, the header 2 names"),
        ("id,age\n" + "p1,61\n" * 2000 + "p," * 2000, "row 2001 has 2000 cells, the header 2 names"),
        ("id,age\n" + "p1,61\n" * 2000 + "," * 2000 + "\np,1\n", "a row has 2001 cells, the header 2 names"),
        (gzip.compress(b"id,age\np1,61\n" * 9)[:12] + bytes(range(7, 99)), "its compression is damaged"),
        ("", "it is empty"),
        ("\n\n", "it is empty"),
        ('id,age\np1,"61\n', "damaged"),
        (b"PK\x03\x04rest", "an Excel or OpenDocument workbook; save it as CSV"),
        (b"\xd0\xcf\x11\xe0rest", "an Excel workbook of the old kind; save it as CSV"),
        ("<!DOCTYPE html><html></html>", "an HTML or XML page"),
        (bytes(range(256)), "no text"),
    ],
)
def test_what_is_no_table_is_refused_by_name(content: str | bytes, told: str, tmp_path: Path) -> None:
    path = sheet(tmp_path, content)
    with pytest.raises(NoTable, match=told):
        read_sheet(path, TEXTS)
    with pytest.raises(CohortError, match=f"cohort.csv: is no CSV that can be read: .*{told}"):
        read_cohort(path)
    with pytest.raises(EvaluationError, match=f"cohort.csv could not be read as a table: .*{told}"):
        read_table(path, "cohort")


def test_a_workbook_is_refused_with_a_word_or_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("openpyxl")
    pd.DataFrame({"id": ["001", "NA"], "age": [61, 70.5]}).to_excel(tmp_path / "x.xlsx", index=False)
    with caplog.at_level(logging.INFO):
        table = read_sheet(tmp_path / "x.xlsx", TEXTS)
    assert table.to_dict("list") == {"id": ["001", "NA"], "age": [61, 70.5]}
    assert "in the sheet Sheet1 of an Excel workbook" in caplog.text


def test_a_workbook_without_its_reader_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anomaly.cohorts.sheets.importlib.util.find_spec", lambda name: None)
    with pytest.raises(NoTable, match=r"save it as CSV .*, or install openpyxl"):
        read_sheet(sheet(tmp_path, b"PK\x03\x04rest", "x.xlsx"), TEXTS)


def test_row_names_of_r_serve_as_ids(tmp_path: Path) -> None:
    table = read_sheet(sheet(tmp_path, '"oa" "age"\n"p1" 0 61\n"p2" 1 70\n'), TEXTS)
    assert table.to_dict("list") == {"id": ["p1", "p2"], "oa": [0, 1], "age": [61, 70]}


def test_columns_of_one_name_are_refused_in_tables_in_memory_too() -> None:
    table = pd.DataFrame([["a.png", 1, 2]], columns=["path", "age", "age"])
    with pytest.raises(CohortError, match="the table: it has 2 columns called 'age'"):
        read_cohort(table)
    with pytest.raises(
        EvaluationError, match="the cohort table could not be read as a table: it has 2 columns called 'age'"
    ):
        read_table(table, "cohort")


@pytest.mark.parametrize("column", ["path", "image", "file", "filename"])
def test_the_column_of_files_has_the_same_names_everywhere(column: str, tmp_path: Path) -> None:
    (tmp_path / "007.png").touch()
    path = sheet(tmp_path, f"{column},oa\n007.png,1\n")
    assert list(read_table(path, "cohort")["path"]) == ["007.png"]
    assert list(read_table(pd.read_csv(path), "cohort")["path"]) == ["007.png"]
    assert list(read_cohort(path)["id"]) == ["007"]


def test_numbers_that_name_are_texts_as_a_file_would_have_them() -> None:
    table = pd.DataFrame({"id": [7.0, 8.0], "subject": [1, 2], "oa": [0, 1]})
    found = read_table(table, "cohort")
    assert list(found["id"]) == ["7", "8"] and list(found["subject"]) == ["1", "2"]


cells = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=6)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(cells, st.integers(-9, 9), cells), min_size=1, max_size=8), st.sampled_from(",;\t|"))
def test_any_cells_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list, mark: str
) -> None:
    path = tmp_path_factory.mktemp("sheet") / "x.csv"
    table = pd.DataFrame([(f"i{n}", *row) for n, row in enumerate(rows)], columns=["id", "subject", "x", "path"])
    table.to_csv(path, sep=mark, index=False)
    found = read_sheet(path, TEXTS)
    assert list(found["id"]) == list(table["id"]) and list(found["x"]) == list(table["x"])
    for name in ("subject", "path"):
        cut = [
            text.strip(
                " \u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u202f\u3000\ufeff\xa0"
            )
            for text in table[name]
        ]
        assert ["" if pd.isna(each) else each for each in found[name]] == cut
