"""What images to come say of members: right where many are ill, silent where few are."""

import numpy as np
import pytest
from scipy.stats import norm

from anomaly.detectors.leaning import leaning, share_ill


def drawn(rng: np.random.Generator, count: int, ill: float, aurocs: list[float]) -> np.ndarray:
    """z of members for images of which a share is ill; each tells ill from normal by its AUROC."""
    shift = np.sqrt(2) * norm.ppf(aurocs)
    return rng.normal(size=(count, len(aurocs))) + shift * (rng.random(count) < ill)[:, None]


@pytest.mark.parametrize("ill", [0.0, 0.3, 0.8])
def test_the_share_of_ill_is_found_where_a_member_tells_them(ill: float) -> None:
    rng = np.random.default_rng(0)
    values = drawn(rng, 20_000, ill, [0.999])[:, 0]
    assert share_ill(rng.normal(size=20_000), values) == pytest.approx(ill, abs=0.03)


def test_the_weight_is_the_shrunken_auroc_in_closed_form() -> None:
    rng = np.random.default_rng(1)
    normal, to_come = rng.normal(size=(4000, 2)), drawn(rng, 4000, 1.0, [0.995, 0.9])
    found = leaning(normal, to_come, np.array([1.0, 2.0]))
    assert found.told == pytest.approx([0.995, 0.9], abs=0.01) and found.ill > 0.97
    # with so many images the errors are small beside the spread, and all are ill
    assert found.factors[0] / found.factors[1] == pytest.approx(np.exp(10 * 0.095), rel=0.1)
    assert leaning(to_come[:, ::-1], normal[:, ::-1], np.ones(2)).ill == 0


def test_few_ill_or_few_images_change_little() -> None:
    rng = np.random.default_rng(2)
    normal = rng.normal(size=(60, 3))
    many, few_ill = drawn(rng, 300, 0.9, [0.9, 0.7, 0.6]), drawn(rng, 300, 0.03, [0.9, 0.7, 0.6])
    spread = [np.ptp(np.log(leaning(normal, x, np.ones(3)).factors)) for x in (many, few_ill, many[:3], many[:1])]
    assert spread[0] > 1 and spread[1] < 0.4 and spread[2] < 1 and spread[3] == 0


@pytest.mark.parametrize("ill", [0.3, 0.8])
def test_where_all_tell_little_no_member_counts_many_times_as_much(ill: float) -> None:
    rng = np.random.default_rng(4)
    found = leaning(rng.normal(size=(3000, 3)), drawn(rng, 3000, ill, [0.65, 0.55, 0.55]), np.ones(3))
    assert 1.5 < found.factors[0] / found.factors[1] <= np.e**2 and found.ill < ill


def test_many_images_of_few_people_are_few() -> None:
    rng = np.random.default_rng(5)
    spreads = []
    for known in (True, False):
        for _ in range(20):
            own = [rng.normal(size=(people, 2)).repeat(60, 0) for people in (5, 8)]
            z = [each + rng.normal(size=each.shape) for each in own]
            whose = [np.arange(people).repeat(60) if known else None for people in (5, 8)]
            spreads.append(np.ptp(np.log(leaning(*z, np.ones(2), whose=whose).factors)))
    assert np.mean(spreads[:20]) < 0.5 * np.mean(spreads[20:])


def test_who_counts_nothing_is_not_asked() -> None:
    rng = np.random.default_rng(3)
    found = leaning(rng.normal(size=(50, 2)), drawn(rng, 50, 1.0, [0.9, 0.9]), np.array([0.0, 1.0]))
    assert np.isnan(found.told[0]) and found.factors[0] == 1
