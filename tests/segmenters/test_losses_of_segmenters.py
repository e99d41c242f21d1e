"""Losses by values worked by hand, and what does not count does not."""

import math

import pytest
import torch
from torch import Tensor

from anomaly.segmenters.losses import dice_and_entropy, dice_loss, entropy, hard_dice


def of_shares(*shares: list[float]) -> Tensor:
    """Logits (1, K, 1, pixels) of shares, one list a class."""
    return torch.tensor(shares).log()[None, :, None]


def test_dice_loss_by_hand() -> None:
    """Shares 0.75, 0.25, 0.5 of a class that marks the first pixel: 1 - 2 * 0.75 / (1.5 + 1)."""
    logits = of_shares([0.25, 0.75, 0.5], [0.75, 0.25, 0.5])
    places = torch.tensor([[[1, 0, 0]]])
    assert float(dice_loss(logits, places)) == pytest.approx(1 - 1.5 / 2.5, abs=1e-5)
    counted = torch.tensor([[[True, True, False]]])
    assert float(dice_loss(logits, places, counted)) == pytest.approx(1 - 1.5 / 2, abs=1e-5)


def test_dice_is_of_the_whole_batch_and_the_mean_of_classes() -> None:
    """Class 1: 2 * 0.5 / (0.5 + 0.25 + 1); class 2, which nothing marks, 0 but for the smoothing."""
    one = of_shares([0.25], [0.5], [0.25])
    other = of_shares([0.5], [0.25], [0.25])
    places = torch.tensor([[[1]], [[0]]])
    expected = 1 - (1 / 1.75 + 0) / 2
    assert float(dice_loss(torch.cat([one, other]), places)) == pytest.approx(expected, abs=1e-4)


def test_entropy_is_the_mean_over_what_counts() -> None:
    logits = of_shares([0.2, 0.5, 0.9], [0.8, 0.5, 0.1])
    places = torch.tensor([[[1, 0, 0]]])
    counted = torch.tensor([[[True, False, True]]])
    assert float(entropy(logits, places)) == pytest.approx(-math.log(0.8 * 0.5 * 0.9) / 3, abs=1e-5)
    assert float(entropy(logits, places, counted)) == pytest.approx(-math.log(0.8 * 0.9) / 2, abs=1e-5)
    assert float(entropy(logits, places, torch.zeros_like(counted))) == 0
    both = dice_and_entropy(logits, places, counted)
    assert float(both) == pytest.approx(
        float(dice_loss(logits, places, counted) + entropy(logits, places, counted)) / 2
    )


def test_what_does_not_count_has_no_slope() -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    counted = torch.rand(1, 4, 4) > 0.5
    dice_and_entropy(logits, torch.ones(1, 4, 4, dtype=torch.int64), counted).backward()
    assert (logits.grad.abs().sum(1) > 0).equal(counted)  # type: ignore[union-attr]


def test_hard_dice_of_the_likeliest_class() -> None:
    shares = of_shares([0.1, 0.6, 0.3, 0.9], [0.8, 0.3, 0.6, 0.05], [0.1, 0.1, 0.1, 0.05]).exp()
    found = hard_dice(shares, torch.tensor([[[1, 1, 0, 0]]]))
    assert float(found[0]) == pytest.approx(2 * 1 / 4)
    assert math.isnan(float(found[1]))
