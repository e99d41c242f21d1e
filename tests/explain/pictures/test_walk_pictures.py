"""Pictures of walks: frames in order and there and back, one scale for all differences, probabilities as they are."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from scipy.special import logit
from walker import Walker

from anomaly.errors import AnomalyError
from anomaly.images import Image as Picture
from anomaly.images.preprocessing import Preprocessing
from anomaly.pictures.pages import BACKGROUND, GAP, MARGIN, MARK, SMALLEST, TEXT, views
from anomaly.training import batches
from explain.pictures import walks as pictures
from explain.pictures.walks import Told, Walked
from explain.runs.explaining import prepare, records
from explain.runs.source import Source

LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
CHANCES = np.array([0.1, 0.2, 0.5, 0.8, 0.9])
GREYS = [0, 64, 128, 191, 255]
ORANGE, BLUE, ZERO = [255, 205, 140], [165, 220, 255], [40, 40, 40]
FRAMES = MARGIN + pictures.NUMBER + pictures.NOTE + 8 + GAP  # where frames begin on a page without a title
WIDE = SMALLEST + GAP  # of a column, where there are few


def walked(levels: Any = LEVELS, space: tuple[int, ...] = (64, 64), **parts: Any) -> Walked:
    """A walk of flat frames, step 0 in the middle; the image is as bright as the last frame but one."""
    levels = np.asarray(levels, dtype=np.float32)
    frames = np.ones((len(levels), *space), np.float32) * levels.reshape(-1, *[1] * len(space))
    steps = np.linspace(-1, 1, len(levels)) if len(levels) > 1 else np.zeros(1)
    given = {"image": frames[max(0, len(levels) - 2)], "frames": frames, "steps": steps}
    given |= {"values": logit(np.linspace(0.1, 0.9, len(levels))), "view": views(np.zeros(space[:2]), None)[0]}
    return Walked(**given | parts)


def strip(walk: Walked, **options: Any) -> np.ndarray:
    return np.asarray(pictures.strip(walk, **{"limit": 0.5, **options})).astype(int)


def column(page: np.ndarray, number: int, count: int = 6) -> np.ndarray:
    """One of the columns of a page from top to bottom, the original the first."""
    left = page.shape[1] - MARGIN - (count - number) * WIDE
    return page[:, left : left + SMALLEST]


def middle(page: np.ndarray, number: int, *, row: int) -> list[int]:
    """The colour in the middle of a frame (row 0) or of the difference below it (row 1)."""
    shown: list[int] = column(page, number)[FRAMES + row * WIDE + SMALLEST // 2, SMALLEST // 2].tolist()
    return shown


def across(page: np.ndarray) -> int:
    """How many panels there are side by side in the row of frames."""
    return int(ndimage.label((page[FRAMES + 4, 100:] != BACKGROUND).any(-1))[1])


def moving(path: Path) -> tuple[list[np.ndarray], list[int], int]:
    """The pictures of a GIF, their milliseconds, and how often it is shown, 0 for ever."""
    with Image.open(path) as file:
        shown, lasting = [], []
        for k in range(file.n_frames):
            file.seek(k)
            shown.append(np.asarray(file.convert("RGB")).astype(int))
            lasting.append(file.info["duration"])
        return shown, lasting, file.info["loop"]


@pytest.mark.parametrize(
    ("chance", "word"),
    [(0.04, "4 %"), (0.5, "50 %"), (0.0049, "< 1 %"), (0.0051, "1 %"), (0.9949, "99 %"), (0.9951, "> 99 %")],
)
def test_a_logit_is_told_as_its_probability(chance: float, word: str) -> None:
    assert Told().word(logit(chance)) == word
    assert Told(logit=False).word(0.12345) == "0.123"


def test_scale_is_the_probability_or_spans_values_and_threshold() -> None:
    heights, numbers = Told().scale(logit(CHANCES))
    np.testing.assert_allclose(heights, CHANCES)
    assert numbers == [(0.5, "50 %"), (0.0, "0 %"), (1.0, "100 %")]
    heights, numbers = Told(3.0, logit=False).scale(np.array([1.0, 2.0, 5.0]))
    assert heights.tolist() == [0.0, 0.25, 1.0] and numbers == [(0.5, "3"), (0.0, "1"), (1.0, "5")]
    heights, numbers = Told(9.0, logit=False).scale(np.array([1.0, 5.0]))
    assert heights.tolist() == [0.0, 0.5] and numbers == [(1.0, "9"), (0.0, "1")]
    heights, numbers = Told(2.0, logit=False).scale(np.array([2.0, 2.0]))
    assert heights.tolist() == [0.0, 0.0] and numbers == [(0.0, "2"), (1.0, "2")]


def test_strip_shows_the_original_then_the_frames_in_order() -> None:
    page = strip(walked())
    assert [middle(page, k, row=0) for k in range(6)] == [[grey] * 3 for grey in (191, *GREYS)]
    assert across(page) == 6


def test_differences_are_to_step_0_signed_as_maps_on_one_scale() -> None:
    page = strip(walked())
    assert [middle(page, k, row=1) for k in (1, 3, 5)] == [ORANGE, ZERO, BLUE]
    for levels, limit in (((0.0, 0.25, 0.5, 9.0, -9.0), 0.5), ((0.0, -0.5, 0.5, 0.0, 0.0), 2.0)):
        assert middle(strip(walked(levels), limit=limit), 2, row=1) == middle(page, 2, row=1)


def test_marked_frames_have_a_border_and_a_dot_at_their_probability() -> None:
    page = strip(walked(values=logit(CHANCES), end=1))
    top = FRAMES + 2 * WIDE + pictures.LINE + pictures.PAD
    for number, colour in ((2, MARK), (3, TEXT)):
        panel = column(page, number)
        assert (panel[FRAMES + 1] == colour).all() and (panel[FRAMES + SMALLEST // 2, [1, -2]] == colour).all()
        dot = np.argwhere((panel[top:-60] == colour).all(-1))
        assert dot.mean(0) == pytest.approx(((1 - CHANCES[number - 1]) * pictures.PLOT, SMALLEST / 2), abs=1.5)
        assert np.ptp(dot, axis=0) == pytest.approx(2 * pictures.DOT + 4, abs=3)
    assert not (column(page, 4)[FRAMES + 1] == TEXT).all()


def test_a_counterfactual_that_is_no_frame_stands_beside_the_original_with_its_own_number() -> None:
    plain, levels = walked((0.0, 0.5, 1.0), end=0), np.full((64, 64), 0.25, np.float32)
    kept = replace(plain, counterfactual=levels, counterfactual_value=float(logit(0.4)), value=float(logit(0.8)))
    assert plain.notes[0] == pictures.COUNTERFACTUAL and kept.notes[0] == pictures.END
    assert [(told, name) for _, told, name in kept.beside] == [
        (pytest.approx(logit(0.8)), pictures.ORIGINAL), (pytest.approx(logit(0.4)), pictures.COUNTERFACTUAL),
    ]  # fmt: skip
    page = strip(kept)
    assert across(page) == 5 and middle_of(page, 1, 5) == [64] * 3 and middle_of(page, 2, 5) == [0] * 3


def middle_of(page: np.ndarray, number: int, count: int) -> list[int]:
    """The colour in the middle of a frame among so many columns."""
    found: list[int] = column(page, number, count)[FRAMES + SMALLEST // 2, SMALLEST // 2].tolist()
    return found


def test_an_end_that_is_no_frame_is_not_marked() -> None:
    assert not (strip(walked()) == MARK).all(-1).any()
    assert walked(end=2).notes == {2: pictures.AGAIN}


@pytest.mark.parametrize(("marked", "shown"), [(None, 9), (5, 9), (4, 10)])
def test_of_many_frames_some_are_shown_those_marked_among_them(marked: int | None, shown: int) -> None:
    assert across(strip(walked(np.linspace(0, 1, 21), end=marked))) == 1 + shown


def test_a_few_bright_pixels_on_black_keep_their_greys() -> None:
    levels = (0.2, 0.6, 1.0)
    frames = np.full((3, 64, 64), -1.0, np.float32)
    frames[:, 30:34, 30:34] = np.reshape(levels, (3, 1, 1))
    page = strip(walked(levels, image=frames[1], frames=frames), limit=1.0)
    shown = [column(page, k, 4)[FRAMES + SMALLEST // 2, SMALLEST // 2, 0] for k in (1, 2, 3)]
    assert shown == pytest.approx([255 * (level + 1) / 2 for level in levels], abs=12)  # bicubic edges overshoot


def test_colours_are_shown_as_such_and_their_differences_as_a_mean() -> None:
    tint = np.array([1.0, 0.5, 0.0], np.float32)
    frames = walked(space=(64, 64, 3)).frames * tint
    page = strip(walked(space=(64, 64, 3), frames=frames, image=frames[3]))
    assert [middle(page, k, row=0) for k in (1, 5)] == [[0, 0, 0], [255, 128, 0]]
    grey = strip(walked(np.array(LEVELS) / 2))
    assert [middle(page, k, row=1) for k in range(1, 6)] == [middle(grey, k, row=1) for k in range(1, 6)]


@pytest.mark.parametrize(
    ("space", "height", "width"),
    [((64, 64), 256, 256), ((40, 20), 512, 256), ((20, 40), 256, 512), ((300, 280), 300, 280), ((64, 64, 3), 256, 256)],
)
def test_files_are_whole_and_moving_pictures_go_there_and_back(
    tmp_path: Path, space: tuple[int, ...], height: int, width: int
) -> None:
    walk = walked(space=space, end=1)
    paths = pictures.save_walk(tmp_path / "a.b", walk, limit=0.5, title="a.b")
    assert [path.name for path in paths] == ["a.b_walk.png", "a.b_walk.gif"] and len(list(tmp_path.iterdir())) == 2
    with Image.open(paths[0]) as still:
        assert (np.asarray(still) == np.asarray(pictures.strip(walk, limit=0.5, title="a.b"))).all()
    shown, lasting, loop = moving(paths[1])
    assert loop == 0 and lasting == [900, 900, 900, 120, 900, 120, 900, 900]
    below = 3 * GAP + pictures.BAR + pictures.NUMBER
    assert {each.shape for each in shown} == {(height + below, width, 3)}
    assert [each[128, 128, 0] for each in shown] == pytest.approx([*GREYS, *GREYS[-2:0:-1]], abs=4)


def test_bar_of_a_moving_picture_is_as_long_as_the_probability(tmp_path: Path) -> None:
    walk = walked(values=logit(CHANCES), end=1)
    shown, _, _ = moving(pictures.save_walk(tmp_path / "a", walk, limit=0.5)[1])
    for k in (0, 1, 3, 4):
        bar, end = shown[k][SMALLEST + GAP + pictures.BAR // 2], GAP + 240 * CHANCES[k]
        inside, outside = bar[int(end) - 3], bar[int(end) + 3]
        assert np.abs(inside - (MARK if k == 1 else pictures.DIM)).max() < 8
        assert np.abs(outside - pictures.FAINT).max() < 8


def test_volumes_have_the_name_of_their_slice_and_letters() -> None:
    view = replace(views(np.ones((64, 64, 20)), np.diag([2.0, 2.0, 2.0, 1.0]))[0], cut=lambda values: values)
    page = strip(walked(view=view))
    assert (page == MARK).all(-1).any()
    titled = pictures.strip(walked(), limit=0.5, title=view.label)
    assert (page[: MARGIN + 20, :200] == np.asarray(titled)[: MARGIN + 20, :200]).all()


def test_a_walk_of_one_frame_is_drawn(tmp_path: Path) -> None:
    paths = pictures.save_walk(tmp_path / "a", walked([0.5]), limit=1.0)
    shown, _, _ = moving(paths[1])
    assert len(shown) == 1 and paths[0].is_file()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"steps": np.zeros(4)}, r"got frames \(5, 64, 64\) of an image \(64, 64\), 4 steps and 5 values"),
        ({"image": np.zeros((64, 63))}, r"of an image \(64, 63\)"),
        ({"values": np.full(5, np.nan)}, "values that are not finite"),
    ],
)
def test_what_does_not_belong_together_is_told(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(AnomalyError, match=message):
        walked(**parts)


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan"), float("inf")])
def test_wrong_limits_are_told(limit: float) -> None:
    with pytest.raises(AnomalyError, match="expected a number above zero"):
        strip(walked(), limit=limit)


def summing(preprocessing: Preprocessing) -> Source:
    """The made-up explainer of the sum of an image, which no run holds."""
    given = dict.fromkeys(field.name for field in fields(Source))
    given |= {"explainer": Walker(target=lambda x: x.flatten(1).sum(1)), "preprocessing": preprocessing}
    return Source(**given | {"identities": {}, "device": torch.device("cpu")})


def test_what_is_drawn_is_the_walk_of_each_image() -> None:
    source = summing(Preprocessing(size=None, intensity="none"))
    x = torch.rand(3, 1, 12, 16, generator=torch.Generator().manual_seed(0))
    images = [Picture(each.numpy(), np.eye(4), Path("a.npy"), "array") for each in x]
    prepared = [prepare(image, source)[0] for image in images]
    assert all(record.walk is None for record in records(source, prepared))  # where nothing is drawn, nothing is held
    frames = source.explain(x).walk.frames
    for k, record in enumerate(records(source, prepared, images)):
        walk = record.walk
        np.testing.assert_allclose(walk.frames, frames[k, :, 0])
        np.testing.assert_allclose(walk.values, frames[k].flatten(1).sum(1), rtol=1e-4)
        np.testing.assert_allclose(walk.image, x[k, 0])
        assert (walk.steps.tolist(), walk.end, walk.again) == ([-1, -0.5, 0, 0.5, 1], 1, 2)
        assert (walk.value, walk.told, walk.frames.base, walk.image.base) == (None, Told(), None, None)


@pytest.mark.parametrize(("slices", "axis"), [(None, 2), ("axial", 2), ("coronal", 1), ("sagittal", 0)])
@pytest.mark.parametrize("stored", [1, -1])
def test_of_a_volume_one_slice_is_drawn_the_right_way_up(slices: str | None, axis: int, stored: int) -> None:
    """Whole, the axial slice through the block that changes; slice by slice, the one whose block changes most."""
    values = np.random.default_rng(0).uniform(-1, 0, (12, 13, 14)).astype(np.float32)
    values[9, 6, 5] = 1.0  # what changes is the brighter the brightest pixel is
    affine = np.diag([stored, 2.0, 3.0, 1.0])
    affine[0, 3] = 0 if stored > 0 else 11
    image = Picture(values[None, ::stored], affine, Path("v.nii.gz"), "nifti")
    given = {"dims": 3} if slices is None else {"slices": slices}
    source = summing(Preprocessing(size=None, intensity="none", **given))
    walk = records(source, prepare(image, source), [image])[0].walk
    index = 5 if slices is None else (9, 6, 5)[axis]
    seen = np.take(values, index, axis).T[::-1, ::-1]  # the front, or the head, is above, the right on the left
    np.testing.assert_allclose(walk.image, seen, atol=1e-6)
    np.testing.assert_allclose(walk.frames[walk.again], 0.9 * seen, atol=1e-6)
    assert walk.view.ends == ("AP" if axis == 0 else "RL") and walk.frames.base is None and walk.end == 1
    assert walk.view.label.endswith(f" = {index * (1, 2, 3)[axis]} mm")
    unknown = replace(image, affine=np.eye(4))
    label = records(source, prepare(unknown, source), [unknown])[0].walk.view.label
    assert label.startswith(f"axis {axis + 1}, slice ") and label.endswith(f" of {values.shape[axis]}")


def test_colours_of_pictures_are_kept_and_of_other_channels_the_mean() -> None:
    source = summing(Preprocessing(size=None, channels=3, intensity="none"))
    pixels = np.random.default_rng(0).uniform(-1, 1, (3, 12, 16)).astype(np.float32)
    for kind, seen in (("picture", np.moveaxis(pixels, 0, -1)), ("nifti", pixels.mean(0))):
        image = Picture(pixels, np.eye(4), Path("a"), kind)
        walk = records(source, prepare(image, source), [image])[0].walk
        np.testing.assert_allclose(walk.image, seen, atol=1e-6)
        assert walk.frames.shape == (5, *seen.shape)


def test_slices_of_several_passes_are_one_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "CHUNK", 5)
    values = np.zeros((2, 12, 12, 9), np.float32)
    values[0, 0, 0, 7], values[1, 0, 0, 1] = 0.5, 1.0
    images = [Picture(each[None], np.diag([1.0, 1, 2, 1]), Path(), "nifti") for each in values]
    source = summing(Preprocessing(size=None, intensity="none"))
    found = records(source, [prepare(image, source)[0] for image in images], images)
    assert [record.walk.view.label for record in found] == ["axial, z = 14 mm", "axial, z = 2 mm"]
