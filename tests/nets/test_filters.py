"""Medians of windows, and foregrounds without their rims."""

import pytest
import torch
from scipy import ndimage

from anomaly.nets import filters
from anomaly.nets.filters import eroded, median


@pytest.mark.parametrize(("shape", "width"), [((9, 12), 3), ((9, 12), 5), ((7, 8, 6), 3)])
def test_the_median_is_that_of_scipy(shape, width, monkeypatch):
    x = torch.rand(2, 1, *shape, generator=torch.Generator().manual_seed(0))
    expected = [ndimage.median_filter(each[0].numpy(), size=width, mode="nearest") for each in x]
    assert torch.equal(median(x, width)[:, 0], torch.stack([torch.from_numpy(each) for each in expected]))
    monkeypatch.setattr(filters, "AT_ONCE", 1)  # slab by slab
    assert torch.equal(median(x, width)[:, 0], torch.stack([torch.from_numpy(each) for each in expected]))
    assert median(x, 1) is x


@pytest.mark.parametrize("shape", [(12, 10), (8, 9, 7)])
def test_eroding_takes_the_rim_and_the_edge_of_the_image_is_none(shape):
    inside = torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(1)) > 0.03
    structure = torch.ones([5] * len(shape)).numpy()
    expected = ndimage.binary_erosion(inside[0, 0].numpy(), structure, border_value=1)
    assert torch.equal(eroded(inside, 2)[0, 0], torch.from_numpy(expected))
    assert torch.equal(eroded(inside, 0), inside)
    assert eroded(torch.ones_like(inside), 3).all()
