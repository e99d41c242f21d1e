"""What every explainer promises, whatever its method; a new one adds a line to TINY and nothing else."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from latents import Pixels
from torch import Tensor, nn

from anomaly.detectors import Autoencoder, Detector, MeanImage
from anomaly.errors import AnomalyError
from anomaly.nets.losses import gaussian_blur
from anomaly.training.machine import Machine
from explain import EXPLAINERS as ALL
from explain import Explainer, Target, TrainedExplainer
from explain.attributions.networks import ThroughNetwork, network_behind

EXPLAINERS = {name: cls for name, cls in ALL.items() if not issubclass(cls, TrainedExplainer)}
"""Those that explain a target and learn nothing; the others have a contract of their own."""
TINY: dict[str, dict] = {
    "deep-lift": {"baseline": "mean"},
    "grad-cam": {},
    "gradient-shap": {"samples": 8, "batch": 3, "kept": 4},
    "latent-shift": {"lowest": 0.0, "frames": 3},
    "integrated-gradients": {"steps": 8, "batch": 3, "baseline": "mean"},
    "lrp": {"baseline": "mean"},
    "occlusion": {"window": 0.05, "stride": 0.05, "batch": 64, "baseline": "mean"},
    "saliency": {},
    "smooth-grad": {"samples": 4, "batch": 3},
    "superpixel-occlusion": {"size": 0.2, "scales": 2, "batch": 64, "baseline": "mean"},
}
WITHOUT_GRADIENTS = {"occlusion", "superpixel-occlusion"}
"""They only evaluate the target, so one that has no gradient is none of their mistakes; tested by what they do then."""
OF_ONE_LAYER = {"grad-cam"}
"""They show what one layer sees. The value of a detector compares the image with what its network makes of it, and no
layer sees the first of the two; what they give then is tested apart."""
SPACES = [(16, 12), (8, 10, 9)]
DETECTORS = [
    MeanImage(),
    Autoencoder(latent=2, width=4, hidden=16, steps=40, batch=8, objective="l2", value_from="l2"),
]
named = pytest.mark.parametrize("name", EXPLAINERS)
differentiating = pytest.mark.parametrize("name", [name for name in EXPLAINERS if name not in WITHOUT_GRADIENTS])
shaped = pytest.mark.parametrize("space", SPACES, ids=["2D", "3D"])


def smooth(n: int, space: tuple[int, ...], seed: int) -> Tensor:
    """Images (n, 1, *space) in [-1, 1] that share one smooth pattern and vary smoothly around it."""
    random = torch.Generator().manual_seed(seed)
    common = torch.randn(1, 1, *space, generator=torch.Generator().manual_seed(99))
    varying = torch.randn(n, 1, *space, generator=random)
    return (gaussian_blur(common, 2.0) * 2 + gaussian_blur(varying, 2.0) * 0.4).clamp(-0.9, 0.4)


def lesion(space: tuple[int, ...]) -> Tensor:
    """A box of a quarter of each side, off the centre; bool (1, 1, *space)."""
    place = torch.zeros(1, 1, *space, dtype=torch.bool)
    place[(..., *(slice(side // 8, side // 8 + side // 4) for side in space))] = True
    return place


def network(dims: int) -> nn.Module:
    """A small network (N, 1, *space) -> (N,), some of whose weights are frozen and one layer of which has a hook."""
    convolution = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
    pool = {2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}[dims]
    net = nn.Sequential(convolution(1, 3, 3), nn.Tanh(), convolution(3, 1, 3), nn.ELU(), pool(1), nn.Flatten(0))
    net[0].weight.requires_grad_(False)
    net[2].register_forward_hook(lambda module, inputs, output: None)
    return net.eval()


class Seen(nn.Module):
    """A function of images as a network, for methods that look into one: a convolution before it changes nothing."""

    def __init__(self, function: Target, dims: int) -> None:
        super().__init__()
        self.convolution = {2: nn.Conv2d, 3: nn.Conv3d}[dims](1, 1, 1, bias=False)
        nn.init.ones_(self.convolution.weight)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.convolution(x))


def made(name: str, target: Target, space: tuple[int, ...]) -> Explainer:
    """An explainer with tiny settings, fitted."""
    if issubclass(EXPLAINERS[name], ThroughNetwork) and target and not network_behind(target):
        target = Seen(target, len(space))
    controls = smooth(12, space, seed=1)
    cases = torch.where(lesion(space), smooth(12, space, seed=2) + 0.5, smooth(12, space, seed=2))
    beside = {"generator": Pixels((1, *space))} if getattr(EXPLAINERS[name], "takes_generator", False) else {}
    return EXPLAINERS[name](target=target, **beside, **TINY[name]).fit(controls, cases)


def everything(net: nn.Module) -> list:
    """What explaining must leave alone in a network: values, gradients, flags and hooks."""
    values = {key: value.clone().tolist() for key, value in net.state_dict().items()}
    flags = [(p.requires_grad, p.grad) for p in net.parameters()]
    hooks = [
        [list(m._forward_hooks), list(m._forward_pre_hooks), list(m._backward_hooks), list(m._backward_pre_hooks)]
        for m in net.modules()
    ]
    return [values, flags, hooks, [m.training for m in net.modules()]]


@contextmanager
def left_alone(net: nn.Module, x: Tensor) -> Iterator[None]:
    """Check afterwards, also after an exception, that nothing of the caller's has changed."""
    before, image, version = everything(net), x.detach().clone(), x._version
    flags, state, grad_mode = x.requires_grad, torch.get_rng_state(), torch.is_grad_enabled()
    try:
        yield
    finally:
        assert everything(net) == before
        assert torch.equal(x.detach(), image) and x._version == version
        assert x.requires_grad is flags and x.grad is None
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.is_grad_enabled() is grad_mode


def test_every_explainer_is_tested() -> None:
    assert TINY.keys() == EXPLAINERS.keys()
    assert all(cls.name == name and cls.summary and cls.cite for name, cls in EXPLAINERS.items())


def test_import_does_not_load_captum() -> None:
    code = "import sys, explain; sys.exit('captum' in sys.modules)"
    root = Path(__file__).parents[1]
    answer = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr or "explain loads captum"


@named
def test_settings_make_the_same_explainer(name: str) -> None:
    explainer = EXPLAINERS[name](target=torch.sum, **TINY[name])
    assert explainer.settings().items() >= TINY[name].items()
    assert EXPLAINERS[name](**explainer.settings()) == explainer
    assert "target" not in repr(explainer)


@named
@shaped
def test_shapes(name: str, space: tuple[int, ...]) -> None:
    x = smooth(3, space, seed=3)
    explanation = made(name, network(len(space)), space).explain(x)
    assert explanation.map.shape == (3, 1, *space)
    assert explanation.map.isfinite().all() and explanation.map.abs().amax() > 0
    assert explanation.counterfactual is None or explanation.counterfactual.shape == x.shape
    assert explanation.field is None or explanation.field.shape == (3, len(space), *space)
    assert all(value.shape == (3,) for value in explanation.diagnostics.values())
    tensors = [explanation.map, explanation.counterfactual, explanation.field, *explanation.diagnostics.values()]
    assert not any(tensor.requires_grad for tensor in tensors if tensor is not None)


@named
@shaped
def test_does_not_depend_on_the_batch(name: str, space: tuple[int, ...]) -> None:
    x = smooth(5, space, seed=3)
    explainer = made(name, network(len(space)), space)
    together, alone = explainer.explain(x), explainer.explain(x[3:4])
    torch.testing.assert_close(together.map[3:4], alone.map, rtol=1e-5, atol=1e-7)
    for key, value in together.diagnostics.items():
        torch.testing.assert_close(value[3:4], alone.diagnostics[key], rtol=1e-5, atol=1e-6)


@named
def test_same_seed_same_result(name: str) -> None:
    def random_target(x: Tensor) -> Tensor:
        return (x * torch.rand_like(x)).flatten(1).sum(1)

    explainer, x = made(name, random_target, SPACES[0]), smooth(2, SPACES[0], seed=3)
    first = explainer.explain(x, seed=7).map
    torch.rand(5)
    assert torch.equal(explainer.explain(x, seed=7).map, first)
    assert not torch.equal(explainer.explain(x, seed=8).map, first)


@named
@pytest.mark.parametrize("wants_gradient", [False, True])
def test_leaves_everything_as_it_was(name: str, wants_gradient: bool) -> None:
    net, x = network(2), smooth(2, SPACES[0], seed=3).requires_grad_(wants_gradient)
    with left_alone(net, x):
        made(name, net, SPACES[0]).explain(x)


@named
def test_leaves_everything_as_it_was_after_an_exception(name: str) -> None:
    net, x = network(2), smooth(2, SPACES[0], seed=3)

    def broken(x: Tensor) -> Tensor:
        net(x + torch.rand_like(x)).sum()
        raise RuntimeError("broken on purpose")

    explainer = made(name, broken, SPACES[0])
    with left_alone(net, x), pytest.raises(RuntimeError, match="broken on purpose"):
        explainer.explain(x)


@named
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_works_where_the_caller_takes_no_gradients(name: str, mode: Callable) -> None:
    explainer, x = made(name, network(2), SPACES[0]), smooth(2, SPACES[0], seed=3)
    with mode():
        without = explainer.explain(x + 0).map
    torch.testing.assert_close(without, explainer.explain(x).map)


@named
def test_wrong_target_shape_names_both(name: str) -> None:
    explainer = made(name, lambda x: x.flatten(1)[:, :5], SPACES[0])
    with pytest.raises(AnomalyError, match=r"gave \((\d+), 5\) for images \(\1, 1, 16, 12\), expected \(\1,\)"):
        explainer.explain(smooth(2, SPACES[0], seed=3))


@named
@pytest.mark.parametrize(
    ("target", "message"),
    [
        (lambda x: x.flatten(1).sum(1).sqrt() * float("nan"), "not finite"),
        (lambda x: 1.0, "gave float"),
        (None, "target=f"),
    ],
)
def test_wrong_target_is_told(name: str, target: Target, message: str) -> None:
    with pytest.raises(AnomalyError, match=message):
        made(name, target, SPACES[0]).explain(smooth(2, SPACES[0], seed=3))


@differentiating
def test_target_without_a_gradient_is_told(name: str) -> None:
    with pytest.raises(AnomalyError, match="cannot be differentiated"):
        made(name, lambda x: x.detach().flatten(1).sum(1), SPACES[0]).explain(smooth(2, SPACES[0], seed=3))


@pytest.mark.parametrize("name", sorted(WITHOUT_GRADIENTS))
def test_target_without_a_gradient_is_explained_as_one_that_has_it(name: str) -> None:
    def brightness(x: Tensor) -> Tensor:
        return (x * 0).sqrt().flatten(1).sum(1) + x.flatten(1).sum(1)  # its gradient is not a number

    x = smooth(2, SPACES[0], seed=3)
    maps = [made(name, f, SPACES[0]).explain(x).map for f in (brightness, lambda x: brightness(x.detach()))]
    assert torch.equal(*maps) and maps[0].isfinite().all() and maps[0].abs().amax() > 0


@differentiating
def test_gradient_that_is_not_finite_is_told(name: str) -> None:
    def target(x: Tensor) -> Tensor:
        return (x * 0).sqrt().flatten(1).sum(1)

    with pytest.raises(AnomalyError, match="no finite gradient"):
        made(name, target, SPACES[0]).explain(smooth(1, SPACES[0], seed=3))


@named
def test_wrong_images_are_told(name: str) -> None:
    explainer = made(name, network(2), SPACES[0])
    with pytest.raises(AnomalyError, match=r"\(1, 9, 9\).*\(1, 16, 12\)"):
        explainer.explain(torch.zeros(2, 1, 9, 9))
    with pytest.raises(AnomalyError, match=r"\(16, 12\)"):
        explainer.explain(torch.zeros(16, 12))
    with pytest.raises(AnomalyError, match="uint8"):
        explainer.explain(torch.zeros(2, 1, 16, 12, dtype=torch.uint8))
    with pytest.raises(AnomalyError, match=r"\(1, 9, 9\).*\(1, 16, 12\)"):
        explainer.fit(smooth(3, SPACES[0], seed=1), torch.zeros(2, 1, 9, 9))
    with pytest.raises(AnomalyError, match=r"\(0, 1, 16, 12\)"):
        explainer.fit(torch.zeros(0, 1, 16, 12))


@named
@shaped
def test_planted_lesion_is_found_in_its_place(name: str, space: tuple[int, ...]) -> None:
    controls, place = smooth(12, space, seed=1), lesion(space)
    healthy = controls.mean(0, keepdim=True)

    departure = Seen(lambda difference: difference.square().flatten(1).mean(1), len(space))

    def abnormality(x: Tensor) -> Tensor:
        return departure(x - healthy)

    abnormality.net_ = departure
    explanation = made(name, abnormality, space).explain(torch.where(place, healthy + 0.5, healthy))
    inside = explanation.map[place].sum()
    assert inside > 0
    assert explanation.map.clamp_min(0).sum() < 1.01 * inside


@pytest.mark.parametrize("name", [name for name in EXPLAINERS if name not in OF_ONE_LAYER])
@shaped
@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.name)
def test_explains_the_value_of_a_detector(name: str, space: tuple[int, ...], detector: Detector) -> None:
    detector.fit(smooth(24, space, seed=4), machine=Machine(device="cpu"))
    x, place = smooth(4, space, seed=5), lesion(space)
    explanation = made(name, detector.value, space).explain(torch.where(place, x + 0.5, x))
    outside = explanation.map[(~place).expand_as(x)].mean()
    assert explanation.map[place.expand_as(x)].mean() > 3 * outside.abs()


@pytest.mark.parametrize("name", sorted(OF_ONE_LAYER))
@shaped
def test_shows_a_layer_of_a_detector_that_has_one(name: str, space: tuple[int, ...]) -> None:
    without, detector = (each.fit(smooth(24, space, seed=4), machine=Machine(device="cpu")) for each in DETECTORS)
    x = smooth(4, space, seed=5)
    explanation = made(name, detector.value, space).explain(x)
    assert explanation.map.shape == x.shape and explanation.map.abs().amax() > 0
    with pytest.raises(AnomalyError, match="through none"):
        made(name, without.value, space).explain(x)
