"""Batches: everything is seen equally often, and batch number k is the same whoever asks for it, and when."""

from collections import Counter

import numpy as np
import pytest
import torch

from anomaly.training.batches import Batches, evenly


def numbered(n: int) -> torch.Tensor:
    return torch.arange(n, dtype=torch.float32).view(n, 1, 1, 1).expand(n, 1, 2, 3).contiguous()


def numbers(batch: torch.Tensor) -> list[int]:
    return [int(image[0, 0, 0]) for image in batch]


@pytest.mark.parametrize(("n", "size"), [(10, 4), (10, 10), (7, 3), (3, 8), (1, 5)])
def test_every_image_is_seen_equally_often(n, size):
    batches = Batches(numbered(n), size=size)
    seen = Counter(i for k in range(n) for i in numbers(batches[k]))
    assert seen == {i: size for i in range(n)}, f"n batches of {size} are {size} passes"


def test_a_pass_sees_each_image_once_in_an_order_of_its_own():
    batches = Batches(numbered(12), size=4)
    passes = [[i for k in range(3 * p, 3 * p + 3) for i in numbers(batches[k])] for p in range(3)]
    assert all(sorted(one) == list(range(12)) for one in passes)
    assert passes[0] != list(range(12)) and passes[0] != passes[1] != passes[2]


def test_a_batch_is_the_same_whenever_it_is_asked_for():
    forwards, backwards = Batches(numbered(11), size=4, seed=3), Batches(numbered(11), size=4, seed=3)
    once = [numbers(forwards[k]) for k in range(20)]
    again = [numbers(backwards[k]) for k in reversed(range(20))]
    assert once == again[::-1]
    assert once == [numbers(forwards[k]) for k in range(20)]
    np.random.seed(4)
    torch.manual_seed(4)
    assert once[13] == numbers(Batches(numbered(11), size=4, seed=3)[13])


def test_another_seed_gives_another_order():
    assert numbers(Batches(numbered(30), size=30, seed=0)[0]) != numbers(Batches(numbered(30), size=30, seed=1)[0])


@pytest.mark.parametrize("processes", [1, 2, 3, 4])
def test_the_shares_of_processes_make_the_batch(processes):
    whole = Batches(numbered(10), size=12, seed=5)
    parts = [Batches(numbered(10), size=12, seed=5, share=(rank, processes)) for rank in range(processes)]
    for k in range(6):
        shares = [numbers(part[k]) for part in parts]
        assert [len(share) for share in shares] == [12 // processes] * processes
        assert sorted(i for share in shares for i in share) == sorted(numbers(whole[k]))


def test_only_those_among_are_drawn():
    among = [2, 3, 5, 7]
    batches = Batches(numbered(10), size=6, among=among)
    assert Counter(i for k in range(4) for i in numbers(batches[k])) == {i: 6 for i in among}


def test_a_memory_map_an_array_and_a_tensor_give_the_same(tmp_path):
    images = torch.randn(9, 2, 3, 4)
    np.save(tmp_path / "images.npy", images.numpy())
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    for k in range(5):
        expected = Batches(images, size=4)[k]
        assert expected.shape == (4, 2, 3, 4) and expected.dtype == torch.float32
        assert torch.equal(expected, Batches(images.numpy(), size=4)[k])
        assert torch.equal(expected, Batches(mapped, size=4)[k])


def test_a_batch_is_a_copy(tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((3, 1, 2, 2), dtype=np.float32))
    for images in (np.load(tmp_path / "images.npy", mmap_mode="r"), torch.zeros(3, 1, 2, 2)):
        batches = Batches(images, size=3)
        batches[0].add_(1)
        assert batches[0].sum() == 0


def test_an_order_is_not_kept_for_ever():
    batches = Batches(numbered(5), size=5)
    for k in range(50):
        batches[k]
    assert len(batches._orders) <= 2


@pytest.mark.parametrize(
    ("count", "most", "expected"), [(0, 8, []), (1, 8, [0]), (3, 8, [0, 1, 2]), (9, 3, [0, 4, 8]), (5, 1, [0])]
)
def test_positions_are_spread_evenly(count, most, expected):
    assert evenly(count, most).tolist() == expected
