"""The teacher follows exactly, its weight rises as published, and its loss is what it says."""

import math

import pytest
import torch

from anomaly.segmenters.losses import dice_and_entropy
from anomaly.segmenters.mean_teacher import MeanTeacher, disagreement, rising
from tests.squares_marked import CPU, TINY, Squares, fitted, squares


def made(**settings: object) -> MeanTeacher:
    teacher = MeanTeacher(**{**TINY, **settings})  # type: ignore[arg-type]
    teacher.classes_ = 3
    teacher.make((1, 20, 24), CPU, 0)
    return teacher


@pytest.mark.parametrize(("done", "expected"), [(0, math.exp(-5)), (0.5, math.exp(-1.25)), (1, 1), (3, 1)])
def test_the_ramp(done: float, expected: float) -> None:
    assert float(rising(done)) == pytest.approx(expected)


def test_the_weight_rises_over_its_share_of_the_steps() -> None:
    teacher = made(steps=100, ramp=0.5, consistency=0.4)
    teacher.net_.moves.fill_(25)
    assert float(teacher.weight()) == pytest.approx(0.4 * math.exp(-1.25))


def test_the_teacher_follows_each_step() -> None:
    """After 1 step all of the student, after 2 half of both, then as `ema` says."""
    teacher = made(steps=1000, ema=0.6)
    teach, learn = (next(teacher.net_[name].parameters()) for name in ("teacher", "student"))
    expected = teach.detach().clone()
    for step, share in ((1, 1.0), (2, 0.5), (3, 0.4), (4, 0.4)):
        with torch.no_grad():
            learn.copy_(torch.full_like(learn, float(step)))
        teacher.follow()
        expected = expected + share * (step - expected)
        assert torch.allclose(teach, expected)
        assert int(teacher.net_.moves) == step


def test_the_teacher_is_the_average_of_every_step_of_a_training(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, follow = [], MeanTeacher.follow

    def watched(self: MeanTeacher) -> None:
        seen.append(next(self.net_["student"].parameters()).detach().clone())
        follow(self)

    monkeypatch.setattr(MeanTeacher, "follow", watched)
    trained = fitted("mean-teacher", steps=4, ema=0.6)
    ema = 0.5 ** (1 / (0.05 * 4))  # of a training so short
    average = seen[0]
    for step, weights in enumerate(seen[1:], start=2):
        average = average + max(1 / step, 1 - ema) * (weights - average)
    assert len(seen) == 4
    assert torch.allclose(next(trained.net_["student"].parameters()), average)
    assert sorted(trained.net_) == ["student"]


def test_the_loss_is_the_sum_of_its_terms() -> None:
    teacher = made(augment="none", noise=0.0, dropout=0.0, steps=10, ramp=1.0, consistency=0.5)
    for weights in teacher.net_["teacher"].parameters():
        weights.data.add_(0.05)
    teacher.net_.moves.fill_(10)
    x, places = squares(2, (20, 24), 0)
    u = Squares(labelled=False)[3]
    loss, _ = teacher.loss(((x, places), u))  # type: ignore[misc]
    student, other = teacher.net_["student"], teacher.net_["teacher"]
    with torch.no_grad():
        apart = (student(u).softmax(1) - other(u).softmax(1)).square().mean()
        expected = dice_and_entropy(student(x), places) + 0.5 * apart
    assert float(apart) > 1e-6
    assert loss.item() == pytest.approx(float(expected), rel=1e-5)


def test_disagreement_outside_a_mask_does_not_count() -> None:
    one, other = torch.zeros(1, 2, 1, 3), torch.tensor([0.5, 1.0, 7.0]).expand(1, 2, 1, 3)
    counted = torch.tensor([[[True, True, False]]])
    assert float(disagreement(one, other, counted)) == pytest.approx((0.25 + 1) / 2)
    assert float(disagreement(one, other, None)) == pytest.approx((0.25 + 1 + 49) / 3)


def test_noise_of_the_teacher_is_cut_and_leaves_masks() -> None:
    teacher = made(noise=0.1)
    teacher.masked_ = True
    u = torch.full((2, 1, 30, 30), -1.0)
    u[:, :, 5:] = 0.2
    seen = teacher.noisy(u)
    assert (seen[:, :, :5] == -1).all()
    assert float((seen[:, :, 5:] - 0.2).abs().max()) == pytest.approx(0.2, abs=1e-5)
