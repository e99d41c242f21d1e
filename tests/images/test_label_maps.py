"""Label maps: numbers of files to places of classes, on the grid of an image and of a network, and back."""

from pathlib import Path

import nibabel as nib
import numpy as np
import PIL.Image
import pytest

from anomaly.errors import AnomalyError, UnreadableImage
from anomaly.images import read
from anomaly.images.labels import Labels, numbers_in, prepared_places, read_labels, restored_shares, write_labels
from anomaly.images.masking import masked
from anomaly.images.preprocessing import Preprocessing


def saved(path: Path, values: np.ndarray, affine: np.ndarray | None = None) -> Path:
    if path.suffix == ".gz":
        nib.save(nib.Nifti1Image(values, np.eye(4) if affine is None else affine), path)
    else:
        PIL.Image.fromarray(values).save(path)
    return path


def test_classes_are_asked_by_name_and_number() -> None:
    labels = Labels.asked("tumour=1+4, bone=2")
    assert labels.names == ("tumour", "bone") and labels.numbers == ((1, 4), (2,)) and labels.count == 3
    assert Labels.asked("3,1").names == ("3", "1")
    assert Labels.from_json(labels.as_json()) == labels


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tumour", "expected classes as NAME=NUMBER with commas, or NAME=1\\+2; got 'tumour'"),
        ("a=1,a=2", "two classes are called 'a'"),
        ("a=0", "a class has the number 0; 0 is the background"),
        ("a=1,b=2+1", "the number 1 is of two classes"),
        ("a=1,background=2", "a class is called 'background', as what is of no class is; give it another name"),
        ("All classes=1", "a class is called 'All classes', as the mean of all is"),
        ("a=1.5", "expected classes as NAME=NUMBER"),
    ],
)
def test_classes_that_cannot_be_are_refused(text: str, told: str) -> None:
    with pytest.raises(AnomalyError, match=told):
        Labels.asked(text)


def test_each_number_is_a_class_though_some_are_skipped() -> None:
    assert Labels.found([0, 7, 2]).numbers == ((2,), (7,))
    with pytest.raises(AnomalyError, match="hold nothing but 0"):
        Labels.found([0])
    with pytest.raises(AnomalyError, match="hold 64 numbers other than 0"):
        Labels.found(range(65))


def test_numbers_become_places_and_come_back_as_the_first_of_each_class() -> None:
    labels, values = Labels.asked("tumour=300+4,bone=2"), np.array([0, 4, 300, 2, 9])
    assert labels.places(values).tolist() == [0, 1, 1, 2, 0]
    back = labels.values(labels.places(values))
    assert back.tolist() == [0, 300, 300, 2, 0] and back.dtype == np.uint16


def test_a_label_map_is_turned_as_its_image_is(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 4, (5, 6, 7)).astype(np.int16)
    image = saved(tmp_path / "image.nii.gz", np.random.default_rng(1).normal(size=(5, 6, 7)))
    flipped = np.diag([-1.0, 1, 1, 1])
    flipped[0, 3] = 4
    turned = saved(tmp_path / "labels.nii.gz", np.ascontiguousarray(values[::-1]), flipped)
    found = read_labels(turned, read(image))
    assert found.dtype == np.int32 and (found == values).all()


def bad_maps(folder: Path) -> dict[str, Path]:
    grey = np.zeros((8, 8), np.uint8)
    colours = np.zeros((8, 8, 3), np.uint8)
    colours[2:4, 2:4, 0] = 3
    np.save(folder / "fractions.npy", np.full((8, 8), 0.5, np.float32))
    np.save(folder / "negative.npy", np.full((8, 8), -1, np.int16))
    return {
        "is a JPEG, whose compression smears numbers": saved(folder / "map.jpg", grey),
        "holds colours; expected one label map": saved(folder / "colours.png", colours),
        "holds 0.5; expected whole numbers": folder / "fractions.npy",
        "holds -1; expected whole numbers": folder / "negative.npy",
        "lies on another grid": saved(folder / "small.png", grey[:6]),
        "named as its own label map": folder / "image.png",
        "holds 2 volumes": saved(folder / "two.nii.gz", np.stack([np.zeros((8, 8, 1)), np.ones((8, 8, 1))], -1)),
    }


def test_what_is_no_label_map_is_refused_by_name(tmp_path: Path) -> None:
    image = read(saved(tmp_path / "image.png", np.arange(64, dtype=np.uint8).reshape(8, 8)))
    for told, path in bad_maps(tmp_path).items():
        with pytest.raises(UnreadableImage, match=told) as caught:
            read_labels(path, image)
        assert path.name in str(caught.value)


def test_pictures_with_a_palette_or_a_bit_a_pixel_hold_the_numbers_that_colours_show(tmp_path: Path) -> None:
    image = read(saved(tmp_path / "image.png", np.arange(64, dtype=np.uint8).reshape(8, 8)))
    numbers = (np.arange(64).reshape(8, 8) % 3).astype(np.uint8)
    palettes = {"colours": [0, 0, 0, 128, 0, 0, 0, 128, 0], "greys": [0, 0, 0, 90, 90, 90, 200, 200, 200]}
    for name, palette in palettes.items():
        for ending in ("png", "tif", "bmp"):
            file = PIL.Image.fromarray(numbers)
            file.putpalette(palette)
            path = tmp_path / f"{name}.{ending}"
            file.save(path)
            assert (read_labels(path, image) == numbers).all(), path
            assert numbers_in(path) == {0, 1, 2}
    for ending in ("png", "tif", "bmp"):
        path = tmp_path / f"bits.{ending}"
        PIL.Image.fromarray(numbers > 0).save(path)
        assert (read_labels(path, image) == (numbers > 0)).all(), path
        assert numbers_in(path) == {0, 1}


def test_places_on_the_grid_of_a_network_and_back_at_the_images_own_size(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    places = rng.integers(0, 3, (9, 11, 6)).astype(np.uint8)
    affine = np.array([[0.0, 2, 0, 0], [-1, 0, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1]])
    image = read(saved(tmp_path / "image.nii.gz", rng.normal(size=places.shape), affine))
    for dims in (2, 3):
        prepared = Preprocessing(dims=dims, size=None).apply(image)
        on_network = prepared_places(places, 3, prepared)
        assert on_network.shape == (*prepared.pixels.shape[:1], *prepared.pixels.shape[2:])
        shares = np.moveaxis(np.eye(3, dtype=np.float32)[on_network], -1, 1)
        back = restored_shares(shares, prepared)
        assert back.shape == (3, 9, 11, 6)
        assert (back.argmax(0) == places).all() and np.allclose(back.sum(0), 1)


def test_on_a_coarser_grid_each_pixel_is_the_class_with_the_largest_share(tmp_path: Path) -> None:
    places = np.zeros((16, 16), np.uint8)
    places[:8], places[8:12, :8] = 1, 2
    image = read(saved(tmp_path / "image.png", np.random.default_rng(0).integers(0, 255, (16, 16)).astype(np.uint8)))
    prepared = Preprocessing(size=4).apply(image)
    expected = np.zeros((4, 4), np.uint8)
    expected[:2], expected[2, :2] = 1, 2
    assert (prepared_places(places, 3, prepared)[0] == expected).all()


def test_padding_and_what_lies_outside_a_mask_is_background(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(1, 255, (8, 16)).astype(np.uint8)
    path = saved(tmp_path / "image.png", values)
    everywhere = np.ones((8, 16), np.uint8)
    padded = prepared_places(everywhere, 2, Preprocessing(size=16).apply(read(path)))[0]
    assert (padded[4:12] == 1).all() and not padded[:4].any() and not padded[12:].any()
    inside = np.zeros((8, 16), np.uint8)
    inside[:, 4:12] = 1
    image = masked(read(path), saved(tmp_path / "mask.png", inside * 255))
    prepared = Preprocessing(size=None, mask="given").apply(image)
    assert prepared_places(everywhere, 2, prepared).shape == (1, 8, 8)
    shares = np.zeros((1, 2, 8, 8), np.float32)
    shares[:, 1] = 1
    assert (restored_shares(shares, prepared).argmax(0) == inside).all()


def test_a_label_map_is_written_on_the_grid_of_its_image(tmp_path: Path) -> None:
    affine = np.array([[0.0, 2, 0, 5], [-1, 0, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]])
    image = read(saved(tmp_path / "image.nii.gz", np.random.default_rng(0).normal(size=(5, 6, 7)), affine))
    values = np.random.default_rng(1).choice(np.array([0, 3, 300], np.uint16), (5, 6, 7))
    path = write_labels(tmp_path / "out", image, values, "found")
    file = nib.load(path)
    assert path.name == "out.nii.gz" and file.get_data_dtype() == np.uint16
    assert np.array_equal(file.affine, affine) and np.array_equal(np.asarray(file.dataobj), values)
    picture = read(saved(tmp_path / "image.png", np.arange(30, dtype=np.uint8).reshape(5, 6)))
    path = write_labels(tmp_path / "out", picture, values[..., 0])
    assert path.name == "out.png" and np.array_equal(np.array(PIL.Image.open(path)), values[..., 0])


# What float32 and 8 bits do not hold


def test_numbers_that_float32_merges_are_refused(tmp_path: Path) -> None:
    image = read(saved(tmp_path / "image.nii.gz", np.random.default_rng(0).normal(size=(4, 5, 6))))
    values = np.zeros((4, 5, 6), np.int32)
    values[1], values[2] = 2**24 - 1, 2**24 - 2
    largest = read_labels(saved(tmp_path / "fine.nii.gz", values), image)
    assert set(np.unique(largest)) == {0, 2**24 - 1, 2**24 - 2}
    values[2] = 2**24 + 1
    with pytest.raises(UnreadableImage, match=r"merged.nii.gz: holds 16777216; expected numbers below 16777216: give"):
        read_labels(saved(tmp_path / "merged.nii.gz", values), image)
    with pytest.raises(UnreadableImage, match="holds 4000000000; expected numbers below"):
        read_labels(saved(tmp_path / "large.nii.gz", np.full((4, 5, 6), 4_000_000_000, np.uint32)), image)
    with pytest.raises(AnomalyError, match="a class has the number 16777216"):
        Labels.asked("a=16777216")


def test_no_more_classes_than_places_have_room_for() -> None:
    numbers = ",".join(map(str, range(1, 256)))
    assert Labels.asked(numbers).places(np.array([255])).tolist() == [255]
    with pytest.raises(AnomalyError, match="256 classes were asked for; expected 255 or fewer"):
        Labels.asked(f"{numbers},256")


def test_a_label_map_between_the_voxels_of_its_image_is_refused_with_millimetres(tmp_path: Path) -> None:
    affine = np.diag([1.0, 1.0, 5.0, 1.0])
    image = read(saved(tmp_path / "image.nii.gz", np.random.default_rng(0).normal(size=(5, 6, 7)), affine))
    values = np.random.default_rng(1).integers(0, 4, (5, 6, 7)).astype(np.int16)
    affine[2, 3] = 2.4
    with pytest.raises(UnreadableImage, match=r"the label map of image.nii.gz lies on .* 0.48 voxels off, 2.4 mm"):
        read_labels(saved(tmp_path / "labels.nii.gz", values, affine), image)
    assert masked(image, tmp_path / "labels.nii.gz").mask is not None
    affine[2, 3] = 0.2
    assert (read_labels(saved(tmp_path / "rounded.nii.gz", values, affine), image) == values).all()
