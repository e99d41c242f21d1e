"""The checks of a translation: floors beside, a truth that is known, a segmenter, a detector, and what is refused."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from heaped import RANGE, heap, translating, two_heaps
from studies import calling, trained

from anomaly.errors import AnomalyError, CohortError
from anomaly.translation.checks import structure_kept
from anomaly.translation.evaluating import Checked, evaluate_translation
from anomaly.translation.figures import Figure, mean_of_subjects
from anomaly.translation.heaps import Heaps
from anomaly.translation.reading import Heap
from anomaly.translation.run import TranslatorRun
from anomaly.translation.telling import sentences

JUDGE = {"steps": 2, "width": 2, "batch": 4}
WAYS = {"unchanged", "moments", "histogram", "translated"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("heaps")
    heap(folder, "avail", 24, first=50)
    heap(folder, "bound", 24, first=100)
    return folder


@pytest.fixture(scope="module")
def run(home: Path) -> TranslatorRun:
    return translating(two_heaps(home), home / "run")


@pytest.fixture(scope="module")
def checked(home: Path, run: TranslatorRun) -> Checked:
    tests = Heaps(source=home / "avail.csv", target=home / "bound.csv", mask="none")

    def segmenter(images: np.ndarray) -> np.ndarray:
        return images[:, 0] > 140.5 / 127.5 - 1

    return evaluate_translation(
        run.folder, tests, home / "out", structure="mask", twin="same", segmenter=segmenter, judge=JUDGE, device="cpu"
    )


def test_every_figure_has_its_floors(checked: Checked, home: Path) -> None:
    table = pd.read_csv(checked.path)
    for measure in ("edges_kept", "changed", "structure_by_brightness", "dice", "rmse", "ssim", "judge", "frechet"):
        assert set(table.loc[table["measure"] == measure, "of"]) >= WAYS, measure
    assert set(table.loc[table["measure"] == "judge", "of"]) == WAYS | {"real"}
    assert (home / "out" / "sheet.png").is_file() and len(pd.read_csv(home / "out" / "images.csv")) == 24
    assert checked.sentences[0].startswith("Structure") and len(repr(checked)) > 100


def test_floors_are_what_they_must_be(checked: Checked) -> None:
    """The other heap is the same at half the brightness, so that matching histograms is nearly the truth."""
    assert checked.figure("edges_kept", "unchanged").value == pytest.approx(1)
    assert checked.figure("changed", "unchanged").value == 0
    assert checked.figure("edges_kept", "moments").value > 0.99
    assert checked.figure("dice", "unchanged").value == 1  # the segmenter is the rule that the masks were made by
    assert checked.figure("dice", "histogram").value < 0.5
    assert checked.figure("structure_by_brightness", "unchanged").value == 1
    assert checked.figure("rmse", "histogram").value < 0.3 * checked.figure("rmse", "unchanged").value
    assert (
        checked.figure("shared_information", "somebody else").value
        < checked.figure("shared_information", "moments").value
    )


def test_the_other_way(home: Path, run: TranslatorRun) -> None:
    tests = Heaps(source=home / "avail.csv", target=home / "bound.csv", mask="none")
    back = evaluate_translation(run.folder, tests, home / "back", back=True, judge=JUDGE, device="cpu")
    there = evaluate_translation(run.folder, tests, home / "there", judge=JUDGE, device="cpu")
    assert back.figure("edges_kept") != there.figure("changed")
    assert there.figure("edges_kept") == evaluate_translation(
        run.folder, tests, home / "again", judge=JUDGE, device="cpu"
    ).figure("edges_kept")


def test_a_detector_of_the_other_heap_is_asked(home: Path, run: TranslatorRun) -> None:
    detector = trained(home / "b", home / "detector", preprocessing=RANGE)
    tests = Heaps(source=home / "avail", target=home / "bound")
    found = evaluate_translation(run.folder, tests, home / "seen", detector=detector.folder, judge=JUDGE, device="cpu")
    assert found.figure("flagged", "real").value == 0  # of two people to calibrate by, none can be flagged at 0.05
    assert found.figure("detector", "unchanged").value > 0.9  # twice as bright as anything it learned
    assert any(each.startswith("Detector") for each in found.sentences)
    other = trained(home / "b", home / "unlike")
    with pytest.raises(AnomalyError, match="prepared otherwise"):
        evaluate_translation(run.folder, tests, home / "no", detector=other.folder, judge=JUDGE, device="cpu")


def test_people_the_detector_learned_from_are_refused(home: Path, run: TranslatorRun) -> None:
    detector = trained(home / "bound", home / "knowing", preprocessing=RANGE)
    tests = Heaps(source=home / "avail.csv", target=home / "bound.csv", mask="none")
    with pytest.raises(CohortError, match=r"24 subjects are in both .*knowing\); .* or give --allow-overlap"):
        evaluate_translation(run.folder, tests, home / "no", detector=detector.folder, judge=JUDGE, device="cpu")


def test_floors_without_the_images_that_were_learned_from(
    home: Path, run: TranslatorRun, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    moved = shutil.copytree(run.folder, tmp_path / "run")
    heaps = two_heaps(tmp_path)
    gone = translating(heaps, tmp_path / "gone").folder
    shutil.rmtree(tmp_path / "a")
    tests = Heaps(source=home / "avail", target=home / "bound")
    found = evaluate_translation(gone, tests, tmp_path / "out", judge=JUDGE, device="cpu")
    assert "are gone; floors are learned from those given" in caplog.text
    assert np.isfinite(found.figure("judge", "histogram").value)
    assert TranslatorRun.open(moved).identity == run.identity


def test_people_who_were_learned_from_are_no_test(home: Path, run: TranslatorRun) -> None:
    with pytest.raises(CohortError, match="--allow-overlap"):
        evaluate_translation(run.folder, Heaps(source=home / "a", target=home / "bound"), home / "no", device="cpu")
    with pytest.raises(AnomalyError, match="give structure"):
        evaluate_translation(
            run.folder, Heaps(source=home / "avail", target=home / "bound"), home / "no", segmenter=lambda x: x[:, 0]
        )
    with pytest.raises(CohortError, match="no column same"):
        evaluate_translation(
            run.folder, Heaps(source=home / "avail", target=home / "bound"), home / "no", twin="same", device="cpu"
        )


def test_the_command(
    home: Path, run: TranslatorRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = calling(home, monkeypatch, capsys)
    words = "translate evaluate run --from avail.csv --to bound.csv --out cli --mask none --twin same --device cpu"
    code, out, _ = ran(words)
    assert code == 0 and "Judge: it tells translated images" in out and "Truth:" in out
    code, _, errors = ran(f"{words} --structure lesion")
    assert code == 1 and "has no column 'lesion'" in errors


def test_a_mean_counts_people_not_images() -> None:
    found = mean_of_subjects("x", "y", np.array([0.0, 0.0, 0.0, 1.0, np.nan]), np.array(list("aaabc")))
    assert (found.value, found.images, found.subjects) == (0.5, 4, 2)
    # two people, 0 and 1: mean 0.5, standard error 0.5, Student's t with one degree of freedom 12.706
    assert found.high == pytest.approx(0.5 + 12.706 * 0.5, abs=1e-3)
    assert np.isnan(mean_of_subjects("x", "y", np.array([np.nan]), np.array(["a"])).value)


@pytest.mark.parametrize(
    ("ours", "plain", "none", "said"),
    [
        ((0.5, 0.4, 0.6), (0.9, 0.8, 1.0), (1.0, 0.9, 1.0), "nearer to the other heap than histogram matching does"),
        ((0.9, 0.8, 1.0), (0.6, 0.5, 0.7), (1.0, 0.9, 1.0), "histogram matching alone comes nearer"),
        ((0.7, 0.6, 0.8), (0.75, 0.65, 0.85), (1.0, 0.9, 1.0), "no nearer to the other heap"),
        ((0.5, 0.4, 0.6), (0.5, 0.4, 0.6), (0.55, 0.45, 0.65), "nothing to translate"),
    ],
)
def test_the_conclusion_is_what_the_intervals_bear(
    ours: tuple[float, ...], plain: tuple[float, ...], none: tuple[float, ...], said: str
) -> None:
    judged = {"translated": ours, "histogram": plain, "unchanged": none, "real": (0.5, 0.4, 0.6)}
    figures = [Figure("judge", of, *values) for of, values in judged.items()]
    ways = (*judged, "somebody else", "moments")
    beside = [Figure(m, of, 0.5) for m in ("edges_kept", "shared_information", "changed") for of in ways]
    told = sentences([*figures, *beside])
    assert said in told[-1]
    assert ("not the chance of its training" in told[-1]) == (none[1] > 0.5)
    assert "on the grid that images are prepared to" in told[-2]


def test_what_too_few_people_tell_is_said_in_words() -> None:
    assert str(Figure("judge", "real", float("nan"))) == "(too few people to say)"
    assert str(Figure("judge", "real", 0.5)) == "0.500"


def test_one_person_alone_has_nobody_else_beside() -> None:
    pixels = np.random.default_rng(0).normal(size=(3, 1, 12, 12)).astype(np.float32).clip(-1, 1)
    heaps = [Heap(pixels, np.array(list("xyz")), np.array(list(whose)), None, None, []) for whose in ("aaa", "aab")]
    alone, two = (
        {(each.measure, each.of): each for each in structure_kept(heap, {"unchanged": pixels}, masked=False)[0]}
        for heap in heaps
    )
    for measure in ("edges_kept", "shared_information", "changed"):
        assert np.isnan(alone[measure, "somebody else"].value)
        assert "one subject" in alone[measure, "somebody else"].note
        assert np.isfinite(two[measure, "somebody else"].value)
    assert alone["edges_kept", "unchanged"].value == pytest.approx(1)
