"""Whether an explainer explains: labels permuted and trained again, and targets whose weights mean nothing."""

import json
import re
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from checked import OPTIONS, Quadratic, Scaled, Sloped, people, prepared, sample_of, source_of
from explained import ADDITIVE, RANGE, write
from looked_at import looked_at
from PIL import Image
from safetensors.numpy import load_file
from studies import trained
from torch import Tensor

from anomaly.errors import AnomalyError, CohortError
from explain import Explainer, Explanation
from explain.checking import calibrate, check
from explain.checking.again import held_out_cases, images_of
from explain.checking.cascade import check_target, with_network
from explain.checking.check import Checked
from explain.checking.comparing import compared
from explain.checking.findings import COLUMNS, Finding, Shown, floor_of, little_told, mean, ratio
from explain.checking.permuted import _sentence as sentence_of
from explain.checking.permuted import check_labels, permuted
from explain.counterfactuals.additive import Additive
from explain.runs.run import LearnedRun


@pytest.fixture(scope="module")
def checked(changing: LearnedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a check that nobody stopped leaves behind."""
    out = tmp_path_factory.mktemp("checked")
    check(changing.folder, out, **OPTIONS)
    return out


# Labels permuted


def test_subjects_with_images_on_both_sides_change_places_with_those_who_have_as_many() -> None:
    table = people([[0, 1], [0, 0, 1], *[[s % 2] * (2 + s % 3) for s in range(12)], [1]])
    mixed, changed = permuted(table, 1)
    sizes = mixed.groupby("subject")["id"].transform("size")
    before, after = (mixed[column].groupby(sizes).sum().to_dict() for column in ("given_label", "label"))
    assert before == after
    assert changed == f"{int((mixed['label'] != mixed['given_label']).sum())} of {len(table) - 1} images"


@pytest.mark.parametrize(("times", "passed"), [((0.05,), True), ((0.2,), False), ((0.05, 0.13), True)])
def test_passes_where_the_map_is_below_a_tenth_of_the_real_one(
    run: LearnedRun, times: tuple[float, ...], passed: bool
) -> None:
    left = [SimpleNamespace(explainer=Scaled(times=each)) for each in times]
    again: Any = SimpleNamespace(train=lambda *_: left.pop(0), workers=1, steps=None)
    table = images_of(run)
    found = check_labels(source_of(Scaled(), run), again, table, permutations=len(times))
    assert found.passed is passed and found.sentence.startswith("PASSED" if passed else "FAILED")
    assert found.rows[-1]["ratio"] == pytest.approx(np.mean(times), rel=1e-5)
    assert found.rows[0]["signed"] == pytest.approx(1) and found.rows[0]["images"] == len(held_out_cases(table))
    assert len(found.rows) == len(times) + (len(times) > 1)


@pytest.mark.parametrize(
    ("real", "steps", "why"),
    [
        (
            1.0,
            ADDITIVE["steps"] - 1,
            r"^CANNOT TELL: the trainings on permuted labels were shorter than the run's own \(",
        ),
        (0.005, None, r"^CANNOT TELL: the real maps are next to nothing themselves: .* is 0\.\d+ % of the range"),
    ],
)
def test_no_verdict_by_a_shorter_training_or_of_a_map_of_nothing(
    run: LearnedRun, real: float, steps: int | None, why: str
) -> None:
    again: Any = SimpleNamespace(train=lambda *_: SimpleNamespace(explainer=Scaled(times=0.0)), workers=1, steps=steps)
    found = check_labels(source_of(Scaled(times=real), run), again, images_of(run))
    assert found.passed is None and re.match(why, found.sentence), found.sentence
    assert found.rows[0]["passed"] is None


def test_maps_are_measured_as_the_two_runs_draw_them(changing: LearnedRun, checked: Path) -> None:
    row = pd.read_csv(checked / "check.csv").iloc[0]
    again = LearnedRun.open(checked / "permuted_1")
    cases = held_out_cases(changing.cohort)
    x = torch.from_numpy(prepared(changing, cases))
    real, other = (each.explainer.explain(x).map.abs().mean().item() for each in (changing, again))
    assert row["ratio"] == pytest.approx(other / real, rel=1e-4)
    assert row["images"] == len(cases)
    facts = json.loads((checked / "check.json").read_text())
    assert facts["passed"] == row["passed"] and facts["source"]["source"] == changing.identity
    assert list(pd.read_csv(checked / "check.csv").columns) == list(COLUMNS)
    assert Image.open(checked / "check.png").size[0] > 300


def test_its_picture_is_titled_by_the_name_of_the_run_alone(
    run: LearnedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, titles = Shown(np.zeros((1, 1, 4, 4)), {}, None, False, ""), []
    found = Finding("labels permuted", None, "CANNOT TELL: nothing.", [], shown)
    module = sys.modules["explain.checking.check"]  # whose name the room gives to the function
    monkeypatch.setattr(module, "check_labels", lambda *_, **__: found)
    monkeypatch.setattr(module, "draw", lambda *_, title, **__: titles.append(title))
    check(run.folder.resolve(), tmp_path, **OPTIONS)
    assert titles == ["run (additive): labels permuted"]


def test_of_maps_that_are_next_to_nothing_nothing_is_trained(
    run: LearnedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def untrained(*_: Any) -> None:
        raise AssertionError("it was trained")

    monkeypatch.setattr("explain.checking.again.learn", untrained)
    shutil.copytree(run.folder, tmp_path / "run")
    found = check(tmp_path / "run", tmp_path / "little", **OPTIONS)
    same = calibrate(tmp_path / "run", **OPTIONS).sentence.partition(", and nothing is taken away")[0]
    assert found.passed is None and found.sentence.startswith(f"{same}; train longer")
    assert not (tmp_path / "little" / "permuted_1").exists()
    monkeypatch.setattr(Additive, "counterfactual", lambda self, x: Explanation(0 * x, x))
    found = check(tmp_path / "run", tmp_path / "none", **OPTIONS)
    assert found.passed is None and "changed in 0 of 2 held-out persons, and the largest change is 0" in found.sentence
    assert json.loads((tmp_path / "none" / "check.json").read_text())["passed"] is None
    row = pd.read_csv(tmp_path / "none" / "check.csv").iloc[0]
    assert row["images"] == len(held_out_cases(run.cohort)) and np.isnan(row["passed"]) and np.isnan(row["ratio"])
    assert Image.open(tmp_path / "none" / "check.png").size[0] > 300


@dataclass(kw_only=True)
class Squared(Explainer):
    """Its map is the square of the image; where there are channels these change in opposite ways, so that it is 0."""

    name: ClassVar[str] = "squared"

    def evidence(self, x: Tensor) -> Explanation:
        change = x.square() * torch.tensor([1.0, -1.0]).view(-1, 1, 1)[: x.shape[1]]
        return Explanation(change.mean(1, keepdim=True), x - change)


def flat_volumes(monkeypatch: pytest.MonkeyPatch, volumes: dict[str, list[float]], channels: int = 1) -> None:
    """Have `compared` read volumes taken apart, whose slices have one value each."""
    pixels = {name: np.float32(each).reshape(-1, 1, 1, 1) for name, each in volumes.items()}
    whole = np.ones((1, channels, 3, 3), np.float32)
    monkeypatch.setattr(
        "explain.checking.comparing.streamed", lambda _, rows, *__: iter([[(r, whole * pixels[r["id"]]) for r in rows]])
    )


def test_a_volume_is_one_image_and_a_person_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    flat_volumes(monkeypatch, {"a": [0.1, 0.3], "b": [0.2, 0.6], "c": [1.0]})
    table = pd.DataFrame({"id": list("abc"), "subject": ["p", "p", "q"]})
    found = compared(source_of(Scaled()), {"other": Squared()}, table, 1)
    assert found.size().value == found.size(0).value == found.raw_size().value == pytest.approx((0.125 + 1) / (0.3 + 1))
    assert found.row(0)["images"] == 3 and found.row(0)["subjects"] == 2
    np.testing.assert_allclose(found.largest, [0.3, 0.6, 1.0], rtol=1e-6)
    assert found.shown.images.shape == (3, 1, 3, 3) and found.shown.turned
    told = sentence_of(found, ["1 of 3 subjects"], 0.1, False, "", None)
    assert "pairs of middle slices of real maps of different persons, of up to 32 cases, " in told


def test_changes_of_two_channels_do_not_cancel(monkeypatch: pytest.MonkeyPatch) -> None:
    flat_volumes(monkeypatch, {"a": [0.5], "b": [0.5]}, channels=2)
    table = pd.DataFrame({"id": list("ab"), "subject": ["p", "q"]})
    found = compared(source_of(Squared()), {"other": Scaled(times=0.5)}, table, 1)
    np.testing.assert_allclose([found.real, found.largest], 0.25)
    assert found.size().value == pytest.approx(1)


def test_what_was_trained_again_differs_in_its_labels_alone_and_says_so(changing: LearnedRun, checked: Path) -> None:
    again = LearnedRun.open(checked / "permuted_1")
    for name in ("method", "settings", "seed", "preprocessing", "choose", "shape"):
        assert again.facts[name] == changing.facts[name], name
    assert again.facts["data"]["fingerprint"] == changing.facts["data"]["fingerprint"]
    assert "labels are permuted" in (again.folder / "MODEL_CARD.md").read_text()
    before, after = changing.cohort.set_index("id"), again.cohort.set_index("id").loc[changing.cohort["id"]]
    assert (before["part"] == after["part"]).all() and (before["label"] == after["given_label"]).all()
    assert ((before["label"] != after["label"]) <= (before["part"] == "train")).all()
    assert again.identity != changing.identity


def test_a_stopped_check_goes_on_where_it_was(
    changing: LearnedRun, checked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []

    def stopping(self: Additive, batch: tuple[Tensor, Tensor]) -> Any:
        steps.append(self)
        if len(steps) == 3:
            raise KeyboardInterrupt
        return whole(self, batch)

    whole = Additive.generator_loss
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Additive, "generator_loss", stopping)
        check(changing.folder, tmp_path, save_every=1, **OPTIONS)
    assert not (tmp_path / "check.csv").exists() and (tmp_path / "permuted_1" / "checkpoint").is_dir()
    steps.clear()
    with monkeypatch.context() as patch:
        patch.setattr(Additive, "generator_loss", lambda self, batch: (steps.append(self), whole(self, batch))[1])
        check(changing.folder, tmp_path, save_every=1, **OPTIONS)
    assert len(steps) == changing.facts["settings"]["steps"] - 2
    weights = [load_file(folder / "permuted_1" / "weights.safetensors") for folder in (tmp_path, checked)]
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[1])
    assert (tmp_path / "check.csv").read_bytes() == (checked / "check.csv").read_bytes()


# Images that are not where they were


def with_cohort(run: LearnedRun, table: pd.DataFrame, folder: Path) -> LearnedRun:
    """The run as if it had been made with other images."""
    folder.mkdir()
    table.to_csv(folder / "cohort.csv", index=False)
    return replace(run, folder=folder)


def test_moved_images_are_asked_for_and_found(run: LearnedRun, cohort: Path, tmp_path: Path) -> None:
    gone = run.cohort.assign(path=run.cohort["path"].str.replace(str(cohort.parent), "/gone"))
    moved = with_cohort(run, gone, tmp_path / "moved")
    with pytest.raises(
        CohortError, match=r"40 of the 40 images .* give --images, the folder that now holds what /gone h"
    ):
        images_of(moved)
    assert list(images_of(moved, cohort.parent)["path"]) == list(run.cohort["path"])
    shutil.copytree(cohort.parent, tmp_path / "others")
    write(tmp_path / "others" / "cases" / "ca000.png", np.zeros((3, 3), np.uint8))
    with pytest.raises(CohortError, match=r"are not those .* names or sizes of files differ"):
        images_of(moved, tmp_path / "others")


def test_too_few_subjects_are_told(run: LearnedRun, tmp_path: Path) -> None:
    people = run.cohort.loc[run.cohort["part"] == "train", "subject"].drop_duplicates()[:9]
    few = with_cohort(run, run.cohort[run.cohort["subject"].isin(people)], tmp_path / "few")
    data = {**run.facts["data"], "unreadable": 1}  # so that nothing is said of its images
    with pytest.raises(CohortError, match=r"trained on 9 subjects; .* fewer than 10"):
        images_of(replace(few, facts={**run.facts, "data": data}))


# The target randomised


@pytest.mark.parametrize("space", [(9, 8), (5, 6, 4)], ids=["2D", "3D"])
def test_a_map_that_goes_by_the_weights_changes_with_them(space: tuple[int, ...]) -> None:
    sample, explainer = sample_of(12, space), Sloped(target=Quadratic(space).value)
    source = source_of(explainer)
    target = explainer.target
    found = check_target(source, sample)
    assert found.passed and found.sentence.startswith("PASSED") and explainer.target is target
    assert [row["layer"] for row in found.rows] == ["1"] and abs(found.rows[0]["signed"]) < 0.3
    assert list(found.shown.maps) == ["intact", "1: 1"] and found.shown.images.shape == (6, 1, *space)


def test_a_map_of_the_image_alone_fails() -> None:
    sample, explainer = sample_of(12, (9, 8)), Scaled(target=Quadratic((9, 8)).value)
    found = check_target(source_of(explainer), sample)
    assert not found.passed and "stay like the real ones" in found.sentence
    assert found.rows[0]["signed"] == found.rows[0]["absolute"] == pytest.approx(1)


def test_a_map_whose_sign_alone_comes_from_the_target_fails() -> None:
    @dataclass(kw_only=True)
    class Signed(Sloped):
        name: ClassVar[str] = "signed"

        def evidence(self, x: Tensor) -> Explanation:
            return Explanation(super().evidence(x).map.sign() * x.detach().abs())

    found = check_target(source_of(Signed(target=Quadratic((9, 8)).value)), sample_of(12, (9, 8)))
    row = found.rows[-1]
    assert row["signed"] < row["signed_bound"] and row["absolute"] == pytest.approx(1) and not found.passed


def test_the_target_gets_another_network_and_keeps_its_own() -> None:
    target, other, x = Quadratic((2, 2)), Quadratic((2, 2)), torch.ones(1, 1, 2, 2)
    before = target.value(x)
    assert torch.equal(with_network(target.value, other.net_)(x), other.value(x))
    assert torch.equal(target.value(x), before) and not torch.equal(other.value(x), before)
    with pytest.raises(AnomalyError, match="no method of a classifier or a detector"):
        with_network(torch.sum, other.net_)


# Figures


def test_the_ratio_is_of_means_and_its_interval_is_of_subjects() -> None:
    subjects = np.repeat(["a", "b", "c", "d", "e"], 4)
    real = np.arange(1.0, 21.0)
    found = ratio(real / 4, real, subjects)
    assert (found.value, found.low, found.high) == pytest.approx((0.25, 0.25, 0.25))
    assert ratio(np.ones(20), real, subjects).value == pytest.approx(20 / 210)
    values = np.repeat([0.0, 0.0, 0.0, 1.0, 1.0], 4)
    clustered, alone = mean(values, subjects), mean(values, np.arange(20))
    assert clustered.value == alone.value == pytest.approx(0.4)
    assert clustered.high - clustered.low > 1.5 * (alone.high - alone.low)
    few = mean(values[:16], subjects[:16])
    assert few.value == 0.25 and np.isnan(few.low) and np.isnan(few.high)


def test_the_floor_is_how_alike_maps_of_other_subjects_are() -> None:
    rising = np.arange(6.0).reshape(1, 1, 2, 3) - 2.4
    maps = np.concatenate([rising, -rising, rising])
    alike, opposite = 1.0, -1.0
    found = floor_of(maps, np.array(["a", "b", "c"]))
    assert found.signed == pytest.approx((2 * alike + 4 * opposite) / 6) and found.absolute == pytest.approx(1)
    assert found.signed_bound == pytest.approx(1)
    assert floor_of(maps, np.array(["a", "b", "a"])).signed == pytest.approx(opposite)
    assert np.isnan(floor_of(maps, np.array(["a", "a", "a"])).signed)


def test_next_to_nothing_is_what_more_than_half_of_the_persons_do_not_see() -> None:
    largest, persons = np.array([0.5, 0.001, 0.001, 0.019]), np.array(["a", "a", "b", "c"])
    assert "changed in 1 of 3 held-out persons, and the largest change is 25 %" in little_told(largest, persons)
    assert little_told(largest, np.array(["a", "b", "a", "a"])) == ""
    with pytest.raises(AnomalyError, match="not a number"):
        little_told(np.array([0.5, np.nan]), np.array(["a", "b"]))


def test_maps_that_are_zero_everywhere_leave_nothing_to_check(run: LearnedRun) -> None:
    with pytest.raises(AnomalyError, match="are 0 in all"):
        compared(source_of(Scaled(times=0.0), run), {"other": Scaled()}, held_out_cases(run.cohort), 1)


# What cannot be checked


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "saliency explains a target; give --target"),
        ({"target": True}, "give --images, a folder or a table"),
        (
            {"target": True, "images": "controls", "count": 7},
            "there are 7 images .* expected 8 or more .* larger --count",
        ),
        ({"target": True, "images": "controls", "steps": 3}, "takes no steps in a check; leave --steps out"),
        ({"target": True, "images": "controls", "permutations": 2}, "leave --permutations out"),
        ({"limit": 0.0}, "limit is 0.0"),
    ],
)
def test_what_an_attribution_lacks_is_told(
    given: dict[str, Any], message: str, classifier: LearnedRun, cohort: Path, tmp_path: Path
) -> None:
    places = {"target": classifier.folder, "images": cohort.parent / "controls"}
    with pytest.raises(AnomalyError, match=message):
        check("saliency", tmp_path / "out", **{k: places.get(k, v) for k, v in given.items()}, **OPTIONS)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"settings": {"width": 3}}, "takes no settings"),
        ({"where": {"sick": "1"}}, "takes no where in a check"),
        ({"count": 32}, "takes no count in a check; leave --count out"),
        ({"images": pd.DataFrame()}, "knows its images"),
    ],
)
def test_what_a_run_does_not_take_is_told(given: dict[str, Any], message: str, run: LearnedRun, tmp_path: Path) -> None:
    with pytest.raises(AnomalyError, match=message):
        check(run.folder, tmp_path / "out", **given, **OPTIONS)


def test_a_target_without_weights_is_told(cohort: Path, tmp_path: Path) -> None:
    detector = trained(cohort.parent / "controls", tmp_path / "detector", preprocessing=RANGE)
    with pytest.raises(AnomalyError, match="no parameters, so there is nothing to draw anew"):
        check("saliency", tmp_path / "out", target=detector.folder, images=cohort.parent / "cases", **OPTIONS)


def test_what_was_checked_is_shown_in_five_lines() -> None:
    out = Path("<script>")
    checked = Checked(out / "check.csv", out / "errors.csv", False, "FAILED: maps stay as they are.", 2)
    assert looked_at(checked) == {
        "": "not passed", "found": "maps stay as they are.", "table": "<script>/check.csv",
        "picture": "<script>/check.png", "unreadable": "2 of the images, see <script>/errors.csv",
    }  # fmt: skip
    passed = looked_at(replace(checked, passed=True, unreadable=0))
    assert passed[""] == "passed" and "unreadable" not in passed
