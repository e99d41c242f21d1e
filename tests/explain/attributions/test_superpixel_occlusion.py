"""Segments that follow edges, and what the target loses when one is covered, against closed forms."""

import pytest
import torch
from attributed import SPACES, Linear, images, shaped, weights
from torch import Tensor

from anomaly.errors import AnomalyError
from explain import SuperpixelOcclusion
from explain.attributions.masked import WithinMask
from explain.attributions.superpixels import superpixels

STILL: dict = {"scales": 1, "size": 0.34, "compactness": 0.3}


def cells(space: tuple[int, ...], n: int) -> Tensor:
    """The cell of each pixel, of n along each axis, numbered row by row."""
    number = torch.zeros(space, dtype=torch.long)
    for axis, side in enumerate(space):
        along = (torch.arange(side) * 2 + 1) * n // (2 * side)
        number = number * n + along.view(*[1] * axis, -1, *[1] * (len(space) - axis - 1))
    return number


@shaped
@pytest.mark.parametrize("level", [-1.0, 0.0, 0.7])
def test_constant_image_is_cut_into_the_cells_of_the_grid(space: tuple[int, ...], level: float) -> None:
    labels = superpixels(torch.full((2, *space), level), 1 / 3, compactness=0.3)
    assert torch.equal(labels, cells(space, 3))


@shaped
def test_segments_follow_an_edge_that_the_grid_crosses(space: tuple[int, ...]) -> None:
    image = torch.full((1, *space), -0.9)
    image[:, : space[0] // 2 + 1] = 0.9
    labels = superpixels(image, 1 / 3, compactness=0.3)
    bright = set(labels[image[0] > 0].tolist())
    assert not bright & set(labels[image[0] < 0].tolist()) and len(bright) > 1
    assert labels.unique().tolist() == list(range(int(labels.max()) + 1))


@shaped
def test_outside_of_a_mask_nothing_is_cut_or_has_a_say(space: tuple[int, ...]) -> None:
    inside = torch.zeros(space, dtype=torch.bool)
    inside[tuple(slice(1, side - 1) for side in space)] = True
    image = images(1, 2, space)[0]
    labels = superpixels(image, 0.3, compactness=0.3, inside=inside)
    assert torch.equal(labels >= 0, inside)
    assert torch.equal(superpixels(torch.where(inside, image, -1), 0.3, compactness=0.3, inside=inside), labels)


def test_empty_mask_and_single_pixel() -> None:
    nothing = torch.zeros(4, 4, dtype=torch.bool)
    assert (superpixels(torch.zeros(1, 4, 4), 0.5, compactness=1.0, inside=nothing) == -1).all()
    assert superpixels(torch.zeros(1, 1, 1), 0.1, compactness=1.0).tolist() == [[0]]


@shaped
@pytest.mark.parametrize("channels", [1, 3])
def test_additive_target_gives_each_segment_what_it_contributes(space: tuple[int, ...], channels: int) -> None:
    x, w, b = images(2, channels, space), weights(channels, space), images(1, channels, space)
    explanation = SuperpixelOcclusion(target=Linear(w), batch=4, **STILL).explain(x, baseline=b)
    worth = (w * (x - b)).sum(1)
    for image, map, each in zip(x, explanation.map[:, 0], worth, strict=True):
        labels = superpixels(image, STILL["size"], compactness=0.3)
        assert labels.max() > 2
        for label in labels.unique():
            place = labels == label
            torch.testing.assert_close(map[place].sum(), each[place].sum())
            assert map[place].max() - map[place].min() < 1e-12


def test_partitions_are_averaged_and_add_up() -> None:
    x, w = images(2), weights()
    two = SuperpixelOcclusion(target=Linear(w), size=0.5, scales=2).explain(x).map
    coarse, fine = (SuperpixelOcclusion(target=Linear(w), size=size, scales=1).explain(x).map for size in (0.5, 0.25))
    torch.testing.assert_close(two, (coarse + fine) / 2)
    torch.testing.assert_close(two.flatten(1).sum(1), (w * (x + 1)).flatten(1).sum(1))


def test_blob_is_marked_to_its_edge() -> None:
    x = torch.full((1, 1, 24, 24), -0.5)
    x[..., 7:15, 5:12] = 0.8
    explanation = SuperpixelOcclusion(target=lambda x: x.clamp_min(0).flatten(1).sum(1), size=0.25).explain(x)
    assert torch.equal(explanation.map > 0, x > 0)


def test_what_equals_its_baseline_is_not_asked_about() -> None:
    asked: list[int] = []

    def target(x: Tensor) -> Tensor:
        asked.append(len(x))
        return x.flatten(1).sum(1)

    x = torch.full((1, 1, 12, 12), -1.0)
    x[..., :4, :4] = 0.5
    map = SuperpixelOcclusion(target=target, **STILL).explain(x).map
    assert sum(asked) == 4 and (map[x == -1] == 0).all()  # black, the image, the image again, its one bright segment
    assert SuperpixelOcclusion(target=target).explain(torch.full((1, 1, 9, 7), -1.0)).map.abs().max() == 0


def test_a_target_is_asked_of_one_image_at_least() -> None:
    asked: list[int] = []

    def target(x: Tensor) -> Tensor:
        asked.append(len(x))
        return x.flatten(1).sum(1)

    explanation = SuperpixelOcclusion(target=target).explain(images(1), baseline=images(1))
    assert min(asked) == 1 and not explanation.map.any()


def masked(place: tuple[slice, ...]) -> WithinMask:
    inside = torch.zeros(1, 1, *SPACES[0], dtype=torch.bool)
    inside[(..., *place)] = True
    return WithinMask(lambda x: (x + 2).flatten(1).sum(1), inside)


def test_segments_are_those_of_a_mask_where_the_target_knows_one() -> None:
    target = masked((slice(3, 9), slice(2, 11)))
    map = SuperpixelOcclusion(target=target, **STILL).explain(images(1)).map
    assert torch.equal(map != 0, target.inside)


def test_an_empty_mask_leaves_nothing_to_explain() -> None:
    assert not SuperpixelOcclusion(target=masked((slice(0, 0),))).explain(images(1)).map.any()


def test_a_target_may_mean_something_else_by_inside() -> None:
    class Rooms:
        inside = "indoors"

        def __call__(self, x: Tensor) -> Tensor:
            return x.flatten(1).sum(1)

    x = images(1)
    plain = SuperpixelOcclusion(target=lambda x: x.flatten(1).sum(1), **STILL).explain(x).map
    assert torch.equal(SuperpixelOcclusion(target=Rooms(), **STILL).explain(x).map, plain)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 1.5}, "size must be 1 or less, got 1.5"),
        ({"size": 0.0}, "size must be positive"),
        ({"scales": 0}, "scales must be positive"),
        ({"compactness": 0.0}, "compactness must be positive"),
    ],
)
def test_wrong_settings_are_told(settings: dict, message: str) -> None:
    with pytest.raises(AnomalyError, match=message):
        SuperpixelOcclusion(target=torch.sum, **settings)
