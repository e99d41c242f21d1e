"""Masks: read onto the grid of their image, and nothing outside them has a say in what is prepared or drawn."""

from pathlib import Path

import nibabel as nib
import numpy as np
import PIL.Image
import pytest

from anomaly.errors import UnreadableImage
from anomaly.images import read
from anomaly.images.image import Image
from anomaly.images.masking import masked, read_mask
from anomaly.images.preprocessing import Preprocessing
from anomaly.levels import DARKEST, OUTSIDE

SHAPE = (24, 20, 12)
AFFINE = np.array([[-2.0, 0, 0, 20], [0, 2, 0, -14], [0, 0, 3, -9], [0, 0, 0, 1]])


def ball(shape: tuple[int, ...], radius: float = 0.3) -> np.ndarray:
    places = np.meshgrid(*[(np.arange(n) - n / 2) / n for n in shape], indexing="ij")
    return sum(place**2 for place in places) < radius**2


def volume(folder: Path, values: np.ndarray, name: str = "head.nii.gz", affine: np.ndarray = AFFINE) -> Path:
    nib.save(nib.Nifti1Image(values, affine), folder / name)
    return folder / name


def head(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(100, 900, SHAPE).astype(np.float32)


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return read(volume(tmp_path, head()))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("settings", [{}, {"fit": "resize"}, {"size": None}, {"intensity": "zscore"}])
def test_what_lies_outside_has_no_say(tmp_path: Path, dims: int, settings: dict[str, object]) -> None:
    inside = ball(SHAPE)
    mask = volume(tmp_path, inside.astype(np.uint8), "mask.nii.gz")
    other = np.where(inside, head(), head(1) * 50 - 9000)
    asked = {"size": 16, **settings}
    one, two = (
        Preprocessing(dims=dims, mask="given", **asked).apply(masked(read(volume(tmp_path, values)), mask))
        for values in (head(), other)
    )
    assert np.array_equal(one.pixels, two.pixels) and np.array_equal(one.foreground, two.foreground)
    assert (one.pixels[~one.foreground] == OUTSIDE).all() and one.pixels[one.foreground].min() >= DARKEST
    assert one.foreground.reshape(len(one.pixels), -1).any(1).all(), "slices without a voxel of the mask"
    drawn = one.restore(np.ones_like(one.foreground, dtype=np.float32))
    assert drawn.shape == SHAPE and (drawn[~inside] == 0).all() and (drawn[inside] > 0).mean() > 0.9


def test_the_box_around_the_mask_comes_to_size(image: Image, tmp_path: Path) -> None:
    inside = np.zeros(SHAPE, dtype=np.uint8)
    inside[4:12, 6:14, 2:10] = 1
    ready = Preprocessing(dims=3, size=8, fit="resize", mask="given").apply(
        masked(image, volume(tmp_path, inside, "m.nii.gz"))
    )
    assert ready.foreground.all()
    expected = image.pixels[0, 4:12, 6:14, 2:10]
    assert np.corrcoef(ready.pixels[0, 0][::-1].ravel(), expected.ravel())[0, 1] > 0.99  # RAS turns the first axis
    kept = ready.restore(ready.pixels)
    assert np.argmax(kept) == np.argmax(np.where(inside, image.pixels[0], -np.inf))


def test_a_mask_with_the_voxels_in_another_order_is_turned(image: Image, tmp_path: Path) -> None:
    inside = ball(SHAPE) & (np.arange(SHAPE[0])[:, None, None] < 12)
    turned = nib.as_closest_canonical(nib.Nifti1Image(inside.astype(np.uint8), AFFINE))
    other = nib.Nifti1Image(
        np.ascontiguousarray(np.asanyarray(turned.dataobj).transpose(2, 0, 1)),
        turned.affine @ np.eye(4)[[2, 0, 1, 3]].T,
    )
    nib.save(other, tmp_path / "mask.nii.gz")
    assert np.array_equal(read_mask(tmp_path / "mask.nii.gz", image), inside)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda m: (m[:-1], AFFINE), "another grid"),
        (lambda m: (m, AFFINE @ np.diag([1, 1, 1.2, 1])), "another grid"),
        (lambda m: (m, AFFINE + np.eye(4)[:, [3]] @ np.zeros((1, 4)) + _shift(4)), "another grid"),
        (lambda m: (m * 0, AFFINE), "is empty"),
        (lambda m: (_few(m, 5), AFFINE), "leaves 5 of"),
        (lambda m: (m.astype(np.int16) * -1, AFFINE), "values from -1 to 0"),
    ],
)
def test_what_is_no_mask_of_an_image_is_refused_by_name(image, tmp_path, change, told):
    values, affine = change(ball(SHAPE).astype(np.uint8))
    path = volume(tmp_path, values, "wrong.nii.gz", affine)
    with pytest.raises(UnreadableImage, match=told) as error:
        read_mask(path, image)
    assert "wrong.nii.gz" in str(error.value)


def _shift(mm: float) -> np.ndarray:
    moved = np.zeros((4, 4))
    moved[0, 3] = mm
    return moved


def _few(mask: np.ndarray, count: int) -> np.ndarray:
    found = np.zeros_like(mask)
    found.ravel()[:count] = 1
    return found


def test_probabilities_count_above_a_half_and_labels_above_zero(image: Image, tmp_path: Path) -> None:
    share = np.linspace(0, 1, np.prod(SHAPE)).reshape(SHAPE).astype(np.float32)
    assert np.array_equal(read_mask(volume(tmp_path, share, "p.nii.gz"), image), share > 0.5)
    labels = (ball(SHAPE) * 17).astype(np.int16)
    assert np.array_equal(read_mask(volume(tmp_path, labels, "l.nii.gz"), image), labels > 0)


def test_a_lossy_mask_of_a_picture(tmp_path: Path) -> None:
    inside = ball((40, 40))
    PIL.Image.fromarray((inside * 255).astype(np.uint8)).save(tmp_path / "mask.jpg", quality=40)
    PIL.Image.fromarray(np.arange(1600, dtype=np.uint8).reshape(40, 40)).save(tmp_path / "scan.png")
    found = read_mask(tmp_path / "mask.jpg", read(tmp_path / "scan.png"))
    assert (found == inside).mean() > 0.99


def test_a_run_with_masks_takes_no_image_without(image: Image) -> None:
    with pytest.raises(UnreadableImage, match="has no mask"):
        Preprocessing(dims=3, mask="given").apply(image)


def test_a_slice_comes_with_its_neighbours_and_its_height(tmp_path: Path, image: Image) -> None:
    plain, told = (Preprocessing(size=16, context=context).apply(image).pixels for context in (None, 1))
    assert told.shape == (12, 4, 16, 16)
    np.testing.assert_array_equal(told[:, :1], plain)
    np.testing.assert_array_equal(told[1:, 1:2], plain[:-1])
    np.testing.assert_array_equal(told[:-1, 2:3], plain[1:])
    assert (told[0, 1] == OUTSIDE).all() and (told[-1, 2] == OUTSIDE).all()
    np.testing.assert_allclose(told[:, 3], np.linspace(-1, 1, 12)[:, None, None] * np.ones((16, 16)), atol=1e-6)


def test_heights_go_from_end_to_end_of_the_mask(tmp_path: Path, image: Image) -> None:
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[4:20, 4:16, 2:5], mask[4:20, 4:16, 7:9] = 1, 1  # two slices between are empty
    given = masked(image, str(volume(tmp_path, mask, "mask.nii.gz")))
    ready = Preprocessing(size=16, mask="given", context=1).apply(given)
    assert ready.places.tolist() == [0, 1, 2, 5, 6]
    np.testing.assert_allclose(ready.pixels[:, -1, 0, 0], [-1, -2 / 3, -1 / 3, 2 / 3, 1], atol=1e-6)
    assert (ready.pixels[2, 2] == OUTSIDE).all() and (ready.pixels[3, 1] == OUTSIDE).all()
    np.testing.assert_array_equal(ready.pixels[1, 1], ready.pixels[0, 0])


def test_a_picture_has_no_height(tmp_path: Path) -> None:
    PIL.Image.fromarray(np.eye(20, dtype=np.uint8) * 200).save(tmp_path / "flat.png")
    with pytest.raises(UnreadableImage, match="leave --context out"):
        Preprocessing(size=16, context=0).apply(read(tmp_path / "flat.png"))
