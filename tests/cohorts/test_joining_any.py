"""Any scores beside any cohort: joined as a dictionary of ids would, in any order of rows, or refused."""

import random
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from anomaly.cohorts import joining
from anomaly.cohorts.results import read_table
from anomaly.errors import EvaluationError

SETTINGS = settings(max_examples=100, deadline=None, derandomize=True)
TEXTS = [
    "007",
    "7",
    "7.0",
    " 7 ",
    "a/b",
    "a_b",
    "a b",
    "a\\b",
    ".a",
    "a",
    "NA",
    "nan",
    "None",
    "1e3",
    "Müller 2",
    "x,y",
]
names = st.sampled_from(TEXTS)
cells = st.one_of(names, st.sampled_from([7, 7.0, 8, 1000.0, True]))


def canonical(given: object) -> str:
    """An id as scoring writes it, worked out letter by letter."""
    text = str(int(given)) if isinstance(given, float) else str(given).strip()
    kept = "".join(letter if letter.isalnum() or letter in "_.+=@-" else "_" for letter in text)
    return kept.lstrip(".")


def joined(scored: list[str], people: pd.DataFrame | Path) -> dict[str, int] | None:
    """Which row of the cohort (by its number in the column `row`) each score has; None where it is refused."""
    notes: list[str] = []
    table = read_table(people, "cohort")
    try:
        left, right = joining.join(pd.DataFrame({"id": scored}), table, Path("/a"), Path("/b"), notes)
    except EvaluationError:
        return None
    assert len(left) == len(right) and f"{len(left)} of {len(scored)} scores joined the cohort on id." in notes
    told = " ".join(notes)
    assert (len(left) < len(scored)) == ("have no row in the cohort" in told)
    assert (len(left) < len(table)) == ("rows of the cohort have no score" in told)
    return dict(zip(left["id"], right["row"].astype(int), strict=True))


def expected(scored: list[str], ids: list[object]) -> dict[str, int] | None:
    rows = {canonical(each): row for row, each in enumerate(ids)}
    wanted, there = Counter(map(canonical, scored)), Counter(map(canonical, ids))
    texts = [str(int(each)) if isinstance(each, float) else str(each).strip() for each in ids]
    twice = len({*texts}) < len(texts)
    unclear = any(max(wanted[name], there[name]) > 1 for name in {*wanted} & {*there})
    if twice or unclear or not {*wanted} & {*there}:
        return None
    return {each: rows[canonical(each)] for each in scored if canonical(each) in rows}


@SETTINGS
@example(["a b", "a_b"], ["a_b", "7"])
@example(["7", "007"], ["007", 7.0])
@given(st.lists(names, min_size=1, unique=True, max_size=6), st.lists(cells, min_size=1, max_size=6))
def test_scores_join_a_cohort_as_a_dictionary_would(scored: list[str], ids: list[object]) -> None:
    people = pd.DataFrame({"id": pd.Series(ids, dtype=object), "row": range(len(ids))})
    assert joined(scored, people) == expected(scored, ids)


@SETTINGS
@given(
    st.lists(names, min_size=1, unique=True, max_size=6),
    st.lists(names, min_size=1, max_size=6),
    st.integers(0, 3),
    st.integers(0, 99),
)
def test_a_file_joins_whatever_the_order_of_its_rows_and_its_empty_columns(
    tmp_path_factory: pytest.TempPathFactory, scored: list[str], ids: list[str], blanks: int, seed: int
) -> None:
    people = pd.DataFrame({"id": ids, "row": range(len(ids))})
    shuffled = people.sample(frac=1, random_state=seed)
    path = tmp_path_factory.mktemp("cohort") / "cohort.csv"
    lines = shuffled.to_csv(index=False).splitlines()
    path.write_text("\n".join(line + "," * blanks for line in lines) + "\n", encoding="utf-8")
    again = random.Random(seed).sample(scored, len(scored))
    assert joined(again, path) == expected(scored, list(ids))


@SETTINGS
@example(["a.png", "a.png"], ["a.png"])
@given(st.lists(st.sampled_from(["a.png", "s/a.png", "s/b.png", "./a.png", "t/c.png"]), min_size=1, max_size=5),
       st.lists(st.sampled_from(["a.png", "s/a.png", "x/../a.png", "u/c.png"]), min_size=1, max_size=4))  # fmt: skip
def test_on_paths_no_row_of_the_cohort_stands_for_two_scores(scored: list[str], listed: list[str]) -> None:
    scores = pd.DataFrame({"id": [f"i{n}" for n in range(len(scored))], "path": scored})
    people = read_table(pd.DataFrame({"path": listed, "row": range(len(listed))}), "cohort")
    try:
        left, right = joining.join(scores, people, Path("/d"), Path("/d"), [])
    except EvaluationError:
        return
    assert right["row"].is_unique
    assert [Path(each).name for each in left["path"]] == [Path(each).name for each in right["path"]]
