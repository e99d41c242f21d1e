"""Directions among codes, and what is kept out of them, against what linear worlds give in closed form."""

import numpy as np
import pytest

from anomaly.errors import AnomalyError
from explain.latent.directions import BY_VALUES, gradient, logistic, orthogonal, ridge, span, svm
from explain.latent.nuisances import all_coefficients, coefficients, told

TRUTH = np.array([1.0, -2.0, 0.5, 0.0])
SPREADS = np.array([1.0, 0.3, 2.0, 5.0])


def codes(n: int = 3000, seed: int = 0) -> np.ndarray:
    """Codes of unequal spread, not around 0."""
    return np.random.default_rng(seed).normal(size=(n, 4)) * SPREADS + [0.0, 5.0, -1.0, 2.0]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


# Directions


@pytest.mark.parametrize("name", BY_VALUES)
def test_of_a_linear_target_its_own_coefficients_are_found(name):
    w = codes()
    values = 3 * w @ TRUTH + 40
    found = BY_VALUES[name](w, values, float(np.median(values)))
    assert cosine(found, TRUTH) > 0.99
    assert np.linalg.norm(found) == pytest.approx(1)


@pytest.mark.parametrize("name", BY_VALUES)
def test_a_direction_points_to_higher_values(name):
    w = codes(400)
    values = -w @ TRUTH
    assert BY_VALUES[name](w, values, float(np.median(values))) @ -TRUTH > 0


def test_ridge_sees_through_noise():
    w = codes(5000)
    values = w @ TRUTH + np.random.default_rng(1).normal(size=5000) * 5
    assert cosine(ridge(w, values), TRUTH) > 0.97


def test_a_value_of_the_code_that_never_varies_gets_no_weight():
    w = codes()
    w[:, 3] = 7.0
    assert abs(ridge(w, w @ TRUTH)[3]) < 1e-12


def test_the_svm_sees_the_extremes_alone():
    """Between them the target goes by another value of the code."""
    w = codes(2000)
    along = w[:, 0]
    order = np.argsort(along)
    values = along.copy()
    middle = order[40:-40]
    values[middle] = np.clip(w[middle, 2], along[order[39]], along[order[-40]])
    assert cosine(svm(w, values), np.eye(4)[0]) > 0.9
    assert cosine(ridge(w, values), np.eye(4)[2]) > 0.9


def test_the_gradient_is_the_mean_slope():
    slopes = np.array([[3.0, 0.0], [0.0, 4.0], [3.0, 4.0]])
    assert gradient(slopes) == pytest.approx([0.6, 0.8])


def test_directions_that_are_not_there_are_told():
    w = codes(100)
    with pytest.raises(AnomalyError, match="the target puts 3 above 0, too few"):
        logistic(w, np.where(np.arange(100) < 3, 1.0, -1.0))
    for find in (ridge, svm):
        with pytest.raises(AnomalyError, match="the target is 2 for all 100 drawn images"):
            find(w, np.full(100, 2.0))
    with pytest.raises(AnomalyError, match="slopes cancel"):
        gradient(np.array([[1.0, 0.0], [-1.0, 0.0]]))


# What is kept out


def test_an_orthogonal_direction_is_what_is_left():
    direction = np.array([3.0, 4.0, 0.0, 0.0]) / 5
    others = np.array([[0.0, 2.0, 0.0, 0.0], [0.0, 1.0, 0.0, 1.0]])
    assert orthogonal(direction, others) == pytest.approx([1, 0, 0, 0])
    assert orthogonal(direction, np.zeros((0, 4))) == pytest.approx(direction)


def test_vectors_that_depend_on_each_other_span_no_more_than_they_do():
    vectors = np.array([[1.0, 0, 0, 0], [0, 1e-3, 0, 0], [-1.0, -1e-3, 0, 0], [0, 0, 0, 0]])
    assert span(vectors).shape == (2, 4)
    assert orthogonal(np.ones(4) / 2, vectors) == pytest.approx([0, 0, 2**-0.5, 2**-0.5])


def test_a_direction_of_which_nothing_is_left_is_told():
    with pytest.raises(AnomalyError, match="nothing is left"):
        orthogonal(np.array([0.6, 0.8]), np.array([[3.0, 4.0], [1.0, 0.0]]))


def test_a_quantity_gives_its_slope_in_units_of_the_codes():
    w = codes(500)
    age = 60 + w @ TRUTH
    assert coefficients(w, age) == pytest.approx(TRUTH[None], abs=1e-3)
    found = told(w, age)
    assert (found.measure, found.people) == ("R2", 500) and found.value > 0.999


def test_two_levels_give_one_vector_whatever_they_are_called():
    w = codes(2000)
    female = w @ TRUTH > np.median(w @ TRUTH)
    vectors = [coefficients(w, each) for each in (female, female.astype(int), np.where(female, "m", "f"))]
    assert vectors[0].shape == (1, 4) and cosine(vectors[0][0], TRUTH) > 0.98
    assert vectors[1] == pytest.approx(vectors[0]) and vectors[2] == pytest.approx(vectors[0])
    assert told(w, female).measure == "AUROC" and told(w, female).value > 0.99


def test_each_of_several_levels_gives_a_vector():
    w = codes(3000)
    site = np.array(["a", "b", "c"])[np.digitize(w[:, 0], [-0.5, 0.5])]
    vectors = coefficients(w, site)
    assert vectors.shape == (3, 4)
    assert cosine(vectors[0], -np.eye(4)[0]) > 0.95 and cosine(vectors[2], np.eye(4)[0]) > 0.95
    assert 0.75 < told(w, site).value < 0.97  # "b", between the others, is no half space


def test_what_the_codes_do_not_tell_is_told_at_chance():
    w, random = codes(1000), np.random.default_rng(3)
    assert told(w, random.normal(size=1000)).value < 0.02
    assert told(w, random.integers(0, 2, 1000)).value == pytest.approx(0.5, abs=0.06)


def test_images_of_one_person_stand_together():
    random = np.random.default_rng(4)
    people = np.repeat(np.arange(40), 5)
    w = np.repeat(random.normal(size=(40, 30)), 5, axis=0) + 0.01 * random.normal(size=(200, 30))
    age = np.repeat(random.normal(size=40), 5)  # nothing of it is in the codes
    assert told(w, age).value > 0.3, "a person's other images give the age away"
    found = told(w, age, people)
    assert found.value < 0.1 and found.people == 40
    means = w.reshape(40, 5, 30).mean(1)
    assert coefficients(w, age, people) == pytest.approx(coefficients(means, age[::5]))
    side = np.tile(["l", "r", "l", "r", "l"], 40)
    assert told(w, side, people).people == 40 and coefficients(w, side, people).shape == (1, 30)
    names = np.array([f"person {k:02}" for k in people])
    assert coefficients(w, age, names) == pytest.approx(coefficients(w, age, people))
    with pytest.raises(AnomalyError, match=r"people of shape \(3,\) for 200 codes"):
        coefficients(w, age, people[:3])


def test_unknown_values_and_rare_levels_are_left_out():
    w = codes(200)
    age = (60 + w @ TRUTH).astype(object)
    age[:20], age[20:30] = None, float("nan")
    assert told(w, age).people == 170
    site = np.array(["a", "b"] * 100, dtype=object)
    site[:3], site[3] = "rare", ""
    assert told(w, site).people == 196 and coefficients(w, site).shape == (1, 4)


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        (np.ones(50), "has 1 values"),
        (np.arange(49), r"shape \(49,\) and people of shape \(50,\) for 50 codes"),
        (np.array([np.nan] * 45 + [1.0, 2, 3, 4, 5]), "known of 5 people"),
        (np.array([f"{k}" for k in range(25)] * 20), "give numbers as numbers"),
    ],
)
def test_attributes_that_cannot_be_kept_are_told(attribute, message):
    with pytest.raises(AnomalyError, match=message):
        coefficients(codes(500 if len(attribute) == 500 else 50), attribute)


def test_all_nuisances_stand_one_below_the_other_and_their_names_are_told():
    w = codes(60)
    age, sex = w @ TRUTH, np.array(["f", "m"] * 30)
    vectors, how_well = all_coefficients(w, {"age": (age[:40], age[40:]), "sex": (sex[:40], sex[40:])}, 40)
    assert vectors.shape == (2, 4) and set(how_well) == {"age", "sex"}
    assert vectors[:1] == pytest.approx(coefficients(w, age))
    with pytest.raises(AnomalyError, match="age is given of 30 controls and 30 cases, images of 40 and 20"):
        all_coefficients(w, {"age": (age[:30], age[30:])}, 40)
    with pytest.raises(AnomalyError, match="sex cannot be kept as it is: the attribute is known of 60 people and has"):
        all_coefficients(w, {"sex": (np.ones(40), np.ones(20))}, 40)
