"""Pictures of restored images show what was drawn, not what was there already."""

import numpy as np
import pytest
import torch

from anomaly.degradations.sampling import Downsample
from anomaly.degradations.slices import Slices
from anomaly.restorers.cards import flat
from anomaly.restorers.degrading import last_step
from anomaly.runs.previews import flat_pictures, shown_slice


@pytest.mark.parametrize("count", [4, 6, 8, 12, 13, 24, 160])
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_the_slice_shown_was_not_kept_and_lies_near_the_middle(count: int, factor: int) -> None:
    count -= count % factor
    degradation = Slices(factor=factor)
    shown = shown_slice(count, last_step(degradation, 3))
    assert shown % factor != 0
    assert abs(shown - count // 2) <= factor
    if count >= 2 * factor:
        known = degradation.degrade(torch.rand(1, 1, 2, 2, count)).known
        assert known is not None
        assert not known[..., shown].any()


def test_other_axes_and_other_degradations_show_the_middle_or_what_is_between() -> None:
    assert last_step(Slices(axis=0), 3) == 1
    assert last_step(None, 3) == 1
    assert last_step(Downsample(factor=3), 2) == 3
    assert shown_slice(9) == 4
    x = np.arange(8.0).reshape(1, 1, 1, 8)
    assert flat(x, slices=False, step=2) == 5
    assert flat(x, slices=False) == 4
    assert flat_pictures(x[None], True, 2)[0] == 5
