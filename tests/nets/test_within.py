"""Means over masks, by hand."""

import torch

from anomaly.levels import DARKEST, OUTSIDE
from anomaly.nets.within import cells_within, kept, mean_of_batch, mean_within, pasted, within


def test_a_mask_is_found_in_its_image_and_kept_through_changes():
    x = torch.full((1, 1, 2, 2), OUTSIDE)
    x[0, 0, 0] = torch.tensor([DARKEST, 0.5])
    inside = within(x)
    assert inside[0, 0].tolist() == [[True, True], [False, False]]
    changed = kept(torch.tensor([[[[-3.0, 1], [1, 1]]]]), inside)
    assert torch.equal(within(changed), inside) and changed[0, 0, 0, 0] == DARKEST
    assert torch.equal(pasted(torch.ones_like(x), x, inside)[0, 0, 1], x[0, 0, 1])
    assert torch.equal(within(x.to(torch.bfloat16)), inside)


def test_means_over_what_counts():
    values = torch.tensor([[[[1.0, 3], [100, 100]]], [[[5.0, 100], [100, 100]]]])
    inside = torch.tensor([[[[True, True], [False, False]]], [[[True, False], [False, False]]]])
    assert mean_within(values, inside).tolist() == [2, 5]
    assert mean_within(values, None).tolist() == [51, 76.25]
    assert mean_of_batch(values, inside) == 3
    assert mean_within(values, torch.zeros_like(inside)).tolist() == [0, 0]


def test_cells_count_that_lie_inside_by_half_or_else_the_fullest():
    inside = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    inside[0, 0, :2, :3] = True  # one cell whole, its neighbour by half
    inside[1, 0, 0, 0] = True  # a quarter of one cell
    found = cells_within(inside, (2, 2))[:, 0].tolist()
    assert found == [[[True, True], [False, False]], [[True, False], [False, False]]]
