import dataclasses
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from anomaly.errors import AnomalyError, UnreadableImage
from anomaly.images import Image
from anomaly.images.preprocessing import Preprocessing


def made(
    values: np.ndarray,
    affine: np.ndarray | None = None,
    kind: str = "nifti",
    limits: tuple[float, float] | None = None,
) -> Image:
    affine = np.eye(4) if affine is None else affine
    return Image(np.asarray(values, dtype=np.float32), affine, Path("scan"), kind, limits)


def ramp(*space: int) -> np.ndarray:
    return np.arange(np.prod(space), dtype=np.float32).reshape(1, *space)


def oblique(order: tuple[int, ...], signs: tuple[int, ...], voxel: tuple[float, ...], angle: float) -> np.ndarray:
    """Axes exchanged, turned round, stretched, then turned about x and z by the angle."""
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.eye(3)[:, list(order)] * np.array(signs) * np.array(voxel)
    affine[:3, 3] = 10, -20, 30
    return affine


def centroid(values: np.ndarray) -> np.ndarray:
    return np.array(ndimage.center_of_mass(values.astype(np.float64)))


# Geometry


def test_an_image_of_the_right_size_is_not_interpolated() -> None:
    values = np.random.default_rng(0).integers(0, 256, size=(1, 64, 64))
    prepared = Preprocessing(size=64, intensity="none").apply(made(values, kind="picture"))
    np.testing.assert_array_equal(prepared.pixels[0], values)
    np.testing.assert_array_equal(prepared.restore(prepared.pixels), values[0])


def test_half_the_size_samples_between_two_pixels() -> None:
    prepared = Preprocessing(size=(16, 8), fit="resize", intensity="none").apply(made(ramp(32, 8), kind="picture"))
    np.testing.assert_allclose(prepared.matrix, [[2, 0, 0.5], [0, 1, 0], [0, 0, 1]])
    rows = np.arange(16)[4:-4]  # the blur of a ramp is the ramp, away from its ends
    np.testing.assert_allclose(prepared.pixels[0, 0, 4:-4, 0], 8 * (2 * rows + 0.5), rtol=1e-5)


def test_twice_the_size_puts_pixels_a_quarter_off() -> None:
    prepared = Preprocessing(size=(8, 4), fit="resize", intensity="none").apply(made(ramp(4, 4), kind="picture"))
    np.testing.assert_allclose(prepared.pixels[0, 0, :, 0], [0, 1, 3, 5, 7, 9, 11, 12])


def test_pad_keeps_the_aspect_and_fills_with_background() -> None:
    image = made(ramp(4, 8) + 1, kind="picture")
    prepared = Preprocessing(size=8, intensity="range").apply(dataclasses.replace(image, limits=(0, 64)))
    assert (prepared.pixels[0, 0, [0, 1, 6, 7]] == -1).all()
    np.testing.assert_allclose(prepared.pixels[0, 0, 2:6], image.pixels[0] / 32 - 1, rtol=1e-6)
    np.testing.assert_array_equal(prepared.restore(prepared.pixels), prepared.pixels[0, 0, 2:6])
    assert prepared.foreground.all()


def test_pad_goes_by_millimetres() -> None:
    image = made(ramp(10, 10, 10), np.diag([1.0, 1, 2, 1]))
    prepared = Preprocessing(dims=3, size=20, intensity="none").apply(image)
    np.testing.assert_allclose(np.diag(prepared.matrix), [1, 1, 0.5, 1])


@pytest.mark.parametrize("size", [7, 8])
def test_an_image_thinner_than_a_pixel_lies_on_one(size: int) -> None:
    prepared = Preprocessing(size=size, intensity="range").apply(
        dataclasses.replace(made(np.full((1, 80, 3), 48.0), kind="picture"), limits=(0, 64))
    )
    assert (prepared.pixels[0, 0] > -1).sum(axis=1).tolist() == [1] * size
    np.testing.assert_allclose(prepared.pixels[0, 0, :, size // 2], 0.5, atol=1e-5)
    assert (prepared.restore(np.ones((1, 1, size, size))) == 1).all()


def test_crop_cuts_the_centre_and_its_maps_are_0_elsewhere() -> None:
    prepared = Preprocessing(size=(3, 7), fit="crop", intensity="none").apply(made(ramp(5, 5), kind="picture"))
    np.testing.assert_array_equal(prepared.pixels[0, 0, :, 1:6], ramp(5, 5)[0, 1:4])
    restored = prepared.restore(np.ones((1, 1, 3, 7)))
    np.testing.assert_array_equal(restored, np.ones((5, 5)) * np.array([0, 1, 1, 1, 0])[:, None])


def test_spacing_sets_the_step_and_pad_shrinks_only_what_does_not_fit() -> None:
    image = made(ramp(10, 20, 30), np.diag([2.0, 1, 1, 1]))
    own = Preprocessing(dims=3, size=None, spacing=2, intensity="none").apply(image)
    assert own.pixels.shape == (1, 1, 10, 10, 15)
    wide = Preprocessing(dims=3, size=40, spacing=2, intensity="none").apply(image)
    np.testing.assert_allclose(np.diag(wide.matrix), [1, 2, 2, 1])
    narrow = Preprocessing(dims=3, size=10, spacing=(2, 2, 2), intensity="none").apply(image)
    np.testing.assert_allclose(np.diag(narrow.matrix), [1.5, 3, 3, 1])  # 15 pixels of 2 mm do not fit in 10
    with pytest.raises(UnreadableImage, match="pixel size"):
        Preprocessing(spacing=1).apply(made(ramp(4, 4), kind="picture"))


def test_volumes_are_turned_to_ras_and_back() -> None:
    values = ramp(3, 4, 5)
    affine = np.array([[0, 0, -1.0, 0], [1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])  # axes point to A, I, L
    prepared = Preprocessing(dims=3, size=None, intensity="none").apply(made(values, affine))
    np.testing.assert_array_equal(prepared.pixels[0], values.transpose(0, 3, 1, 2)[:, ::-1, :, ::-1])
    np.testing.assert_array_equal(prepared.restore(prepared.pixels), values[0])
    kept = Preprocessing(dims=3, size=None, intensity="none", orientation="keep").apply(made(values, affine))
    np.testing.assert_array_equal(kept.pixels[0], values)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1), (1, -1, -1)])
def test_ras_agrees_with_nibabel_for_oblique_scans(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    image = made(ramp(3, 4, 5), oblique(order, signs, (0.8, 1.1, 3), 0.25))
    canonical = nib.as_closest_canonical(nib.Nifti1Image(image.pixels[0], image.affine))
    prepared = Preprocessing(dims=3, size=None, intensity="none").apply(image)
    np.testing.assert_array_equal(prepared.pixels[0, 0], canonical.get_fdata())
    np.testing.assert_allclose(image.affine @ prepared.matrix, canonical.affine, atol=1e-9)


@pytest.mark.parametrize("slices, axis", [("sagittal", 2), ("coronal", 0), ("axial", 1)])
@pytest.mark.parametrize("orientation", ["RAS", "keep", "PIL"])
def test_slices_follow_the_anatomy_and_stack_back(slices: str, axis: int, orientation: str) -> None:
    values = ramp(3, 4, 5)
    affine = np.array([[0, 0, -1.0, 0], [1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    chosen = Preprocessing(size=None, intensity="none", slices=slices, orientation=orientation)
    prepared = chosen.apply(made(values, affine))
    assert prepared.pixels.shape[:2] == (values.shape[1 + axis], 1)
    whole = {plane.tobytes() for plane in np.sort(np.moveaxis(values[0], axis, 0).reshape(len(prepared.pixels), -1))}
    assert whole == {np.sort(plane.ravel()).tobytes() for plane in prepared.pixels}
    np.testing.assert_array_equal(prepared.restore(prepared.pixels), values[0])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    space=st.tuples(*[st.integers(12, 24)] * 3),
    order=st.permutations(range(3)),
    signs=st.tuples(*[st.sampled_from([-1, 1])] * 3),
    voxel=st.tuples(*[st.floats(1, 1.5)] * 3),
    angle=st.floats(-0.4, 0.4),
    where=st.tuples(*[st.floats(0.35, 0.65)] * 3),
    chosen=st.fixed_dictionaries(
        {
            "dims": st.sampled_from([2, 3]),
            "size": st.integers(24, 40),
            "fit": st.sampled_from(["pad", "resize", "crop"]),
            "slices": st.sampled_from(["axial", "coronal", "sagittal"]),
            "orientation": st.sampled_from(["RAS", "LPS", "ASR", "keep"]),
        }
    ),
)
def test_a_planted_blob_comes_back_to_its_place(
    space: tuple[int, ...],
    order: tuple[int, ...],
    signs: tuple[int, ...],
    voxel: tuple[float, ...],
    angle: float,
    where: tuple[float, ...],
    chosen: dict[str, Any],
) -> None:
    place = np.array(where) * (np.array(space) - 1)
    distance = ((np.indices(space) - place[:, None, None, None]) ** 2).sum(axis=0)
    image = made(np.exp(-distance / 2)[None], oblique(order, signs, voxel, angle))
    prepared = Preprocessing(intensity="none", **chosen).apply(image)
    restored = prepared.restore(prepared.pixels)
    assert restored.shape == space and restored.dtype == np.float32
    assert np.abs(centroid(restored) - centroid(image.pixels[0])).max() < 0.5


def test_every_source_voxel_in_view_gets_its_map() -> None:
    affine = oblique((2, 0, 1), (-1, 1, -1), (1, 1.3, 2.2), 0.3)
    for chosen in (
        Preprocessing(dims=3, size=10),
        Preprocessing(size=9),
        Preprocessing(size=7, fit="resize"),
    ):
        prepared = chosen.apply(made(ramp(7, 11, 13), affine))
        np.testing.assert_allclose(prepared.restore(np.ones(prepared.foreground.shape)), 1, rtol=1e-6)


def test_much_smaller_is_still_in_place() -> None:
    prepared = Preprocessing(size=8, fit="resize", intensity="none").apply(made(ramp(99, 50), kind="picture"))
    columns = prepared.pixels[0, 0, 3:5].mean(axis=0)[3:5]
    np.testing.assert_allclose(np.diff(columns), 50 / 8, rtol=0.02)
    np.testing.assert_allclose(prepared.pixels[0, 0, 3:5, 3:5].mean(), ramp(99, 50).mean(), rtol=0.002)


def test_shrinking_does_not_alias() -> None:
    stripes = np.indices((64, 64)).sum(axis=0)[None] % 2
    prepared = Preprocessing(size=16, intensity="none").apply(made(stripes, kind="picture"))
    assert np.abs(prepared.pixels - 0.5).max() < 0.05


def test_maps_of_another_shape_are_refused_with_both_shapes() -> None:
    prepared = Preprocessing(size=8).apply(made(ramp(4, 4), kind="picture"))
    with pytest.raises(AnomalyError, match=r"\(1, 8, 8\).*\(1, 1, 8, 8\)"):
        prepared.restore(np.zeros((1, 8, 8)))


def test_a_picture_is_no_volume_and_says_so() -> None:
    with pytest.raises(UnreadableImage, match="use dims 2"):
        Preprocessing(dims=3).apply(made(ramp(4, 4)))


# Intensity


def test_percentiles_are_black_and_white() -> None:
    chosen = Preprocessing(size=None, percentiles=(10, 90))
    values = chosen.apply(made(np.arange(101)[None, None], kind="picture")).pixels.ravel()
    np.testing.assert_allclose(values, np.clip((np.arange(101) - 50) / 40, -1, 1), atol=1e-6)


def test_percentiles_do_not_count_the_padding() -> None:
    image = made(ramp(4, 101), kind="picture")
    whole = Preprocessing(size=None).apply(image).pixels
    padded = Preprocessing(size=101).apply(image).pixels
    np.testing.assert_array_equal(padded[:, :, 49:53], whole)


def test_a_small_spot_on_black_is_not_constant() -> None:
    values = np.zeros((1, 64, 64))
    values[0, 3, 3] = 5
    pixels = Preprocessing().apply(made(values, kind="picture")).pixels
    assert pixels[0, 0, 3, 3] == 1 and (pixels == -1).sum() == 64 * 64 - 1


def test_range_window_and_zscore() -> None:
    image = made([[[0, 51, 255, 102]]], kind="picture", limits=(0, 255))
    ranged = Preprocessing(size=None, intensity="range").apply(image).pixels
    np.testing.assert_allclose(ranged.ravel(), [-1, -0.6, 1, -0.2], atol=1e-6)
    windowed = Preprocessing(size=None, intensity="window", window=(51, 153)).apply(image).pixels
    np.testing.assert_allclose(windowed.ravel(), [-1, -1, 1, 0], atol=1e-6)
    scored = Preprocessing(size=None, intensity="zscore").apply(image).pixels
    expected = (image.pixels - image.pixels.mean()) / image.pixels.std() / 4
    np.testing.assert_allclose(scored[0], expected, atol=1e-6)


def test_zscore_is_clipped_at_four_deviations() -> None:
    values = np.zeros((1, 10, 10))
    values[0, 0, 0] = 1
    assert Preprocessing(size=None, intensity="zscore").apply(made(values, kind="picture")).pixels.max() == 1


def test_an_unknown_range_is_refused() -> None:
    with pytest.raises(UnreadableImage, match="another intensity"):
        Preprocessing(intensity="range").apply(made(ramp(4, 4)))


@pytest.mark.parametrize("intensity", ["percentile", "zscore"])
def test_a_constant_image_is_refused(intensity: str) -> None:
    with pytest.raises(UnreadableImage, match="all pixels have the value 7"):
        Preprocessing(intensity=intensity).apply(made(np.full((1, 8, 8), 7)))


def test_colours_become_luminance_or_stay() -> None:
    colours = np.zeros((3, 2, 2))
    colours[:, 0, 0] = 100, 200, 50
    image = made(colours, kind="picture")
    grey = Preprocessing(size=None, intensity="none").apply(image).pixels
    np.testing.assert_allclose(grey[0, :, 0, 0], [29.9 + 117.4 + 5.7], rtol=1e-6)
    kept = Preprocessing(size=None, channels=3, percentiles=(0, 100)).apply(image).pixels
    np.testing.assert_allclose(kept[0, :, 0, 0], [0, 1, -0.5], atol=1e-6)  # one scale for all colours
    repeated = Preprocessing(size=None, channels=3, intensity="none").apply(made(ramp(2, 2), kind="picture"))
    np.testing.assert_array_equal(repeated.pixels[0], np.repeat(ramp(2, 2), 3, axis=0))


def test_channels_of_a_volume_have_their_own_scales_and_are_counted() -> None:
    image = made(np.concatenate([ramp(3, 3, 3), 100 * ramp(3, 3, 3)]))
    pixels = Preprocessing(dims=3, size=None, channels=2).apply(image).pixels
    np.testing.assert_allclose(pixels[0, 0], pixels[0, 1], atol=1e-6)
    with pytest.raises(UnreadableImage, match="has 2 channels; expected 1"):
        Preprocessing(dims=3).apply(image)


def test_foreground_is_the_largest_bright_structure_without_holes() -> None:
    values = np.zeros((1, 20, 20))
    values[0, 4:12, 4:12] = 100
    values[0, 7, 7] = 0  # a hole
    values[0, 16:18, 16:18] = 120  # another structure
    prepared = Preprocessing(size=20, foreground="otsu").apply(made(values, kind="picture"))
    expected = np.zeros((20, 20), dtype=bool)
    expected[4:12, 4:12] = True
    np.testing.assert_array_equal(prepared.foreground[0, 0], expected)
    assert (prepared.pixels[0, 0][~expected] == -1).all()
    np.testing.assert_array_equal(prepared.restore(np.ones((1, 1, 20, 20))), expected)


# Settings


def test_settings_survive_json() -> None:
    chosen = Preprocessing(dims=3, size=[32, 48, 64], spacing=2, window=[-5, 5], intensity="window")  # type: ignore
    assert chosen.shape == (32, 48, 64) and chosen.spacing == (2, 2, 2)
    assert Preprocessing(**json.loads(json.dumps(dataclasses.asdict(chosen)))) == chosen
    assert Preprocessing(size=None).shape is None and Preprocessing().shape == (64, 64)


@pytest.mark.parametrize(
    "name, value",
    [
        ("dims", 4),
        ("size", 0),
        ("size", (64, 64, 64)),
        ("size", "wide"),
        ("fit", "stretch"),
        ("spacing", -1),
        ("orientation", "RAR"),
        ("slices", "oblique"),
        ("intensity", "minmax"),
        ("intensity", "window"),
        ("percentiles", (99, 1)),
        ("percentiles", (0, 101)),
        ("window", (5,)),
        ("foreground", "brain"),
        ("channels", 0),
    ],
)
def test_a_setting_that_cannot_be_is_refused(name: str, value: Any) -> None:
    with pytest.raises(AnomalyError, match="expected"):
        Preprocessing(**{name: value})


def test_spacing_and_resize_contradict() -> None:
    with pytest.raises(AnomalyError, match="'pad' or 'crop'"):
        Preprocessing(spacing=1, fit="resize")


def test_applying_leaves_the_image_as_it_was() -> None:
    image = made(ramp(8, 8), kind="picture")
    Preprocessing(size=8, foreground="otsu").apply(image)
    np.testing.assert_array_equal(image.pixels, ramp(8, 8))
