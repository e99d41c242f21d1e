"""Entropies by hand, where draws agree and where they do not; dropout on only where it is asked for."""

import math

import pytest
import torch
from torch import Tensor

from anomaly.errors import AnomalyError
from anomaly.segmenters.uncertainty import asked, unsure
from tests.squares_marked import fitted, squares


def shares(*of_classes: float) -> Tensor:
    return torch.tensor(of_classes)[None, :, None, None]


def test_draws_that_disagree_are_all_information() -> None:
    """Each is sure, of another class: nothing is unsure in a draw, log 2 is in all of them."""
    found = unsure([shares(1, 0), shares(0, 1)])
    assert found.shares.flatten().tolist() == [0.5, 0.5]
    assert float(found.entropy) == pytest.approx(math.log(2))
    assert float(found.expected) == 0
    assert float(found.information) == pytest.approx(math.log(2))
    assert float(found.normalised().information) == pytest.approx(1)


def test_draws_that_agree_have_no_information() -> None:
    found = unsure([shares(0.25, 0.25, 0.5)] * 3)
    assert float(found.entropy) == pytest.approx(1.5 * math.log(2))
    assert float(found.expected) == pytest.approx(1.5 * math.log(2))
    assert float(found.information) == pytest.approx(0, abs=1e-6)
    assert float(found.normalised().entropy) == pytest.approx(1.5 * math.log(2) / math.log(3))


def test_the_parts_add_up() -> None:
    draws = [torch.randn(2, 4, 3, 3, 3).softmax(1) for _ in range(5)]
    found = unsure(draws)
    assert found.entropy.shape == (2, 1, 3, 3, 3)
    assert torch.allclose(found.shares, torch.stack(draws).mean(0))
    assert torch.allclose(found.entropy, found.expected + found.information, atol=1e-6)
    assert (found.information >= 0).all()


def test_an_ensemble_is_the_mean_of_its_members() -> None:
    members = [fitted("supervised", steps=1, seed=seed) for seed in range(2)]
    x, _ = squares(2, (20, 24), 0)
    found = asked(members, x)
    assert torch.allclose(found.shares, (members[0].probabilities(x) + members[1].probabilities(x)) / 2)
    assert float(found.information.max()) > 0


def test_dropout_is_on_while_it_is_asked_for_and_the_same_for_a_seed() -> None:
    segmenter = fitted("supervised", steps=1, dropout=0.5)
    x, _ = squares(1, (20, 24), 0)
    plain, state = segmenter.probabilities(x), torch.get_rng_state()
    first, second, other = (asked([segmenter], x, draws=3, seed=seed) for seed in (0, 0, 4))
    assert torch.equal(first.shares, second.shares)
    assert not torch.equal(first.shares, other.shares)
    assert float(first.information.max()) > 0
    assert torch.equal(segmenter.probabilities(x), plain)
    assert torch.equal(torch.get_rng_state(), state)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(AnomalyError, match="this supervised segmenter was trained without dropout"):
        asked([fitted("supervised", steps=1, dropout=0.0)], torch.zeros(1, 1, 20, 24), draws=2)
    with pytest.raises(AnomalyError, match="expected an answer or more"):
        unsure([])
    with pytest.raises(AnomalyError, match="of the same images and classes"):
        unsure([shares(0.5, 0.5), shares(0.2, 0.3, 0.5)])
