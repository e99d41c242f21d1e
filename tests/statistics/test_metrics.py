import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from anomaly.errors import EvaluationError
from anomaly.statistics import metrics


def test_auroc_counts_a_tie_as_one_half():
    # Pairs: 2 v 1 won, 2 v 2 tied, 3 v 1 won, 3 v 2 won.
    assert metrics.auroc([0, 0, 1, 1], [1, 2, 2, 3]) == 3.5 / 4


def test_auroc_of_equal_scores_is_one_half():
    assert metrics.auroc([0, 1, 1], [4, 4, 4]) == 0.5


def test_auroc_agrees_with_scikit_learn_on_tied_scores():
    rng = np.random.default_rng(0)
    outcome, score = rng.integers(0, 2, 500), rng.integers(0, 20, 500)
    assert metrics.auroc(outcome, score) == pytest.approx(roc_auc_score(outcome, score), abs=1e-12)


def test_average_precision_by_hand():
    # At 3: precision 1, recall 1/2. At 2: precision 2/3, recall 1.
    assert metrics.average_precision([0, 0, 1, 1], [1, 2, 2, 3]) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_partial_auroc_of_a_perfect_and_of_a_useless_score():
    assert metrics.partial_auroc([0, 0, 1, 1], [1, 2, 3, 4], 0.1) == 1.0
    assert metrics.partial_auroc([0, 1, 0, 1], [1, 1, 1, 1], 0.1) == pytest.approx(0.5)


def test_roc_curve_has_one_point_a_distinct_score():
    false, true, thresholds = metrics.roc_curve([0, 0, 1, 1], [1, 2, 2, 3])
    np.testing.assert_array_equal(thresholds, [np.inf, 3, 2, 1])
    np.testing.assert_array_equal(false, [0, 0, 0.5, 1])
    np.testing.assert_array_equal(true, [0, 0.5, 1, 1])


@pytest.mark.parametrize(("specificity", "sensitivity"), [(0.9, 3 / 5), (0.85, 3 / 5), (0.95, 1 / 5), (1.0, 1 / 5)])
def test_sensitivity_at_specificity_by_hand(specificity, sensitivity):
    # Ten controls 1 ... 10: the 9th allows 90 %, the 10th more; cases must lie strictly above.
    outcome = [0] * 10 + [1] * 5
    score = [*range(1, 11), 5.5, 9, 9.5, 10, 11]
    assert metrics.sensitivity_at_specificity(outcome, score, specificity) == sensitivity


def test_specificity_reached_is_never_below_the_one_asked_for():
    rng = np.random.default_rng(1)
    outcome, score = rng.integers(0, 2, 300), rng.integers(0, 12, 300)
    for specificity in np.linspace(0.05, 1, 20):
        threshold = metrics.threshold_at_specificity(outcome, score, specificity)
        assert np.mean(score[outcome == 0] <= threshold) >= specificity - 1e-12


def test_threshold_does_not_depend_on_the_cases():
    controls = [0.1, 0.2, 0.3, 0.4]
    first = metrics.threshold_at_specificity([0] * 4 + [1], [*controls, 9.0], 0.75)
    assert first == metrics.threshold_at_specificity([0] * 4 + [1], [*controls, -9.0], 0.75) == 0.3


def test_dice_by_hand():
    assert metrics.dice([1, 1, 0, 0], [0.9, 0.2, 0.8, 0.1], 0.5) == 0.5
    assert metrics.dice([1, 0], [0.5, 0.4], 0.5) == 1.0
    assert metrics.dice([0, 0], [0.1, 0.2], 0.5) == 1.0
    assert metrics.dice([0, 1], [0.9, 0.2], 0.5) == 0.0


# Regions {0} and {2, 3}, five unmarked pixels. From the highest value down: 9 finds the first region whole,
# 8 is false, 7 finds half the second, 6 is false: (0, 1/2), (1/5, 1/2), (1/5, 3/4), (2/5, 3/4), ...
ROW_MASK = np.array([[1, 0, 1, 1, 0, 0, 0, 0]])
ROW_MAP = np.array([[9, 8, 7, 1, 6, 2, 3, 0.0]])


@pytest.mark.parametrize(("limit", "area"), [(0.3, 0.2 * 0.5 + 0.1 * 0.75), (0.2, 0.2 * 0.5), (0.1, 0.1 * 0.5)])
def test_region_overlap_by_hand(limit, area):
    assert metrics.region_overlap([ROW_MASK], [ROW_MAP], max_fpr=limit) == pytest.approx(area / limit)


def test_region_overlap_of_a_flat_map_is_chance():
    assert metrics.region_overlap([ROW_MASK], [np.zeros((1, 8))]) == pytest.approx(0.15)


def test_regions_that_touch_by_a_corner_are_one_in_3d():
    mask = np.zeros((4, 4, 4))
    mask[0, 0, 0] = mask[1, 1, 1] = mask[3, 3, 3] = 1
    found = np.zeros((4, 4, 4))
    found[0, 0, 0] = found[1, 1, 1] = 1.0
    # Half the regions at no false voxel, then a straight line to all of both at all false voxels.
    assert metrics.region_overlap([mask], [found]) == pytest.approx(0.5 + 0.5 * 0.15)


def test_region_overlap_takes_images_of_different_sizes():
    masks = [ROW_MASK, np.zeros((3, 3))]
    assert metrics.region_overlap(masks, [ROW_MAP, np.full((3, 3), -1.0)], max_fpr=1 / 7) == pytest.approx(
        (1 / 14 * 0.5 + 1 / 14 * 0.75) * 7
    )


def test_pixel_average_precision_pools_the_images():
    value = metrics.pixel_average_precision([[[0, 1]], [[0], [1]]], [[[1, 2]], [[2], [3]]])
    assert value == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


@pytest.mark.parametrize(
    ("outcome", "score", "message"),
    [
        ([1, 1, 1], [1, 2, 3], "3 events among 3 images"),
        ([0, 0, 0], [1, 2, 3], "0 events among 3 images"),
        ([0, 1, 1], [1, np.nan, np.inf], "2 of 3 scores are NaN or infinite"),
        ([0, 1], [1, 2, 3], r"shape \(2,\) and scores of shape \(3,\)"),
        ([0, 1, 2], [1, 2, 3], "outcomes must be 0 or 1"),
        ([0, 1, np.nan], [1, 2, 3], "outcomes must be 0 or 1"),
    ],
)
@pytest.mark.parametrize("figure", [metrics.auroc, metrics.average_precision, metrics.roc_curve])
def test_what_allows_no_figure_is_told(figure, outcome, score, message):
    with pytest.raises(EvaluationError, match=message):
        figure(outcome, score)


def test_bad_limits_masks_and_maps_are_told():
    with pytest.raises(EvaluationError, match=r"specificity must lie in \(0, 1\], got 90"):
        metrics.sensitivity_at_specificity([0, 1], [1, 2], 90)
    with pytest.raises(EvaluationError, match=r"max_fpr must lie in \(0, 1\], got 0"):
        metrics.region_overlap([ROW_MASK], [ROW_MAP], max_fpr=0)
    with pytest.raises(EvaluationError, match="marked and unmarked pixels"):
        metrics.region_overlap([np.zeros((2, 2))], [np.ones((2, 2))])
    with pytest.raises(EvaluationError, match="one mask a map"):
        metrics.region_overlap([np.zeros((2, 2))], [np.ones((2, 3))])
    with pytest.raises(EvaluationError, match="NaN or infinite pixels"):
        metrics.pixel_average_precision([[0, 1]], [[0, np.nan]])
    with pytest.raises(EvaluationError, match="must agree"):
        metrics.dice([1, 0], [1, 0, 0], 0.5)
