"""Group maps of the change between two visits, between groups and against no change."""

import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colorbar import Colorbar
from scipy.stats import ttest_1samp
from studies import calling

from anomaly.errors import CohortError, EvaluationError
from anomaly.images import write_volume
from anomaly.longitudinal import evaluate_visits
from anomaly.statistics.permutation import against_zero
from explain.association import associate, pictures
from explain.association.findings import _ways
from explain.association.groupmap import group_map
from explain.association.voxels import residuals, t_maps, voxel_auroc

SIDE = 12
PLACE = (slice(2, 6), slice(6, 10))


def study(folder, size=30, *, everybody=0.0, worse=2.0, seed=0):
    """Maps of one knee at two visits two years apart; a block of it rises in those with progression, or everybody."""
    rng = np.random.default_rng(seed)
    level, rows, changes = rng.normal(size=(size, SIDE, SIDE)), [], []
    for k in range(size):
        progression = k % 2
        for month in (0, 24):
            map_ = level[k] + 0.5 * rng.normal(size=(SIDE, SIDE))
            if month:
                map_[PLACE] += everybody + worse * progression
            name = f"k{k:02d}-{month}"
            write_volume(folder / "heatmaps" / f"{name}_anomaly.nii.gz", map_.astype(np.float32), np.eye(4))
            changes.append(map_)
            about = {"id": name, "subject": f"p{k:02d}", "path": name, "visit": f"m{month}", "value": map_.mean()}
            rows.append(about | {"progression": progression if month == 0 else None, "age": 50 + k})
    table = pd.DataFrame(rows)
    table["heatmap"] = [f"heatmaps/{name}_anomaly.nii.gz" for name in table["id"]]
    table[["id", "subject", "path", "value", "heatmap"]].to_csv(folder / "scores.csv", index=False)
    table[["id", "subject", "visit", "progression", "age"]].to_csv(folder / "cohort.csv", index=False)
    maps = np.array(changes)
    return maps[1::2] - maps[::2]


def run(folder, **options):
    options = {"visits": "visit", "permutations": 99, "mask": "none", **options}
    return associate(folder, folder / "cohort.csv", out=folder / "out", **options)


def volume(folder, name):
    return nib.load(folder / "out" / f"{name}.nii.gz").get_fdata().squeeze()


def test_changes_are_compared_between_groups(tmp_path):
    change = study(tmp_path)
    found = run(tmp_path, outcome="progression", adjust="age", annual=True)
    sick = np.arange(30) % 2 == 1
    difference = volume(tmp_path, "mean_difference")
    # Age rises by one from person to person, so it is nearly nothing beside the outcome.
    expected = (change[sick].mean(axis=0) - change[~sick].mean(axis=0)) / 2
    assert np.abs(difference - expected).max() < 0.1
    significant = volume(tmp_path, "significant") != 0
    assert significant[PLACE].mean() > 0.9 and significant.mean() < 0.2
    assert found.headline.startswith("Maps change upwards with progression")
    facts = json.loads((tmp_path / "out" / "association.json").read_text(encoding="utf-8"))
    assert (facts["n"], facts["events"], facts["visits"], facts["annual"]) == (30, 15, "visit", True)
    assert any("30 pairs of visits of 30 persons" in note for note in found.notes)


def test_changes_are_held_against_none(tmp_path):
    change = study(tmp_path, everybody=1.0, worse=0.0)
    found = run(tmp_path)
    assert np.abs(volume(tmp_path, "mean_difference") - change.mean(axis=0)).max() < 1e-5
    assert (volume(tmp_path, "significant") != 0)[PLACE].all()
    share = (change > 0).mean(axis=0)
    assert np.abs(volume(tmp_path, "auroc") - share).max() < 1e-6
    assert found.headline.startswith("Maps rise between visits in a region of 16 voxels")
    assert any("their signs change, in 30 independent units" in note for note in found.notes)


def test_the_t_of_changes_is_that_of_one_sample():
    values = np.random.default_rng(0).normal(0.3, size=(25, 6)).astype(np.float32)
    model = against_zero(25)
    unit, lengths = residuals(model, values)
    rows = np.arange(25)[None]
    coefficient, t = t_maps(model, unit, rows, np.ones_like(rows), robust=False)
    np.testing.assert_allclose(t[0], ttest_1samp(values, 0).statistic, rtol=1e-4)
    np.testing.assert_allclose(coefficient[0] * lengths / model.length, values.mean(axis=0), rtol=1e-4)
    assert model.arrangements == 2**25
    assert voxel_auroc(np.array([[1.0], [0.0], [-1.0], [2.0]]), np.ones(4)) == pytest.approx(2.5 / 4)


def test_without_change_something_is_found_in_one_of_twenty_studies():
    rng, found, mask = np.random.default_rng(1), 0, np.ones((5, 5), bool)
    people = np.repeat(np.arange(15), 2)
    model = against_zero(30, None, people)
    for study_ in range(100):
        shared = np.repeat(rng.normal(size=(15, 25)), 2, axis=0)
        values = (shared + rng.normal(size=(30, 25))).astype(np.float32)
        p = group_map(values, np.ones(30), model, mask, permutations=79, seed=study_).p
        found += bool((p <= 0.05).any())
    assert 1 <= found <= 12  # 5 expected


def test_what_cannot_be_compared_is_named(tmp_path):
    study(tmp_path)
    with pytest.raises(EvaluationError, match="name the outcome that maps are compared by, or the column of visits"):
        run(tmp_path, visits=None)
    with pytest.raises(EvaluationError, match="go with visits; name these"):
        run(tmp_path, visits=None, outcome="progression", annual=True)
    with pytest.raises(EvaluationError, match="loads and matched sets take an outcome"):
        run(tmp_path, predict="progression")
    cohort = pd.read_csv(tmp_path / "cohort.csv")
    cohort.loc[1, "progression"] = 1  # of the first knee, which has 0 at its first visit
    cohort.assign(visit=cohort["visit"]).to_csv(tmp_path / "cohort.csv", index=False)
    with pytest.raises(EvaluationError, match=r"1 have rows without progression and later ones with it .*--outcome-at"):
        run(tmp_path, outcome="progression")
    found = run(tmp_path, outcome="progression", outcome_at="person")
    assert any("1 have rows both with and without progression (p00)" in note for note in found.notes)
    cohort[cohort["visit"] == "m0"].to_csv(tmp_path / "cohort.csv", index=False)
    with pytest.raises(CohortError, match="nobody has two visits"):
        run(tmp_path)
    cohort.assign(visit=[f"V{k % 2}" for k in range(60)]).to_csv(tmp_path / "cohort.csv", index=False)
    with pytest.raises(EvaluationError, match="nobody says how long the visits of visit are"):
        run(tmp_path, annual=True)


def test_outcomes_are_those_of_the_evaluation_of_visits(tmp_path):
    study(tmp_path)
    cohort = pd.read_csv(tmp_path / "cohort.csv")
    # Told on the row of a visit that has no map.
    extra = cohort[cohort["visit"] == "m24"].assign(id=lambda rows: rows["id"] + "-later", visit="m48")
    extra["progression"] = extra["age"] % 2
    cohort["progression"] = np.nan
    pd.concat([cohort, extra]).to_csv(tmp_path / "cohort.csv", index=False)
    run(tmp_path, outcome="progression")
    facts = json.loads((tmp_path / "out" / "association.json").read_text(encoding="utf-8"))
    told = evaluate_visits(tmp_path, tmp_path / "cohort.csv", visits="visit", outcome="progression", out=tmp_path)
    assert facts["n"] == 30 and facts["events"] == told.pairs["outcome"].sum() == 15
    # Told anew at each visit: those with it at month 0 are left out by both.
    pain = pd.concat([cohort.assign(pain=0), extra.assign(pain=0)])
    number = pain["id"].str[1:3].astype(int)
    pain["pain"] = ((number < 8) | ((number >= 18) & (pain["visit"] != "m0"))).astype(int)
    pain.to_csv(tmp_path / "cohort.csv", index=False)
    asked = {"outcome": "pain", "outcome_at": "visit"}
    found = run(tmp_path, **asked)
    facts = json.loads((tmp_path / "out" / "association.json").read_text(encoding="utf-8"))
    told = evaluate_visits(tmp_path, tmp_path / "cohort.csv", visits="visit", out=tmp_path, **asked)
    assert (facts["n"], facts["events"]) == (22, 12)
    assert (told.pairs["outcome"].notna().sum(), told.pairs["outcome"].sum()) == (22, 12)
    assert any("pain is told at each visit" in note for note in found.notes)
    for notes in (found.notes, told.notes):
        why = [note for note in notes if "8 pairs were left out" in note]
        assert len(why) == 1 and "pain was there at the first image" in why[0]
        assert not any("pain is not known" in note or "pain or map" in note for note in notes)
    # The same in words.
    pain.assign(pain=np.where(pain["pain"] == 1, "severe", "none")).to_csv(tmp_path / "cohort.csv", index=False)
    run(tmp_path, positive="severe", **asked)
    facts = json.loads((tmp_path / "out" / "association.json").read_text(encoding="utf-8"))
    assert (facts["n"], facts["events"]) == (22, 12)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"outcome": "pain"}, ("lower", "higher with the outcome")),
        ({"outcome": "pain", "visits": "month"}, ("rose less", "rose more with the outcome")),
        ({"outcome": None, "visits": "month"}, ("fell", "rose between visits")),
    ],
)
def test_the_colours_say_what_was_compared(facts, said, monkeypatch):
    assert _ways(facts) == said
    heard = []
    monkeypatch.setattr(Colorbar, "set_label", lambda bar, text, **_: heard.append(text))
    t = np.zeros((4, 4))
    pictures.association(t, t > 1, t, np.eye(4), pd.DataFrame({"peak_i": []}), "title", ways=_ways(facts))
    assert heard[-1] == f"t: blue {said[0]}, red {said[1]}"


def test_the_last_visit_that_has_a_map_is_compared(tmp_path):
    study(tmp_path)
    cohort, scores = (pd.read_csv(tmp_path / name) for name in ("cohort.csv", "scores.csv"))
    later = scores[scores["id"].str.endswith("-24")].assign(id=lambda rows: rows["id"] + "-later", heatmap=None)
    later["path"] = later["id"]
    pd.concat([scores, later]).to_csv(tmp_path / "scores.csv", index=False)
    extra = cohort[cohort["visit"] == "m24"].assign(id=lambda rows: rows["id"] + "-later", visit="m48")
    pd.concat([cohort, extra]).to_csv(tmp_path / "cohort.csv", index=False)
    found = run(tmp_path, outcome="progression")
    facts = json.loads((tmp_path / "out" / "association.json").read_text(encoding="utf-8"))
    assert facts["n"] == 30
    assert any("Of 30 images the map is not known" in note for note in found.notes)


def test_maps_of_another_grid_ask_for_registration_and_damaged_ones_are_named(tmp_path):
    study(tmp_path)
    (tmp_path / "heatmaps" / "k03-0_anomaly.nii.gz").write_bytes(b"no map")
    found = run(tmp_path, outcome="progression")
    assert list(found.failed["id"]) == ["k03-24"] and "k03-0" in found.failed["error"][0]
    write_volume(tmp_path / "heatmaps" / "k04-0_anomaly.nii.gz", np.zeros((SIDE, SIDE + 1), np.float32), np.eye(4))
    with pytest.raises(EvaluationError, match=r"another grid .*\(k04-24\); .*follow-ups by anomaly register visits"):
        run(tmp_path, outcome="progression")


def test_the_command_asks_for_changes(tmp_path, monkeypatch, capsys):
    study(tmp_path)
    asked = calling(tmp_path, monkeypatch, capsys)
    code, out, errors = asked("associate . --cohort cohort.csv --visits visit --permutations 99 --mask none --out out")
    assert code == 0, errors
    assert "(30 pairs)" in out
    code, _, errors = asked("associate . --cohort cohort.csv --outcome progression --annual --out out")
    assert code == 2 and "goes with --visits" in errors
