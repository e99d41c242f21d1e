"""Figures of explanations: exact colours, one scale, the right way up, arrows that point where things move."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from anomaly.errors import AnomalyError
from anomaly.pictures.pages import GAP, LINE, MARGIN, MARK, VOLUME, Scale
from explain.pictures import pictures

SQUARE = (64, 64)  # shown 256 x 256: a pixel is 4 x 4 on the page, an arrow's cell 4 x 4 pixels
UPPER_RIGHT = np.s_[4:12, 60:90]


def drawn(image: np.ndarray, **parts: Any) -> np.ndarray:
    return np.asarray(pictures.figure(image, **parts)).astype(int)


def panel(page: np.ndarray, number: int, *, width: int = 256, height: int = 256) -> np.ndarray:
    """One panel of the first row of a page without a title."""
    left = MARGIN + number * (width + GAP)
    return page[MARGIN + LINE : MARGIN + LINE + height, left : left + width]


def block(space: tuple[int, ...], at: tuple[slice, ...], inside: float = 1.0) -> np.ndarray:
    values = np.zeros(space, dtype=np.float32)
    values[at] = inside
    return values


def arrows(panel: np.ndarray) -> np.ndarray:
    """Where there is more of the arrows' colour than of anything else: yellow on grey."""
    return panel[..., 0] - panel[..., 2] > 80


def pointing(found: np.ndarray, along: int) -> int:
    """-1 or 1: the end of an arrow, along an axis, where its head is, the widest part."""
    thick, place = found.sum(1 - along), np.flatnonzero(found.any(1 - along))
    return int(np.sign(np.flatnonzero(thick == thick.max()).mean() - place.mean()))


def moved(space: tuple[int, ...], component: int, by: float, at: tuple[slice, ...] = ()) -> np.ndarray:
    field = np.zeros((len(space), *space), dtype=np.float32)
    field[(component, *at)] = by
    return field


def smooth(space: tuple[int, ...], seed: int, *, wide: float = 2.0) -> np.ndarray:
    return ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=space), wide).astype(np.float32)


def all_parts(space: tuple[int, ...]) -> dict[str, np.ndarray]:
    names = ("map", "counterfactual", "log_jacobian", "spread")
    field = np.stack([20 * smooth(space, 10 + c) for c in range(len(space))])
    return {**{name: smooth(space, k) for k, name in enumerate(names)}, "field": field}


@pytest.mark.parametrize("differs", [True, False])
def test_colours_are_exact_at_both_ends_and_at_zero(differs: bool) -> None:
    values = np.zeros(SQUARE, dtype=np.float32)
    values[:, 20:30], values[:, 40:50], values[:, 56:] = 0.7, -0.7, 30.0
    page = drawn(np.zeros(SQUARE), map=values, counterfactual=-values if differs else None, limits=0.7)
    shown = [panel(page, 1 + differs)[100, 4 * column].tolist() for column in (5, 25, 35, 45, 60)]
    assert shown == [[40, 40, 40], [255, 205, 140], [40, 40, 40], [165, 220, 255], [255, 205, 140]]
    assert page.shape[1] == 2 * MARGIN + (3 + differs) * (256 + GAP)


@pytest.mark.parametrize("anchors", [pictures.SIGNED, pictures.GROWTH])
def test_both_signs_rise_in_lightness_alike(anchors: Any) -> None:
    light = Scale(-1.0, 1.0, anchors, "").colours(np.linspace(-1, 1, 255)) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(light[:128]) < 0).all()
    assert (np.diff(light[127:]) > 0).all()
    assert np.abs(light - light[::-1]).max() < 20  # of 255


@pytest.mark.parametrize(
    ("sign", "growth", "spread"), [(1, [245, 185, 250], [200, 245, 235]), (-1, [200, 228, 115], [40] * 3)]
)
def test_growth_and_spread_have_scales_of_their_own(sign: int, growth: list[int], spread: list[int]) -> None:
    flat, limits = np.full(SQUARE, sign, dtype=np.float32), {"log_jacobian": 1.0, "spread": 1.0}
    page = drawn(flat, map=flat, log_jacobian=flat, spread=np.maximum(flat, 0), limits=limits)
    assert [panel(page, number)[5, 5].tolist() for number in (3, 4)] == [growth, spread]


def test_given_limit_makes_one_scale_for_all_images() -> None:
    mild = block(SQUARE, np.s_[:30], 0.2)
    severe, image = mild + block(SQUARE, np.s_[40:], 5.0), smooth(SQUARE, 0)
    first, second = (panel(drawn(image, map=each, limits=0.5), 1)[:110] for each in (mild, severe))
    assert (first == second).all()
    alone, beside = (panel(drawn(image, map=each), 1)[:110] for each in (mild, severe))
    assert (alone != beside).any()


def test_limit_is_a_percentile_unless_nearly_all_is_zero() -> None:
    assert pictures.limit_of([np.arange(-500.0, 1.0), np.arange(501.0)]) == pytest.approx(497.5, abs=0.5)
    assert pictures.limit_of(block((1, 100, 100), np.s_[:, 3, 4:6], -7.0)) == 7.0
    assert pictures.limit_of(np.zeros((2, 3))) == 1.0


def test_counterfactual_has_the_greys_of_the_image() -> None:
    image = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (64, 1))
    page = drawn(image, map=image / 2, counterfactual=image / 2)
    assert np.median(panel(page, 0)[:, -6:]) >= 252
    assert np.median(panel(page, 1)[:, -6:]) == pytest.approx(126, abs=3)


@pytest.mark.parametrize("sign", [-1, 1])
def test_overlay_starts_at_a_quarter_of_the_scale_whatever_the_sign(sign: int) -> None:
    values = sign * (block(SQUARE, np.s_[:, 20:30], 0.24) + block(SQUARE, np.s_[:, 40:50], 1.0))
    page = drawn(smooth(SQUARE, 0), map=values, limits=1.0)
    original, overlay = panel(page, 0), panel(page, 2)
    assert (original[:, :150] == overlay[:, :150]).all()
    assert np.abs(original[:, 170:190] - overlay[:, 170:190]).sum(-1).min() > 50


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("ahead", [-1, 1])
def test_arrows_point_the_way_things_move(axis: int, ahead: int) -> None:
    field = moved(SQUARE, axis, -3.0 * ahead, np.s_[32:36, 32:36])  # one cell; fetched from the right: goes left
    found = arrows(panel(drawn(np.zeros(SQUARE), map=np.zeros(SQUARE), field=field), 3))
    assert pointing(found, axis) == ahead
    tip = np.flatnonzero(found.any(1 - axis))[0 if ahead < 0 else -1]
    assert tip == pytest.approx(34.5 * 4, abs=2)  # the middle of pixel 34, where the value arrives
    assert np.flatnonzero(found.any(axis)).mean() == pytest.approx(34.5 * 4, abs=1.5)


@pytest.mark.parametrize(("by", "length"), [(8.0, 32), (4.0, 16), (2.0, 16), (1.0, 12), (0.5, 10), (0.25, 10)])
def test_arrows_are_to_scale_or_enlarged_by_a_round_number(by: float, length: int) -> None:
    field = moved(SQUARE, 0, by, np.s_[32:36, 32:36])
    found = arrows(panel(drawn(np.zeros(SQUARE), map=np.zeros(SQUARE), field=field), 3))
    assert np.ptp(np.flatnonzero(found.any(1))) + 1 == pytest.approx(length, abs=2)


@pytest.mark.parametrize(("side", "width"), [(32, 256), (64, 256), (300, 300), (700, 500)])
def test_about_sixteen_by_sixteen_arrows(side: int, width: int) -> None:
    still, field = np.zeros((side, side)), moved((side, side), 1, 0.3 * max(1.0, side / 64))
    found, number = ndimage.label(arrows(panel(drawn(still, map=still, field=field), 3, width=width, height=width)))
    assert 15**2 <= number <= 17**2
    assert np.bincount(found.ravel())[1:].min() > 5


def test_what_hardly_moves_has_no_arrow() -> None:
    still, field = np.zeros(SQUARE), moved(SQUARE, 0, 0.24)
    assert not arrows(panel(drawn(still, map=still, field=field), 3)).any()
    found = arrows(panel(drawn(still, map=still, field=field + moved(SQUARE, 1, 5.0, np.s_[:, 32:])), 3))
    assert not found[:, :120].any()
    assert found[:, 132:].any()


GEOMETRY = [(32, 32, 3, 256, 256), (64, 48, 4, 256, 192), (40, 100, 7, 114, 285), (1024, 512, 7, 285, 142)]


@pytest.mark.parametrize(("rows", "columns", "number", "height", "width"), [*GEOMETRY, (100, 20, 3, 300, 60)])
def test_panels_keep_their_proportion_and_a_readable_size(
    rows: int, columns: int, number: int, height: int, width: int
) -> None:
    parts = all_parts((rows, columns))
    names = {3: ["map"], 4: ["map", "counterfactual"], 7: list(parts)}[number]
    page = drawn(np.full((rows, columns), 9.0), **{name: parts[name] for name in names})
    column = max(width, pictures.SIDE)
    assert page.shape[1] == 2 * MARGIN + number * (column + GAP)
    original = page[MARGIN + LINE : -1, MARGIN : MARGIN + column]
    assert ((original == 128).all(-1).sum(1) == width).sum() == height


def test_pictures_are_neither_turned_nor_flipped() -> None:
    space = (40, 100)
    image = block(space, UPPER_RIGHT)
    parts = {"map": image, "counterfactual": image, "log_jacobian": image, "spread": image}
    page = drawn(image, **parts, field=moved(space, 1, 2.0, UPPER_RIGHT), limits=1.0)
    assert page.shape[1] == 2 * MARGIN + 7 * (285 + GAP)
    for number, background in enumerate([0, 0, 40, 0, 0, 40, 40]):
        shown = panel(page, number, width=285, height=114)
        rows, columns = (np.flatnonzero((np.abs(shown - background).max(-1) > 60).any(1 - axis)) for axis in (0, 1))
        corners = (rows[0], rows[-1], columns[0], columns[-1])
        assert corners == pytest.approx(tuple(2.85 * place for place in (4, 12, 60, 90)), abs=6), number


def test_volume_shows_three_slices_through_the_peak() -> None:
    space = (24, 48, 16)
    values = block(space, np.s_[3:6, 30:33, 10:13], -1.0)
    values[20, 5, 2] = 2.0  # a stray voxel is no peak
    page = drawn(np.zeros(space), map=values, limits=1.0)
    left = MARGIN + next(k for k in range(200) if (page[60, MARGIN + k] == 128).all())
    second = left + VOLUME + GAP
    blue = (page[:, second : second + VOLUME] == [165, 220, 255]).all(-1)
    tops = MARGIN + LINE + np.cumsum([0, VOLUME + GAP, 96 + GAP])
    # (i, j), (i, k), (j, k) are shown as columns and rows, each from its end on; 6 pixels of the page a voxel
    for top, height, (across, down) in zip(tops, (288, 96, 96), [(19, 16), (19, 4), (16, 4)], strict=True):
        where = np.argwhere(blue[top : top + height]).mean(0)
        assert where == pytest.approx((6 * (down + 0.5), 6 * (across + 0.5)), abs=5), top


def test_volume_looks_the_same_however_it_is_stored() -> None:
    space, affine = (20, 24, 16), np.diag([1.0, 2.0, 3.0, 1.0])
    image, parts = smooth(space, 7), all_parts(space)
    stored = np.diag([1.0, 2.0, 3.0, 1.0])[:, [2, 0, 1, 3]] @ np.diag([1.0, -1.0, 1.0, 1.0])
    stored[0, 3] = 19.0

    def turned(values: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(values[::-1].transpose(2, 0, 1))

    x, y, z = (turned(each) for each in parts["field"])
    again = {name: np.stack([z, -x, y]) if name == "field" else turned(parts[name]) for name in parts}
    straight = drawn(image, **parts, affine=affine)
    assert (straight == drawn(turned(image), **again, affine=stored)).all()
    assert (straight != drawn(turned(image), **again | {"field": np.stack([z, x, y])}, affine=stored)).any()
    assert (straight == MARK).all(-1).any()
    assert not (drawn(image, **parts) == MARK).all(-1).any()


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(
    ("component", "view", "along"), [(0, 0, 1), (1, 0, 0), (0, 1, 1), (2, 1, 0), (1, 2, 1), (2, 2, 0)]
)
def test_arrows_of_volumes_lie_in_the_slice(component: int, view: int, along: int, sign: int) -> None:
    """Axes run to the right of the patient, front and head, which are shown to the left and above."""
    space, values = (32, 32, 32), block((32, 32, 32), np.s_[14:19, 14:19, 14:19])
    field = moved(space, component, -1.5 * sign, np.s_[15:17, 15:17, 15:17])  # fetched from behind: moves ahead
    top = MARGIN + LINE + view * (VOLUME + GAP)
    assert pointing(arrows(drawn(0 * values, map=values, field=field, limits=1e9)[top : top + VOLUME]), along) == -sign


def test_map_of_nothing_shows_the_middle() -> None:
    image = block((20, 22, 24), np.s_[9:12, 10:13, 11:14])
    assert (drawn(image, map=0 * image) == 255).all(-1).sum() > 2000


def test_same_input_same_page_and_input_untouched() -> None:
    image, parts = smooth(SQUARE, 5), all_parts(SQUARE)
    before = {name: values.copy() for name, values in parts.items()}
    first = drawn(image, **parts, title="a", footer="b")
    assert (first == drawn(image, **parts, title="a", footer="b")).all()
    assert all((before[name] == parts[name]).all() for name in parts)


def test_words_widen_no_page() -> None:
    image = np.zeros((100, 20))
    plain = pictures.figure(image, map=image)
    worded = pictures.figure(image, map=image, title="id " * 60, footer="word " * 100)
    assert (worded.width, worded.height > plain.height + 5 * LINE) == (plain.width, True)


def test_saved_figure_is_the_one_drawn(tmp_path: Path) -> None:
    image, parts = smooth(SQUARE, 5), all_parts(SQUARE)
    words = {"title": "one", "footer": "two", "affine": np.diag([1.0, 2.0, 1.0, 1.0])}
    pictures.save_figure(tmp_path / "a.png", image, **parts, **words, limits=0.3)
    with Image.open(tmp_path / "a.png") as written:
        assert (np.asarray(written) == drawn(image, **parts, **words, limits=0.3)).all()


@pytest.mark.parametrize("name", ["map", "counterfactual", "field", "log_jacobian", "spread"])
def test_arrays_that_do_not_belong_together_are_told(name: str) -> None:
    parts = {"map": np.zeros((4, 5)), name: np.zeros((2, 5, 4) if name == "field" else (5, 4))}
    with pytest.raises(AnomalyError, match=rf"{name} has shape \((2, )?5, 4\), expected \((2, )?4, 5\)"):
        pictures.figure(np.zeros((4, 5)), **parts)
    parts[name] = np.full((2, 4, 5) if name == "field" else (4, 5), np.nan)
    with pytest.raises(AnomalyError, match=f"{name} holds values that are not finite"):
        pictures.figure(np.zeros((4, 5)), **parts)


@pytest.mark.parametrize("limits", [0.0, -1.0, float("nan"), float("inf"), {"map": 0.0}, {"difference": 1.0}])
def test_wrong_limits_are_told(limits: Any) -> None:
    with pytest.raises(AnomalyError, match="expected"):
        pictures.figure(np.zeros((4, 5)), map=np.zeros((4, 5)), limits=limits)


def test_wrong_images_are_told() -> None:
    with pytest.raises(AnomalyError, match=r"\(1, 2, 3, 4\)"):
        pictures.figure(np.zeros((1, 2, 3, 4)), map=np.zeros((1, 2, 3, 4)))
    with pytest.raises(AnomalyError, match=r"got 3 images and \[2\]"):
        pictures.summary(np.zeros((3, 4, 5)), None, np.zeros((2, 4, 5)))
    with pytest.raises(AnomalyError, match="at least one"):
        pictures.summary([], None, [])
    with pytest.raises(AnomalyError, match=r"field has shape \(3, 4, 5\)"):
        pictures.summary(np.zeros((1, 4, 5)), None, np.zeros((1, 4, 5)), fields=np.zeros((1, 3, 4, 5)))


def test_summary_has_a_column_an_image_and_one_scale() -> None:
    maps = np.stack([np.full((32, 16), value, dtype=np.float32) for value in (1.0, -1.0, 0.0)])
    images = np.stack([np.full((32, 16), value, dtype=np.float32) for value in (0.0, 0.5, 1.0)])
    fields = np.stack([moved((32, 16), 0, 2.0)] * 3)
    page = np.asarray(pictures.summary(images, images[::-1], maps, fields=fields, limits=1.0)).astype(int)
    left, top = np.flatnonzero((page[MARGIN + 157] == 255).all(-1))[0], MARGIN
    centres = [(top + 152 * row + 72, left + 80 * column + 36) for row in range(3) for column in range(3)]
    shown = [page[centre].tolist() for centre in centres]
    assert shown[:6] == [[grey] * 3 for grey in (0, 128, 255, 255, 128, 0)]
    assert shown[6:] == [[255, 205, 140], [165, 220, 255], [40, 40, 40]]
    assert arrows(page)[top + 3 * 152 : top + 3 * 152 + 144].any()


def test_summary_of_volumes_shows_each_at_its_own_peak() -> None:
    maps = [block((16, 16, 16), np.s_[4:7, 4:7, k : k + 3]) for k in (2, 10)]
    page = np.asarray(pictures.summary(maps, None, maps, limits=1.0, affine=np.diag([2.0, 2.0, 2.0, 1.0])))
    assert ndimage.label((page == [255, 205, 140]).all(-1))[1] == 2 + 1  # two images and the end of the scale
