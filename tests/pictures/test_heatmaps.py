"""Overlays: one colour scale for all images, nothing coloured below it, the right way up, in proportion."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomaly.errors import AnomalyError
from anomaly.pictures import heatmaps

ANISOTROPIC = np.diag([1.0, 2.0, 4.0, 1.0])  # mm a voxel; origin 0


def bounds(mask: np.ndarray) -> tuple[int, int, int, int]:
    """First row, first column, height and width of the box around what is True."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(rows[0]), int(columns[0]), int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def page(image: np.ndarray, z: np.ndarray, affine: np.ndarray | None = None) -> np.ndarray:
    return np.asarray(heatmaps.overlay(image, z, affine=affine)).astype(int)


def touched(image: np.ndarray, z: np.ndarray, affine: np.ndarray | None = None) -> np.ndarray:
    """Where a map of 9 SD colours the page: its colour changes when it is cut at 3, and its peak stays."""
    return (page(image, z, affine) != page(image, np.minimum(z, 3), affine)).any(-1)


def block(*, space: tuple[int, ...], at: tuple[slice, ...], inside: float, outside: float = 0.0) -> np.ndarray:
    values = np.full(space, outside, dtype=np.float32)
    values[at] = inside
    return values


def test_colour_depends_on_z_alone() -> None:
    shown = np.full((1, 3), 100, dtype=np.uint8)
    mild = heatmaps.coloured(shown, np.array([[0.0, 4.0, 5.0]]))
    severe = heatmaps.coloured(shown, np.array([[40.0, 4.0, -3.0]]))
    assert (mild[0, 1] == severe[0, 1]).all()
    assert (mild[0, 1] != mild[0, 2]).any()


def test_same_z_gives_the_same_pixels_in_two_pages() -> None:
    image = np.random.default_rng(0).normal(size=(64, 64))
    z = block(space=(64, 64), at=np.s_[10:20, 10:20], inside=5.0)
    with_more = z + block(space=(64, 64), at=np.s_[40:50, 40:50], inside=60.0)
    first, second = page(image, z), page(image, with_more)
    half = heatmaps.MARGIN + heatmaps.LINE + heatmaps.PANEL // 2
    assert (first[:half] == second[:half]).all()
    assert (first[half:] != second[half:]).any()


def test_colours_at_the_ends_of_the_scale() -> None:
    shown = np.full((1, 4), 200, dtype=np.uint8)
    low, middle, high, beyond = heatmaps.coloured(shown, np.array([[2.0, 5.0, 8.0, 1000.0]]))[0]
    assert low.tolist() == [200, 200, 200]
    # 200 (1 - 0.85) + 0.85 (255, 235, 60)
    assert high.tolist() == [247, 230, 81]
    assert beyond.tolist() == high.tolist()
    assert middle.tolist() not in (low.tolist(), high.tolist())


def test_scale_is_read_by_lightness() -> None:
    shown = np.full((1, 200), 60, dtype=np.uint8)
    colours = heatmaps.coloured(shown, np.linspace(2, 8, 200)[None])[0]
    luminance = colours @ [0.2126, 0.7152, 0.0722]
    assert (luminance[20:] > luminance[:-20]).all()


@pytest.mark.parametrize("z", [-5.0, 0.0, 1.99, 2.0])
def test_nothing_is_coloured_below_two(z: float) -> None:
    drawn = page(np.random.default_rng(0).normal(size=(64, 64)), np.full((64, 64), z))
    top, left, side = heatmaps.MARGIN + heatmaps.LINE, heatmaps.MARGIN, heatmaps.PANEL
    first = drawn[top : top + side, left : left + side]
    right = left + side + heatmaps.GAP
    assert np.ptp(first) > 200
    assert (drawn[top : top + side, right : right + side] == first).all()


def test_map_lies_where_the_image_shows_it_neither_turned_nor_flipped() -> None:
    place = np.s_[8:16, 32:56]  # upper right, wider than high
    image = block(space=(64, 64), at=place, inside=1000.0, outside=-3.0)
    z = block(space=(64, 64), at=place, inside=9.0)
    white = (page(image, np.zeros((64, 64))) == 255).all(-1)
    top, left = heatmaps.MARGIN + heatmaps.LINE, heatmaps.MARGIN
    first = bounds(white[:, : left + heatmaps.PANEL])
    assert first == pytest.approx((top + 24, left + 96, 24, 72), abs=4)
    coloured = bounds(touched(image, z))
    assert coloured == pytest.approx((top + 24, left + heatmaps.PANEL + heatmaps.GAP + 96, 24, 72), abs=6)


@pytest.mark.parametrize(
    ("shape", "width"), [((64, 64), 192), ((100, 80), 160), ((300, 300), 300), ((1000, 500), 256), ((3, 5), 195)]
)
def test_small_images_are_enlarged_and_large_ones_bounded(shape: tuple[int, int], width: int) -> None:
    drawn = heatmaps.overlay(np.zeros(shape), np.zeros(shape))
    words = 2 * heatmaps.MARGIN + 2 * heatmaps.GAP + heatmaps.BAR
    assert drawn.width == 2 * width + words


def test_picture_with_oblong_pixels_keeps_its_aspect() -> None:
    drawn = heatmaps.overlay(np.zeros((50, 100)), np.zeros((50, 100)), affine=np.diag([2.0, 1.0, 1.0, 1.0]))
    assert drawn.height - 2 * heatmaps.MARGIN - heatmaps.LINE == 200
    assert drawn.width - 2 * heatmaps.MARGIN - 2 * heatmaps.GAP - heatmaps.BAR == 400


def test_volume_keeps_its_aspect_with_anisotropic_voxels() -> None:
    place = np.s_[10:20, 20:25, 10:15]  # 10 x 10 x 20 mm of 40 x 80 x 80 mm
    z = block(space=(40, 40, 20), at=place, inside=9.0)
    coloured = touched(np.zeros_like(z), z, ANISOTROPIC)
    scale = heatmaps.VOLUME / 80
    second = heatmaps.MARGIN + round(40 * scale) + heatmaps.GAP
    axial, coronal = bounds(coloured[:, : second - 2]), bounds(coloured[:, second : 2 * second - 14])
    assert axial[2:] == pytest.approx((10 * scale, 10 * scale), abs=7)
    assert coronal[2:] == pytest.approx((20 * scale, 10 * scale), abs=11)


def test_volume_is_shown_front_up_and_right_on_the_left_whatever_its_order() -> None:
    z = block(space=(40, 40, 20), at=np.s_[30:36, 28:36, 10:14], inside=9.0)  # right, front
    turned = np.ascontiguousarray(z[::-1].transpose(2, 0, 1))
    affine = ANISOTROPIC[:, [2, 0, 1, 3]] @ np.diag([1.0, -1.0, 1.0, 1.0])
    affine[0, 3] = 39.0
    straight, again = page(np.zeros_like(z), z, ANISOTROPIC), page(np.zeros_like(turned), turned, affine)
    assert (straight == again).all()
    coloured = touched(np.zeros_like(z), z, ANISOTROPIC)[:, : heatmaps.MARGIN + 144]
    row, column, height, width = bounds(coloured)
    overlay_top = heatmaps.MARGIN + heatmaps.LINE + heatmaps.VOLUME + heatmaps.GAP
    assert row - overlay_top + height / 2 == pytest.approx(8 * 2 * 3.6, abs=6)  # 40 - 32 voxels from the front
    assert column - heatmaps.MARGIN + width / 2 == pytest.approx(7 * 3.6, abs=6)  # 40 - 33 from the right


def test_sides_are_marked_only_where_the_affine_tells() -> None:
    z = np.zeros((20, 20, 20), dtype=np.float32)

    def marks(affine: np.ndarray | None) -> bool:
        return bool((page(z, z, affine) == heatmaps.MARK).all(-1).any())

    assert marks(ANISOTROPIC)
    assert not marks(None)
    assert not marks(np.eye(4))


def test_slices_go_through_a_peak_and_not_through_a_stray_voxel() -> None:
    z = block(space=(20, 20, 20), at=np.s_[12:15, 4:7, 8:11], inside=7.0)
    without = page(np.zeros_like(z), z)
    z[2, 16, 2] = 30.0
    assert (page(np.zeros_like(z), z) == without).all()


def test_quiet_volume_shows_its_middle() -> None:
    image = block(space=(20, 20, 20), at=np.s_[8:13, 8:13, 8:13], inside=1.0)
    noise = block(space=(20, 20, 20), at=np.s_[0:3, 0:3, 0:3], inside=1.9)
    assert (page(image, noise) == page(image, np.zeros_like(image))).all()
    assert (page(image, noise) == 255).all(-1).sum() > 2000


def test_letters_the_font_lacks_are_replaced() -> None:
    image = np.zeros((64, 64))
    foreign, plain = (np.asarray(heatmaps.overlay(image, image, title=t)) for t in ("Zoë 患者 7", "Zoe ?? 7"))
    assert (foreign == plain).all()


def test_grey_spans_the_percentiles_and_bears_a_flat_image() -> None:
    image = np.arange(1001.0).reshape(7, 143)
    assert heatmaps.window(image) == pytest.approx((5.0, 995.0))
    assert heatmaps.grey(np.array([[5.0, 500.0, 995.0, 2000.0]]), (5.0, 995.0)).tolist() == [[0, 128, 255, 255]]
    assert heatmaps.grey(np.full((2, 2), 3.0)).tolist() == [[128, 128], [128, 128]]


def test_mostly_empty_image_is_still_shown() -> None:
    image = block(space=(100, 100), at=np.s_[0:1, 0:2], inside=4.0)
    assert heatmaps.grey(image).max() == 255


def test_png_holds_the_picture_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    image = np.random.default_rng(1).normal(size=(30, 40))
    z = image * 4
    heatmaps.save_overlay(tmp_path / "a.png", image, z, title="a", footer="z 1.0")
    with Image.open(tmp_path / "a.png") as written:
        expected = heatmaps.overlay(image, z, title="a", footer="z 1.0")
        assert (np.asarray(written) == np.asarray(expected)).all()
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_words_make_room_and_never_widen_the_page() -> None:
    image = np.zeros((64, 64))
    plain = heatmaps.overlay(image, image)
    titled = heatmaps.overlay(image, image, title="id " * 200)
    wrapped = heatmaps.overlay(image, image, footer="word " * 200)
    assert titled.size == (plain.width, plain.height + heatmaps.LINE)
    assert wrapped.width == plain.width
    assert (wrapped.height - plain.height) % heatmaps.LINE == 0
    assert wrapped.height - plain.height >= 5 * heatmaps.LINE


def test_sheet_lays_rows_below_each_other() -> None:
    rows = [[np.full((8, 8), 40 * i + 50, dtype=np.uint8)] * 3 for i in range(2)]
    drawn = np.asarray(heatmaps.sheet(rows, ["one", "two"], side=96))
    column = drawn[:, drawn.shape[1] - heatmaps.BAR - heatmaps.MARGIN - heatmaps.GAP - 40, 0]
    assert [(column == shade).sum() for shade in (50, 90)] == [96, 96]
    assert np.flatnonzero(column == 90)[0] - np.flatnonzero(column == 50)[0] == 96 + heatmaps.GAP


@pytest.mark.parametrize(("shape", "other"), [((4, 4), (4, 5)), ((4,), (4,)), ((2, 3, 4, 5), (2, 3, 4, 5))])
def test_wrong_shapes_are_named(shape: tuple[int, ...], other: tuple[int, ...]) -> None:
    with pytest.raises(AnomalyError) as told:
        heatmaps.overlay(np.zeros(shape), np.zeros(other))
    assert str(shape) in str(told.value)
    assert str(other) in str(told.value)


@pytest.mark.parametrize("space", [(8, 400), (1, 300), (400, 8), (12, 600)])
def test_a_picture_that_is_long_and_thin_is_drawn_with_its_scale(space):
    z = np.zeros(space, dtype=np.float32)
    picture = heatmaps.overlay(np.arange(z.size, dtype=np.float32).reshape(space), z, title="thin")
    assert min(picture.size) > 0
