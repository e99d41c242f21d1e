"""The pain-associated area by hand: threshold after scaling, tissue, and its size in mm."""

import numpy as np
import pytest

from anomaly.errors import EvaluationError
from explain.measures.area import area_of, pain_area

IMAGE = np.array([[0.0, 2.0, 6.0], [8.0, 4.0, 4.0]])
LESS = np.array([[0.0, 0.0, 3.0], [9.0, 2.1, 4.0]])  # by 2, 3, -1, 1.9 of a range of 8
AREA = np.array([[False, True, True], [False, False, False]])


def test_by_hand() -> None:
    assert np.array_equal(pain_area(IMAGE[None], LESS[None]), AREA[None])
    wider = pain_area(IMAGE[None], LESS[None], threshold=0.2375)
    assert np.array_equal(wider[0], AREA | (IMAGE - LESS == 4.0 - 2.1))


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (250.0, -1000.0), (1 / 8, 0.5)])
def test_units_do_not_matter(scale: float, shift: float) -> None:
    assert np.array_equal(pain_area(scale * IMAGE[None] + shift, scale * LESS[None] + shift, threshold=0.24)[0], AREA)


def test_each_image_has_a_range_of_its_own() -> None:
    images = np.stack([IMAGE, IMAGE * 10, IMAGE])
    less = np.stack([LESS, LESS * 10, IMAGE - 0.1])
    images[2, 0, 0] = 100.0  # beside it all else is small
    expected = np.stack([AREA, AREA, images[2] == 100])
    assert np.array_equal(pain_area(images, less, threshold=0.24), expected)


def test_counterfactual_is_not_scaled_by_its_own_range() -> None:
    image, dimmed = np.full((1, 4, 4), 0.4), np.full((1, 4, 4), 0.4)
    image[0, 0, 0] = 1.0  # a lesion that the counterfactual lacks
    image[0, 3, 3] = dimmed[0, 3, 3] = 0.0
    found = pain_area(image, dimmed)
    assert found[0, 0, 0] and found.sum() == 1


def test_flat_images_have_no_area() -> None:
    assert not pain_area(np.ones((2, 3, 3)), np.zeros((2, 3, 3))).any()


@pytest.mark.parametrize("space", [(5, 6), (3, 5, 4)])
def test_tissue_in_all_dimensions(space: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).uniform(size=(3, 1, *space))
    less = np.where(image > 0.5, 0.0, image)
    whole = pain_area(image, less)
    tissue = np.zeros(space, dtype=np.uint8)
    tissue[:2] = 1
    within = pain_area(image, less, tissue=tissue[None])
    assert np.array_equal(within, whole & (tissue == 1)) and 0 < within.sum() < whole.sum()
    assert area_of(within).tolist() == [int(each.sum()) for each in within]


def test_size_in_pixels_and_millimetres() -> None:
    area = np.zeros((2, 1, 3, 4, 5), dtype=bool)
    area[0, 0, 0, :2, :2] = area[1, 0, 1] = True
    assert area_of(area).tolist() == [4, 20]
    assert area_of(area, (0.5, 2.0, 3.0)).tolist() == [12.0, 60.0]
    assert area_of(area[:, 0], [[0.5, 2.0, 3.0], [1.0, 1.0, 1.0]]).tolist() == [12.0, 20.0]
    assert area_of(area[:, 0, 0], (0.5, 0.5)).tolist() == [1.0, 0.0]


def test_wrong_input_is_told() -> None:
    good = IMAGE[None]
    with pytest.raises(EvaluationError, match=r"\(1, 2, 3\).*\(1, 2, 2\)"):
        pain_area(good, good[..., :2])
    with pytest.raises(EvaluationError, match=r"\(N, \.\.\., \*space\)"):
        pain_area(IMAGE, LESS)
    with pytest.raises(EvaluationError, match="NaN or infinite"):
        pain_area(good, good * np.nan)
    with pytest.raises(EvaluationError, match="threshold is 0"):
        pain_area(good, good, threshold=0)
    with pytest.raises(EvaluationError, match="labels == k"):
        pain_area(good, good, tissue=good)
    with pytest.raises(EvaluationError, match=r"tissue has shape \(5,\)"):
        pain_area(good, good, tissue=np.ones(5))
    with pytest.raises(EvaluationError, match="float64"):
        area_of(good)
    area = np.ones((2, 3, 4), dtype=bool)
    for spacing in (2.0, (1.0,), (1.0, 0.0), (1.0, 1.0, 1.0), [[1.0, 1.0]]):
        with pytest.raises(EvaluationError, match="does not fit areas of shape"):
            area_of(area, spacing)
