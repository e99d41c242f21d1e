import re

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from anomaly.errors import AnomalyError
from anomaly.nets.losses import gaussian_blur
from explain import IntegratedGradients, Saliency

SPACE = (6, 5)


def images(n: int, channels: int = 1, space: tuple[int, ...] = SPACE) -> Tensor:
    return torch.rand(n, channels, *space, generator=torch.Generator().manual_seed(n), dtype=torch.float64) * 2 - 1


def weights(channels: int = 1, space: tuple[int, ...] = SPACE) -> Tensor:
    return torch.randn(channels, *space, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


@pytest.mark.parametrize("space", [SPACE, (4, 3, 5)], ids=["2D", "3D"])
@pytest.mark.parametrize("channels", [1, 3])
def test_linear_target_gives_weight_times_distance(space: tuple[int, ...], channels: int) -> None:
    x, w = images(2, channels, space), weights(channels, space)
    explainer = IntegratedGradients(target=lambda x: (w * x).flatten(1).sum(1) + 3, steps=5)
    expected = (w * (x + 1)).sum(1, keepdim=True)
    torch.testing.assert_close(explainer.explain(x).map, expected, rtol=0, atol=1e-6)


def test_saliency_of_a_linear_target_is_its_weights() -> None:
    x, w = images(2, 3), weights(3)
    saliency = Saliency(target=lambda x: (w * x).flatten(1).sum(1)).explain(x).map
    torch.testing.assert_close(saliency, w.sum(0).expand(2, 1, *SPACE))


def test_squares_give_the_difference_of_squares() -> None:
    # (x - b) * integral of 2 (b + a (x - b)) da = (x - b)(x + b)
    x, b = images(3), images(1)
    explainer = IntegratedGradients(target=lambda x: x.square().flatten(1).sum(1), steps=4)
    expected = x.square() - b.square()
    torch.testing.assert_close(explainer.explain(x, baseline=b).map, expected, rtol=0, atol=1e-6)


def test_product_is_shared_equally_from_zero() -> None:
    # f = x1 x2 along a (x1, x2): each gets x1 x2 times the integral of a da, one half.
    x = torch.tensor([0.6, -0.5], dtype=torch.float64).view(1, 1, 1, 2)
    explainer = IntegratedGradients(target=lambda x: x.flatten(1).prod(1), steps=2)
    given = explainer.explain(x, baseline=torch.zeros_like(x)).map.flatten()
    assert given.tolist() == pytest.approx([-0.15, -0.15], abs=1e-7)


def test_map_adds_up_and_the_diagnostics_say_so() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 4 * 3, 1), nn.Flatten(0)).double()
    x, b = images(3), images(1)
    explanation = IntegratedGradients(target=net, steps=48, batch=7).explain(x, baseline=b)
    rise = (net(x) - net(b)).detach()
    torch.testing.assert_close(explanation.map.flatten(1).sum(1), rise, rtol=0, atol=1e-4)
    torch.testing.assert_close(explanation.diagnostics["target"], net(x).detach())
    torch.testing.assert_close(explanation.diagnostics["baseline"], net(b).detach().expand(3))
    assert explanation.diagnostics["gap"].abs().max() < 1e-4


def test_gap_is_what_too_few_steps_leave_out() -> None:
    # One point, the middle of the line: 4 (1/2)^3 = 1/2 of a rise of 1.
    explainer = IntegratedGradients(target=lambda x: x.pow(4).flatten(1).sum(1), steps=1)
    x = torch.ones(1, 1, 1, 1)
    explanation = explainer.explain(x, baseline=torch.zeros_like(x))
    assert explanation.map.item() == pytest.approx(0.5)
    assert explanation.diagnostics["gap"].item() == pytest.approx(-0.5)


def test_counterfactual_as_baseline_leaves_what_is_equal_at_zero() -> None:
    counterfactual = images(2)
    case = counterfactual.clone()
    case[:, :, 1:3, 2:4] += 0.5
    net = nn.Sequential(nn.Flatten(), nn.Linear(30, 8), nn.Softplus(), nn.Linear(8, 1), nn.Flatten(0)).double()
    evidence = IntegratedGradients(target=net).explain(case, baseline=counterfactual).map
    place = case != counterfactual
    assert evidence[~place].abs().max() == 0
    torch.testing.assert_close(
        evidence.flatten(1).sum(1), (net(case) - net(counterfactual)).detach(), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("as_array", [False, True])
def test_mean_baseline_is_the_mean_control(as_array: bool) -> None:
    controls, x, w = images(70), images(2), weights()
    explainer = IntegratedGradients(target=lambda x: (w * x).flatten(1).sum(1), baseline="mean")
    explainer.fit(np.asarray(controls) if as_array else controls)
    expected = w * (x - controls.mean(0))
    torch.testing.assert_close(explainer.explain(x).map, expected, rtol=0, atol=1e-6)


def test_blur_baseline_is_the_image_blurred() -> None:
    x, w = images(2, space=(16, 12)), weights(space=(16, 12))
    explainer = IntegratedGradients(target=lambda x: (w * x).flatten(1).sum(1), baseline="blur", blur=0.25)
    expected = w * (x - gaussian_blur(x, 3.0))
    torch.testing.assert_close(explainer.explain(x).map, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("steps", "batch"), [(10, 4), (3, 50), (6, 6), (4, 1)])
def test_no_more_images_at_once_than_asked_for(steps: int, batch: int) -> None:
    seen: list[int] = []

    def target(x: Tensor) -> Tensor:
        seen.append(len(x))
        return x.square().flatten(1).sum(1)

    IntegratedGradients(target=target, steps=steps, batch=batch).explain(images(9))
    assert max(seen) <= batch
    assert sum(seen) == 9 * (steps + 2)


def test_hooks_and_flags_survive_an_exception_on_the_way() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(30, 1), nn.Flatten(0)).double()
    net[1].bias.requires_grad_(False)
    calls: list[int] = []

    def hook(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        calls.append(len(output))
        if len(calls) == 3:
            raise RuntimeError("third call")

    net[1].register_forward_hook(hook)
    hooks, x, state = dict(net[1]._forward_hooks), images(2), torch.get_rng_state()
    with torch.no_grad():
        with pytest.raises(RuntimeError, match="third call"):
            IntegratedGradients(target=net, steps=4, batch=2).explain(x)
        assert not torch.is_grad_enabled()
    assert calls == [1, 1, 2]
    assert dict(net[1]._forward_hooks) == hooks and not net[1]._backward_hooks
    assert [p.requires_grad for p in net.parameters()] == [True, False]
    assert all(p.grad is None for p in net.parameters())
    assert not x.requires_grad and torch.equal(torch.get_rng_state(), state)


def test_mean_baseline_needs_controls() -> None:
    with pytest.raises(AnomalyError, match=r"fit\(controls\)"):
        IntegratedGradients(target=lambda x: x.flatten(1).sum(1), baseline="mean").explain(images(1))


def test_wrong_baseline_names_both_shapes() -> None:
    explainer = IntegratedGradients(target=lambda x: x.flatten(1).sum(1))
    with pytest.raises(AnomalyError, match=re.escape("(2, 1, 6, 5), the images (3, 1, 6, 5)")):
        explainer.explain(images(3), baseline=images(2))


@pytest.mark.parametrize(
    ("settings", "message"), [({"baseline": "grey"}, "zero, mean, blur"), ({"steps": 0}, "steps must be positive")]
)
def test_wrong_settings_are_told(settings: dict, message: str) -> None:
    with pytest.raises(AnomalyError, match=message):
        IntegratedGradients(target=torch.sum, **settings)
