"""Windows: the same for the same number, on whole steps, of images of any size, degraded whole where that is due."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image as Pillow
from poor import blobs, pictures, volumes

from anomaly.cohorts.cohort import read_cohort
from anomaly.degradations.register import make
from anomaly.errors import AnomalyError, CohortError
from anomaly.images.preprocessing import Preprocessing
from anomaly.restorers.degrading import chance, warn_of_nothing
from anomaly.restorers.keeping import GOOD, KeptImages, first_readable, keep_images
from anomaly.restorers.windows import Windows, refuse_small, warn_of_small, window_in, window_of

RANGE = Preprocessing(intensity="range", size=None)
DOWN = make("downsample", {"factor": 2})


def kept(
    folder: Path, images: Path | pd.DataFrame, degradation: object = DOWN, preprocessing: Preprocessing = RANGE
) -> KeptImages:
    cohort = images if isinstance(images, pd.DataFrame) else read_cohort(images)
    place = folder / "run" / "checkpoint"
    place.mkdir(parents=True, exist_ok=True)
    keep_images(cohort.assign(split="train"), preprocessing, degradation, place)  # type: ignore[arg-type]
    return KeptImages.open(place)


def test_images_of_several_sizes_lie_one_after_another(tmp_path: Path) -> None:
    table = pictures(tmp_path / "images", count=3, side=25)
    images = kept(tmp_path, table)
    assert [tuple(space) for space in images.spaces] == [(24, 24), (24, 24), (34, 24)]  # whole steps
    assert images.of(2).shape == (1, 1, 1, 34, 24)
    expected = (blobs(2, 34, 25)[:, :24] * 255).astype(np.uint8) / 255 * 2 - 1
    assert np.allclose(images.of(2)[0, 0, 0], expected, atol=1e-6)


def test_an_unreadable_image_is_named_and_left_out(tmp_path: Path) -> None:
    table = pictures(tmp_path / "images", count=3)
    (tmp_path / "images" / "p01.png").write_bytes(b"no picture")
    images = kept(tmp_path, table)
    assert list(images.table["id"]) == ["p00", "p02"]
    assert images.unreadable == 1
    assert "p01.png" in (tmp_path / "run" / "errors.csv").read_text()


@pytest.mark.parametrize(
    ("space", "factor", "told"),
    [((1, 64), 2, "a side of 1 is shorter than the factor 2"), ((24, 24), 100, "24 is shorter than the factor 100"),
     ((3, 3), 2, "3 x 3 pixels, of which the factor 2 of downsample leaves one")],
)  # fmt: skip
def test_images_shorter_than_a_step_are_named(tmp_path: Path, space: tuple[int, int], factor: int, told: str) -> None:
    table, down = pictures(tmp_path / "images", count=3), make("downsample", {"factor": factor})
    Pillow.fromarray((np.arange(np.prod(space)).reshape(space) % 250).astype(np.uint8)).save(table.parent / "p00.png")
    for preprocessing in (RANGE, Preprocessing(size=None)):
        if factor == 2:
            cohort = read_cohort(table)
            assert first_readable(cohort, preprocessing, down)[1:] == (24, 24)
            images = kept(tmp_path / preprocessing.intensity, cohort, down, preprocessing)
            assert len(images.table) == 2
            assert told in (tmp_path / preprocessing.intensity / "run" / "errors.csv").read_text()
        else:
            with pytest.raises(CohortError, match=told):
                first_readable(read_cohort(table), preprocessing, down)


def test_a_batch_is_the_same_whenever_it_is_asked_for(tmp_path: Path) -> None:
    images = kept(tmp_path, pictures(tmp_path / "images", count=5), make("noise", {"sigma": 0.1}))
    first, second = (
        Windows(images, "train", make("noise", {"sigma": 0.1}), size=4, window=(16, 16), seed=3) for _ in range(2)
    )
    first[0]
    for a, b in zip(first[7], second[7], strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first[7][0], first[8][0])
    other = Windows(images, "train", make("noise", {"sigma": 0.1}), size=4, window=(16, 16), seed=4)
    assert not torch.equal(first[7][0], other[7][0])


def test_processes_take_shares_of_the_same_images(tmp_path: Path) -> None:
    images = kept(tmp_path, read_cohort(pictures(tmp_path / "images", count=5))[:4])  # those of one size
    cut = {"size": 4, "window": (24, 24), "flips": False}

    def first_rows(share: tuple[int, int]) -> list[float]:
        return [float(each) for each in Windows(images, "train", DOWN, share=share, **cut)[0][1][:, 0, 0, 0]]

    assert sorted(first_rows((0, 2)) + first_rows((1, 2))) == sorted(first_rows((0, 1)))


def test_poor_windows_are_what_the_degradation_makes_of_the_good_ones(tmp_path: Path) -> None:
    images = kept(tmp_path, pictures(tmp_path / "images", count=4, side=40))
    poor, good = Windows(images, "train", DOWN, size=6, window=(16, 16))[0]
    assert poor.shape == good.shape == (6, 1, 16, 16)
    assert torch.allclose(poor, DOWN.degrade(good).image, atol=1e-6)


def test_windows_begin_on_whole_steps(tmp_path: Path) -> None:
    """Else a window would be averaged over other areas than the whole image is."""
    images = kept(tmp_path, pictures(tmp_path / "images", count=2, side=40))
    whole = torch.from_numpy(np.array(images.of(0)[0]))
    measured = DOWN.measured(whole)[0, 0]
    _, good = Windows(images, "train", DOWN, size=8, window=(16, 16), flips=False)[0]
    areas = {round(float(each), 5) for each in measured.flatten()}
    others = {round(float(each), 5) for each in DOWN.measured(torch.from_numpy(np.array(images.of(1)[0]))).flatten()}
    assert {round(float(each), 5) for each in DOWN.measured(good).flatten()} <= areas | others


def test_what_needs_the_whole_image_is_done_to_the_whole_image(tmp_path: Path) -> None:
    kspace = make("kspace", {"acceleration": 2.0, "centre": 0.1})
    images = kept(tmp_path, pictures(tmp_path / "images", count=2, side=32), kspace)
    poor, good = Windows(images, "train", kspace, size=2, window=(16, 16), flips=False)[5]
    alone = kspace.degrade(good, chance("anything")).image
    assert float((poor - alone).abs().mean()) > 1e-2  # aliases of what lies beyond the window
    images = kept(tmp_path / "one", read_cohort(tmp_path / "images" / "cohort.csv")[:1], kspace)
    full, truth = Windows(images, "train", kspace, size=1, window=(32, 32), flips=False)[5]
    assert torch.allclose(full, kspace.degrade(truth, chance("0 5 0", 0)).image, atol=1e-6)


def test_known_pixels_are_told_and_are_those_of_the_image(tmp_path: Path) -> None:
    mask = make("mask", {})
    images = kept(tmp_path, pictures(tmp_path / "images", count=4), mask)
    poor, good, known = Windows(images, "train", mask, size=4, window=(16, 16))[0]
    assert known.dtype == torch.bool
    assert known.shape == (4, 1, 16, 16)
    assert torch.equal(poor[known], good[known])


def test_poor_images_say_the_scale_of_both(tmp_path: Path) -> None:
    """Noise spreads values: what a network sees of poor images is -1 to 1 between their own percentiles."""
    noise = make("noise", {"sigma": 0.3, "coarse": 1})
    own = Preprocessing(size=None, percentiles=(0.0, 100.0))
    images = kept(tmp_path, pictures(tmp_path / "images", count=2), noise, own)
    low, high = images.scales[0]
    assert low[0] < -1.5
    assert high[0] > 1.5
    poor, good = Windows(images, "train", noise, size=2, window=(24, 24))[0]
    assert float(good.max() - good.min()) < 1.2
    assert 1.5 < float(poor.max() - poor.min()) < 2.6


def test_pairs_keep_together_and_have_one_scale(tmp_path: Path) -> None:
    table = read_cohort(pictures(tmp_path / "good", count=3))
    poor = read_cohort(pictures(tmp_path / "poor", count=3))
    images = kept(tmp_path, poor.assign(**{GOOD: table["path"]}), None)
    a, b = Windows(images, "train", None, size=3, window=(16, 16))[0]
    assert torch.equal(a, b)  # the same files, so the same windows


def test_pairs_on_other_grids_are_named(tmp_path: Path) -> None:
    good, poor = (read_cohort(pictures(tmp_path / name, count=2, side=side)) for name, side in (("a", 24), ("b", 26)))
    with pytest.raises(CohortError, match="lies on another grid"):
        kept(tmp_path, poor.assign(**{GOOD: good["path"]}), None)


def test_a_pair_of_8_and_16_bits_is_scaled_by_the_range_of_each_file(tmp_path: Path) -> None:
    poor = read_cohort(pictures(tmp_path / "poor", count=3))
    good = read_cohort(pictures(tmp_path / "good", count=3, depth=16))
    images = kept(tmp_path, poor.assign(**{GOOD: good["path"]}), None)
    fine, coarse = images.of(0)
    assert np.abs(fine - coarse).max() <= 2 / 255 + 1e-6  # what 8 bits cut off
    assert fine.max() == pytest.approx(1)


def test_a_good_image_in_other_units_is_named(tmp_path: Path) -> None:
    poor = read_cohort(pictures(tmp_path / "poor", count=3))
    good = read_cohort(pictures(tmp_path / "good", count=3, depth=16))
    percentile = Preprocessing(size=None)
    with pytest.raises(CohortError, match=r"p00\.png: most of its good image p00\.png lies beyond what is black"):
        kept(tmp_path, poor.assign(**{GOOD: good["path"]}), None, percentile)


def test_volumes_are_windows_of_volumes_or_of_their_slices(tmp_path: Path) -> None:
    folder = volumes(tmp_path / "volumes", count=2)
    sliced = kept(tmp_path / "2", folder, DOWN, Preprocessing(size=None))
    assert len(sliced.part("train")) == 24
    poor, _ = Windows(sliced, "train", DOWN, size=3, window=(8, 8))[0]
    assert poor.shape == (3, 1, 8, 8)
    slices = make("slices", {"factor": 3})
    whole = kept(tmp_path / "3", folder, slices, Preprocessing(size=None, dims=3))
    poor, _, known = Windows(whole, "train", slices, size=2, window=(8, 8, 6))[0]
    assert poor.shape == (2, 1, 8, 8, 6)
    assert known.float().mean() == pytest.approx(1 / 3)


def test_windows_are_chosen_by_the_smallest_image_or_refused(tmp_path: Path) -> None:
    images = kept(tmp_path, pictures(tmp_path / "images", count=3, side=24))
    assert window_of(images, DOWN, 0) == (24, 24)
    assert window_of(images, DOWN, 17) == (16, 16)
    with pytest.raises(AnomalyError, match=r"window=32 is larger than .*p00\.png, which has 24 x 24"):
        window_of(images, DOWN, 32)


def test_a_short_axis_is_taken_whole_and_an_image_smaller_than_most_is_named() -> None:
    assert window_in((160, 160, 24), None, 64) == (64, 64, 24)
    with pytest.raises(AnomalyError, match="window=64 is larger than images of 60 x 60 x 24"):
        window_in((60, 60, 24), None, 64)
    names, spaces = ["a", "b", "c"], np.array([(160, 160, 24)] * 3)
    refuse_small(spaces, names, 64)
    spaces[1, 2] = 20
    with pytest.raises(AnomalyError, match="window=64 is larger than b, which has 160 x 160 x 20"):
        refuse_small(spaces, names, 64)
    refuse_small(spaces, names, 0)


def test_what_takes_nothing_away_is_told(caplog: pytest.LogCaptureFixture) -> None:
    idle = [("noise", {"sigma": 0.0}), ("lowdose", {"dose": 1.0}), ("kspace", {"acceleration": 1.0})]
    for name, settings in idle:
        warn_of_nothing(make(name, settings), (1, 24, 20))
    assert caplog.text.count("takes nothing away from images") == 3
    for name in ("noise", "lowdose", "kspace", "downsample", "mask", "border"):
        warn_of_nothing(make(name, {}), (1, 24, 20))
    assert caplog.text.count("takes nothing away from images") == 3


def test_a_small_image_that_shrinks_all_windows_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table, noise = pictures(tmp_path / "images", count=4), make("noise", {})
    images = kept(tmp_path / "alike", table, noise)
    warn_of_small(images, noise, 0, window_of(images, noise, 0))
    assert not caplog.text
    Pillow.fromarray((blobs(9, 9, 11) * 255).astype(np.uint8)).save(table.parent / "p02.png")
    images = kept(tmp_path / "mixed", table, noise)
    warn_of_small(images, noise, 0, window_of(images, noise, 0))
    assert "windows have 9 x 11 pixels, where most images allow 24 x 24" in caplog.text
    assert "1 of 4 images are smaller" in caplog.text and "p02.png" in caplog.text
