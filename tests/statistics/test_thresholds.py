import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from anomaly.statistics import metrics, regions, thresholds


def counts(values, marked, most=thresholds.MOST):
    edges = thresholds.edges(values[marked], most)
    true = thresholds.counted(np.sort(values[marked]), edges)
    return edges, true, thresholds.counted(np.sort(values, axis=None), edges) - true


def drawn(seed, size=3000, digits=1):
    rng = np.random.default_rng(seed)
    marked = rng.random(size) < 0.05
    return np.round(rng.normal(size=size) + 1.5 * marked, digits).astype(np.float32), marked


def test_a_map_that_is_the_truth_is_perfect_and_one_that_is_all_alike_is_chance():
    marked = np.arange(20) < 5
    for values, expected in ((marked.astype(np.float32), (1, 1, 1, 1)), (np.ones(20), (0.25, 0.5, 0.15, 0.4))):
        edges, true, rest = counts(values, marked)
        found = thresholds.weighed(values[marked], np.full(5, 1 / 5), edges)
        figures = (
            thresholds.average_precision(true, rest),
            thresholds.auroc(true, rest),
            thresholds.region_overlap(found, rest),
            thresholds.dice(true, rest).max(),
        )
        assert figures == pytest.approx(expected)


def test_figures_are_those_of_scikit_learn_where_values_tie():
    for seed in range(5):
        values, marked = drawn(seed)
        expected = average_precision_score(marked, values), roc_auc_score(marked, values)
        assert thresholds.of_one(values, marked) == pytest.approx(expected, abs=1e-12)


def test_counts_of_images_add_up_to_those_of_all_of_them_together():
    (a, in_a), (b, in_b) = drawn(1), drawn(2, 700)
    values, marked = np.append(a, b), np.append(in_a, in_b)
    edges, true, rest = counts(values, marked)
    parts = [thresholds.counted(np.sort(each[chosen]), edges) for each, chosen in ((a, in_a), (b, in_b))]
    np.testing.assert_array_equal(sum(parts), true)
    assert thresholds.auroc(true, rest) == pytest.approx(roc_auc_score(marked, values), abs=1e-12)
    np.testing.assert_array_equal(thresholds.weighed(b[in_b], np.ones(in_b.sum()), edges), parts[1])


def test_dice_at_an_edge_is_that_of_what_lies_at_it_or_above():
    values, marked = drawn(3, 400)
    edges, true, rest = counts(values, marked)
    by_hand = [metrics.dice(marked, values, edge) for edge in edges]
    np.testing.assert_allclose(thresholds.dice(true, rest), by_hand)
    assert max(by_hand) == max(metrics.dice(marked, values, edge) for edge in np.unique(values))


def test_fewer_thresholds_are_off_by_no_more_than_their_steps():
    values, marked = drawn(4, 40_000, digits=6)
    exact = average_precision_score(marked, values), roc_auc_score(marked, values)
    _, true, rest = counts(values, marked, most=200)
    found = thresholds.average_precision(true, rest), thresholds.auroc(true, rest)
    assert abs(found[0] - exact[0]) < 1 / 200
    assert abs(found[1] - exact[1]) < 0.5 / 200
    _, true, rest = counts(values, marked)
    every = thresholds.coarser(true, 10), thresholds.coarser(rest, 10)
    assert [each.sum() for each in every] == [true.sum(), rest.sum()]
    assert thresholds.auroc(*every) == pytest.approx(exact[1], abs=0.5 / 200)


def test_figures_of_many_draws_are_those_of_each():
    values, marked = drawn(5)
    _, true, rest = counts(values, marked)
    times = np.array([[1.0], [3.0]])
    for figure in (thresholds.average_precision, thresholds.auroc):
        np.testing.assert_allclose(figure(times * true, times * rest), [figure(true, rest)] * 2)


def test_nothing_marked_gives_no_figure():
    precision, auroc = thresholds.of_one(np.arange(4.0), np.zeros(4, bool))
    assert np.isnan([precision, auroc]).all()


def test_of_two_lesions_one_is_found_and_two_false_ones_beside():
    truth = np.zeros((6, 6, 6), bool)
    truth[0:2, 0:2, 0:2], truth[2, 2, 2] = True, True  # touch at a corner: one lesion of 9 voxels
    truth[5, 0:4, 0:5] = True  # 20 voxels
    labels, count = regions.labelled(truth)
    assert count == 2
    np.testing.assert_array_equal(regions.sizes(labels, count), [9, 20])
    above = np.zeros_like(truth)
    above[5, 0, 0] = True  # 5 % of the second lesion
    above[0, 5, 5] = above[3, 5, 5] = True  # and two places that hold none
    shares = regions.shares(above, labels, regions.sizes(labels, count))
    np.testing.assert_allclose(shares, [0, 1 / 20])
    assert ((shares > 0).sum(), (shares >= regions.ENOUGH).sum()) == (1, 0)
    assert regions.beside(above, labels) == 2
    above[4, 0, 0] = above[3, 1, 1] = above[3, 2, 2] = True  # grows from the lesion: not false
    assert regions.beside(above, labels) == 2
    assert regions.beside(np.zeros_like(above), labels) == 0
    values = np.arange(truth.size, dtype=np.float32).reshape(truth.shape)
    np.testing.assert_array_equal(regions.highest(values, labels, count), [values[2, 2, 2], values[5, 3, 4]])
