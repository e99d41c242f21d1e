"""The painter of lesions: filling, scatter of draws, the critic's weights, and that a class is painted as asked."""

from math import pi, sqrt
from pathlib import Path

import pytest
import torch
from torch import Tensor

from anomaly.errors import AnomalyError
from anomaly.painters.lesions import Holes, LesionPainter, sampled
from anomaly.painters.lesions_filling import filled
from anomaly.painters.lesions_nets import shared, weighted
from anomaly.training.machine import Machine

TINY = dict(width=8, levels=2, critic_width=4, halved=1, batch=8, lr=5e-3)
VALUES = (0.0, 0.8, -0.8)
"""What normal tissue and lesions of two classes look like."""


class Squares:
    """Images of noise with a square hole, inside of which is the value of its class."""

    def __init__(self, dims: int = 2, side: int = 16) -> None:
        self.space = (side,) * dims

    def __getitem__(self, k: int) -> Holes:
        random = torch.Generator().manual_seed(k)
        x = 0.1 * torch.randn(8, 1, *self.space, generator=random)
        hole = torch.zeros(8, 1, *self.space, dtype=torch.bool)
        hole[(slice(None), slice(None), *(slice(5, 11),) * len(self.space))] = True
        classes = torch.arange(8) % 3
        level = torch.tensor(VALUES)[classes].view(-1, 1, *[1] * len(self.space))
        return Holes(torch.where(hole, level + x, x), hole, classes, torch.zeros(8, 0, *self.space))


@pytest.fixture(scope="module")
def painter() -> LesionPainter:
    return LesionPainter(steps=60, **TINY).fit(Squares(), (1, 16, 16), 3, machine=Machine(device="cpu"))


def test_a_hole_in_two_by_two_pixels_is_the_mean_of_the_other_three() -> None:
    x = torch.tensor([[[[1.0, 2.0], [6.0, -9.0]]]])
    hole = torch.tensor([[[[False, False], [False, True]]]])
    assert filled(x, hole)[0, 0].tolist() == [[1.0, 2.0], [6.0, 3.0]]


@pytest.mark.parametrize("space", [(7, 5), (6, 5, 3)])
def test_filling_keeps_what_is_known_and_constants(space: tuple[int, ...]) -> None:
    x = torch.full((2, 3, *space), 0.25)
    hole = torch.rand(2, 1, *space, generator=torch.Generator().manual_seed(0)) < 0.6
    torch.testing.assert_close(filled(x, hole), x)
    other = torch.randn(2, 3, *space)
    assert (filled(other, hole) == other)[~hole.expand_as(other)].all()
    assert (filled(other, torch.ones_like(hole)) == 0).all()


def test_a_hole_does_not_see_what_it_hides() -> None:
    x = torch.randn(1, 1, 12, 12)
    hole = torch.zeros(1, 1, 12, 12, dtype=torch.bool)
    hole[..., 3:8, 4:9] = True
    assert torch.equal(filled(x, hole)[hole], filled(torch.where(hole, 5.0, x), hole)[hole])


def test_the_best_scatter_of_gaussian_pixels_is_the_true_one() -> None:
    random = torch.Generator().manual_seed(1)
    true, first, second = (torch.randn(1, 1, 700, 700, generator=random) for _ in range(3))
    hole = torch.ones(1, 1, 700, 700, dtype=torch.bool)
    found = {s: float(sampled([s * first, s * second], true, hole)) for s in (0.0, 0.5, 0.8, 1.0, 1.25, 2.0)}
    assert min(found, key=lambda s: found[s]) == 1.0
    # E|x - mean| = sqrt(2 / pi) sqrt(1 + s^2 / 2), and the scatter of two draws is s
    expected = {s: sqrt(2 / pi) * sqrt(1 + s * s / 2) - s / sqrt(3 * pi) for s in found}
    assert found == pytest.approx(expected, abs=5e-3)
    assert float(sampled([first, second], true, hole, spread=0)) == pytest.approx(sqrt(2 / pi) * sqrt(1.5), abs=5e-3)


@pytest.mark.parametrize("grid", [(3, 2), (2, 2, 2)])
def test_patches_count_as_they_share_with_the_hole(grid: tuple[int, ...]) -> None:
    hole = torch.zeros(1, 1, *(2 * side for side in grid), dtype=torch.bool)
    hole[(0, 0, *(slice(0, 2),) * len(grid))] = True  # the first cell alone
    weights = shared(hole, grid)
    assert float(weights.sum()) == pytest.approx(1)
    assert float(weights.flatten()[0]) > 0.98
    values = torch.zeros(1, 2, *grid)
    values[(0, 1, *(0,) * len(grid))] = 1.0
    assert weighted(values, hole)[0].tolist() == pytest.approx([0, float(weights.flatten()[0])])


def test_each_class_is_painted_as_it_looks(painter: LesionPainter) -> None:
    holes = Squares()[999]
    for place, value in enumerate(VALUES):
        asked = holes._replace(classes=torch.full((8,), place))
        drawn = painter.paint(asked, list("abcdefgh"))[0]
        assert abs(float(drawn[holes.hole].mean()) - value) < 0.25, place


def test_outside_nothing_changes_and_what_is_hidden_is_not_seen(painter: LesionPainter) -> None:
    holes = Squares()[7]
    drawn = painter.paint(holes, list("abcdefgh"), 2)
    outside = ~holes.hole.expand_as(holes.x)
    assert all(torch.equal(each[outside], holes.x[outside]) for each in drawn)
    other = holes._replace(x=torch.where(holes.hole, 0.3, holes.x))
    assert torch.equal(painter.paint(other, list("abcdefgh"))[0][holes.hole], drawn[0][holes.hole])


def test_draws_follow_from_names_and_seed(painter: LesionPainter) -> None:
    holes = Squares()[3]
    few = Holes(*(each[:2] for each in holes))
    first = painter.paint(few, ["a", "b"], 2)
    assert torch.equal(first, painter.paint(few, ["a", "b"], 2))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, painter.paint(few, ["a", "b"], 2, seed=1))
    alone = Holes(*(each[1:] for each in few))
    torch.testing.assert_close(painter.paint(alone, ["b"])[0], first[0, 1:])  # whatever is painted beside it


def test_what_was_saved_paints_the_same(painter: LesionPainter, tmp_path: Path) -> None:
    painter.save(tmp_path / "weights.safetensors")
    again = LesionPainter.load(tmp_path / "weights.safetensors")
    holes = Squares()[5]
    assert again.classes_ == 3
    assert torch.equal(again.paint(holes, list("abcdefgh")), painter.paint(holes, list("abcdefgh")))


def test_volumes_with_tissues() -> None:
    class Told(Squares):
        def __getitem__(self, k: int) -> Holes:
            holes = super().__getitem__(k)
            tissues: Tensor = (holes.x > 0).float()
            return holes._replace(tissues=torch.cat([tissues, 1 - tissues], 1))

    source = Told(3, 12)
    found = LesionPainter(steps=2, **TINY).fit(source, (1, 12, 12, 12), 3, 2, machine=Machine(device="cpu"))
    holes = source[0]
    drawn = found.paint(holes, list("abcdefgh"))[0]
    assert drawn.shape == holes.x.shape
    inside = torch.where(holes.hole, 1 - holes.tissues, holes.tissues)  # tissues inside of a hole are not told
    assert torch.equal(found.paint(holes._replace(tissues=inside), list("abcdefgh"))[0], drawn)


def test_bad_classes_are_refused(painter: LesionPainter) -> None:
    holes = Squares()[0]
    with pytest.raises(AnomalyError, match="expected 0 to 2"):
        painter.paint(holes._replace(classes=torch.full((8,), 3)), list("abcdefgh"))
    with pytest.raises(AnomalyError, match="class of lesions or more"):
        LesionPainter(steps=1, **TINY).fit(Squares(), (1, 16, 16), 1)
