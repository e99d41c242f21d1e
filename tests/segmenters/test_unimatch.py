"""UniMatch's loss by a network whose answers are known, and what is mixed into views."""

import pytest
import torch
from torch import Tensor, nn

from anomaly.errors import AnomalyError
from anomaly.segmenters import unimatch
from anomaly.segmenters.augmenting import cut_boxes
from anomaly.segmenters.losses import dice_and_entropy, dice_loss
from anomaly.segmenters.unimatch import Told, UniMatch
from tests.squares_marked import CPU, TINY, fitted

PIXELS = {-1.0: (0.99, 0.01), 0.0: (0.3, 0.7), 1.0: (0.04, 0.96)}
"""Shares of two classes that the toy network gives for a brightness; it is sure of the first and the last."""


class Toy(unimatch.UNet):
    """Says of each pixel, by its brightness alone, which class it is; dropped features make it say less."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.weight = nn.Parameter(torch.ones(()))

    def encoded(self, x: Tensor) -> list[Tensor]:
        logits = torch.stack([_table(x[:, 0], 0), _table(x[:, 0], 1)], 1)
        return [logits]

    def decoded(self, across: list[Tensor], space: object) -> Tensor:  # type: ignore[override]
        return across[0]

    def leave(self, features: Tensor) -> Tensor:  # type: ignore[override]
        return features * self.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(self.decoded(self.encoded(x), None))


def _table(values: Tensor, place: int) -> Tensor:
    found = torch.zeros_like(values)
    for brightness, shares in PIXELS.items():
        found[values == brightness] = torch.tensor(shares[place]).log()
    return found


def toy(**settings: object) -> UniMatch:
    method = UniMatch(**{**TINY, "augment": "none", **settings})  # type: ignore[arg-type]
    method.classes_ = 2
    method.net_ = nn.ModuleDict({"student": Toy()})
    return method


def test_the_loss_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Views are the negative of images, and nothing is mixed into them: the network says the opposite of them."""
    monkeypatch.setattr(unimatch, "strongly", lambda u, masked: -u)
    monkeypatch.setattr(unimatch, "cut_boxes", lambda u: torch.zeros(len(u), *u.shape[2:], dtype=torch.bool))
    monkeypatch.setitem(unimatch.DROPPED, 2, lambda features, chance: features * chance)
    method = toy()
    x, places = torch.tensor([[[[1.0, 0.0, 0.0, -1.0]]]]), torch.tensor([[[1, 0, 1, 0]]])
    u = torch.tensor([[[[-1.0, 0.0, 1.0, 1.0]]]])
    loss, terms = method.loss(((x, places), u))  # type: ignore[misc]
    # What is sure: background at the first pixel, the class at the last two.
    strong = 1 - (2 * 0.04 / (0.04 + 0.99 + 0.99 + 1) + 2 * (0.01 + 0.01) / (0.96 + 0.01 + 0.01 + 2)) / 2
    halved = torch.tensor(PIXELS[1.0]).log().mul(0.5).softmax(0)[1].item()  # at the last two pixels
    first = torch.tensor(PIXELS[-1.0]).log().mul(0.5).softmax(0)[1].item()
    background = 2 * (1 - first) / ((1 - first) + 2 * (1 - halved) + 1)
    dropped = 1 - (background + 2 * (2 * halved) / (first + 2 * halved + 2)) / 2
    labelled = dice_and_entropy(Toy()(x), places).item()
    assert float(terms["sure"]) == 0.75
    assert float(terms["strong"]) == pytest.approx(strong, abs=1e-4)
    assert float(terms["dropped"]) == pytest.approx(dropped, abs=1e-4)
    assert float(loss) == pytest.approx((labelled + 0.25 * 2 * strong + 0.5 * dropped) / 2, abs=1e-4)


def test_sure_background_alone_teaches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A view in which the network finds a class where it was sure of the background has to move it."""
    monkeypatch.setattr(unimatch, "strongly", lambda u, masked: -u)
    method = toy()
    u = torch.full((1, 1, 1, 4), -1.0)
    (_, terms), weight = method.loss(((u, torch.zeros(1, 1, 4).long()), u)), method.net_["student"].weight
    assert float(terms["strong"]) == pytest.approx(1 - 2 * 0.04 / (0.04 + 1) / 2, abs=1e-3)
    weight.grad = None
    view, told = method.view(u, method.told(Toy()(u).detach(), u))
    dice_loss(method.net_["student"](view), *told, background=True).backward()
    assert abs(float(weight.grad)) > 0.01


def test_one_window_a_process_has_no_other_to_take_a_box_from() -> None:
    with pytest.raises(AnomalyError, match="batch=1 over 1 process leaves one window each; take --set batch=2"):
        fitted("unimatch", batch=1)
    with pytest.raises(AnomalyError, match="batch=2 over 2 processes leaves one window each; take --set batch=4"):
        toy(batch=2).refuse_shares(2)


def test_pseudo_labels_carry_no_slope_and_outside_counts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    method = toy()
    weak = Toy()(torch.tensor([[[[-1.0, 0.0, 1.0]]]]))
    told = method.told(weak.detach(), torch.zeros(1, 1, 1, 3))
    assert told.places.tolist() == [[[0, 1, 1]]]
    assert told.counted.tolist() == [[[True, False, True]]]
    method.masked_ = True
    outside = torch.tensor([[[[-1.0, 0.0, 0.5]]]])
    assert method.told(weak.detach(), outside).counted.tolist() == [[[False, False, True]]]


def test_boxes_bring_image_classes_and_what_counts_of_the_other_image(monkeypatch: pytest.MonkeyPatch) -> None:
    box = torch.zeros(2, 4, 4, dtype=torch.bool)
    box[0, 1:3, 1:3] = True
    monkeypatch.setattr(unimatch, "strongly", lambda u, masked: u)
    monkeypatch.setattr(unimatch, "cut_boxes", lambda u: box)
    u = torch.stack([torch.zeros(1, 4, 4), torch.ones(1, 4, 4)])
    told = Told(torch.stack([torch.zeros(4, 4), torch.ones(4, 4)]).long(), torch.tensor([True, False]).view(2, 1, 1))
    mixed, answers = toy().view(u, Told(told.places, told.counted.expand(2, 4, 4)))
    assert torch.equal(mixed[0, 0] == 1, box[0])
    assert torch.equal(answers.places[0] == 1, box[0])
    assert torch.equal(~answers.counted[0], box[0])
    assert (mixed[1] == 1).all()


@pytest.mark.parametrize("space", [(40, 60), (20, 24, 16)])
def test_boxes_have_the_shares_that_they_should(space: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    boxes = cut_boxes(torch.zeros(400, 1, *space))
    shares = boxes.flatten(1).float().mean(1)
    filled = shares > 0
    assert 0.4 < float(filled.float().mean()) < 0.6
    assert float(shares[filled].min()) > 0.01
    assert float(shares.max()) < 0.45
    for axis in range(1, boxes.ndim):  # a box is one run along each axis
        along = boxes.movedim(axis, 1).flatten(2).any(2).int()
        assert int((along.diff(dim=1) == 1).sum(1).max()) <= 1


def test_the_network_of_a_fit_is_asked_as_before_where_nothing_is_dropped() -> None:
    method = UniMatch(**{**TINY, "dropped": 0.0, "dropout": 0.0})
    method.classes_ = 3
    method.make((1, 20, 24), CPU, 0)
    x, u = torch.randn(2, 1, 20, 24), torch.randn(3, 1, 20, 24)
    said, weak, again = method.asked(x, u)
    assert torch.allclose(said, method.logits(x), atol=1e-5)
    assert torch.allclose(weak, method.logits(u), atol=1e-5)
    assert torch.allclose(again, weak, atol=1e-5)
    assert not weak.requires_grad
    assert again.requires_grad
    assert dice_loss(again, torch.ones(3, 20, 24, dtype=torch.int64)).requires_grad
