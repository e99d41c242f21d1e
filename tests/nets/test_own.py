"""What the network of one's own learns by, against values worked by hand."""

import pytest
import torch

from anomaly.detectors import OwnFeatures
from anomaly.errors import AnomalyError
from anomaly.nets.own import AT_ONCE, Encoder, disagreement, some, varied


def test_views_that_agree_vary_and_do_not_repeat_themselves_cost_nothing() -> None:
    """Columns of a Hadamard matrix, times 2: variances 4, covariances 0."""
    two = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    four = torch.kron(two, two)
    z = 2 * torch.kron(two, four)[:, 1:4]
    loss, terms = disagreement(z, z)
    assert loss == pytest.approx(0, abs=1e-6)
    assert set(terms) == {"alike", "spread", "apart"}


def test_each_term_is_what_its_formula_says() -> None:
    a = torch.tensor([[1.0, 1.0], [-1.0, -1.0], [1.0, 1.0], [-1.0, -1.0]])
    loss, terms = disagreement(a, a + 2.0)
    assert terms["alike"] == pytest.approx(4.0)
    assert terms["spread"] == pytest.approx(0.0)  # both have variance 1
    covariance = 4 / 3  # of the two channels, which are the same
    assert terms["apart"] == pytest.approx(2 * (2 * covariance**2) / 2)
    assert loss == pytest.approx(25 * 4 + 2 * covariance**2, rel=1e-6)
    _, still = disagreement(torch.zeros(4, 2), torch.zeros(4, 2))
    assert still["spread"] == pytest.approx(2 * (1 - 0.01), rel=1e-5)  # the root of 1e-4 is left


def test_cells_stay_side_by_side_and_are_bounded() -> None:
    a = torch.arange(4 * 3 * 40 * 40.0).view(4, 3, 40, 40)
    left, right = some(a, a + 0.5)
    assert left.shape == right.shape == (AT_ONCE, 3)
    assert torch.equal(right, left + 0.5)
    assert torch.equal(left[:, 1] - left[:, 0], torch.full((AT_ONCE,), 1600.0)), "channels of one cell stay together"
    assert len(left.unique(dim=0)) == AT_ONCE


def test_pictures_are_varied_each_by_itself_and_nothing_moves() -> None:
    x = torch.zeros(64, 1, 32, 32)
    x[..., 16:] = 0.8
    found = varied(x)
    assert found.shape == x.shape and not torch.equal(found[0], found[1])
    step = found[..., 18:].mean((1, 2, 3)) - found[..., :14].mean((1, 2, 3))
    assert 0.6 < (step.mean() / 0.8) < 1.5 and step.std() > 0.05
    assert (found.diff(dim=-1).abs().mean((0, 1, 2)).argmax()) == 15, "the edge stays where it was"


def test_a_cell_sees_what_is_near_it_in_units_of_the_whole() -> None:
    net = Encoder(1, 8, 16).eval()
    x = torch.rand(1, 1, 64, 64)
    assert net(x).shape == (1, 64, 8, 8) and net.cells_of(x).shape == (1, 64, 16, 16)
    assert net(x[..., :30, :30]).shape == (1, 64, 8, 8), "few cells are kept"
    changed = x.clone()
    changed[..., :8, :8] = 1.0
    apart = (net.cells_of(x) - net.cells_of(changed)).abs().amax(1)[0]
    assert apart[:2, :2].mean() > 10 * apart[8:, 8:].mean()
    for step in net.layers[:-1]:
        step[1] = torch.nn.Identity()  # without the units of the whole nothing is seen from afar
    apart = (net.cells_of(x) - net.cells_of(changed)).abs().amax(1)[0]
    assert apart[:2, :2].min() > 0 and apart[8:, 8:].max() == 0


def test_a_width_that_cannot_be_grouped_is_told() -> None:
    with pytest.raises(AnomalyError, match="width=12 is no multiple of 8; take 8, 24 or 32"):
        OwnFeatures(width=12)
