"""What every explainer promises whose networks are trained; a new one adds a line to TINY and nothing else."""

from functools import cache
from pathlib import Path

import pytest
import torch
from latents import Linear
from torch import Tensor

from anomaly.errors import AnomalyError, RunError
from anomaly.nets.losses import gaussian_blur
from anomaly.training.machine import Machine
from explain import EXPLAINERS, TrainedExplainer

CPU = Machine(device="cpu")
CRITICISED = {"steps": 3, "batch": 4, "width": 4, "critic_width": 4, "critic_turns": 1}
TINY: dict[str, dict] = {
    "additive": {**CRITICISED, "warm_up": 2, "decay": 0.5, "ema": 0.5},
    "deformation": {**CRITICISED, "warm_up": 0, "smoothness": 1.0},
    "diffusion-counterfactual": {"steps": 3, "batch": 4, "width": 4, "levels": 2, "inference_steps": 3, "ema": 0.5},
    "conditional": {**CRITICISED, "warm_up": 2},
    "targeted": CRITICISED,
    "paired": {"steps": 3, "batch": 4, "width": 4, "critic_width": 4, "draws": 2},
    "pix2pix": {"steps": 3, "batch": 4, "width": 4, "critic_width": 4, "draws": 2},
    "medgan": {"steps": 3, "batch": 4, "width": 4, "critic_width": 4, "blocks": 2},
    "red-cnn": {"steps": 3, "batch": 4, "width": 4},
    "latent-walk": {"samples": 400, "probability": 0.48, "frames": 3},
}
SPACES = {"2D": (1, 18, 20), "two channels": (2, 16, 16), "3D": (1, 10, 12, 9)}
TRAINED = {name: cls for name, cls in EXPLAINERS.items() if issubclass(cls, TrainedExplainer)}
named = pytest.mark.parametrize("name", TRAINED)
shaped = pytest.mark.parametrize("space", SPACES)


def images(n: int, shape: tuple[int, ...], seed: int) -> Tensor:
    """Smooth images (n, *shape) in [-0.9, 0.4]."""
    noise = torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))
    return (gaussian_blur(noise, 2.0) - 0.4).clamp(-0.9, 0.4)


def target(x: Tensor) -> Tensor:
    """What is explained where a method asks for a target: the mean."""
    return x.flatten(1).mean(1)


def made(name: str, space: str = "2D") -> TrainedExplainer:
    draws = getattr(TRAINED[name], "takes_generator", False)
    beside = {"generator": Linear(SPACES[space], mean=0.05)} if draws else {}
    return TRAINED[name](target=target if TRAINED[name].takes_target else None, **beside, **TINY[name])


def learnt(name: str, space: str, seed: int = 0) -> TrainedExplainer:
    shape = SPACES[space]
    controls = images(8, shape, 1)
    return made(name, space).fit(controls, (controls + 0.5).clamp(-1, 1), machine=CPU, seed=seed)


@cache
def fitted(name: str, space: str) -> TrainedExplainer:
    """An explainer shared between tests, so none may change it."""
    return learnt(name, space)


def cases(space: str) -> Tensor:
    return images(5, SPACES[space], 3) + 0.5


def test_every_explainer_is_tested() -> None:
    assert TINY.keys() == TRAINED.keys()
    assert all(cls.name == name and cls.summary and cls.cite for name, cls in TRAINED.items())


@named
def test_settings_make_the_same_explainer(name: str) -> None:
    explainer = made(name)
    assert explainer.settings().items() >= TINY[name].items()
    assert TRAINED[name](**explainer.settings()) == explainer
    assert "target" not in repr(explainer)


@named
@shaped
def test_shapes(name: str, space: str) -> None:
    x = cases(space)
    explanation = fitted(name, space).explain(x)
    assert explanation.map.shape == (5, 1, *SPACES[space][1:])
    assert explanation.counterfactual is not None and explanation.counterfactual.shape == x.shape
    assert explanation.field is None or explanation.field.shape == (5, len(SPACES[space]) - 1, *SPACES[space][1:])
    assert explanation.spread is None or explanation.spread.shape == explanation.map.shape
    assert all(value.shape == (5,) for value in explanation.diagnostics.values())
    torch.testing.assert_close(explanation.map, (x - explanation.counterfactual).mean(1, keepdim=True))
    assert explanation.map.isfinite().all() and explanation.map.abs().amax() > 0


@named
@shaped
def test_does_not_depend_on_the_batch(name: str, space: str) -> None:
    x = cases(space)
    together, alone = fitted(name, space).explain(x), fitted(name, space).explain(x[3:4])
    torch.testing.assert_close(together.map[3:4], alone.map, rtol=1e-4, atol=1e-5)
    for key, value in together.diagnostics.items():
        torch.testing.assert_close(value[3:4], alone.diagnostics[key], rtol=1e-4, atol=1e-5)


@named
def test_same_seed_same_result(name: str) -> None:
    torch.manual_seed(5)
    first, state = learnt(name, "2D", seed=1), torch.get_rng_state()
    torch.manual_seed(5)
    assert torch.equal(state, torch.get_rng_state())
    x = cases("2D")
    assert torch.equal(first.explain(x).map, learnt(name, "2D", seed=1).explain(x).map)
    assert not torch.equal(first.explain(x).map, learnt(name, "2D", seed=2).explain(x).map)


@named
@shaped
def test_saved_and_loaded_it_says_the_same(name: str, space: str, tmp_path: Path) -> None:
    explainer, path = fitted(name, space), tmp_path / "weights.safetensors"
    explainer.save(path)
    loaded = TRAINED[name].load(path)
    loaded.target = explainer.target
    loaded.generator = getattr(explainer, "generator", None)
    assert loaded == explainer
    assert torch.equal(loaded.explain(cases(space)).map, explainer.explain(cases(space)).map)
    other = next(each for each in TRAINED if each != name)
    with pytest.raises(RunError, match=f"holds the method '{name}', expected '{other}'"):
        TRAINED[other].load(path)


@named
def test_images_are_left_alone_whatever_the_gradient_mode(name: str) -> None:
    x = cases("2D").requires_grad_()
    before = x.detach().clone()
    with torch.inference_mode():
        without = fitted(name, "2D").explain(x + 0).map
    torch.testing.assert_close(without, fitted(name, "2D").explain(x).map)
    assert torch.equal(x.detach(), before) and x.grad is None


@named
def test_what_cannot_be_learned_from_is_told(name: str) -> None:
    x = images(4, (1, 18, 20), 1)
    with pytest.raises(AnomalyError, match="controls and cases; give"):
        made(name).fit(x)
    with pytest.raises(AnomalyError, match=r"\(1, 9, 9\).*\(1, 18, 20\)"):
        made(name).fit(x, torch.zeros(4, 1, 9, 9))
    with pytest.raises(AnomalyError, match=f"this {name} explainer has learned nothing"):
        made(name).explain(x)
    with pytest.raises(AnomalyError, match=r"\(1, 9, 9\).*\(1, 18, 20\)"):
        fitted(name, "2D").explain(torch.zeros(2, 1, 9, 9))
    if TRAINED[name].paired:
        with pytest.raises(AnomalyError, match="3 cases and 4 counterparts"):
            made(name).fit(x, x[:3])


@named
def test_settings_out_of_range_are_told(name: str) -> None:
    for setting in TRAINED[name].positive:
        with pytest.raises(AnomalyError, match=f"{setting} must be positive"):
            TRAINED[name](**{**TINY[name], setting: -1 if setting in TRAINED[name].amounts else 0})
    for setting in TRAINED[name].not_negative:
        with pytest.raises(AnomalyError, match=f"{setting} must be 0 or more"):
            TRAINED[name](**{**TINY[name], setting: -1})
