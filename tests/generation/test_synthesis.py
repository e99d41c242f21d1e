"""Measures of generated images against closed forms, and against generators that are known to be bad."""

import numpy as np
import pytest
from scipy import ndimage

from anomaly.errors import AnomalyError
from anomaly.generation.similarity import likeness, ms_ssim, scales
from anomaly.generation.synthesis import COLUMNS, diversity, halves, likenesses, novelty, tabulated


def pictures(n: int, space: tuple[int, ...] = (32, 32), seed: int = 0) -> np.ndarray:
    """Smooth images (n, 1, *space) in [-1, 1] that have nothing in common."""
    noise = np.random.default_rng(seed).normal(size=(n, 1, *space))
    smooth = ndimage.gaussian_filter(noise, (0, 0, *[2] * len(space)))
    return np.clip(smooth / smooth.std() / 3, -1, 1).astype(np.float32)


# Likeness of images


@pytest.mark.parametrize("space", [(16, 16), (64, 64), (16, 16, 16), (9, 40)])
def test_an_image_is_wholly_like_itself_and_less_like_its_noisy_copies(space: tuple[int, ...]) -> None:
    x = pictures(3, space)
    noise = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
    told = [ms_ssim(x, np.clip(x + sd * noise, -1, 1)) for sd in (0, 0.1, 0.4)]
    assert told[0] == pytest.approx([1, 1, 1], abs=1e-5)
    assert (told[1] < 0.999).all() and (told[2] < told[1]).all() and (told[2] >= 0).all()


def test_similarity_of_flat_images_is_that_of_their_brightness() -> None:
    x, y = (np.full((1, 1, 6, 6), value, dtype=np.float32) for value in (0.0, 0.5))  # 0.5 and 0.75 from 0 to 1
    assert scales((6, 6)) == (1, 5)
    assert ms_ssim(x, y)[0] == pytest.approx((2 * 0.5 * 0.75 + 1e-4) / (0.5**2 + 0.75**2 + 1e-4), abs=1e-3)


@pytest.mark.parametrize(
    ("side", "expected"),
    [(3, (1, 3)), (6, (1, 5)), (8, (1, 7)), (14, (2, 7)), (28, (3, 7)), (64, (4, 7)), (112, (5, 7)), (512, (5, 7))],
)
def test_scales_are_those_that_fit(side: int, expected: tuple[int, int]) -> None:
    assert scales((side, 600)) == scales((600, side, 600)) == expected


@pytest.mark.parametrize("side", range(3, 131))
def test_every_size_can_be_measured(side: int) -> None:
    x = np.zeros((1, 1, side, side), dtype=np.float32)
    assert ms_ssim(x, x)[0] == pytest.approx(1, abs=1e-5)


def test_large_volumes_are_halved_first() -> None:
    x, y = pictures(1, (128, 128, 129), seed=1), pictures(1, (128, 128, 129), seed=2)
    halved = [each[..., :128].reshape(1, 1, 64, 2, 64, 2, 64, 2).mean((3, 5, 7)) for each in (x, y)]
    assert ms_ssim(x, y) == pytest.approx(ms_ssim(*halved), abs=1e-5)


def test_pairs_are_of_different_subjects_and_at_most_as_many_as_asked_for() -> None:
    x = np.repeat(pictures(3), 4, axis=0)  # four images of a person, all the same
    people = np.repeat(np.arange(3), 4)
    apart, of = likeness(x, people, pairs=10**6)
    anyone, of_all = likeness(x, np.arange(12), pairs=10**6)
    assert (of, of_all) == (48, 66)
    assert anyone == pytest.approx((48 * apart + 18) / 66, abs=1e-5)  # 18 pairs are of one person, and alike
    assert likeness(x, people, pairs=7)[1] == 7
    nothing, none = likeness(x, np.zeros(12), pairs=7)
    assert np.isnan(nothing) and none == 0


def test_a_collapsed_generator_stands_far_above_real_images() -> None:
    real, one = pictures(30), pictures(1, seed=5)
    noise = np.random.default_rng(1).normal(0, 0.01, size=(20, 1, 32, 32)).astype(np.float32)
    collapsed = diversity(one + noise, real, np.arange(30), pairs=100)
    honest = diversity(pictures(20, seed=9), real, np.arange(30), pairs=100)
    assert collapsed.generated > 0.95 and collapsed.real_against_real < 0.5
    assert honest.generated == pytest.approx(honest.real_against_real, abs=0.05)
    assert (collapsed.n_generated, collapsed.n_real) == (20, 30)
    assert "100 pairs generated, 100 real" in collapsed.note


# Beside real images


def test_halves_share_no_subject_and_are_of_one_length() -> None:
    subjects = np.array(["a", "a", "a", "b", "c", "d", "d"])
    seen = set()
    for seed in range(20):
        one, other = halves(subjects, np.random.default_rng(seed))
        assert len(one) == len(other) >= 2 and len({*one, *other}) == 2 * len(one)
        assert not set(subjects[one]) & set(subjects[other])
        seen |= {*one, *other}
    assert seen == set(range(7))


def test_real_images_get_their_own_floor_and_shifted_ones_do_not() -> None:
    random = np.random.default_rng(0)
    real, people = random.normal(size=(400, 5)), np.arange(400)
    honest = likenesses(random.normal(size=(300, 5)), real, people, name="five numbers")
    shifted = likenesses(random.normal(size=(300, 5)) + 1, real, people, name="five numbers")
    assert [each.measure for each in honest] == ["mmd2", "frechet", "kid"]
    for good, bad in zip(honest, shifted, strict=True):
        assert good.generated == pytest.approx(good.real_against_real, abs=0.15)
        assert bad.generated > 10 * abs(bad.real_against_real)
        assert good.n_generated == good.n_real == 200 and good.features == "five numbers"
    assert 0.02 < honest[1].real_against_real < 0.3  # 200 images against others, not against themselves
    assert "images are few" not in honest[1].note


def test_few_images_for_many_features_are_told() -> None:
    random = np.random.default_rng(0)
    real = random.normal(size=(30, 12))
    found = likenesses(random.normal(size=(99, 12)), real, np.arange(30), name="twelve")[1]
    assert (
        found.n_real == 15 and "15 images are few for 12 features" in found.note and found.note[-20:] in found.sentence
    )
    with pytest.raises(AnomalyError, match=r"99 generated and 30 real images of 1 subjects are too few"):
        likenesses(random.normal(size=(99, 12)), real, np.zeros(30), name="twelve")


# Copies


def test_a_generator_that_remembers_is_seen_and_one_that_smooths_is_mostly_spared() -> None:
    random = np.random.default_rng(0)
    train, real = random.normal(size=(150, 8)), random.normal(size=(100, 8))
    people = np.arange(100)

    def shares(generated: np.ndarray) -> tuple[float, ...]:
        return tuple(each.generated for each in novelty(generated, train, real, people, name="eight"))

    copies, honest = train[:60] + random.normal(0, 0.01, size=(60, 8)), random.normal(size=(400, 8))
    assert shares(copies) == (1, 1)
    assert all(share < 0.15 for share in shares(honest))
    smooth = random.normal(0, 0.3, size=(400, 8))  # nearer to everything
    assert shares(smooth)[0] > 0.5 and shares(smooth)[1] < 0.3
    half = shares(np.concatenate([copies, honest[:60]]))[1]
    assert half == pytest.approx(0.5, abs=0.1)


def test_held_out_images_get_a_twentieth_of_both() -> None:
    random = np.random.default_rng(1)
    train, real = random.normal(size=(400, 8)), random.normal(size=(400, 8))
    for each in novelty(train[:50], train, real, np.arange(400), name="eight"):
        assert each.real_against_real == pytest.approx(0.05, abs=0.03)
    with pytest.raises(AnomalyError, match="of one subject"):
        novelty(train, train, real, np.zeros(400), name="eight")


def test_novelty_tells_what_was_compared_and_that_it_was_few() -> None:
    random = np.random.default_rng(1)
    train, real, people = random.normal(size=(50, 4)), random.normal(size=(45, 4)), np.repeat(np.arange(9), 5)
    for each in novelty(random.normal(size=(30, 4)), train, real, people, name="four"):
        assert (each.n_generated, each.n_real) == (30, 20)  # four of the nine subjects against as many images
        assert "20 held-out images in each half" in each.note and "few" not in each.note + each.sentence
    for each in novelty(random.normal(size=(19, 4)), train, real[:39], np.arange(39), name="four"):
        assert (each.n_generated, each.n_real) == (19, 19)
        few = "19 new images and 19 held-out ones in a half are few for a limit of 5%, which wants 20 or more of each"
        assert each.note.endswith(few) and each.sentence.endswith(f" Note: {few}.")
    unlike = np.array([0, 0, 0, 1, 1, 2])  # halves of one to three images, cut to the smallest
    assert {each.n_real for each in novelty(train, train, real[:6], unlike, name="four")} == {1}


def test_the_table_has_a_row_a_measure() -> None:
    x = np.random.default_rng(0).normal(size=(20, 2))
    table = tabulated(likenesses(x, x, np.arange(20), name="two"))
    assert list(table) == COLUMNS == [
        "measure", "features", "generated", "real_against_real", "n_generated", "n_real", "note"
    ]  # fmt: skip
    assert list(table["measure"]) == ["mmd2", "frechet", "kid"]
    assert list(tabulated([])) == COLUMNS
