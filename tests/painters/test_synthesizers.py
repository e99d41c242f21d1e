"""Synthesizers: promises that all keep, and the mathematics of their parts against values worked by hand."""

import math

import numpy as np
import pytest
import torch

from anomaly.errors import AnomalyError
from anomaly.painters.critics import CriticsAtScales, entropy, features_apart, hinge, of_entropy, of_hinge
from anomaly.painters.mapped import NOWHERE, by_seeds, hot
from anomaly.painters.register import SYNTHESIZERS
from anomaly.painters.spade_nets import SpadeDecoder, StyleFinder

TINY = {
    "spade": {"steps": 3, "batch": 2, "width": 4, "levels": 3, "hidden": 4, "style": 3, "critic_width": 4, "halved": 1},
    "pix2pix-labels": {"steps": 3, "batch": 2, "width": 4, "levels": 2, "critic_width": 4, "halved": 1},
    "ultrasound": {"steps": 3, "batch": 2, "width": 4, "levels": 2, "critic_width": 4, "halved": 1},
}
CLASSES = 3


class Source:
    """Bright squares of class 1 and dark ones of class 2 in noise."""

    def __init__(self, space, masked=False):
        self.space, self.masked = space, masked

    def __getitem__(self, k):
        random = torch.Generator().manual_seed(k)
        places = torch.zeros(2, *self.space, dtype=torch.long)
        places[0, ..., 2:8, 3:9], places[1, ..., 8:14, 4:12] = 1, 2
        x = 0.5 * (places == 1).float() - 0.4 * (places == 2).float()
        x = (x + 0.05 * torch.randn(x.shape, generator=random)).unsqueeze(1).clamp(-0.95, 1)
        if self.masked:
            places[..., -2:] = NOWHERE
            x[..., -2:] = -1
        return x, places


def fitted(name, space=(16, 18), seed=0, masked=False, **changed):
    made = SYNTHESIZERS[name](**{**TINY[name], **changed})
    made.masked_ = masked
    return made.fit(Source(space, masked), (1, *space), CLASSES, seed=seed)


@pytest.fixture(scope="module", params=sorted(TINY))
def made(request):
    return fitted(request.param)


def test_an_image_of_a_map_hangs_on_its_seed_alone(made) -> None:
    _, places = Source((16, 18))[0]
    both = made.draw(places, [5, 6])
    assert both.shape == (2, 1, 16, 18) and both.abs().max() <= 1
    np.testing.assert_allclose(made.draw(places[1:], [6])[0], both[1], atol=1e-5)
    assert (made.draw(places[1:], [7])[0] - both[1]).abs().max() > 0
    assert (made.draw(places[:1].flip(1), [5]) - both[:1]).abs().max() > 0  # another map, another image


def test_the_same_seed_learns_the_same_and_a_file_holds_all_of_it(made, tmp_path) -> None:
    again = fitted(made.name)
    for one, other in zip(made.net_.state_dict().values(), again.net_.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    made.save(tmp_path / "weights.safetensors")
    read = type(made).load(tmp_path / "weights.safetensors")
    _, places = Source((16, 18))[0]
    assert read.classes_ == CLASSES and read.settings() == made.settings()
    assert torch.equal(read.draw(places, [1, 2]), made.draw(places, [1, 2]))


def test_what_lies_outside_a_mask_is_drawn_as_outside(made) -> None:
    masked = fitted(made.name, masked=True)
    _, places = Source((16, 18), masked=True)[0]
    drawn = masked.draw(places, [1, 2])
    assert (drawn[..., -2:] == -1).all() and (drawn[..., :-2] > -1).all()
    with pytest.raises(AnomalyError, match="learned without"):
        made.draw(places, [1, 2])


@pytest.mark.parametrize(
    ("places", "seeds", "message"),
    [
        (torch.zeros(1, 4, 4, dtype=torch.long), [0], r"expected \(16, 18\)"),
        (torch.full((1, 16, 18), 7), [0], "the class 7; expected 0 to 2"),
        (torch.zeros(2, 16, 18, dtype=torch.long), [0], "got 1 seeds for 2 maps"),
    ],
)
def test_maps_that_do_not_fit_are_told(made, places, seeds, message) -> None:
    with pytest.raises(AnomalyError, match=message):
        made.draw(places, seeds)


@pytest.mark.parametrize("name", ["spade", "pix2pix-labels"])
def test_volumes_are_drawn_too(name) -> None:
    _, places = Source((9, 16, 18))[0]
    assert fitted(name, (9, 16, 18)).draw(places, [1, 2]).shape == (2, 1, 9, 16, 18)


def test_ultrasound_is_of_slices_alone() -> None:
    with pytest.raises(AnomalyError, match="slice by slice"):
        fitted("ultrasound", (9, 16, 18))
    with pytest.raises(AnomalyError, match="4 for each of 3 classes"):
        fitted("ultrasound", tissues=(1.0, 2.0))


def test_classes_are_learned_apart() -> None:
    """Without a critic and with some steps, what is bright and what is dark is known by the map."""
    learned = fitted("pix2pix-labels", steps=150, lr=1e-2, adversarial=0.0)
    _, places = Source((16, 18))[0]
    drawn = learned.draw(places, [1, 2])[:, 0]
    assert drawn[places == 1].mean() > 0.3 and drawn[places == 2].mean() < -0.2


def test_a_style_moves_the_image_and_comes_from_those_met() -> None:
    spade = fitted("spade", steps=20)
    assert spade.net_.met.abs().sum() > 0
    _, places = Source((16, 18))[0]
    grain = torch.zeros(2, 1, 16, 18)
    one, other = (spade.drawn(places, grain, torch.full((2, 3), value)) for value in (-3.0, 3.0))
    assert (one - other).abs().mean() > 1e-4
    mean, log_variance = spade.net_.met.unbind(1)
    styles = spade.styles(range(300))
    assert (styles.mean(0) - mean.mean(0)).abs().max() < 0.3 + 3 * float((log_variance / 2).exp().max()) / 10


# Parts


def test_places_become_channels_and_none_outside() -> None:
    found = hot(torch.tensor([[[0, 1], [2, NOWHERE]]]), 3)
    assert found.shape == (1, 3, 2, 2)
    assert found[0, :, 0, 0].tolist() == [1, 0, 0] and found[0, :, 1, 0].tolist() == [0, 0, 1]
    assert found[0, :, 1, 1].tolist() == [0, 0, 0]


def test_chance_is_of_the_seed() -> None:
    both = by_seeds([3, 4], 5)
    assert torch.equal(both[1], by_seeds([4], 5)[0]) and not torch.equal(both[0], both[1])
    assert not torch.equal(by_seeds([3], 5), by_seeds([3], 5, stream=1))


def test_games_by_hand() -> None:
    real, drawn = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 1.0])
    assert float(hinge(real, drawn)) == pytest.approx((0 + 0.5) / 2 + (0 + 2) / 2)
    assert float(of_hinge(drawn)) == pytest.approx(1.0)
    zero = torch.zeros(1)
    assert float(entropy(zero, zero)) == pytest.approx(2 * math.log(2))
    assert float(of_entropy(zero)) == pytest.approx(math.log(2))


def test_features_are_compared_layer_by_layer() -> None:
    zero = torch.zeros(1)
    one = [(zero, [torch.tensor([1.0, 3.0]), torch.tensor([0.0])])]
    other = [(zero, [torch.tensor([2.0, 3.0]), torch.tensor([4.0])])]
    assert float(features_apart(one, other)) == pytest.approx((0.5 + 4) / 2)


def test_critics_see_as_many_scales_as_fit() -> None:
    assert len(CriticsAtScales(2, (32, 32), width=4, halved=2, scales=3).scales) == 2
    says = CriticsAtScales(2, (32, 40), width=4, halved=2, scales=2)(torch.randn(1, 2, 32, 40))
    assert [tuple(logits.shape[2:]) for logits, _ in says] == [(6, 8), (2, 3)]
    with pytest.raises(AnomalyError, match="wants 12 a side"):
        CriticsAtScales(2, (8, 40), width=4, halved=2, scales=1)


@pytest.mark.parametrize("space", [(16, 16), (13, 21), (5, 12, 9)])
def test_spade_draws_any_sides_and_reads_the_map_at_full_size(space) -> None:
    torch.manual_seed(0)
    decoder = SpadeDecoder(3, (2, *space), width=4, levels=3, hidden=4)
    told = torch.randn(2, 3, *space, requires_grad=True)
    drawn = decoder(told)
    assert drawn.shape == (2, 2, *space)
    drawn[0].sum().backward()
    assert (told.grad[0] != 0).float().mean() > 0.95  # every pixel of the map has a say
    assert told.grad[1].abs().max() == 0  # and none of another image


def test_a_style_knows_how_bright_an_image_is() -> None:
    torch.manual_seed(0)
    finder = StyleFinder((1, 16, 16), style=3, width=4)
    x = torch.rand(1, 1, 16, 16)
    assert (finder(x)[0] - finder(x - 0.5)[0]).abs().max() > 1e-3
