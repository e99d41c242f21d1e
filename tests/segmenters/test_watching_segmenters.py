"""What a training of a segmenter is watched by: whole images, or windows of them where these are many."""

import torch

from anomaly.segmenters.watching import few_windows


def shown(count: int, space: tuple[int, ...], marked: slice) -> list[tuple[torch.Tensor, torch.Tensor]]:
    made = []
    for k in range(count):
        places = torch.zeros(1, *space, dtype=torch.int64)
        places[:, marked] = 1
        made.append((torch.full((1, 1, *space), float(k)), places))
    return made


def test_few_windows_are_the_images_themselves() -> None:
    held_out = shown(3, (20, 24), slice(0, 4))
    assert few_windows(held_out, (20, 24), 3) is held_out


def test_of_large_volumes_windows_are_taken_from_all_of_them_two_thirds_with_something_marked() -> None:
    held_out = shown(4, (40, 32, 10), slice(0, 16))  # 3 x 2 x 1 windows each, of which 2 hold something
    few = few_windows(held_out, (16, 16, 10), 6)
    assert len(few) == 6
    assert {tuple(x.shape) for x, _ in few} == {(1, 1, 16, 16, 10)}
    assert all(x.shape[2:] == places.shape[1:] for x, places in few)
    assert [bool(places.any()) for _, places in few] == [True] * 4 + [False] * 2
    assert {float(x.flatten()[0]) for x, _ in few} == {0.0, 1.0, 2.0, 3.0}


def test_where_little_is_marked_all_of_it_is_looked_at_and_others_fill_up() -> None:
    held_out = shown(1, (64, 16), slice(0, 4)) + shown(3, (64, 16), slice(0, 0))
    few = few_windows(held_out, (16, 16), 8)
    assert [bool(places.any()) for _, places in few] == [True] + [False] * 7
    held_out = shown(4, (64, 16), slice(0, 64))
    assert all(bool(places.any()) for _, places in few_windows(held_out, (16, 16), 8))
    assert len(few_windows(held_out, (16, 16), 8)) == 8


def test_windows_reach_the_end_of_an_image_that_they_do_not_divide() -> None:
    held_out = shown(1, (20, 16), slice(19, 20))
    few = few_windows(held_out, (16, 16), 1)
    assert len(few) == 1 and bool(few[0][1].any())
