"""An id says which image it is for good: made of its own path, fit for names of files, whatever stands beside."""

import posixpath
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_cohort import files, table

from anomaly.cohorts.cohort import read_cohort
from anomaly.cohorts.identities import identified
from anomaly.errors import CohortError

BEFORE, BEHIND = ".0abcde123456.part.sim-", "_counterfactual.nii.gz"
"""The longest that is put before and behind an id in names of files."""
BASE = Path("/base")


def test_ids_of_a_table_are_made_as_those_of_a_folder(tmp_path: Path) -> None:
    files(tmp_path, "scans/P1.png", "scans/P2.png", "more/P1.png", "P3.png", "t/cohort/images/x.png", "t/x.png")
    assert list(read_cohort(table(tmp_path, "path\nscans/P1.png\nP3.png\n"))["id"]) == ["scans_P1", "P3"]
    again = read_cohort(table(tmp_path, f"path\nscans/P1.png\n{tmp_path}/scans/P2.png\n./more//P1.png\n"))
    assert list(again["id"]) == ["scans_P1", "scans_P2", "more_P1"]
    (tmp_path / "t" / "cohort").mkdir(exist_ok=True)
    beside = table(tmp_path / "t" / "cohort", "path\n../../scans/P1.png\n../x.png\nimages/x.png\n")
    assert list(read_cohort(beside)["id"]) == ["scans_P1", "x.png", "images__x"]


def test_a_row_added_to_a_table_renames_nobody(tmp_path: Path) -> None:
    files(tmp_path, "s1/scan.png", "s2/scan.png", "s1_scan.png")
    for rows in (["s1/scan.png"], ["s2/scan.png", "s1/scan.png"]):
        text = "\n".join(["path", *rows]) + "\n"
        assert list(read_cohort(table(tmp_path, text))["id"])[-1] == "s1_scan"
    met = read_cohort(table(tmp_path, "path\ns1/scan.png\ns1_scan.png\n"))
    assert list(met["id"]) == ["s1__scan", "s1_scan.png"]  # neither has the id that both would have


def test_an_id_too_long_for_the_names_of_files_is_refused(tmp_path: Path) -> None:
    files(tmp_path, "a.png")
    assert list(read_cohort(table(tmp_path, f"path,id\na.png,{'x' * 210}\n"))["id"]) == ["x" * 210]
    with pytest.raises(CohortError, match=r"cohort.csv: 1 ids are longer than 210 bytes \(ü+\); shorten them"):
        read_cohort(table(tmp_path, f"path,id\na.png,{'ü' * 106}\n"))


alike = st.sampled_from(["a", "b", "a_b", "a__b", "a b", "a:", "images", "sub-1", "ses-1", "anat", "sub-1_T1w", "..."])
strange = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=5)
parts = st.one_of(alike, alike, strange, st.sampled_from(["x" * 200, "ü" * 120])).filter(lambda part: part != ".")
endings = st.sampled_from([".png", ".jpg", ".PNG", ".nii.gz", ".5", ""])
paths = st.builds(lambda steps, ending: "/".join(steps) + ending, st.lists(parts, min_size=1, max_size=4), endings).map(
    posixpath.normpath
)
sets = st.lists(paths.filter(lambda path: path != "."), min_size=1, max_size=6, unique=True)


def ids(found: list[str], base: Path | None = BASE) -> dict[str, str]:
    """The id of each path, where all of them are in one folder or table."""
    return dict(zip(found, identified(pd.DataFrame({"path": found}), "it", base)["id"], strict=True))


def alone(path: str) -> str:
    return ids([path])[path]


@settings(max_examples=120, deadline=None, derandomize=True)
@example(["a:/x.png", "a/x.png"])
@example(["a/b.png", "a_b.png", "a__b.png"])
@given(sets)
def test_ids_are_unique_and_names_of_files(found: list[str]) -> None:
    given = list(ids(found).values())
    assert len({*given}) == len(given)
    for name in given:
        assert name and not name.startswith(".") and not {*name} & {*"/\\\0: "} and name.isprintable()
        assert len(f"{BEFORE}{name}{BEHIND}".encode()) <= 255


@settings(max_examples=120, deadline=None, derandomize=True)
@example(["s1/scan.png"], ["s2/scan.png"])
@example(["a__b.png", "a/b.png"], ["a_b.png"])  # the second comes to be told apart by what is the first's name
@given(sets, sets)
def test_what_is_added_changes_the_ids_of_those_alone_that_it_would_share(found: list[str], added: list[str]) -> None:
    before, after = ids(found), ids(list(dict.fromkeys([*found, *added])))
    shared = {alone(path) for path in added if path not in found}
    for path in found:
        assert after[path] == before[path] or alone(path) in shared
    counts = Counter(map(alone, after))
    for path, name in after.items():  # an id that two would have is nobody's
        assert name == alone(path) if counts[alone(path)] == 1 else name not in counts


@settings(max_examples=60, deadline=None, derandomize=True)
@given(sets.flatmap(lambda found: st.tuples(st.just(found), st.permutations(found))))
def test_ids_do_not_depend_on_the_order_nor_on_how_paths_are_written(both: tuple[list[str], list[str]]) -> None:
    found, shuffled = both
    below = [path for path in shuffled if not path.startswith("../")]
    assert ids(found) == ids(shuffled)
    written = [f"{BASE}/{path}" if number % 2 else f"./x/..//{path}" for number, path in enumerate(below)]
    assert list(ids(below).values()) == list(ids(written).values())


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.text(max_size=80) | st.integers(0, 120).map(lambda n: "ü" * n), min_size=1, max_size=4))
def test_ids_that_a_table_gives_are_names_of_files_or_refused_by_name(given: list[str]) -> None:
    cohort = pd.DataFrame({"path": [f"{n}.png" for n in range(len(given))], "id": given})
    try:
        found = list(identified(cohort, "cohort.csv", BASE)["id"])
    except CohortError as error:
        assert "cohort.csv: " in str(error)
        return
    assert len({*found}) == len({text.strip() for text in given})
    assert all(name and "/" not in name and len(f"{BEFORE}{name}{BEHIND}".encode()) <= 255 for name in found)
