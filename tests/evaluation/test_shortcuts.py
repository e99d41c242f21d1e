"""Where the score comes from, on grids whose truth is known: one cell, the ring or the size alone tells the outcome."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pages import words_of

from anomaly import statistics
from anomaly.cohorts.grid import CELLS, GRID
from anomaly.evaluation import Evaluation, evaluate
from anomaly.reporting import report

N = 60
EVENT = np.arange(N) % 2
RING = [name for name in CELLS if {"1", "8"} & set(name.split("_")[1:])]
INSIDE = [name for name in CELLS if name not in RING]


def flat(**columns: object) -> pd.DataFrame:
    """A grid in which nothing tells anything: all columns alike but for those given."""
    table = pd.DataFrame({"id": [f"i{k}" for k in range(N)]} | dict.fromkeys(CELLS, np.zeros(N)))
    about = {"size_1": 64, "size_2": 48, "size_3": np.nan, "border_intensity": 3.0, "mean_intensity": 9.0}
    return table.assign(**about | columns)[list(GRID.columns)]


def ask(folder: Path, grid: pd.DataFrame | None, people: pd.DataFrame | None = None, **asked: object) -> Evaluation:
    """The evaluation of scores that tell nothing, with a grid beside them."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    scores = pd.DataFrame({"id": [f"i{k}" for k in range(N)], "value": rng.permutation(N).astype(float)})
    scores.to_csv(folder / "scores.csv", index=False)
    (folder / "score.json").write_text(json.dumps({"runs": [], "alpha": 0.05}))
    if grid is not None:
        grid.to_csv(folder / "grid.csv", index=False)
    people = pd.DataFrame({"id": scores["id"], "ill": EVENT}) if people is None else people
    return evaluate(folder, people, **{"outcome": "ill", "out": folder} | asked)


def aurocs(found: Evaluation) -> "pd.Series[float]":
    return found.section("where").table.set_index("measure")["auroc"]


def test_the_one_cell_that_tells_has_an_auroc_of_one_and_all_others_one_half(tmp_path):
    found = ask(tmp_path, flat(cell_3_5=EVENT * 1.0))
    told = aurocs(found)
    assert told["cell_3_5"] == 1 and (told[list(CELLS)].drop("cell_3_5") == 0.5).all()
    assert (told["map"], told["inside"], told["ring"]) == (1, 1, 0.5)
    table = pd.read_csv(found.out / "where.csv")
    assert list(table) == ["measure", "n", "events", "auroc", "auroc_low", "auroc_high", "method"]
    assert list(table["measure"]) == ["score", "map", "ring", "inside", *CELLS]
    assert set(table["n"]) == {N} and set(table["events"]) == {N // 2}
    assert (found.out / "where.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("part", "other"), [(RING, INSIDE), (INSIDE, RING)])
def test_ring_and_inside_are_the_cells_they_say(part, other, tmp_path):
    rng = np.random.default_rng(1)
    assert (len(RING), len(INSIDE)) == (28, 36)
    found = aurocs(ask(tmp_path, flat(**{name: EVENT + rng.random(N) / 2 for name in part})))
    names = {"ring": RING, "inside": INSIDE}
    assert {name: found[name] for name in names} == {name: 1 if names[name] is part else 0.5 for name in names}
    assert (found[part] == 1).all() and (found[other] == 0.5).all()


def test_the_sentence_names_the_ring_and_which_way_it_goes(tmp_path):
    noise = np.random.default_rng(2).normal(size=N)
    higher = ask(tmp_path / "a", flat(cell_1_4=EVENT * 1.5 + noise)).section("where")
    expected = statistics.auroc_interval(EVENT, EVENT * 1.5 + noise, scale="logit")
    ends = f"{expected.low:.2f} to {expected.high:.2f}"
    assert higher.sentences[0].startswith(
        "The outer ring of the map alone, the rim of the image, tells ill with an AUROC of "
        f"{expected.value:.2f} (95 % {ends}); the inside alone has 0.50 ("
    )
    lower = ask(tmp_path / "b", flat(cell_8_1=-EVENT * 1.5 - noise)).section("where")
    assert f"tells ill the other way round, with an AUROC of {1 - expected.value:.2f} (" in lower.sentences[0]
    neither = ask(tmp_path / "c", flat(cell_8_1=noise)).section("where")
    assert "is not shown to tell ill: its AUROC is 0." in neither.sentences[0]


def test_size_and_brightness_are_told_as_they_are_with_their_direction(tmp_path):
    noise = np.random.default_rng(3).normal(size=N)
    size = np.where(EVENT, 50, 64) + np.arange(N) // 2 % 9
    section = ask(tmp_path, flat(size_1=size, border_intensity=noise + 2 * EVENT, mean_intensity=noise)).section(
        "where"
    )
    told = section.table.set_index("measure")["auroc"]
    assert told["height"] == statistics.auroc_interval(EVENT, size).value < 0.1 and "width" not in told
    assert section.sentences[1].startswith(f"How the image was taken, by itself: height {told['height']:.2f} (")
    assert section.sentences[1].count("lower with ill") == section.sentences[1].count("higher with ill") == 1
    assert section.sentences[1].endswith("not shown to differ.")


def test_what_is_the_same_in_all_images_is_left_out_with_a_word(tmp_path):
    found = ask(tmp_path / "all", flat())
    assert (
        "Height, width, border intensity and mean intensity are the same in all images, so the outcome is not in that."
    ) in found.notes
    assert len(found.section("where").sentences) == 1
    one = ask(tmp_path / "one", flat(size_2=np.arange(N), border_intensity=np.arange(N), mean_intensity=EVENT))
    assert "Height is the same in all images, so the outcome is not in that." in one.notes


def test_volumes_have_three_sizes(tmp_path):
    slices = 20 + np.arange(N) % 7
    table = ask(tmp_path, flat(size_1=slices, size_2=slices, size_3=slices)).section("where").table
    assert list(table["measure"][4:7]) == ["size_1", "size_2", "size_3"]


def test_intervals_count_persons(tmp_path):
    noise = np.random.default_rng(4).normal(size=N)
    people = pd.DataFrame({"id": [f"i{k}" for k in range(N)], "ill": EVENT, "subject": np.arange(N) // 2})
    table = ask(tmp_path, flat(cell_1_1=EVENT + noise), people).section("where").table.set_index("measure")
    expected = statistics.auroc_interval(EVENT, EVENT + noise, people["subject"], scale="logit")
    assert tuple(table.loc["ring", ["auroc", "auroc_low", "auroc_high"]]) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )
    assert table.loc["ring", "method"] == "DeLong, clustered by subject, logit scale, t"


def test_the_page_shows_the_sentence_and_the_figure_but_not_every_cell(tmp_path):
    found = ask(tmp_path, flat(cell_1_4=EVENT + np.random.default_rng(5).normal(size=N)))
    page = report(found.out).read_text(encoding="utf-8")
    assert ">Where the score comes from</h2>" in page and found.section("where").sentences[0] in words_of(page)
    assert 'alt="Where the score comes from: AUROCs of the score' in page
    assert ">ring<" in page and ">cell_1_4<" not in page
    facts = json.loads((found.out / "evaluation.json").read_text())
    told = next(each for each in facts["sections"] if each["name"] == "where")
    assert [row["measure"] for row in told["rows"]] == ["score", "map", "ring", "inside"]
    assert told["figure"] == "where.png"


def test_scores_of_an_older_version_are_evaluated_and_the_way_is_told(tmp_path):
    found = ask(tmp_path, None)
    told = [note for note in found.notes if note.startswith("Where the score comes from")]
    assert told == [
        "Where the score comes from was left out: there is no grid.csv beside the scores, as an older version left "
        "them; score the images again, into a new --out."
    ]
    assert "where" not in [section.name for section in found.sections] and not list(found.out.glob("where*"))


def test_of_scores_from_elsewhere_nothing_is_said(tmp_path):
    ask(tmp_path, None)
    (tmp_path / "score.json").unlink()
    people = pd.DataFrame({"id": [f"i{k}" for k in range(N)], "ill": EVENT})
    assert not [n for n in evaluate(tmp_path, people, outcome="ill", out=tmp_path).notes if "comes from" in n]


def test_images_without_a_map_are_counted_and_left_out(tmp_path):
    grid = flat(cell_1_1=EVENT * 1.0, mean_intensity=np.arange(N)).iloc[4:]
    grid.loc[7, "cell_4_4"] = np.nan
    found = ask(tmp_path, grid)
    assert (
        "5 images have no map in grid.csv and were left out of where the score comes from (i0, i1, i2, ...)."
        in found.notes
    )
    table = found.section("where").table
    assert set(table["n"]) == {N - 5} and set(table["events"]) == {N // 2 - 3}


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda grid: grid.iloc[:19], "9 events and 10 controls for 'the images with a map in grid.csv'"),
        (lambda grid: grid.drop(columns="cell_8_8"), "grid.csv is not as scoring writes it"),
        (lambda grid: grid.assign(cell_1_1="high"), "grid.csv is not as scoring writes it"),
        (lambda grid: pd.concat([grid, grid]), "60 ids stand on several rows"),
        (lambda grid: grid.iloc[:0], "0 events and 0 controls"),
    ],
)
def test_a_grid_that_allows_no_figure_costs_no_other(spoil, told, tmp_path):
    found = ask(tmp_path, spoil(flat()))
    notes = [note for note in found.notes if note.startswith("Where the score comes from could not be told: ")]
    assert len(notes) == 1 and told in notes[0]
    assert found.section("odds") and "where" not in [section.name for section in found.sections]


def test_rows_asked_for_alone_count(tmp_path):
    people = pd.DataFrame({"id": [f"i{k}" for k in range(N)], "ill": EVENT, "site": np.arange(N) // 40})
    kept = ask(tmp_path, flat(cell_2_2=EVENT * 1.0), people, where={"site": "0"})
    assert set(kept.section("where").table["n"]) == {40}
