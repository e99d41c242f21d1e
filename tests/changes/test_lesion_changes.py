"""What became of lesions, by cases worked by hand."""

import numpy as np
import pytest

from anomaly.changes.lesions import KINDS, lesion_changes, lesion_counts
from anomaly.errors import AnomalyError


def masks(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(shape, bool), np.zeros(shape, bool)


def every_kind() -> tuple[np.ndarray, np.ndarray]:
    before, after = masks(30, 30)
    after[1:3, 1:3] = True  # new, 4
    before[10:12, 1:5], after[10:13, 1:5] = True, True  # 8 to 12
    before[20:24, 1:5], after[20:22, 1:5] = True, True  # 16 to 8
    before[1:4, 20:22] = True  # resolved, 6
    before[10:14, 20:25], after[10:14, 20:25] = True, True
    after[14, 20] = True  # 20 to 21: one pixel of a rim is noise
    return before, after


def test_each_kind_with_its_volumes():
    found = lesion_changes(*every_kind(), voxel=0.5).set_index("kind")
    assert set(found.index) == set(KINDS)
    assert found["volume_before"].to_dict() == {"new": 0, "growing": 4, "shrinking": 8, "resolved": 3, "stable": 10}
    assert found["volume_after"].to_dict() == {"new": 2, "growing": 6, "shrinking": 4, "resolved": 0, "stable": 10.5}
    assert found["relative"].drop("new").to_dict() == {
        "growing": 0.5, "shrinking": -0.5, "resolved": -1, "stable": 0.05
    }  # fmt: skip
    assert np.isnan(found.loc["new", "relative"])
    assert found.loc["new", ["centre_i", "centre_j"]].tolist() == [1.5, 1.5]
    assert sorted(found["lesion"]) == [1, 2, 3, 4, 5] and found.loc["stable", "lesion"] == 1


def test_in_one_row():
    counts = lesion_counts(lesion_changes(*every_kind()))
    assert all(counts[kind] == 1 for kind in KINDS)
    assert (counts["new_change"], counts["growing_change"], counts["shrinking_change"]) == (4, 4, -8)
    assert (counts["resolved_change"], counts["stable_change"]) == (-6, 1)
    assert (counts["volume_before"], counts["volume_after"], counts["change"]) == (50, 45, -5)


def test_corners_join_and_what_merges_or_splits_is_one_lesion():
    before, after = masks(9, 9, 9)
    before[1, 1, 1] = before[1, 1, 3] = True
    after[1, 1, 1:4] = True
    (merged,) = lesion_changes(before, after).to_dict("records")
    assert (merged["lesions_before"], merged["lesions_after"], merged["kind"]) == (2, 1, "growing")
    (split,) = lesion_changes(after, before).to_dict("records")
    assert (split["lesions_before"], split["lesions_after"], split["kind"]) == (1, 2, "shrinking")
    before, after = masks(9, 9, 9)
    before[1, 1, 1], after[2, 2, 2] = True, True  # it moved over a corner
    (moved,) = lesion_changes(before, after).to_dict("records")
    assert moved["kind"] == "stable" and moved["change"] == 0


def test_noise_is_no_growth():
    before, after = masks(12, 12)
    before[1:5, 1:6], after[1:6, 1:6] = True, True  # 20 to 25: a quarter, not more
    kind = lambda **given: lesion_changes(before, after, **given)["kind"].tolist()  # noqa: E731
    assert kind() == ["stable"] and kind(grown=0.2) == ["growing"]
    assert kind(grown=0.2, least=5) == ["growing"] and kind(grown=0.2, least=5.5) == ["stable"]
    assert lesion_changes(before, before, grown=0)["kind"].tolist() == ["stable"]


def test_small_ones_and_those_outside_are_left_out():
    before, after = every_kind()
    assert len(lesion_changes(before, after, smallest=6)) == 4
    inside = np.zeros_like(before)
    inside[:, :10] = True
    assert set(lesion_changes(before, after, inside=inside)["kind"]) == {"new", "growing", "shrinking"}


def test_nothing_gives_an_empty_table_with_its_columns():
    full = lesion_changes(*every_kind())
    empty = lesion_changes(*masks(30, 30))
    assert not len(empty) and list(empty) == list(full)
    assert {name: empty[name].dtype for name in empty} == {name: full[name].dtype for name in full}
    assert not any(lesion_counts(empty).values())
    assert list(lesion_changes(*masks(4, 4, 4)))[-3:] == ["centre_i", "centre_j", "centre_k"]
    # masks written as numbers mean the same
    numbers = lesion_changes(*(mask.astype(np.uint8) for mask in every_kind()))
    assert numbers.equals(full)


def test_what_cannot_be_compared_is_refused():
    before, after = masks(6, 6)
    with pytest.raises(AnomalyError, match=r"\(5, 6\).*\(6, 6\).*register visits"):
        lesion_changes(before, after[:5])
    with pytest.raises(AnomalyError, match=r"second mask holds values from 0 to 0.4; expected 0 and 1"):
        lesion_changes(before, after + np.float32(0.4) * np.eye(6))
    with pytest.raises(AnomalyError, match="expected a picture or a volume"):
        lesion_changes(before[0], after[0])
    for given in ({"grown": -1.0}, {"least": float("nan")}, {"voxel": 0.0}, {"smallest": -2.0}):
        with pytest.raises(AnomalyError, match=next(iter(given))):
            lesion_changes(before, after, **given)
