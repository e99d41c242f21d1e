"""What is drawn where labels mean nothing: measured, taken away of all maps, and told with each of them."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from checked import OPTIONS, Scaled, people, prepared, source_of
from explained import RANGE
from looked_at import looked_at
from torch import Tensor

from anomaly.errors import AnomalyError, CohortError, RunError
from anomaly.nets.fields import length, warp
from anomaly.pictures.scales import NOTHING
from explain.base import Explanation
from explain.checking import calibrate
from explain.checking.again import held_out_cases
from explain.checking.calibrating import STREAM, Calibrated
from explain.checking.calibrating import _begun_with as begun_with
from explain.checking.check import check
from explain.checking.comparing import compared
from explain.checking.findings import at_most, ratio
from explain.checking.holding import by_person, smallest_that_holds, thresholds
from explain.checking.images import streamed
from explain.checking.measuring import Measured, Seen, measured
from explain.checking.permuted import permuted
from explain.commands.learning import _tell as tell
from explain.counterfactuals.additive import Additive
from explain.evaluating import evaluate
from explain.runs.calibration import FILE, NOT_MEASURED, Calibration, Sizes, read_calibration, write_calibration
from explain.runs.mapping import map_images
from explain.runs.nothing import IfNothing
from explain.runs.run import LearnedRun
from explain.runs.shrinking import shrunk, sizes_at
from explain.runs.source import open_source
from explain.runs.untold import UNTOLD, Untold, read_untold, write_untold
from explain.trained import difference


@pytest.fixture
def bare(changing: LearnedRun) -> Iterator[LearnedRun]:
    """A run whose changes can be seen, of which nothing was measured before and nothing is afterwards."""
    yield changing
    for name in (FILE, UNTOLD):
        (changing.folder / name).unlink(missing_ok=True)


def calibration_of(run: LearnedRun, threshold: float | None, **others: Any) -> Calibration:
    sizes = Sizes(images=8, subjects=6, real=2e-5, nothing=1e-5, real_left=8e-6, nothing_left=3e-7)
    found = Calibration(
        run=run.identity, threshold=threshold, moves=False, smoothing=0.0, allowed=0.05, ratio=0.0375, ratio_high=0.05,
        raw_ratio=0.5, raw_ratio_high=0.6, permutations=1, seed=0, changed=("8 of 17 subjects",),
        interval=True, cases=sizes, controls=None,
    )  # fmt: skip
    return replace(found, **others)


# The smallest threshold that holds


def laplace(scale: float, tried: np.ndarray) -> np.ndarray:
    """E (|M| - t)+ of a Laplace distribution with E |M| = scale."""
    return scale * np.exp(-tried / scale)


def test_the_threshold_is_that_of_laplace_distributed_maps() -> None:
    scale, nothing, allowed = 0.2, 0.12, 0.05
    tried = np.linspace(0, 2, 2001)
    real = np.tile(laplace(scale, tried), (12, 1))
    found = smallest_that_holds(real, np.tile(laplace(nothing, tried), (1, 12, 1)), np.arange(12), tried)
    expected = np.log(nothing / scale / allowed) / (1 / nothing - 1 / scale)
    assert found.threshold == pytest.approx(expected, abs=1e-3) and found.threshold >= expected
    assert found.raw.value == pytest.approx(nothing / scale)
    assert found.ratio.value == pytest.approx(allowed, rel=0.01) and found.ratio.high <= allowed


def test_drawn_maps_of_that_distribution_are_measured_by_it() -> None:
    draws = np.random.default_rng(0).laplace(scale=0.1, size=(2, 1, 300, 300)).astype(np.float32)
    x, tried = torch.zeros(2, 1, 300, 300), np.array([0.0, 0.05, 0.2])
    found = sizes_at(Explanation(torch.from_numpy(draws), x - torch.from_numpy(draws)), x, tried, 0.0)
    np.testing.assert_allclose(found, np.tile(laplace(0.1, tried), (2, 1)), rtol=0.03)


def test_a_person_counts_once_whatever_the_number_of_images() -> None:
    tried, shares = thresholds(2.0), np.linspace(0.3, 0.5, 8)  # maps of nothing are larger in some than in others
    real = np.tile(laplace(0.2, tried), (8, 1))
    nothing = np.stack([laplace(0.2 * share, tried) for share in shares])[None]
    names = np.array([f"s{k}" for k in range(8)], dtype=object)
    alone = smallest_that_holds(real, nothing, names, tried)
    often = np.repeat(np.arange(8), [40, *[1] * 7])
    found = smallest_that_holds(real[often], nothing[:, often], names[often], tried)
    assert found.threshold == alone.threshold > 0 and found.raw.value == pytest.approx(alone.raw.value)
    assert found.ratio.high == pytest.approx(alone.ratio.high) and alone.raw.value == pytest.approx(shares.mean())


def test_each_half_is_told_of_at_what_the_other_half_chose() -> None:
    tried = np.linspace(0, 1, 11)
    real, nothing = np.ones((12, 11)) - tried / 2, np.zeros((12, 11))
    nothing[:, :3] = 0.02  # holds from the start
    names = np.array([f"s{k:02d}" for k in range(12)])
    mild = smallest_that_holds(real, nothing[None], names, tried)
    assert mild.threshold == 0 and mild.ratio.value == pytest.approx(0.02)
    bad = np.random.default_rng(0).permutation(12)[::2]  # one half of them
    nothing[bad, :3] = 0.4
    found = smallest_that_holds(real, nothing[None], names, tried)
    assert found.threshold is None  # the other half chose 0, of which the first half says otherwise


def test_few_persons_have_no_interval_and_each_of_them_decides() -> None:
    tried = thresholds(2.0)
    real, nothing = np.tile(laplace(0.2, tried), (4, 1)), np.tile(laplace(0.1, tried), (1, 4, 1))
    found = smallest_that_holds(real, nothing, np.array(["a", "a", "b", "c"]), tried)
    assert np.isnan(found.ratio.high) and found.threshold is not None and found.ratio.value <= 0.05
    nothing[0, 3] = laplace(0.12, tried)
    worse = smallest_that_holds(real, nothing, np.array(["a", "a", "b", "c"]), tried)
    assert worse.threshold > found.threshold


def test_it_holds_at_all_larger_thresholds_that_leave_something() -> None:
    tried = np.arange(4.0)
    real = np.tile([1.0, 0.8, 0.5, 0.2], (8, 1))
    nothing = np.tile([0.0, 0.0, 0.2, 0.0], (1, 8, 1))  # it comes back
    assert smallest_that_holds(real, nothing, np.arange(8), tried).threshold == 3.0
    real[:, 3] = 0.009  # less than a hundredth of all is left there
    assert smallest_that_holds(real, nothing, np.arange(8), tried).threshold is None


def test_it_holds_nowhere_if_most_persons_keep_nothing() -> None:
    tried = np.arange(2.0)
    real, nothing = np.tile([1.0, 0.0], (8, 1)), np.tile([0.5, 0.0], (1, 8, 1))
    real[:2, 1] = 1.0
    found = smallest_that_holds(real, nothing, np.arange(8), tried)
    assert found.threshold is None and found.ratio == found.raw and found.raw.value == pytest.approx(0.5)
    real[:, 1] = 1.0
    assert smallest_that_holds(real, nothing, np.arange(8), tried).threshold == 1.0


@pytest.mark.parametrize("scatter", [0.0, 1.5])
@pytest.mark.parametrize("persons", [5, 12])
def test_of_two_trainings_alike_next_to_none_holds(persons: int, scatter: float) -> None:
    random, held = np.random.default_rng(0), 0
    for _ in range(20):  # drawn alike, in some persons more than in others, so that labels say nothing
        scales = random.lognormal(sigma=scatter, size=(2, persons, 1))
        maps = np.abs(random.laplace(size=(2, persons, 60)) * scales)
        tried = maps[0].max() * np.linspace(0, 1, 16) ** 2
        real, nothing = np.maximum(maps[..., None] - tried, 0).mean(2)
        held += smallest_that_holds(real, nothing[None], np.arange(persons), tried).threshold is not None
    assert held <= 1


def test_an_interval_is_one_also_where_persons_show_nothing() -> None:
    real, changed = np.array([1.0, 1.0, 0.0, 0.0, 0.0, 0.0]), np.array([0.01, 0.02, 0.0, 0.0, 0.0, 0.0])
    found = ratio(changed, real, np.arange(6))
    assert found.value == pytest.approx(0.015) and found.high == pytest.approx(0.02)
    assert ratio(changed + 0.01, real, np.arange(6)).high == np.inf
    assert at_most(changed, real, np.arange(6), 0.05) and not at_most(changed, real, np.arange(6), 0.018)
    assert not at_most(changed + 0.01, real, np.arange(6), 0.5)


def test_the_worst_training_decides() -> None:
    tried = thresholds(2.0)
    real = np.tile(laplace(0.2, tried), (6, 1))
    mild, bad = (np.tile(laplace(scale, tried), (6, 1)) for scale in (0.05, 0.12))
    both, worst = (smallest_that_holds(real, np.stack(each), np.arange(6), tried) for each in ((mild, bad), (bad,)))
    assert both.threshold == worst.threshold and both.ratio.high == pytest.approx(worst.ratio.high)
    assert smallest_that_holds(real, mild[None], np.arange(6), tried).threshold < both.threshold


@pytest.mark.parametrize("times", [1.0, 2.0])
def test_nothing_holds_where_maps_of_nothing_are_as_large_everywhere(times: float) -> None:
    tried = thresholds(1.0)
    real = np.maximum(0.5 - tried, 0) * np.ones((6, 1))
    found = smallest_that_holds(real, times * real[None], np.arange(6), tried)
    assert found.threshold is None and found.at is None and found.raw.value == pytest.approx(times)


def test_maps_of_nothing_that_are_empty_take_nothing_away() -> None:
    tried = thresholds(1.0)
    real = np.maximum(0.5 - tried, 0) * np.ones((6, 1))
    assert smallest_that_holds(real, 0 * real[None], np.arange(6), tried).threshold == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"real": np.full((6, 3), np.nan)}, "hold what is not a number"),
        ({"nothing": np.full((1, 6, 3), np.inf)}, "hold what is not a number"),
        ({"nothing": np.ones((0, 6, 3))}, r"expected \(n, T\), \(K, n, T\) and n"),
        ({"subjects": np.arange(5)}, "and 5 subjects"),
        ({"tried": np.array([0.0, 2.0, 1.0])}, "3 thresholds that rise"),
        ({"real": np.zeros((6, 3))}, "real maps are 0 in all images"),
        ({"allowed": 1.0}, "a share above 0 and below 1"),
    ],
)
def test_what_cannot_be_decided_by_is_refused(change: dict[str, Any], message: str) -> None:
    given = {"real": np.ones((6, 3)), "nothing": np.ones((1, 6, 3)), "subjects": np.arange(6)}
    given |= {"tried": np.arange(3.0), "allowed": 0.05, **change}
    with pytest.raises(AnomalyError, match=message):
        smallest_that_holds(**given)


# What is taken away


def test_an_intensity_is_soft_thresholded_and_the_counterfactual_goes_with_it() -> None:
    random = torch.Generator().manual_seed(0)
    x, added = (torch.rand(2, 1, 5, 6, generator=random) - 0.5 for _ in range(2))
    before = Explanation(difference(x, x + added), x + added, diagnostics={"reconstruction": torch.ones(2)})
    found = shrunk(before, x, 0.2)
    expected = -added.sign() * (added.abs() - 0.2).clamp_min(0)
    torch.testing.assert_close(found.map, expected)
    torch.testing.assert_close(found.counterfactual, x - expected)
    assert found.diagnostics is before.diagnostics and shrunk(before, x, 0.0) is before


def test_what_is_alone_goes_before_what_stands_together() -> None:
    x, added = torch.zeros(1, 1, 15, 15), torch.zeros(1, 1, 15, 15)
    added[0, 0, 2, 2] = added[0, 0, 8:13, 8:13] = 0.5
    left = shrunk(Explanation(-added, x + added), x, 0.2, smoothing=1.0).map
    assert left[0, 0, 2, 2] == 0 and left[0, 0, 10, 10] < -0.25
    assert shrunk(Explanation(-added, x + added), x, 0.2).map[0, 0, 2, 2] == pytest.approx(-0.3)


def test_a_field_is_shortened_and_its_figures_are_told_anew() -> None:
    random = torch.Generator().manual_seed(0)
    x, field = torch.rand(2, 1, 6, 7, generator=random), 2 * torch.rand(2, 2, 6, 7, generator=random)
    told = {"displacement": torch.full((2,), 9.0), "folded": torch.full((2,), 9.0)}
    found = shrunk(Explanation(difference(x, warp(x, field)), warp(x, field), field, diagnostics=told), x, 0.5)
    torch.testing.assert_close(length(found.field), (length(field) - 0.5).clamp_min(0))
    torch.testing.assert_close(found.counterfactual, warp(x, found.field))
    torch.testing.assert_close(found.map, x - found.counterfactual)
    torch.testing.assert_close(found.diagnostics["displacement"], length(found.field).flatten(1).mean(1))
    assert (found.diagnostics["folded"] <= 1).all()
    sizes = sizes_at(replace(found, field=field), x, [0.5], 0.0)[:, 0]
    np.testing.assert_allclose(sizes, found.map.abs().flatten(1).mean(1), rtol=1e-5)


def test_where_nothing_holds_the_image_is_left_as_it_is() -> None:
    x, added = torch.rand(1, 2, 4, 4), torch.rand(1, 2, 4, 4)
    found = shrunk(Explanation(difference(x, x + added), x + added, spread=added[:, :1]), x, None)
    assert not found.map.any() and not found.spread.any() and torch.equal(found.counterfactual, x)


def test_changes_of_two_channels_do_not_cancel() -> None:
    x, added = torch.zeros(1, 2, 4, 4), torch.full((1, 2, 4, 4), 0.5)
    added[:, 1] = -0.5
    drawn = Explanation(difference(x, x + added), x + added)
    assert not drawn.map.any()
    np.testing.assert_allclose(sizes_at(drawn, x, [0.0, 0.2], 0.0), [[0.5, 0.3]], rtol=1e-6)
    left = shrunk(drawn, x, 0.2).counterfactual
    assert (x - left).abs().mean().item() == pytest.approx(0.3)


def test_sizes_are_the_change_that_is_left_of_a_field_within_masks(run: LearnedRun) -> None:
    random = torch.Generator().manual_seed(0)
    x, field = torch.rand(1, 2, 6, 8, generator=random), 2 * torch.rand(1, 2, 6, 8, generator=random)
    x[..., :3] = -1  # outside of its mask
    found = replace(calibration_of(run, 0.5), moves=True, smoothing=1.0)
    source = replace(source_of(Scaled()), preprocessing=replace(RANGE, mask="given"), calibration=found)
    drawn = source.within_masks(Explanation(difference(x, warp(x, field)), warp(x, field), field), x)
    left = source.calibrated(drawn, x).counterfactual
    expected = (x - left).abs().mean().item()
    assert expected > 0 and (left[..., :3] == -1).all()
    np.testing.assert_allclose(sizes_at(drawn, x, [0.5], 1.0), [[expected]], rtol=1e-5)


def test_slices_of_a_volume_count_as_one_image(run: LearnedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    volumes = {"a": [0.1, 0.3], "b": [0.2, 0.6], "c": [1.0]}
    pixels = {
        name: np.float32(each).reshape(-1, 1, 1, 1) * np.ones((1, 1, 3, 3), np.float32)
        for name, each in volumes.items()
    }

    def given(_: Any, rows: Any, *__: Any) -> Iterator[Any]:
        yield [(row, pixels[row["id"]]) for row in rows]

    monkeypatch.setattr("explain.checking.measuring.streamed", given)
    table = pd.DataFrame({"id": list("abc"), "subject": ["p", "p", "q"], "label": 1})
    found = measured(source_of(Scaled()), [Scaled(times=0.5)], table, np.array([0.0]), 1, [])
    np.testing.assert_allclose(found.real[:, 0], [0.2, 0.4, 1.0], rtol=1e-6)
    np.testing.assert_allclose(by_person(found.real, found.subjects)[:, 0], [0.3, 1.0], rtol=1e-6)
    np.testing.assert_allclose(found.nothing[0, :, 0], [0.1, 0.2, 0.5], rtol=1e-6)
    np.testing.assert_allclose(found.largest[:, :, 0], [[0.3, 0.6, 1.0], [0.15, 0.3, 0.5]], rtol=1e-6)


def test_it_goes_on_with_the_permutations_that_were_begun(tmp_path: Path) -> None:
    assert begun_with(tmp_path / "none") == 0
    (tmp_path / "permuted_1" / "checkpoint" / "000001").mkdir(parents=True)
    told = {"subjects_from": "names. This run: labels are permuted in the part train (permutation 1 of seed 3)"}
    (tmp_path / "permuted_1" / "checkpoint" / "plan.json").write_text(json.dumps(told))
    assert begun_with(tmp_path / "permuted_1") == 3


# A run


def test_a_run_is_calibrated_on_its_held_out_images_and_by_what_its_own_folder_holds(
    bare: LearnedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_missing(source: Any, rows: Any, workers: Any, errors: list[dict[str, str]]) -> Iterator[Any]:
        errors.append({"id": "gone", "path": "gone.png", "error": "cannot be read"})
        yield from streamed(source, rows, workers, errors)

    monkeypatch.setattr("explain.checking.measuring.streamed", one_missing)
    weights = (bare.folder / "weights.safetensors").read_bytes()
    found = calibrate(bare.folder, **OPTIONS)
    assert (bare.folder / "weights.safetensors").read_bytes() == weights
    again = LearnedRun.open(bare.folder / "permuted_1")
    facts = json.loads(found.path.read_text())
    assert found.calibration == bare.calibration and facts["run"] == bare.identity
    assert "serves a calibration alone" in (again.folder / "MODEL_CARD.md").read_text()
    assert found.calibration.told() in (bare.folder / "MODEL_CARD.md").read_text()
    x = torch.from_numpy(prepared(bare, held_out_cases(bare.cohort)))
    real, nothing = (each.explainer.explain(x).map.abs().mean().item() for each in (bare, again))
    assert found.calibration.cases.real == pytest.approx(real, rel=1e-5)
    assert found.calibration.cases.nothing == pytest.approx(nothing, rel=1e-5)
    assert found.calibration.raw_ratio == pytest.approx(nothing / real, rel=1e-5)
    assert found.calibration.controls is not None and found.unreadable == 1
    assert list(pd.read_csv(found.errors)["id"]) == ["gone"] and found.errors.parent == bare.folder


def test_stopped_the_run_is_of_use_and_the_same_call_goes_on(
    changing: LearnedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(changing.folder, tmp_path / "run", ignore=shutil.ignore_patterns("permuted_*", FILE))
    bare = LearnedRun.open(tmp_path / "run")
    steps, whole = [], Additive.generator_loss

    def stopping(self: Additive, batch: tuple[Tensor, Tensor]) -> Any:
        steps.append(self)
        if len(steps) == 3:
            raise KeyboardInterrupt
        return whole(self, batch)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Additive, "generator_loss", stopping)
        calibrate(bare.folder, save_every=1, **OPTIONS)
    assert LearnedRun.open(bare.folder).calibration is None
    steps.clear()
    with monkeypatch.context() as patch:
        patch.setattr(Additive, "generator_loss", lambda self, batch: (steps.append(self), whole(self, batch))[1])
        calibrate(bare.folder, save_every=1, **OPTIONS)
    assert len(steps) == changing.facts["settings"]["steps"] - 2 and bare.calibration is not None


def test_its_permutations_are_never_those_of_a_check() -> None:
    table = people([[s % 2] for s in range(40)] + [[1]])
    ours = [tuple(permuted(table, k, 0, STREAM)[0]["label"]) for k in (1, 2)]
    theirs = [tuple(permuted(table, k, seed)[0]["label"]) for k in (1, 2) for seed in (0, 1)]
    assert len({*ours, *theirs}) == 6


def test_of_maps_that_are_zero_nothing_can_be_told_and_nothing_is_trained(
    bare: LearnedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flat(self: Additive, x: Tensor) -> Explanation:
        return Explanation(0 * x, x)

    def untrained(*_: Any) -> None:
        raise AssertionError("it was trained")

    monkeypatch.setattr(Additive, "counterfactual", flat)
    monkeypatch.setattr("explain.checking.again.learn", untrained)
    found = calibrate(bare.folder, **OPTIONS)
    assert found.calibration is None and "changed in 0 of 2 held-out persons" in found.sentence
    with pytest.raises(AnomalyError, match=r"permuted is 0, allowed 0\.05"):
        calibrate(bare.folder, permuted=0)
    with pytest.raises(AnomalyError, match="saliency explains a target"):
        calibrate("saliency")
    with pytest.raises(CohortError, match="give --images"):
        calibrate(bare.folder, images=bare.folder, **OPTIONS)


def test_of_maps_that_are_next_to_nothing_it_cannot_tell_and_says_so_in_figures(
    run: LearnedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def untrained(*_: Any) -> None:
        raise AssertionError("it was trained")

    monkeypatch.setattr("explain.checking.again.learn", untrained)
    shutil.copytree(run.folder, tmp_path / "run")
    write_calibration(tmp_path / "run", calibration_of(run, 1e-5))  # by an earlier version
    found = calibrate(tmp_path / "run", **OPTIONS)
    assert re.match(
        r"CANNOT TELL: the real maps are next to nothing themselves: 1 % of the range of grey values or more is "
        r"changed in 0 of 2 held-out persons, and the largest change is 0\.0\d+ % of the range, so",
        found.sentence,
    )
    assert found.calibration is None and not found.path.exists() and looked_at(found)[""] == "cannot tell"
    assert LearnedRun.open(tmp_path / "run").calibration is None
    assert found.sentence.endswith(" The calibration of an earlier call is removed.")
    left = json.loads((tmp_path / "run" / UNTOLD).read_text())
    assert (left["verdict"], left["run"], left["persons"], left["changed"]) == ("cannot tell", run.identity, 2, 0)
    assert 0 < left["largest"] < NOTHING and found.sentence.startswith(left["sentence"])
    card = (tmp_path / "run" / "MODEL_CARD.md").read_text()
    assert left["sentence"] in card and NOT_MEASURED not in card and "removed" not in card
    again = calibrate(tmp_path / "run", **OPTIONS)
    assert again.sentence == left["sentence"]  # nothing was there to be removed


def test_maps_say_that_it_cannot_be_told_until_it_is(bare: LearnedRun, tmp_path: Path) -> None:
    shutil.copytree(bare.folder, tmp_path / "run")
    run = LearnedRun.open(tmp_path / "run")
    assert IfNothing.of(open_source(run.folder, device="cpu")).remark == NOT_MEASURED
    found = Untold(run.identity, "CANNOT TELL: too little.", 2, 0, 0.001)
    write_untold(run.folder, found)
    told = IfNothing.of(open_source(run.folder, device="cpu"))
    assert told.remark == told.told_of({"change": 0.5}) == found.sentence and told.facts is None and not told.empty
    table, remark, facts = mapped(run, tmp_path / "maps")
    assert remark.endswith(found.sentence) and facts["if_nothing"] == found.sentence and facts["calibration"] is None
    assert "change_if_nothing" not in table
    assert replace(run, facts={**run.facts, "files": {"weights.safetensors": "others"}}).untold is None
    write_calibration(run.folder, calibration_of(run, 1e-5))
    assert IfNothing.of(open_source(run.folder, device="cpu")).remark.startswith("With labels that mean nothing")
    for text in ("{", "[]", "{}", json.dumps({"verdict": "holds"}), json.dumps({"verdict": "cannot tell", "run": ""})):
        (run.folder / UNTOLD).write_text(text)
        with pytest.raises(RunError, match=r"cannot_tell\.json cannot be read .* remove it, and calibrate again"):
            read_untold(run.folder, run.identity)


def test_an_earlier_calibration_stays_where_cases_cannot_be_read(
    run: LearnedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(run.folder, tmp_path / "run")
    seen = Seen(0.001, np.array([0.001, 0.0]), np.array(["a", "b"], object), False, [{"id": "c", "error": "damaged"}])
    monkeypatch.setattr("explain.checking.calibrating.seen_in", lambda *_: seen)
    earlier = calibration_of(run, 1e-5)
    write_calibration(tmp_path / "run", earlier)
    found = calibrate(tmp_path / "run", **OPTIONS)
    assert "left as it is, and counts on, since 1 of the held-out cases cannot be read now" in found.sentence
    assert found.calibration is None and found.unreadable == 1 and looked_at(found)[""] == "cannot tell"
    assert LearnedRun.open(tmp_path / "run").calibration == earlier and not (tmp_path / "run" / UNTOLD).exists()
    assert earlier.told() in (tmp_path / "run" / "MODEL_CARD.md").read_text()
    (tmp_path / "run" / FILE).unlink()
    assert "earlier" not in calibrate(tmp_path / "run", **OPTIONS).sentence
    assert json.loads((tmp_path / "run" / UNTOLD).read_text())["unreadable"] == 1


@pytest.mark.parametrize(("left", "holds"), [(0.03, True), (0.01, False)])
def test_what_is_left_must_be_more_than_next_to_nothing(
    bare: LearnedRun, monkeypatch: pytest.MonkeyPatch, left: float, holds: bool
) -> None:
    ones = np.ones((12, 3))
    largest = np.stack([ones * [0.2, 0.1, left], ones * [0.15, 0.05, 0.0]])
    persons = np.array([f"s{k:02d}" for k in range(12)], dtype=object)
    found = Measured(
        np.arange(3.0), ones * [0.1, 0.05, 0.01], 0.5 * ones[None] * [0.1, 0.05, 0], largest, persons, ones[:, 0]
    )
    monkeypatch.setattr("explain.checking.calibrating._trained", lambda *_: ([], ["none"]))
    monkeypatch.setattr("explain.checking.calibrating.measured", lambda *_: found)
    write_untold(bare.folder, Untold(bare.identity, "CANNOT TELL: too little.", 2, 0, 0.001))
    told = calibrate(bare.folder, **OPTIONS)
    assert told.calibration is not None and told.calibration.holds is holds and bare.untold is None
    assert "largest change 7.5 % of the range of grey values, here 10 %" in told.sentence
    assert told.sentence.startswith("NOTHING HOLDS") is not holds


def test_that_next_to_nothing_is_drawn_of_nothing_is_said(run: LearnedRun) -> None:
    found = calibration_of(run, 0.1, largest=0.5, largest_nothing=0.012)
    assert found.told().startswith("With labels that mean nothing, next to nothing would be drawn: 3.8 % (at most 5 %)")
    assert "largest change 0.6 % of the range of grey values, here 25 %" in found.told()
    assert (
        replace(found, largest_nothing=0.3).told().startswith("With labels that mean nothing, so much would be drawn")
    )


def test_the_command_names_no_file_where_it_cannot_tell(capsys: pytest.CaptureFixture[str]) -> None:
    tell(Calibrated(Path("calibration.json"), Path("errors.csv"), None, "CANNOT TELL: too little.", 0))
    assert capsys.readouterr().out == "CANNOT TELL: too little.\n"


# Maps and checks of it


def mapped(run: LearnedRun, out: Path, **options: Any) -> tuple[pd.DataFrame, str, dict[str, Any]]:
    images = held_out_cases(run.cohort)[["id", "path", "subject"]]
    found = map_images(run.folder, images, out, outputs=("none",), **OPTIONS, **options)
    return pd.read_csv(found.path), found.remark, json.loads((out / "explain.json").read_text())


def test_every_map_says_what_would_be_drawn_of_nothing(
    bare: LearnedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, remark, facts = mapped(bare, tmp_path / "plain")
    assert remark.endswith(NOT_MEASURED) and facts["calibration"] is None and "change_if_nothing" not in plain
    threshold = float(plain["largest_change"].median()) / 2
    write_calibration(bare.folder, calibration_of(bare, threshold))
    table, remark, facts = mapped(bare, tmp_path / "calibrated")
    np.testing.assert_allclose(table["change_as_drawn"], plain["change"], rtol=1e-5)
    assert (table["change"] < table["change_as_drawn"]).all() and (table["change"] > 0).all()
    assert (table["change_if_nothing"] == 3e-7).all()
    np.testing.assert_allclose(table["share_if_nothing"], 3e-7 / table["change"], rtol=1e-5)
    assert "so much would be drawn: 3.8 % (at most 5 %) of these maps, 50 % (at most 60 %) of them as" in remark
    assert facts["if_nothing"] in remark and facts["calibration"]["threshold"] == threshold
    changes = next(each for each in evaluate(tmp_path / "calibrated").sections if each.name == "changes")
    assert changes.sentences[-1] == facts["if_nothing"]
    assert set(changes.table["figure"]) == {"change", "largest_change", "unchanged", "change_as_drawn"}
    raw, remark, facts = mapped(bare, tmp_path / "raw", raw=True)
    np.testing.assert_allclose(raw["change"], plain["change"])
    monkeypatch.setattr("explain.runs.nothing.NOTHING", 1.0)
    assert mapped(bare, tmp_path / "little")[0]["share_if_nothing"].isna().all()
    assert (raw["change_if_nothing"] == 1e-5).all() and "50 % (at most 60 %) of these maps" in remark
    with pytest.raises(RunError, match="made with another calibration"):
        mapped(bare, tmp_path / "plain")


def test_where_nothing_holds_maps_are_empty_and_say_so(bare: LearnedRun, tmp_path: Path) -> None:
    write_calibration(bare.folder, calibration_of(bare, None, ratio=0.5))
    table, remark, _ = mapped(bare, tmp_path / "maps")
    assert (
        (table["change"] == 0).all() and (table["change_as_drawn"] > 0).all() and table["share_if_nothing"].isna().all()
    )
    assert remark.startswith("NOTHING HOLDS: ") and "--raw draws maps as they are" in remark
    with pytest.raises(AnomalyError, match=r"nothing holds of the maps .* --raw checks them"):
        check(bare.folder, tmp_path / "check", **OPTIONS)


def test_the_words_of_one_map(run: LearnedRun) -> None:
    found = calibration_of(run, 1e-5)
    assert found.told_of(1e-5) == (
        "With labels that mean nothing, a mean change of 3e-07 would be drawn on the mean of held-out cases; here it "
        "is 1e-05, so that it would be 3 % of this."
    )
    assert found.told_of(1e-5, raw=True).endswith("so that it would be this or more.")
    assert found.told_of(0.0).startswith("Nothing is left of this map")
    assert found.told_of(1e-5, largest=0.006) == (
        "CANNOT TELL how much of this map would be drawn if labels meant nothing: it is next to nothing, its largest "
        "change 0.3 % of the range of grey values."
    )
    assert replace(found, threshold=None).told_of(0.0).startswith("NOTHING HOLDS, so nothing is drawn: ")
    moving = replace(found, moves=True, permutations=2)
    assert "move by less than 1e-05 pixels" in moving.told() and "worst of 2 trainings" in moving.told()
    assert (
        "(measured by 1 training on permuted labels, 8 held-out cases of 6 persons, each half at what" in found.told()
    )


def test_a_threshold_of_0_takes_nothing_away_and_says_so(run: LearnedRun) -> None:
    found = calibration_of(run, 0.0)
    assert found.holds and found.told().endswith("That is 5 % or less, so nothing is taken away of them.")
    x = torch.rand(1, 1, 4, 4)
    drawn = Explanation(difference(x, 0 * x), 0 * x)
    assert found.applied(drawn, x) is drawn and "the calibration is left out" in found.told(raw=True)


def test_too_few_persons_and_what_is_left_of_controls_are_told(run: LearnedRun) -> None:
    few = replace(calibration_of(run, 0.1), interval=False, ratio_high=None, raw_ratio_high=None)
    few = replace(few, cases=replace(few.cases, images=192, subjects=3), controls=Sizes(4, 4, 1e-5, 1e-5, 2e-6, 1e-7))
    for told in (few.told(), few.told(raw=True), few.told_of(1e-4), replace(few, threshold=None).told_of(0.0)):
        assert "192 held-out cases of 3 persons, too few for an interval" in told
    assert "that leaves 40 % of the change in cases and 20 % of that in controls" in few.told()
    assert replace(few, interval=True).told().count("(no upper end)") == 2


def test_a_calibration_of_other_weights_is_none_and_a_damaged_one_is_refused(bare: LearnedRun) -> None:
    write_calibration(bare.folder, replace(calibration_of(bare, 0.1), run="others"))
    assert bare.calibration is None and open_source(bare.folder, device="cpu").calibration is None
    for text in (
        "{",
        "[]",
        json.dumps({"run": bare.identity}),
        _written(bare, threshold=-1.0),
        _written(bare, cases=3),
    ):
        (bare.folder / FILE).write_text(text)
        with pytest.raises(RunError, match=r"cannot be read .* remove it, and calibrate again"):
            read_calibration(bare.folder, bare.identity)


def _written(run: LearnedRun, **others: Any) -> str:
    write_calibration(run.folder, calibration_of(run, 0.1))
    return json.dumps({**json.loads((run.folder / FILE).read_text()), **others})


def test_what_is_outside_of_masks_counts_for_nobody(run: LearnedRun) -> None:
    masks = replace(RANGE, mask="given")
    source = replace(source_of(Scaled()), preprocessing=masks, calibration=calibration_of(run, 0.1))
    x = torch.full((1, 1, 4, 6), 0.5)
    x[..., :3] = -1
    drawn = Explanation(difference(x, torch.zeros_like(x)), torch.zeros_like(x))
    for found in (source.within_masks(drawn, x), source.calibrated(drawn, x)):
        assert not found.map[..., :3].any() and (found.counterfactual[..., :3] == -1).all()
    torch.testing.assert_close(source.calibrated(drawn, x).map[..., 3:], torch.full((1, 1, 4, 3), 0.4))


def test_a_check_takes_the_same_off_the_maps_of_a_fresh_permutation(run: LearnedRun) -> None:
    plain = source_of(Scaled(), run)
    source = replace(plain, calibration=calibration_of(run, 0.2))
    cases = held_out_cases(run.cohort)
    found = compared(source, {"other": Scaled(times=0.5)}, cases, 1)
    x = torch.from_numpy(prepared(run, cases)).abs()
    left = [float((times * x - 0.2).clamp_min(0).mean()) for times in (0.5, 1.0)]
    assert found.size().value == pytest.approx(left[0] / left[1], rel=1e-5)
    assert found.raw_size().value == found.row(0)["ratio_as_drawn"] == pytest.approx(0.5)
    assert compared(replace(source, raw=True), {"other": Scaled(times=0.5)}, cases, 1).size().value == pytest.approx(
        0.5
    )
