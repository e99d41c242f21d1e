"""Irregularity against distances worked by hand, and against a plain loop over patches."""

import numpy as np
import pytest
import torch
from torch import Tensor

from anomaly.detectors import Irregularity
from anomaly.detectors.irregularity import irregularity_map
from anomaly.errors import AnomalyError
from anomaly.nets import irregularity as nets
from anomaly.nets.irregularity import irregularity, stretched


def brain(*space: int, seed: int = 0) -> Tensor:
    return torch.rand(1, 1, *space, generator=torch.Generator().manual_seed(seed))


def by_loops(image: np.ndarray, inside: np.ndarray, sides: tuple[int, ...], starts: list, share: float) -> np.ndarray:
    """The irregularity of each patch, one patch and one pixel after another, as the paper says it."""
    others = [image[tuple(slice(a, a + s) for a, s in zip(start, sides, strict=True))] for start in starts]
    found = np.zeros([-(-length // side) for length, side in zip(image.shape, sides, strict=True)])
    for cell in np.ndindex(found.shape):
        box = tuple(slice(c * s, (c + 1) * s) for c, s in zip(cell, sides, strict=True))
        held = inside[box]
        if not held.any():
            continue
        distances = []
        for other in others:
            cut = other[tuple(slice(0, length) for length in held.shape)]
            d = (image[box] - cut)[held]
            distances.append(0.5 * np.abs(d).max() + 0.5 * abs(d.mean()))
        found[cell] = np.mean(sorted(distances)[-max(1, round(share * len(others))) :])
    return found


@pytest.mark.parametrize("space", [(11, 9), (6, 5, 7)], ids=["2D", "3D"])
@pytest.mark.parametrize("side", [1, 2, 4])
def test_each_patch_is_as_far_as_a_plain_loop_says(space, side):
    image = brain(*space)[0]
    inside = torch.ones(1, *space, dtype=torch.bool)
    inside[(0, *(slice(0, 2) for _ in space))] = False
    inside[0, 3, 4] = False
    sides = (side,) * len(space)
    places = nets._places(inside[0], sides, 20)
    assert len(places) > 3
    cells = nets._cells(image, inside, sides, places, 0.25)[0]
    expected = by_loops(image[0].numpy(), inside[0].numpy(), sides, places.tolist(), 0.25)
    np.testing.assert_allclose(cells.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_two_channels_are_compared_together():
    image = torch.cat([brain(6, 6), brain(6, 6, seed=1)], dim=1)[0]
    inside = torch.ones(1, 6, 6, dtype=torch.bool)
    places = nets._places(inside[0], (1, 1), 10)
    cells = nets._cells(image, inside, (1, 1), places, 0.2)[0]
    d = image.flatten(1).T[:, None] - image[:, places[:, 0], places[:, 1]].T
    by_hand = (0.5 * d.abs().amax(2) + 0.5 * d.mean(2).abs()).sort(1)[0][:, -2:].mean(1)
    torch.testing.assert_close(cells.flatten(), by_hand)


def test_a_distance_by_hand():
    """Patches (0, 1, 0, 1) and all 0: 0.5 * 1 + 0.5 * 0.5 = 0.75; the mean of the larger half of three."""
    target, others = torch.tensor([[0.0, 1, 0, 1]]), torch.tensor([[0.0, 0, 0, 0], [0, 1, 0, 1], [1, 0, 1, 0]])
    assert nets._of_whole(target, others, 2).tolist() == [(0.75 + 0.5) / 2]
    held = torch.tensor([[False, True, False, True]])
    assert nets._of_parts(target, held, others, 1).tolist() == [1.0]


def test_the_farthest_of_many_numbers_follow_from_the_ends():
    numbers, others = brain(50, 1).flatten(), brain(30, 1, seed=2).flatten()
    for count in (1, 2, 7, 30):
        expected = (numbers[:, None] - others).abs().topk(count, dim=1)[0].mean(1)
        torch.testing.assert_close(nets._of_points(numbers, others, count), expected)


@pytest.mark.parametrize("space", [(24, 20), (10, 12, 9)], ids=["2D", "3D"])
def test_a_bright_pixel_among_equals_is_the_most_irregular(space):
    image = torch.full((1, 1, *space), 0.4)
    place = tuple(side // 3 for side in space)
    image[(0, 0, *place)] = 0.9
    found = irregularity(image)
    assert np.unravel_index(int(found.argmax()), space) == place
    assert irregularity(image, penalty="dark")[(0, 0, *place)] < found[(0, 0, *place)]
    assert found.min() >= 0 and found.max() <= 1


def test_an_image_of_one_value_has_no_irregularity():
    assert irregularity(torch.full((1, 1, 16, 16), 0.7)).abs().max() < 1e-6
    assert stretched(torch.full((1, 1, 4, 4), 0.3)).abs().max() == 0
    assert irregularity_map(np.full((9, 9), 7.0)).max() == 0


def test_a_map_depends_on_no_other_image_and_on_nothing_outside_its_mask():
    images = torch.cat([brain(20, 18), brain(20, 18, seed=1)])
    inside = torch.zeros(2, 1, 20, 18, dtype=torch.bool)
    inside[:, :, 3:16, 2:15] = True
    both = irregularity(images, inside)
    assert torch.equal(both[1:], irregularity(images[1:], inside[1:]))
    painted = torch.where(inside, images, 1.0)
    assert torch.equal(irregularity(painted, inside), both)
    assert (both[~inside] == 0).all()


def test_masks_without_room_for_a_patch_and_images_smaller_than_patches():
    image, inside = brain(12, 12), torch.zeros(1, 1, 12, 12, dtype=torch.bool)
    inside[..., 4:7, 4] = True  # holds no patch of 2 x 2
    found = irregularity(image, inside)
    alone = nets._cells(image[0], inside[0], (1, 1), nets._places(inside[0, 0], (1, 1), 512), 0.125)
    torch.testing.assert_close(found[inside], (alone * image[0])[inside[0]])
    assert irregularity(image, torch.zeros_like(inside)).abs().max() == 0
    for space in [(1, 1), (3, 2), (5, 6, 1)]:
        assert torch.isfinite(irregularity(brain(*space))).all()


def test_from_0_to_1_within_the_mask():
    maps = torch.tensor([[[[0.2, 0.4], [0.6, 9.0]]]])
    inside = torch.tensor([[[[True, True], [True, False]]]])
    torch.testing.assert_close(stretched(maps, inside), torch.tensor([[[[0.0, 0.5], [1.0, 0.0]]]]))


def test_smoothing_takes_nothing_from_outside_the_mask():
    maps, inside = torch.zeros(1, 1, 7, 7), torch.zeros(1, 1, 7, 7, dtype=torch.bool)
    inside[..., 2:5, 2:5] = True
    maps[inside] = 0.5
    torch.testing.assert_close(nets.smoothed(maps + 3.0 * ~inside, inside, 1.0), maps)
    image = brain(12, 12)
    plain = irregularity(image)
    assert irregularity(image, smooth=1.5).std() < 0.7 * plain.std()
    assert irregularity_map(image[0, 0].numpy()).max() == irregularity_map(image[0, 0].numpy(), smooth=0).max() == 1


def test_slopes_where_no_two_pixels_are_alike():
    detector = Irregularity(sources=40).fit(brain(14, 12) * 1.8 - 0.9)
    detector.net_.double()
    x = torch.rand(2, 1, 14, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(5)) * 1.8 - 0.9
    along = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    inner = x.clone().requires_grad_(True)
    (slopes,) = torch.autograd.grad(detector.value(inner).sum(), inner)
    rise = (detector.value(x + 1e-8 * along) - detector.value(x - 1e-8 * along)) / 2e-8
    torch.testing.assert_close(rise, (slopes * along).flatten(1).sum(1), rtol=1e-4, atol=1e-6)


def test_what_is_kept_between_images_is_small_and_changes_nothing(monkeypatch):
    inside = torch.rand(30, 20, 10, generator=torch.Generator().manual_seed(0)) > 0.3
    kept = nets._places(inside, (2, 2, 2), 50)
    assert nets._order((30, 20)).dtype == torch.int32
    assert nets._kept_order.cache_info().maxsize * nets.KEPT * 4 <= 2**26  # bytes
    monkeypatch.setattr(nets, "KEPT", 0)
    nets._kept_order.cache_clear()
    assert torch.equal(nets._places(inside, (2, 2, 2), 50), kept) and not nets._kept_order.cache_info().currsize
    assert kept.dtype == torch.int64 and len(kept) == 50


def test_intensities_beyond_the_range_count_as_its_ends():
    x = brain(16, 14) * 2 - 1
    beyond = torch.where(x > 0.6, x + 3, x)
    detector = Irregularity(sources=40, smooth=0.0).fit(x)
    found = detector.score(beyond).map
    assert 0 <= found.min() and found.max() <= 1
    assert torch.equal(torch.as_tensor(found), torch.as_tensor(detector.score(beyond.clamp(-1, 1)).map))


def test_two_images_in_the_intensities_of_one():
    image = brain(20, 20)[0, 0].numpy()
    darker = 0.5 * image
    limits = (0.0, 1.0)
    alone, alike = (irregularity_map(darker, stretch=False, limits=given) for given in (None, limits))
    assert alike.max() < 0.5 * alone.max()
    by_hand = irregularity(torch.as_tensor(darker)[None, None], smooth=1.0)[0, 0].numpy()
    np.testing.assert_allclose(alike, by_hand, atol=1e-6)
    with pytest.raises(AnomalyError, match="the lower first"):
        irregularity_map(image, limits=(1.0, 0.0))


def test_of_one_image_in_its_own_intensities():
    image = brain(20, 20)[0, 0].numpy() * 900 + 40
    inside = np.zeros((20, 20), bool)
    inside[2:18, 2:18] = True
    found = irregularity_map(image, inside)
    assert found.shape == (20, 20) and found.dtype == np.float32
    assert (found[inside].min(), found.max()) == (0, 1) and not found[~inside].any()
    np.testing.assert_allclose(irregularity_map(image * 3 + 7, inside), found, atol=1e-4)
    assert not irregularity_map(image, np.zeros((20, 20), bool)).any()
    with pytest.raises(AnomalyError, match=r"\(20, 20\).*\(4, 4\)"):
        irregularity_map(image, inside[:4, :4])
    with pytest.raises(AnomalyError, match="NaN"):
        irregularity_map(np.where(inside, np.nan, 0.0), inside)
    with pytest.raises(AnomalyError, match="largest must be 1 or less"):
        irregularity_map(image, largest=2.0)
