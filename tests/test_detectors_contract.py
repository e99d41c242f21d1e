"""What every detector promises, whatever its method, in two and three dimensions."""

import dataclasses
import json
import os
import pickle
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import CASES, CPU, OTHER_SETTINGS, SHAPES, TINY, fitted, lesion, normals, tiny, with_lesion
from torch import Tensor

from anomaly.detectors import DETECTORS, Detector, LocalDetector, TrainedDetector
from anomaly.detectors.densities import Memory
from anomaly.errors import AnomalyError, RunError
from anomaly.nets.losses import gaussian_blur
from anomaly.runs.methods import create

OF_CELLS = {"auto", *(name for name, cls in DETECTORS.items() if issubclass(cls, LocalDetector))}
named = pytest.mark.parametrize("name", DETECTORS)
cases = pytest.mark.parametrize("case", CASES)
shapes = pytest.mark.parametrize("shape", SHAPES)


def unseen(shape: str, n: int = 8) -> Tensor:
    return normals(n, SHAPES[shape], seed=3)


def fitted_anew(name: str, shape: str, images: Tensor | np.ndarray, seed: int = 0, **settings: object) -> Detector:
    known = {field.name for field in dataclasses.fields(DETECTORS[name])}
    short = {setting: 6 for setting in ("steps", "encoder_steps") if setting in known and name != "auto"}
    return tiny(name, **{**short, **settings}).fit(images, machine=CPU, seed=seed)


def kept(a: Detector, b: Detector) -> Iterator[tuple[Tensor, Tensor]]:
    """What the memories of two detectors hold, side by side; the seed draws it where there is more to hold."""
    for one, other in zip(a.net_.modules(), b.net_.modules(), strict=True):
        if isinstance(one, Memory):
            yield one.kept, other.kept


def same(a: Detector, b: Detector, x: Tensor) -> bool:
    one, other = a.score(x), b.score(x)
    return torch.equal(one.map, other.map) and torch.equal(one.value, other.value)


def test_every_detector_has_tiny_settings():
    assert set(TINY) == set(DETECTORS), "a new method adds its line to tests/tiny.py"
    assert {name for name, _ in OTHER_SETTINGS.values()} <= set(DETECTORS)


@named
def test_it_says_what_it_is(name):
    cls = DETECTORS[name]
    assert cls.name == name and cls.summary and cls.cite and (cls.__doc__ or "").strip()


@shapes
@cases
def test_a_map_and_a_value_for_each_image(case, shape):
    x = with_lesion(unseen(shape))
    score = fitted(case, shape).score(x)
    assert score.map.shape == (len(x), 1, *x.shape[2:]) and score.value.shape == (len(x),)
    assert score.map.dtype == score.value.dtype == torch.float32
    assert torch.isfinite(score.map).all() and torch.isfinite(score.value).all()
    assert (score.map >= 0).all()
    assert all(part.shape == (len(x),) and torch.isfinite(part).all() for part in score.parts.values())


@shapes
@cases
def test_a_score_does_not_depend_on_its_batch(case, shape):
    detector, x = fitted(case, shape), with_lesion(unseen(shape))
    together = detector.score(x)
    # A local variance is the difference of two nearly equal averages: single precision leaves it four figures.
    tolerance = 3e-4 if getattr(detector, "map_from", "") == "ssim" else 1e-5
    alone = [detector.score(image[None]) for image in x]
    for i, score in enumerate(alone):
        torch.testing.assert_close(score.value[0], together.value[i], rtol=1e-5, atol=1e-6)
        size = together.map[i].max().item()
        torch.testing.assert_close(score.map[0], together.map[i], rtol=1e-5, atol=tolerance * size)


@shapes
@cases
def test_a_planted_lesion_scores_higher_and_in_its_place(case, shape):
    detector, x = fitted(case, shape), unseen(shape, 16)
    score = detector.score(with_lesion(x))
    assert score.value.mean() > detector.score(x).value.mean()
    if (case, shape) == ("own-features", "two channels"):  # a cell sees 19 pixels, more than these pictures have
        return
    place = lesion(SHAPES[shape][1:]).flatten()
    if case.partition(",")[0] in OF_CELLS:  # a cell of a small image is as large as the lesion, and rings reach further
        flat = score.map.flatten(1)
        assert flat[:, place].mean() > 1.05 * flat[:, ~place].mean()
        return
    assert place[gaussian_blur(score.map, 1.0).flatten(1).argmax(1)].all()


@named
@pytest.mark.parametrize("shape", ["2D", "3D"])
def test_the_same_seed_gives_the_same_to_the_bit_and_another_does_not(name, shape):
    images, x = normals(12, SHAPES[shape]), unseen(shape)
    first = fitted_anew(name, shape, images)
    torch.rand(7)
    assert same(first, fitted_anew(name, shape, images), x)
    other = fitted_anew(name, shape, images, seed=1)
    drawn = not all(torch.equal(one, another) for one, another in kept(first, other))
    assert same(first, other, x) is not (issubclass(DETECTORS[name], TrainedDetector) or drawn)


@named
def test_fitting_leaves_the_callers_random_numbers_alone(name):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fitted_anew(name, "2D", normals(12, SHAPES["2D"]))
    assert torch.equal(torch.rand(3), expected)


@shapes
@cases
def test_saved_and_loaded_it_is_the_same_to_the_bit(case, shape, tmp_path):
    detector, path = fitted(case, shape), tmp_path / "weights.safetensors"
    detector.save(path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name], "nothing else is left in the folder"
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    loaded = type(detector).load(path)
    assert torch.equal(torch.rand(3), expected), "loading leaves the caller's random numbers alone"
    assert loaded == detector and loaded.shape_ == detector.shape_
    assert same(detector, loaded, with_lesion(unseen(shape)))
    assert not any(p.requires_grad or p.grad is not None for p in loaded.net_.parameters())


@named
def test_a_file_that_is_not_its_own_is_refused(name, tmp_path):
    path, cls = tmp_path / "weights.safetensors", DETECTORS[name]
    other = "mean-image" if name == "intensity" else "intensity"
    fitted(other, "2D").save(path)
    with pytest.raises(RunError, match=f"holds the method '{other}', expected '{name}'"):
        cls.load(path)
    fitted(name, "2D").save(path)
    whole = path.read_bytes()
    for length in (0, 5, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(RunError, match=f"cannot be read as a trained {name}"):
            cls.load(path)
    with pytest.raises(RunError, match="absent"):
        cls.load(tmp_path / "absent.safetensors")


@named
def test_loading_runs_no_code(name, tmp_path):
    class Evil:
        def __reduce__(self) -> tuple:
            return (os.mkdir, (str(tmp_path / "owned"),))

    (tmp_path / "weights.safetensors").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(RunError):
        DETECTORS[name].load(tmp_path / "weights.safetensors")
    assert not (tmp_path / "owned").exists()


@named
def test_settings_or_weights_that_do_not_fit_are_refused(name, tmp_path):
    path, detector = tmp_path / "weights.safetensors", fitted(name, "2D")
    facts = {"method": name, "settings": json.dumps({"colour": 1}), "shape": json.dumps(detector.shape_)}
    detector.save(path)
    weights = load_file(path)
    save_file(weights, path, facts)
    with pytest.raises(RunError, match="colour"):
        type(detector).load(path)
    save_file({**weights, "more": torch.zeros(1)}, path, {**facts, "settings": json.dumps(detector.settings())})
    with pytest.raises(RunError, match="more"):
        type(detector).load(path)


@named
def test_images_of_another_shape_are_told_with_both(name):
    with pytest.raises(AnomalyError, match=r"\(1, 16, 20\).*\(1, 18, 20\)"):
        fitted(name, "2D").score(torch.zeros(2, 1, 16, 20))
    with pytest.raises(AnomalyError, match=r"\(2, 18, 20\).*\(1, 18, 20\)"):
        fitted(name, "2D").score(torch.zeros(2, 2, 18, 20))


@named
def test_normals_that_cannot_be_learned_from_are_told(name):
    detector = tiny(name)
    with pytest.raises(AnomalyError, match=r"at least one; got \(0, 1, 8, 8\)"):
        detector.fit(torch.zeros(0, 1, 8, 8))
    with pytest.raises(AnomalyError, match=r"2D or 3D.*got \(5, 8, 8\)"):
        detector.fit(torch.zeros(5, 8, 8))
    with pytest.raises(AnomalyError, match=r"held-out.*\(5, 1, 8, 9\).*\(6, 1, 8, 8\)"):
        detector.fit(torch.zeros(6, 1, 8, 8), torch.zeros(5, 1, 8, 9))


@named
def test_not_fitted_it_says_so(name, tmp_path):
    for act in (lambda d: d.score(torch.zeros(1, 1, 8, 8)), lambda d: d.save(tmp_path / "w.safetensors")):
        with pytest.raises(AnomalyError, match=rf"{name} detector has learned nothing yet; call fit"):
            act(tiny(name))


@shapes
@cases
def test_the_value_can_be_differentiated_in_the_image(case, shape):
    detector, x = fitted(case, shape), with_lesion(unseen(shape, 4))
    x.requires_grad_(True)
    if not detector.differentiable:
        with pytest.raises(AnomalyError, match="have no gradient; explain it by occlusion"):
            detector.value(x)
        return
    value = detector.value(x)
    torch.testing.assert_close(value.detach(), detector.score(x).value, rtol=1e-5, atol=1e-6)
    (slopes,) = torch.autograd.grad(value.sum(), x)
    assert slopes.shape == x.shape and torch.isfinite(slopes).all() and (slopes != 0).flatten(1).any(1).all()


@shapes
@cases
def test_the_slope_of_the_value_is_that_of_finite_differences(case, shape, tmp_path):
    """In double precision, along a random direction; and it does not depend on the batch."""
    path = tmp_path / "weights.safetensors"
    fitted(case, shape).save(path)
    detector = type(fitted(case, shape)).load(path)
    # Texture leaps where its gradient is taken for zero; a deep network, and the nearest (or the farthest) of many that
    # are nearly alike, bend in too many places. The densities' slopes are held to this by "gradients, place".
    if (
        not detector.differentiable
        or case.partition(",")[0] == "irregularity"
        or case in ("auto", "features", "gradients")
    ):
        return
    detector.net_.double()
    x = with_lesion(unseen(shape, 4)).double()
    direction = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    inner = x.clone().requires_grad_(True)
    (slopes,) = torch.autograd.grad(detector.value(inner).sum(), inner)
    step = 1e-8  # so small that a step seldom crosses the bend of an absolute value
    rise = detector.value(x + step * direction) - detector.value(x - step * direction)
    expected = (slopes * direction).flatten(1).sum(1)
    torch.testing.assert_close(rise.detach() / (2 * step), expected, rtol=1e-3, atol=1e-5)
    alone = x[:1].clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(detector.value(alone).sum(), alone)
    torch.testing.assert_close(slope, slopes[:1], rtol=1e-6, atol=1e-9)


@shapes
@cases
def test_a_score_leaves_no_graph(case, shape):
    x = unseen(shape, 2).requires_grad_(True)
    score = fitted(case, shape).score(x)
    assert not any(t.requires_grad for t in (score.map, score.value, *score.parts.values()))
    assert x.grad is None
    assert not any(p.requires_grad for p in fitted(case, shape).net_.parameters())


@shapes
@cases
@pytest.mark.parametrize("level", [-1.0, 1.0])
def test_a_blank_image_gives_numbers(case, shape, level):
    score = fitted(case, shape).score(torch.full((1, *SHAPES[shape]), level))
    assert torch.isfinite(score.map).all() and torch.isfinite(score.value).all()
    if not fitted(case, shape).differentiable:
        return
    blank = torch.full((1, *SHAPES[shape]), level, requires_grad=True)
    (slope,) = torch.autograd.grad(fitted(case, shape).value(blank).sum(), blank)
    assert torch.isfinite(slope).all()


@named
@pytest.mark.parametrize("shape", ["2D", "3D"])
def test_normals_that_are_all_the_same_can_be_learned_from(name, shape):
    images = normals(1, SHAPES[shape]).repeat(8, *[1] * len(SHAPES[shape]))
    score = fitted_anew(name, shape, images).score(with_lesion(images[:2]))
    assert torch.isfinite(score.map).all() and torch.isfinite(score.value).all()


@named
def test_a_memory_map_is_read_as_the_tensor_is(name, tmp_path):
    images, path = normals(12, SHAPES["2D"]), tmp_path / "images.npy"
    np.save(path, images.numpy())
    mapped = np.load(path, mmap_mode="r")
    assert same(fitted_anew(name, "2D", images), fitted_anew(name, "2D", mapped), unseen("2D"))


@named
def test_settings_go_round(name):
    detector = tiny(name)
    assert create(name, detector.settings()) == detector
    assert create(name, json.loads(json.dumps(detector.settings()))) == detector
    assert list(detector.settings()) == [f.name for f in dataclasses.fields(detector) if f.init]


@named
def test_a_bad_setting_is_told_by_its_name(name):
    for setting, value in tiny(name).settings().items():
        if isinstance(value, bool):
            continue
        bad = "nonsense" if isinstance(value, str) else type(value)(-1)
        with pytest.raises(AnomalyError, match=setting):
            tiny(name, **{setting: bad})
    with pytest.raises(TypeError):
        DETECTORS[name](1)


def test_a_number_that_is_none_is_refused():
    with pytest.raises(AnomalyError, match="lr must be positive, got nan"):
        tiny("autoencoder", lr=float("nan"))


def test_a_loss_that_nobody_would_lower_is_refused():
    with pytest.raises(AnomalyError, match=r"writes loss\(\) but extends Detector, which trains nothing"):

        class Idle(Detector):
            def loss(self, x):
                return x.mean()


def test_a_build_that_returns_nothing_is_told():
    class Forgetful(TrainedDetector):
        name = "forgetful"

        def build(self, shape):
            pass

        def error(self, x):
            return x

    with pytest.raises(AnomalyError, match=r"Forgetful.build returned None; return the nn.Module"):
        Forgetful().fit(torch.zeros(4, 1, 8, 8))


@pytest.mark.parametrize("shape", ["2D", "3D"])
@named
def test_what_it_draws_from_a_code_is_an_image_of_its_own_kind(name, shape):
    detector = fitted(name, shape)
    try:
        code = detector.encode(unseen(shape, 4))
    except AnomalyError as error:
        assert "no code" in str(error) and not detector.generates
        return
    assert code.shape[0] == 4 and code.ndim == 2
    with torch.no_grad():
        drawn = detector.decode(code)
    assert drawn.shape == (4, *SHAPES[shape])
    torch.testing.assert_close(drawn, detector.reconstruct(unseen(shape, 4)))
    if detector.generates:
        new = detector.decode(torch.randn(5, detector.latent, generator=torch.Generator().manual_seed(0)))
        assert new.shape == (5, *SHAPES[shape]) and new.abs().max() <= 1
        assert not torch.equal(new[0], new[1])


@pytest.mark.parametrize("shape", ["2D", "3D"])
@named
def test_masks_are_kept_out_of_values_and_maps(name: str, shape: str, tmp_path) -> None:
    """What lies outside is 0 in the map, and the rest is finite, different from a run without masks, and saved."""
    x = normals(12, SHAPES[shape])
    inside = torch.zeros(x.shape[1:], dtype=torch.bool)
    inside[(slice(None), *(slice(side // 4, side - side // 4) for side in x.shape[2:]))] = True
    x = torch.where(inside, x.clamp_min(-0.99), -1.0)
    known = {field.name for field in dataclasses.fields(DETECTORS[name])}
    short = {setting: 3 for setting in ("steps", "encoder_steps") if setting in known and name != "auto"}
    detector = tiny(name, **short).fit(x, masked=True, machine=CPU)
    score = detector.score(x)
    assert (score.map[:, ~inside[:1]] == 0).all() and torch.isfinite(score.map).all()
    assert score.map[:, inside[:1]].abs().sum() > 0 and torch.isfinite(score.value).all()
    detector.save(tmp_path / "w.safetensors")
    again = type(detector).load(tmp_path / "w.safetensors")
    assert again.masked_ and torch.equal(again.score(x).value, score.value)
