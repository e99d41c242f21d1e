from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import spearmanr

from anomaly.errors import EvaluationError
from anomaly.simulation import toys
from anomaly.statistics import metrics
from explain.measures import metrics as figures

SPACES = [(6, 5), (4, 5, 3)]
shaped = pytest.mark.parametrize("space", SPACES, ids=["2D", "3D"])
OF_MASKS: dict[str, Callable] = {
    "average precision": figures.pixel_average_precision,
    "pointing game": figures.pointing_game,
    "pointing game, tolerant": lambda maps, masks: figures.pointing_game(maps, masks, tolerance=1.5),
    "mass": figures.relevance_mass,
    "rank": figures.relevance_rank,
    "dice": lambda maps, masks: figures.dice_at(maps, masks, 0.5),
}
of_masks = pytest.mark.parametrize("figure", OF_MASKS.values(), ids=OF_MASKS)


def drawn(space: tuple[int, ...], n: int = 7, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Maps with many ties and masks, (n, 1, *space); the last mask is empty."""
    random = np.random.default_rng(seed)
    maps = random.integers(-3, 4, (n, 1, *space)).astype(np.float32)
    masks = random.random((n, 1, *space)) < 0.3
    masks[-1] = False
    return maps, masks


@shaped
def test_ncc_is_that_of_one_pair_at_a_time(space):
    (maps, _), (truths, _) = drawn(space), drawn(space, seed=1)
    each = [toys.ncc(a, b) for a, b in zip(maps, truths, strict=True)]
    np.testing.assert_allclose(figures.ncc(maps, truths), each, atol=1e-12)
    absolute = [toys.ncc(abs(a), abs(b)) for a, b in zip(maps, truths, strict=True)]
    np.testing.assert_allclose(figures.absolute_ncc(maps, truths), absolute, atol=1e-12)


def test_ncc_tells_the_sign_and_forgets_the_scale():
    truth = np.array([[-1.0, 0.0, 2.0], [-1.0, 0.0, 2.0]])
    np.testing.assert_allclose(figures.ncc([[-3, 0, 6], [1, 0, -2]], truth), [1, -1])
    np.testing.assert_allclose(figures.absolute_ncc([[-3, 0, 6], [1, 0, -2]], truth), [1, 1])


def test_ncc_of_a_flat_map_is_zero_whatever_its_rounding():
    flat, truth = np.full((1, 77), 0.1, np.float32), np.arange(77.0)[None]
    assert figures.ncc(flat, truth) == figures.ncc(truth, flat) == 0


@shaped
def test_similarity_is_spearmans(space):
    (first, _), (second, _) = drawn(space), drawn(space, seed=1)
    signed, absolute = figures.similarity(first, second)
    for k in range(len(first)):
        assert signed[k] == pytest.approx(spearmanr(first[k].ravel(), second[k].ravel()).statistic)
        assert absolute[k] == pytest.approx(spearmanr(abs(first[k]).ravel(), abs(second[k]).ravel()).statistic)


def test_similarity_of_a_map_with_its_negative():
    maps = np.array([[-3.0, 1.0, 2.0, 0.5]])
    np.testing.assert_allclose(figures.similarity(maps, -maps), [[-1], [1]])


@shaped
def test_average_precision_is_that_of_one_image_at_a_time(space):
    maps, masks = drawn(space)
    each = [
        metrics.average_precision(mask.ravel(), map.ravel()) for map, mask in zip(maps[:-1], masks[:-1], strict=True)
    ]
    np.testing.assert_allclose(figures.pixel_average_precision(maps, masks)[:-1], each, rtol=1e-12)


def test_average_precision_of_a_flat_and_of_a_fully_marked_map():
    found = figures.pixel_average_precision(np.array([[2.0, 2, 2, 2], [1, 2, 3, 4]]), [[1, 0, 0, 0], [1, 1, 1, 1]])
    np.testing.assert_allclose(found, [0.25, 1])


def test_pointing_game_by_hand():
    maps = np.array([[1.0, 5, 2, 0], [5, 1, 5, 5], [3, 3, 3, 3]])
    masks = np.array([[0, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 0]])
    np.testing.assert_allclose(figures.pointing_game(maps, masks), [1, 2 / 3, 1 / 4])


@pytest.mark.parametrize(("tolerance", "hit"), [(0, 0), (1, 0), (1.4, 0), (1.5, 1)])
@shaped
def test_pointing_game_counts_what_lies_near(space, tolerance, hit):
    maps, masks = np.zeros((1, 1, *space)), np.zeros((1, 1, *space), bool)
    maps[(0, 0, *[1] * len(space))] = 1
    masks[(0, 0, *[2] * 2, *[1] * (len(space) - 2))] = True  # a diagonal step away, 1.41 pixels
    assert figures.pointing_game(maps, masks, tolerance) == hit


def test_pointing_game_does_not_reach_into_the_next_image():
    maps, masks = np.zeros((2, 1, 3, 3)), np.zeros((2, 1, 3, 3), bool)
    maps[:, 0, 0, 0], masks[0, 0, 2, 2], masks[1, 0, 0, 0] = 1, True, True
    np.testing.assert_array_equal(figures.pointing_game(maps, masks, 2), [0, 1])


def test_relevance_mass_by_hand():
    maps = np.array([[1.0, 3, -4, 0], [-1, -1, 0, 0]])
    np.testing.assert_allclose(figures.relevance_mass(maps, [[1, 0, 1, 0], [1, 1, 0, 0]]), [1 / 4, 0])


def test_relevance_rank_by_hand():
    # The two highest of two marked: 4, then one of the three tied at 2, of which one is marked.
    maps = np.array([[4.0, 2, 2, 2, 1], [5, 5, 5, 5, 5], [1, 2, 3, 4, 5]])
    masks = np.array([[1, 1, 0, 0, 0], [1, 0, 0, 0, 0], [1, 1, 1, 1, 1]])
    np.testing.assert_allclose(figures.relevance_rank(maps, masks), [(1 + 1 / 3) / 2, 1 / 5, 1])


@shaped
def test_dice_is_that_of_one_image_at_a_time(space):
    maps, masks = drawn(space)
    each = [metrics.dice(mask, map, 2) for map, mask in zip(maps, masks, strict=True)]
    np.testing.assert_allclose(figures.dice_at(maps, masks, 2), each)
    assert figures.dice_at(maps[-1:], masks[-1:], 99) == 1


@of_masks
@shaped
def test_an_image_is_judged_by_itself(figure, space):
    maps, masks = drawn(space)
    np.testing.assert_array_equal(figure(maps, masks)[2:3], figure(maps[2:3], masks[2:3]))
    np.testing.assert_array_equal(figure(maps, masks), figure(maps[:, 0], masks[:, 0].astype(int)))


@of_masks
def test_images_without_marked_pixels_have_no_figure(figure):
    maps, masks = drawn(SPACES[0])
    if figure is OF_MASKS["dice"]:
        assert figure(maps, masks)[-1] == 0
        return
    np.testing.assert_array_equal(np.isnan(figure(maps, masks)), [False] * 6 + [True])
    assert np.isnan(figure(maps, np.zeros_like(masks))).all()


@of_masks
def test_wrong_maps_and_masks_are_told(figure):
    maps, masks = drawn(SPACES[0])
    with pytest.raises(EvaluationError, match=r"\(7, 1, 6, 5\).*\(6, 1, 6, 5\)"):
        figure(maps, masks[:-1])
    with pytest.raises(EvaluationError, match="exchanged"):
        figure(masks, maps)
    with pytest.raises(EvaluationError, match=r"1 of 7 images .*position 3"):
        figure(np.where(np.arange(7)[:, None, None, None] == 3, np.nan, maps), masks)
    with pytest.raises(EvaluationError, match="at least one image"):
        figure(maps[:0], masks[:0])


def test_negative_tolerance_is_told():
    with pytest.raises(EvaluationError, match="tolerance is -1"):
        figures.pointing_game(*drawn(SPACES[0]), tolerance=-1)


def test_validity_asks_for_a_change_of_sides():
    before, after = [1.0, 1.0, -1.0, 0.0], [0.0, 0.5, -2.0, -1.0]
    np.testing.assert_array_equal(figures.validity(before, after), [True, False, False, False])
    np.testing.assert_array_equal(figures.validity(before, after, 0.7), [True, True, False, False])


def test_effectiveness_is_the_distance_from_what_was_asked():
    np.testing.assert_allclose(figures.effectiveness([0.5, -2.0], -1), [1.5, 1])
    np.testing.assert_allclose(figures.effectiveness([0.5, -2.0], [0, 1]), [0.5, 3])
    with pytest.raises(EvaluationError, match="two finite numbers an image"):
        figures.validity([1.0, np.nan], [0.0, 0.0])


@shaped
def test_proximity_everywhere_inside_and_outside(space):
    inside = np.zeros((2, 1, *space), bool)
    inside[0, :, 0] = True
    x = np.random.default_rng(0).uniform(-1, 1, (2, 3, *space))
    moved = x + np.where(inside, 0.5, -0.1)
    share = inside[0].mean()
    np.testing.assert_allclose(figures.proximity(x, moved), [0.5 * share + 0.1 * (1 - share), 0.1])
    np.testing.assert_allclose(figures.proximity(x, moved, inside), [0.5, np.nan])
    np.testing.assert_allclose(figures.proximity(x, moved, ~inside), [0.1, 0.1])
    with pytest.raises(EvaluationError, match="within"):
        figures.proximity(x, moved, inside[..., :-1])


def test_sparsity_is_the_share_left_alone():
    x, changed = np.zeros((2, 1, 1, 4)), np.array([[0, 0.05, -0.06, 1], [0, 0, 0, 0]]).reshape(2, 1, 1, 4)
    np.testing.assert_allclose(figures.sparsity(x, changed), [0.5, 1])
    np.testing.assert_allclose(figures.sparsity(x, changed, 0.5), [0.75, 1])


def test_composition_takes_the_null_again_and_again():
    x = np.full((2, 1, 3, 3), 8.0)
    np.testing.assert_allclose(figures.composition(x, lambda each: each / 2), [4, 4])
    np.testing.assert_allclose(figures.composition(x, lambda each: each / 2, times=10), 8 - 8 / 1024)
    with pytest.raises(EvaluationError, match="times is 0"):
        figures.composition(x, lambda each: each, times=0)


def test_reversibility_goes_there_and_back():
    x = np.array([[0.2, 0.9]])
    assert figures.reversibility(x, lambda each: each + 3, lambda each: each - 3) == pytest.approx(0)
    # Saturation loses what lies above 0.5.
    lossy = figures.reversibility(x, lambda each: np.minimum(each + 0.5, 1), lambda each: each - 0.5)
    assert lossy == pytest.approx((0 + 0.4) / 2)


@shaped
def test_end_point_error_of_a_constant_shift(space):
    field = np.random.default_rng(0).normal(size=(2, len(space), *space))
    shift = np.array([3, 4, 12][: len(space)]).reshape(1, -1, *[1] * len(space))
    np.testing.assert_allclose(figures.end_point_error(field, field + shift), [5 if len(space) == 2 else 13] * 2)
    with pytest.raises(EvaluationError, match="must agree"):
        figures.end_point_error(field, field[:, :1])
