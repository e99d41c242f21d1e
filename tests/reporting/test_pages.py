"""What every page offers: contents, words, pictures and tables that keyboards, screen readers and printers can use."""

import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pages import Reader
from PIL import Image

from anomaly.evaluation import evaluate
from anomaly.reporting import curves, images, report, words

COUNT = 60
OUTCOME = np.arange(COUNT) % 3 == 0
REASON = "size: smaller than all held-out normals"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with scores, an outcome, a group map and explanations, each with its page."""
    home = tmp_path_factory.mktemp("Knees & hips")
    ids, rng = [f"i{k:02d}" for k in range(COUNT)], np.random.default_rng(3)
    table = pd.DataFrame({"id": ids, "value": np.arange(COUNT) + 10 * OUTCOME + rng.uniform(0, 0.1, COUNT)})
    table["z"], table["p_value"], table["flagged"] = (
        table["value"] / 9,
        np.linspace(1, 0.01, COUNT),
        table["value"] > 55,
    )
    table["unlike_p"] = np.where(table["id"].isin(["i07", "i20"]), [0.01 + k / 1e4 for k in range(COUNT)], 0.5)
    table["unlike"] = np.where(table["unlike_p"] < 0.05, REASON, "")
    table["heatmap"] = [f"heatmaps/{name}.png" for name in ids]
    (home / "heatmaps").mkdir()
    for name in ids[:50]:
        Image.fromarray(rng.integers(0, 255, (6, 9), dtype=np.uint8)).save(home / "heatmaps" / f"{name}.png")
    table.to_csv(home / "scores.csv", index=False)
    answer = evaluate(home, pd.DataFrame({"id": ids, "pain": OUTCOME.astype(int)}), outcome="pain", out=home)
    beside_truth(home / "truth")
    mapped(home / "where")
    explained(home / "maps", ids)
    for folder in (answer.out, home / "truth", home / "where", home / "maps"):
        report(folder)
    report(home)
    return home


def beside_truth(folder: Path) -> None:
    """A folder as `evaluate` leaves it where no outcome is asked for."""
    folder.mkdir()
    facts = {"scores": str(folder.parent / "scores.csv"), "cohort": None, "truth": "truths", "labels": []}
    facts |= {"headline": "Maps mark what is marked", "notes": [], "evaluation": [], "comparison": [], "sections": []}
    (folder / "evaluation.json").write_text(json.dumps(facts), encoding="utf-8")


def mapped(folder: Path) -> None:
    """A folder as `associate` leaves it."""
    folder.mkdir()
    facts = {"headline": "Maps are higher with pain in a region", "sentences": ["The load tells pain."]}
    facts |= {"notes": ["N."], "outcome": "pain", "positive": None, "alpha": 0.05}
    facts |= {"correction": "max-t", "voxels": 4096, "n": 60}
    (folder / "association.json").write_text(json.dumps(facts), encoding="utf-8")
    regions = {"region": [1, 2], "sign": ["more", "less"], "peak_t": [5.25, -4.0], "p_corrected": [0.0002, 0.03]}
    pd.DataFrame(regions | {"size": [1234.5, 3.0], "peak_x": [None, None]}).to_csv(folder / "regions.csv", index=False)
    predicted = {"outcome": ["pain"] * 2, "score": ["load", "value"], "auroc": [0.8, 0.7], "auroc_low": [0.7, 0.6]}
    predicted |= {"auroc_high": [0.9, 0.8], "load_minus_score": [None, 0.1], "low": [None, 0.02], "high": [None, 0.18]}
    pd.DataFrame(predicted).to_csv(folder / "prediction.csv", index=False)
    Image.new("RGB", (9, 6)).save(folder / "association.png")


def explained(folder: Path, ids: list[str]) -> None:
    """A folder as `explain map` leaves it."""
    folder.mkdir()
    pd.DataFrame({"id": ids, "files": "", "change": 0.1}).to_csv(folder / "explanations.csv", index=False)
    facts = {"source": "x", "outputs": ["png"], "thresholds": {}, "runs": {"source": "mine"}}
    (folder / "explain.json").write_text(json.dumps(facts), encoding="utf-8")


PAGES = [
    *("report.html", "index.html", "pain/report.html", "truth/report.html"),
    *("where/association.html", "maps/report.html"),
]


@pytest.mark.parametrize("name", PAGES)
def test_keyboards_and_screen_readers_find_their_way(study: Path, name: str) -> None:
    page = (study / name).read_text(encoding="utf-8")
    read = Reader(page)
    ids = [found["id"] for _, found in read.facts if "id" in found]
    assert len(ids) == len(set(ids))
    named = [found[key] for _, found in read.facts for key in ("aria-labelledby", "aria-describedby") if key in found]
    assert named and {*named} <= {*ids}
    assert all(read.tags.count(tag) == 1 for tag in ("header", "nav", "main", "h1")) and read.of("html")[0]["lang"]
    levels = [int(tag[1]) for tag in read.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1 and all(after - before <= 1 for before, after in pairwise(levels))
    assert all(image["alt"] for image in read.of("img"))
    assert read.tags.count("table") == read.tags.count("caption") and all(head["scope"] for head in read.of("th"))
    assert all(button["type"] for button in read.of("button")) and {"theme", "large"} <= {*ids}
    assert read.of("svg") == [] or all(drawn["role"] == "img" and drawn["aria-label"] for drawn in read.of("svg"))


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_fetched_and_every_link_leads_somewhere(study: Path, name: str) -> None:
    page = (study / name).read_text(encoding="utf-8")
    read = Reader(page)
    policy = next(found["content"] for found in read.of("meta") if found.get("http-equiv"))
    assert policy.startswith("default-src 'none'; img-src data:;") and "http" not in policy
    assert all(image["src"].startswith("data:image/") for image in read.of("img"))
    assert not {"link", "iframe", "object", "embed"} & {*read.tags} and "url(" not in page and "import " not in page
    links = [found["href"] for found in read.of("a")]
    ids = {f"#{found['id']}" for _, found in read.facts if "id" in found}
    files = [link for link in links if not link.startswith("#")]
    assert {link for link in links if link.startswith("#")} <= ids
    assert all((study / name).parent.joinpath(link).is_file() for link in files)


@pytest.mark.parametrize("name", PAGES)
def test_contents_and_words_are_those_of_the_page(study: Path, name: str) -> None:
    page = (study / name).read_text(encoding="utf-8")
    contents = re.findall(r'<li><a href="#([\w-]+)">', page)
    assert contents == re.findall(r'<h2 id="([\w-]+)">', page) and contents[-1] == "words"
    told = dict(re.findall(r'<dd id="about-([\w-]+)" tabindex="-1">(.*?)</dd>', page))
    assert {*told} == {*re.findall(r'class="word" href="#about-([\w-]+)"', page)}
    assert all(told[words.name_of(word)] for word, _ in words.glossary().items() if words.name_of(word) in told)


def test_words_are_linked_once_a_section_and_only_where_they_are_meant() -> None:
    told = words.explained("AUROC of <b> & unlike_me, unlike AUROC")
    assert re.findall(r">(\w+)</a>", told) == ["AUROC", "unlike", "AUROC"] and "&lt;b&gt; &amp; unlike_me" in told
    body = f'<h2 id="a">A</h2>{told}<h2 id="b">B</h2>{told}'
    assert re.findall(r">(\w+)</a>", words.once(body)) == ["AUROC", "unlike"] * 2
    assert [word for _, word, _ in words.used(words.once(body))] == ["AUROC", "unlike"]


def test_every_word_that_is_looked_for_has_a_meaning() -> None:
    assert {*words._SAID.values()} <= {*words.glossary()} and len(words.glossary()) > 80
    for word in ("AUROC", "z", "p-value", "gap", "unlike", "limit", "read as a chance", "interval", "clustered"):
        assert words.glossary()[word].endswith(".")
    assert words.name_of("p-value") == "p-value"
    names = [words.name_of(word) for word in words.glossary()]
    assert len(names) == len(set(names))
    with pytest.raises(KeyError, match="is not in the glossary"):
        words.linked("nonsense")


def ids_under(page: str, title: str) -> list[str]:
    """Ids of the cards below a heading."""
    _, _, after = page.partition(f"<h3>{title}")
    return re.findall(r"<strong>(\w+)</strong>", after.partition("<h3>")[0].partition("<h2")[0])


def test_highest_controls_lowest_cases_and_what_is_unlike_are_shown(study: Path) -> None:
    page = (study / "pain" / "report.html").read_text(encoding="utf-8")
    controls, cases = ([f"i{k:02d}" for k in range(COUNT) if OUTCOME[k] == side] for side in (False, True))
    assert ids_under(page, "Highest of those without pain") == controls[::-1][:8]
    assert ids_under(page, "Lowest of those with pain") == cases[:8]
    assert ids_under(page, "Unlike what was learned") == ["i07", "i20"] and f"learned: {REASON}" in page
    alone = (study / "report.html").read_text(encoding="utf-8")
    assert "Highest of those without" not in alone and ids_under(alone, "Unlike what was learned") == ["i07", "i20"]
    assert "2 (3.33 %) unlike what was learned" in Reader(alone).words


def rows_of(file: Path) -> dict:
    held = re.search(r'id="rows">(.*?)</script>', file.read_text(encoding="utf-8"), re.DOTALL)
    return json.loads(held[1])


def test_the_table_holds_every_image_with_its_heatmap_where_there_is_one(study: Path) -> None:
    table = pd.read_csv(study / "scores.csv").sort_values("value", ascending=False)
    held = rows_of(study / "pain" / "report.html")
    names = [column["name"] for column in held["columns"]]
    assert names == ["id", "value", "z", "p_value", "flagged", "outcome", "unlike_p", "unlike"]
    rows = pd.DataFrame(held["rows"], columns=[*names, "link"])
    assert list(rows["id"]) == list(table["id"])
    np.testing.assert_allclose(rows["value"], table["value"], rtol=1e-3)
    assert (rows["flagged"] == "yes").sum() == table["flagged"].sum() and (rows["outcome"] == "with").sum() == 20
    assert rows["link"].notna().sum() == 50
    assert all((study / "pain" / link).is_file() for link in rows["link"].dropna())
    assert "outcome" not in [column["name"] for column in rows_of(study / "report.html")["columns"]]


def test_columns_that_are_not_there_are_not_offered(tmp_path: Path) -> None:
    scores = pd.DataFrame({"id": ["a", "b"], "value": [1.0, 2.0]})
    listed = images.listed(scores, tmp_path, tmp_path, {}, "")
    assert [column["name"] for column in listed["columns"]] == ["id", "value"] and listed["choices"] == {}
    assert [group["title"] for group in images.shown(scores, tmp_path, {}, None) if group["cards"]] == [
        "Most abnormal", "Least abnormal",
    ]  # fmt: skip


def test_the_page_of_a_group_map_tells_regions_and_what_the_load_tells(study: Path) -> None:
    page = Reader((study / "where" / "association.html").read_text(encoding="utf-8"))
    assert "region sign peak t corrected p size" in page.words and "peak x" not in page.words
    assert "1 more 5.250 &lt; 0.001".replace("&lt;", "<") in page.words and "1,234" in page.words
    assert "0.700 (0.600 to 0.800) 0.100 (0.020 to 0.180)" in page.words
    assert "The load tells pain." in page.words and "corrected for 4,096 voxels by max-t" in page.words
    assert not (study / "where" / "report.html").exists()


def test_the_index_lists_outcomes_truths_group_maps_and_explanations(study: Path) -> None:
    links = [found["href"] for found in Reader((study / "index.html").read_text(encoding="utf-8")).of("a")]
    listed = {link for link in links if not link.startswith("#")}
    assert listed == {*PAGES} - {"index.html"}
    for name in PAGES[2:]:
        assert "everything in Knees &amp; hips" in (study / name).read_text(encoding="utf-8")


def test_a_page_is_called_by_its_folder_or_as_one_says(tmp_path: Path) -> None:
    pd.DataFrame({"id": ["a"], "value": [1.0]}).to_csv(tmp_path / "scores.csv", index=False)
    assert f"<h1>{tmp_path.name}</h1>" in report(tmp_path).read_text(encoding="utf-8")
    page = report(tmp_path, title="Knees <2026>").read_text(encoding="utf-8")
    assert "<h1>Knees &lt;2026&gt;</h1>" in page and "<title>Knees &lt;2026&gt; – Anomaly report</title>" in page
    assert re.search(r'<time datetime="\d{4}-\d\d-\d\dT', page)


def test_precision_and_recall_by_hand_with_ties() -> None:
    event, score = np.array([1, 0, 1, 1, 0]), np.array([5.0, 4.0, 4.0, 2.0, 1.0])
    recall, precision = curves.precision_recall(event, score)
    np.testing.assert_allclose(recall, [1 / 3, 2 / 3, 1, 1])
    np.testing.assert_allclose(precision, [1, 2 / 3, 3 / 4, 3 / 5])


def test_the_curve_starts_where_the_highest_scores_are(study: Path) -> None:
    page = (study / "pain" / "report.html").read_text(encoding="utf-8")
    assert page.count('class="line line0"') == 2 and "prevalence 0.33" in page
    assert curves.curve(study, ["value"]) is None
