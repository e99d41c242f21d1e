"""Structure and matching: closed forms and values worked by hand."""

import numpy as np
import pytest

from anomaly.translators.matching import Moments, Quantiles
from anomaly.translators.structure import (
    changed,
    counted,
    dice,
    edges_kept,
    shared_information,
    told_by_brightness,
)


def images(seed: int = 0, *space: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (2, 1, *(space or (16, 16)))).astype(np.float32)


@pytest.mark.parametrize("space", [(16, 16), (8, 8, 8)])
def test_edges_do_not_mind_contrast_and_brightness(space: tuple[int, ...]) -> None:
    x = images(0, *space)
    assert edges_kept(x, 0.3 * x - 0.2) == pytest.approx([1, 1])
    assert edges_kept(x, -x) == pytest.approx([1, 1])
    assert np.abs(edges_kept(x, images(1, *space))).max() < 0.3
    assert np.isnan(edges_kept(x, np.zeros_like(x))).all()


def test_the_edge_of_a_mask_is_no_edge() -> None:
    x, y = images(), images(1)
    for each in (x, y):
        each[:, :, :, 8:] = -1
    with_mask, without = (edges_kept(x, y, inside)[0] for inside in (counted(x, True), None))
    assert abs(with_mask) < 0.3 < without


def test_information_of_two_grey_values_by_hand() -> None:
    """Four pixels; x: a a b b, y: a b a b tells nothing of it: H = log 2 each, log 4 both."""
    x = np.array([-0.5, -0.5, 0.5, 0.5], dtype=np.float32).reshape(1, 1, 2, 2)
    y = np.array([-0.5, 0.5, -0.5, 0.5], dtype=np.float32).reshape(1, 1, 2, 2)
    assert shared_information(x, y) == pytest.approx([1])
    assert shared_information(x, -x) == pytest.approx([2])
    z = np.array([-0.5, -0.5, -0.5, 0.5], dtype=np.float32).reshape(1, 1, 2, 2)
    of_z = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert shared_information(x, z) == pytest.approx([(np.log(2) + of_z) / (1.5 * np.log(2))])
    assert np.isnan(shared_information(np.zeros_like(x), np.zeros_like(x))).all()


def test_changed_pixels_are_counted_within_the_mask() -> None:
    x = np.zeros((1, 1, 2, 4), dtype=np.float32)
    y = x.copy()
    y[0, 0, 0] = [0.04, 0.06, -0.06, 0.0]
    assert changed(x, y) == pytest.approx([2 / 8])
    inside = np.zeros((1, 1, 2, 4), dtype=bool)
    inside[0, 0, 0] = True
    assert changed(x, y, inside) == pytest.approx([2 / 4])


def test_dice_by_hand() -> None:
    a, b = np.zeros((3, 2, 2), dtype=bool), np.zeros((3, 2, 2), dtype=bool)
    a[0, 0], b[0, :, 0] = True, True
    a[1] = True
    found = dice(a, b)
    assert found[:2] == pytest.approx([0.5, 0]) and np.isnan(found[2])


def test_brightness_tells_a_structure_as_an_auroc() -> None:
    x = np.array([[0.1, 0.2], [0.2, 0.4]], dtype=np.float32).reshape(1, 1, 2, 2)
    true = np.array([[False, True], [False, True]]).reshape(1, 2, 2)
    # inside 0.2 and 0.4, outside 0.1 and 0.2: 1 + half a tie, and 2, of 4
    assert told_by_brightness(x, true) == pytest.approx([3.5 / 4])
    assert told_by_brightness(-x, true) == pytest.approx([0.5 / 4])
    assert np.isnan(told_by_brightness(x, np.ones((1, 2, 2), dtype=bool))).all()


def test_moments_become_those_of_the_other_heap() -> None:
    x, y = 0.3 * images(), 0.1 * images(1) + 0.2
    drawn = Moments.learn(x, y)(x)
    assert drawn.mean() == pytest.approx(y.mean(), abs=1e-6) and drawn.std() == pytest.approx(y.std(), rel=1e-5)


def test_quantiles_find_any_rising_function() -> None:
    x = images(0, 64, 64)
    y = np.sign(x) * np.abs(x) ** 2
    drawn = Quantiles.learn(x, y)(x)
    assert np.abs(drawn - y).max() < 0.01
    order = np.argsort(x.ravel())
    assert (np.diff(drawn.ravel()[order]) >= 0).all()


def test_a_value_that_many_pixels_share_becomes_one_value() -> None:
    x = np.array([-1, -1, -1, 0, 1, 1], dtype=np.float32).reshape(1, 1, 2, 3)
    drawn = Quantiles.learn(x, x / 2)(x)
    assert np.unique(drawn).size == 3 and drawn[0, 0, 0] == pytest.approx(-0.5, abs=0.01)
    alike = Quantiles.learn(np.full_like(x, 0.3), x)(np.full_like(x, 0.3))
    assert np.unique(alike).size == 1


def test_matching_keeps_masks() -> None:
    x, y = images(), images(1) / 2
    x[:, :, :5], y[:, :, 5:] = -1, -1
    for learn in (Moments.learn, Quantiles.learn):
        drawn = learn(x, y, masked=True)(x, masked=True)
        assert np.array_equal(drawn == -1, x == -1)
    inside = Quantiles.learn(x, y, masked=True)(x, masked=True)[x > -1]
    assert inside.mean() == pytest.approx(y[y > -1].mean(), abs=0.02)  # black outside has no say
