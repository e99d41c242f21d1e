"""What normals are like: normals are told at their rate, gross departures always, and what is constant is no trap."""

import numpy as np
import pytest

from anomaly.errors import RunError
from anomaly.images.likeness import parts
from anomaly.runs.likeness import FAMILIES, Likeness, in_words
from anomaly.runs.spreads import Spread

LENGTH = parts(2)["outline"].stop


def normals(count: int, seed: int) -> np.ndarray:
    """Descriptions of pictures of one size, which tell no millimetres; what they show is brighter to one side."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(0, 0.3, (count, LENGTH))
    place = parts(2)
    rows[:, place["size"]], rows[:, place["voxels"]] = (6, 0), np.nan
    rows[:, place["range"]] = np.array([0, 100, 200]) + rng.normal(0, 5, (count, 3))
    shape = np.zeros((3, 4, 4))
    shape[0] = np.linspace(-1.5, 1.5, 16).reshape(4, 4)
    shape[1], shape[2] = 1.4, 0.6
    rows[:, place["outline"]] += shape.ravel()
    return rows.astype(np.float32)


def strange(family: str, change: float) -> np.ndarray:
    rows = normals(20, 7)
    rows[:, parts(2)[family].start] += change
    return rows


@pytest.fixture(scope="module")
def many() -> Likeness:
    return Likeness.learn(normals(300, 0), np.arange(300).astype(str), 2)


def test_normals_are_told_at_their_rate(many):
    told = many.told(normals(2000, 1))
    assert many.ranked and many.people == 300
    assert 0.02 < np.mean([each.p_value <= 0.05 for each in told]) < 0.08
    assert all((each.p_value <= 0.05) == bool(each.families) for each in told)


@pytest.mark.parametrize("people", [12, 40, 300])
def test_other_kinds_are_told_and_by_what(people):
    likeness = Likeness.learn(normals(people, 0), np.arange(people).astype(str), 2)
    assert likeness.ranked == (people > 58)
    for family, change in (("size", -1), ("histogram", 5), ("sharpness", 5), ("outline", 15)):
        told = likeness.told(strange(family, change))
        assert np.mean([each.families[:1] == (family,) for each in told]) > 0.9, family
    rows = normals(20, 7)
    rows[:, parts(2)["range"]] *= 64
    assert all("range" in each.families for each in likeness.told(rows))
    turned = normals(20, 7)
    cells = turned[:, parts(2)["outline"]].reshape(20, 3, 4, 4)
    turned[:, parts(2)["outline"]] = np.rot90(cells[:, [0, 2, 1]], axes=(2, 3)).reshape(20, -1)
    assert all("orientation" in each.families for each in likeness.told(turned))
    usual = likeness.told(normals(500, 3))
    assert np.mean([bool(each.families) for each in usual]) < 0.1


def test_what_never_varies_raises_no_alarm_by_rounding_and_is_told_where_it_is_another(many):
    assert not np.mean([bool(each.families) for each in many.told(strange("size", 1e-6))]) > 0.2
    assert many.told(strange("size", 0.07))[0].p_value > 0.05, "five per cent more pixels"
    assert all("size" in each.families for each in many.told(strange("size", 1)))


def test_persons_count_once():
    rows = normals(60, 0)
    rows[:50, parts(2)["histogram"]] += 3  # fifty images of one person are of another kind
    whose = np.array(["one"] * 50 + [f"p{i}" for i in range(10)])
    likeness = Likeness.learn(rows, whose, 2)
    assert likeness.people == 11 and not likeness.ranked
    alone = Likeness.learn(normals(2, 0), np.array(["a", "a"]), 2)
    assert alone.told(strange("size", 5))[0].p_value == 1, "one person tells no spread"


def test_a_spread_by_hand():
    numbers = np.array([[1.0, np.nan], [3.0, 5.0]])
    spread = Spread.of(numbers, np.ones(2), tolerance=1.0)
    assert spread.mean.tolist() == [2, 5] and len(spread.precision) == 0
    # Variances 1 and 0 have the mean 0.5, and 1 of tolerance: (2, 0) departs by sqrt(4 / 1.5 / 2).
    assert spread.distance(np.array([[4.0, np.nan], [np.nan, 5.0]])) == pytest.approx([np.sqrt(4 / 3), 0])


def test_saved_it_is_the_same_and_damage_is_refused(many, tmp_path):
    path = tmp_path / "likeness.safetensors"
    many.save(path)
    again = Likeness.load(path, 2)
    assert again.told(normals(50, 4)) == many.told(normals(50, 4))
    with pytest.raises(RunError, match=r"cannot be read as what normals are like .*; copy the run again"):
        Likeness.load(path, 3)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RunError, match="cannot be read"):
        Likeness.load(path, 2)


def test_in_words():
    assert in_words({}, 9) == ""
    assert in_words({"histogram, outline": 2, "histogram": 1, "size": 2}, 40) == (
        "5 of 40 images are unlike what was learned, most often by their histogram (3); of normals one in twenty is"
    )
    assert set(parts(2)) | {"orientation"} == set(FAMILIES)
