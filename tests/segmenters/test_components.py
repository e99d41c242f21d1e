"""Connected parts: the largest stays, small ones go, diagonal neighbours hang together, other classes are left."""

import numpy as np
import pytest

from anomaly.errors import AnomalyError
from anomaly.segmenters.components import largest_only, without_small

MAP = np.array([
    [1, 1, 0, 0, 2],
    [1, 0, 0, 0, 0],
    [0, 0, 1, 0, 2],
    [0, 0, 0, 1, 2],
], dtype=np.uint8)  # fmt: skip


def test_the_largest_part_of_each_class_stays() -> None:
    found = largest_only(MAP)
    assert found.dtype == np.uint8
    assert (found == np.where([[1, 1, 0, 0, 0], [1, 0, 0, 0, 0], [0] * 5, [0] * 5], 1, 2 * (MAP == 2))
            * (np.arange(20).reshape(4, 5) != 4)).all()  # fmt: skip
    assert MAP[0, 4] == 2  # what was given stays
    assert (largest_only(MAP, classes=[2]) == np.where(np.arange(20).reshape(4, 5) == 4, 0, MAP)).all()


def test_small_parts_go_by_their_size() -> None:
    assert (without_small(MAP, 2) == np.where(np.arange(20).reshape(4, 5) == 4, 0, MAP)).all()
    gone = without_small(MAP, 2.5, voxel=1.0)
    assert sorted(np.flatnonzero(gone)) == [0, 1, 5]
    assert (without_small(MAP, 2.5, voxel=2.5) == MAP).all()


def test_volumes_and_maps_without_a_class() -> None:
    volume = np.zeros((4, 4, 4), dtype=np.int32)
    assert (largest_only(volume) == 0).all()
    volume[0, 0, 0] = volume[1, 1, 1] = volume[3, 3, 0] = 1  # the first two touch at a corner
    assert sorted(np.flatnonzero(largest_only(volume))) == [0, 21]


def test_what_is_no_label_map_is_refused() -> None:
    with pytest.raises(AnomalyError, match="expected a label map of whole numbers"):
        largest_only(np.zeros((3, 3)))
    with pytest.raises(AnomalyError, match="smallest size of 0 or more"):
        without_small(MAP, -1)
