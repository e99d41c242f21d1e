"""The toy cohorts: every figure of their protocols, their truth, and the folders they leave."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest

from anomaly.cohorts.cohort import read_cohort
from anomaly.errors import CohortError
from anomaly.simulation.ellipses import AXES, Ellipses, ellipses, simulate_ellipses, squeezed
from anomaly.simulation.squares import (
    GrowingSquares,
    Squares,
    SquaresAnywhere,
    growing_squares,
    simulate_growing_squares,
    simulate_squares,
    simulate_squares_anywhere,
    squares,
    texture,
    zoomed,
)
from anomaly.simulation.toys import Toy, ncc

KINDS = {
    "squares": simulate_squares,
    "squares-anywhere": simulate_squares_anywhere,
    "growing-squares": simulate_growing_squares,
    "ellipses": simulate_ellipses,
}


def plans(toy: Toy, part: str) -> pd.DataFrame:
    return pd.DataFrame([toy.planned(*place)[0] for place in toy.places() if place[0] == part])


def contents(folder: Path) -> dict[str, bytes]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


# Squares (VA-GAN)


def test_squares_default_to_the_protocols_10_000_images_of_112_pixels_in_three_parts() -> None:
    toy = Squares()
    parts = pd.Series([part for part, _ in toy.places()])
    assert (toy.count, toy.size) == (10_000, 112)
    assert parts.value_counts().to_dict() == {"train": 6400, "val": 1600, "test": 2000}
    assert len(set(toy.places())) == 10_000


def test_half_of_each_part_are_cases_and_half_of_these_of_either_subtype() -> None:
    drawn = plans(Squares(), "test")
    assert drawn["label"].mean() == 0.5
    assert drawn["subtype"].value_counts().to_dict() == {"": 1000, "A": 500, "B": 500}


def test_boxes_of_20_pixels_stand_in_the_centre_and_32_away_jittered_by_minus_5_to_4() -> None:
    drawn = plans(Squares(), "train")
    cases = drawn[drawn["label"] == 1].set_index("subtype")
    assert set(cases["first_row"]) == set(cases["first_column"]) == {46}
    for axis in ("second_row", "second_column"):
        assert set(cases.loc["A", axis].astype(int) - 46 - 32) == set(range(-5, 5))
        assert set(cases.loc["B", axis].astype(int) - 46 + 32) == set(range(-5, 5))


def test_masks_are_the_two_boxes_and_controls_have_none() -> None:
    drawn = squares(40)
    assert set(drawn.masks[drawn.label == 1].sum(axis=(1, 2))) == {800}
    assert not drawn.masks[drawn.label == 0].any()
    assert drawn.masks[drawn.label == 1][:, 46:66, 46:66].all()


def test_each_image_is_stretched_to_its_own_extremes() -> None:
    drawn = squares(20)
    assert drawn.images.dtype == np.float32
    np.testing.assert_allclose(drawn.images.min(axis=(1, 2)), -1, atol=1e-6)
    np.testing.assert_allclose(drawn.images.max(axis=(1, 2)), 1, atol=1e-6)


def test_boxes_are_two_standard_deviations_brighter_than_the_noise() -> None:
    toy = Squares()
    plan, rng = toy.planned("train", 1)
    drawn = toy.draw(plan, rng)
    _, again = toy.planned("train", 1)
    noise = 50 * texture(112, 2.5, again)
    unscaled = noise + 100 * drawn.mask
    assert noise.std() == pytest.approx(50, rel=1e-5)
    expected = 2 * (unscaled - unscaled.min()) / np.ptp(unscaled) - 1
    np.testing.assert_allclose(drawn.image, expected, atol=1e-6)


def test_the_noise_is_correlated_as_a_gaussian_blur_of_2_5_pixels_makes_it() -> None:
    noise = texture(400, 2.5, np.random.default_rng(0))
    for lag in (1, 3, 5):
        found = np.mean(noise[:, lag:] * noise[:, :-lag])
        assert found == pytest.approx(np.exp(-(lag**2) / (4 * 2.5**2)), abs=0.03)


def test_the_floors_of_the_spec_come_out() -> None:
    facts = squares(2000, seed=3)
    train, test = facts.split == "train", (facts.split == "test") & (facts.label == 1)
    case, healthy = (facts.images[train & (facts.label == each)].mean(axis=0) for each in (1, 0))
    toy = Squares()
    scores = {"mean_difference": [], "centre_box": [], "raw": []}
    for image, mask in zip(facts.images[test], facts.masks[test], strict=True):
        for name, values in toy.floors(image, healthy, case).items():
            scores[name].append(ncc(values, mask))
    found = {name: np.mean(each) for name, each in scores.items()}
    assert found["centre_box"] == pytest.approx(0.695, abs=0.001)
    assert found["raw"] == pytest.approx(0.438, abs=0.02)
    assert found["mean_difference"] == pytest.approx(0.802, abs=0.03)


def test_boxes_anywhere_lie_in_the_image_apart_and_everywhere() -> None:
    toy = SquaresAnywhere(count=2000)
    masks = squares(400, anywhere=True).masks
    cases = plans(toy, "train").query("label == 1")
    assert set(masks.sum(axis=(1, 2))) == {0, 800}
    for axis in ("row", "column"):
        corners = pd.concat([cases[f"first_{axis}"], cases[f"second_{axis}"]]).astype(int)
        assert (corners.min(), corners.max()) == (0, 92)


# Growing squares (DeFI-GAN)


def test_factors_are_weibull_rounded_to_two_decimals_and_small_ones_are_cases() -> None:
    drawn = plans(GrowingSquares(), "train")
    factors = drawn["factor"].to_numpy()
    np.testing.assert_array_equal(factors, np.round(factors, 2))
    np.testing.assert_array_equal(drawn["label"], (factors < 0.7).astype(int))
    # P(0.75 W < x) = 1 - exp(-(x / 0.75)^7), rounded from half a hundredth on.
    for limit in (0.6, 0.7, 0.8):
        expected = 1 - np.exp(-(((limit - 0.005) / 0.75) ** 7))
        assert np.mean(factors < limit) == pytest.approx(expected, abs=0.02)
    assert (drawn["healthy_factor"] >= 0.7).all()
    healthy = drawn["label"] == 0
    assert (drawn.loc[healthy, "factor"] == drawn.loc[healthy, "healthy_factor"]).all()


def test_a_square_of_factor_1_has_80_percent_of_the_side_and_its_texture_sd_a_half() -> None:
    toy = GrowingSquares()
    image = toy.draw({"label": 0, "factor": 1.0, "healthy_factor": 1.0}, np.random.default_rng(0)).image
    inside = image != -0.5
    assert inside[23:201, 23:201].all() and not inside.all(axis=1).any()
    assert inside.sum() == 178**2
    assert image[inside].mean() == pytest.approx(0.5, abs=0.08)
    assert image[inside].std() == pytest.approx(0.5, abs=0.02)
    assert image.max() > 1, "the protocol's values are not stretched"


@pytest.mark.parametrize("factor", [0.5, 0.75, 1.2])
def test_the_square_grows_with_its_factor(factor: float) -> None:
    flat = np.full((224, 224), -0.5, np.float32)
    flat[23:201, 23:201] = 0.5
    side = np.sqrt((zoomed(flat, factor) > 0).sum())
    assert side == pytest.approx(178 * factor, abs=2)


def test_the_truth_is_the_same_texture_at_the_healthy_factor_minus_the_case() -> None:
    toy = GrowingSquares()
    case = toy.draw({"label": 1, "factor": 0.5, "healthy_factor": 0.8}, np.random.default_rng(4))
    healthy = toy.draw({"label": 0, "factor": 0.8, "healthy_factor": 0.8}, np.random.default_rng(4))
    np.testing.assert_allclose(case.truth, healthy.image - case.image, atol=1e-6)
    np.testing.assert_allclose(case.twin, healthy.image, atol=1e-6)
    np.testing.assert_array_equal(case.mask, np.abs(healthy.image - case.image) > 0.1)


def test_zooming_by_1_changes_nothing_and_keeps_the_centre() -> None:
    image = texture(64, 2, np.random.default_rng(0))
    np.testing.assert_array_equal(zoomed(image, 1.0), image)
    ramp = np.tile(np.arange(64, dtype=np.float32), (64, 1))
    np.testing.assert_allclose(zoomed(ramp, 1.5)[32], 31.5 + (np.arange(64) - 31.5) / 1.5, atol=0.02)


def test_parts_have_random_streams_of_their_own() -> None:
    """The original draws train, validation and test from one seed, so that they are the same images."""
    toy = GrowingSquares(count=40, size=32)
    first = [toy.draw(*toy.planned(part, 0)).image for part in ("train", "val", "test")]
    assert not any(np.array_equal(a, b) for a, b in zip(first, [*first[1:], first[0]], strict=True))
    factors = [plans(GrowingSquares(count=1000), part)["factor"][:100].tolist() for part in ("train", "val", "test")]
    assert factors[0] != factors[1] != factors[2] != factors[0]


# Ellipses (DeScarGAN)


def test_ellipses_have_the_protocols_axes_and_places_and_lie_inside() -> None:
    drawn = plans(Ellipses(count=600), "train")
    for name, axes in zip(("first", "second"), AXES, strict=True):
        for end, mean in zip(("long", "short"), axes, strict=True):
            assert drawn[f"{name}_{end}"].mean() == pytest.approx(mean, abs=0.3)
            assert drawn[f"{name}_{end}"].std() == pytest.approx(1, abs=0.15)
    places = drawn[["first_row", "first_column", "second_row", "second_column"]].to_numpy()
    assert places.min() >= 50 and places.max() < 200
    assert np.hypot(places[:, 0] - places[:, 2], places[:, 1] - places[:, 3]).min() > 120


def test_a_healthy_image_shows_both_whole_outlines() -> None:
    toy = Ellipses()
    plan, rng = toy.planned("train", 0)
    image = toy.draw(plan, rng).image
    assert image.min() == -1 and image.max() == pytest.approx(1)
    for name in ("first", "second"):
        turn = np.linspace(0, 2 * np.pi, 100)
        along, over = (plan[f"{name}_{end}"] - 2 for end in ("long", "short"))
        cos, sin = np.cos(plan[f"{name}_angle"]), np.sin(plan[f"{name}_angle"])
        rows = plan[f"{name}_row"] + along * np.cos(turn) * cos - over * np.sin(turn) * sin
        columns = plan[f"{name}_column"] + along * np.cos(turn) * sin + over * np.sin(turn) * cos
        assert np.median(image[np.round(rows).astype(int), np.round(columns).astype(int)]) > 0.9


def test_the_warp_moves_by_a_tenth_of_the_half_width_one_sd_from_the_centre_and_not_in_it() -> None:
    ramp = np.tile(np.arange(256, dtype=np.float32), (256, 1))
    moved = squeezed(ramp, 128, 128) - ramp
    assert np.abs(moved).max() == pytest.approx(0.1 * 127.5, rel=0.01)
    assert moved[128, 152] > 12.6, "0.19 of 127.5 pixels to the right, what is shown lies further to the right"
    assert moved[128, 104] < -12.6
    assert abs(moved[128, 128]) < 0.5 and np.abs(moved[:10]).max() < 0.1


def test_the_truth_of_a_case_is_its_healthy_twin_minus_itself_about_the_first_ellipse() -> None:
    toy = Ellipses()
    plan, rng = toy.planned("test", 1)
    case = toy.draw(plan, rng)
    _, again = toy.planned("test", 1)
    healthy = toy.draw({**plan, "label": 0}, again)
    np.testing.assert_allclose(case.image + case.truth, healthy.image, atol=1e-6)
    rows, columns = np.nonzero(case.mask)
    assert np.hypot(rows - plan["first_row"], columns - plan["first_column"]).max() < 110
    assert np.hypot(rows - plan["first_row"], columns - plan["first_column"]).mean() < 50


# All kinds


@pytest.mark.parametrize("kind", KINDS)
def test_the_folder_is_a_cohort_whose_files_hold_what_is_drawn(kind: str, tmp_path: Path) -> None:
    path = KINDS[kind](tmp_path, count=25, size=48, seed=1)
    drawn = {
        "squares": lambda: squares(25, 48, 1),
        "squares-anywhere": lambda: squares(25, 48, 1, anywhere=True),
        "growing-squares": lambda: growing_squares(25, 48, 1),
        "ellipses": lambda: ellipses(25, 48, 1),
    }[kind]()
    cohort = read_cohort(path)
    assert cohort["id"].str.startswith("sim").all() and (cohort["simulated"] == 1).all()
    assert cohort["label"].tolist() == drawn.label.tolist() and cohort["split"].tolist() == drawn.split.tolist()
    for row, image, mask in zip(cohort.itertuples(), drawn.images, drawn.masks, strict=True):
        stored = np.load(row.path)
        assert stored.dtype == np.float32
        np.testing.assert_array_equal(stored, image)
        if row.label:
            np.testing.assert_array_equal(np.asarray(PIL.Image.open(tmp_path / row.mask)), 255 * mask)
    if drawn.truth is not None:
        for row, image, truth in zip(cohort.itertuples(), drawn.images, drawn.truth, strict=True):
            if row.label:
                np.testing.assert_array_equal(np.load(tmp_path / row.truth), truth)
                if kind == "ellipses":
                    np.testing.assert_array_equal(np.load(tmp_path / row.twin), image + truth)
    facts = json.loads((tmp_path / "truth.json").read_text())
    cases = int(drawn.label[drawn.split == "test"].sum())
    assert facts["counts"]["test"] == {"controls": 5 - cases, "cases": cases}
    assert all(floor["cases"] == cases for floor in facts["floors"].values())
    assert facts["truth"].startswith("the mask" if drawn.truth is None else "truth/ID.npy is the healthy twin minus")
    assert (tmp_path / "preview.png").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_bytes_and_what_is_missing_is_drawn_again(kind: str, tmp_path: Path) -> None:
    simulate, settings = KINDS[kind], {"count": 20, "size": 40}
    simulate(tmp_path / "a", **settings)
    simulate(tmp_path / "b", **settings)
    simulate(tmp_path / "c", **settings, seed=1)
    first, other = contents(tmp_path / "a"), contents(tmp_path / "c")
    assert first == contents(tmp_path / "b")
    assert first["images/sim-test-00001.npy"] != other["images/sim-test-00001.npy"]
    for name in ("images/sim-train-00003.npy", "cohort.csv", "preview.png"):
        (tmp_path / "b" / name).unlink()
    kept = (tmp_path / "b" / "images" / "sim-train-00002.npy").stat().st_mtime_ns
    simulate(tmp_path / "b", **settings)
    assert first == contents(tmp_path / "b")
    assert (tmp_path / "b" / "images" / "sim-train-00002.npy").stat().st_mtime_ns == kept


def test_one_part_alone_is_the_same_as_that_part_of_all() -> None:
    both, test = squares(50, 40), squares(50, 40, parts=("test",))
    np.testing.assert_array_equal(both.images[both.split == "test"], test.images)
    assert set(test.split) == {"test"}


def test_a_folder_with_other_settings_is_refused(tmp_path: Path) -> None:
    simulate_squares(tmp_path, count=20, size=40)
    with pytest.raises(CohortError, match=r"made with kind squares, seed 0; choose another --out"):
        simulate_squares_anywhere(tmp_path, count=20, size=40, seed=2)
    (tmp_path / "truth.json").write_text("[]")
    with pytest.raises(CohortError, match="tells no settings"):
        simulate_squares(tmp_path, count=20, size=40)


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"count": 19}, "count is 19; expected 20"), ({"size": 31}, "size is 31"), ({"seed": -1}, "seed is -1")],
)
def test_settings_out_of_range_are_told(settings: dict[str, int], told: str, tmp_path: Path) -> None:
    for simulate in KINDS.values():
        with pytest.raises(CohortError, match=told):
            simulate(tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_ncc_is_pearsons_correlation_and_0_for_a_flat_map() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 9, 9))
    assert ncc(a, b) == pytest.approx(np.corrcoef(a.ravel(), b.ravel())[0, 1])
    assert ncc(a, 3 - 2 * a) == pytest.approx(-1)
    assert ncc(np.ones((9, 9)), a) == 0
