from collections.abc import Callable
from functools import partial
from itertools import cycle

import numpy as np
import pytest
import torch
from captum import metrics as captum_metrics
from torch import Tensor, nn

from anomaly.errors import AnomalyError
from explain.base import Target
from explain.measures import faithfulness

SPACES = [(8, 6), (4, 6, 5)]
shaped = pytest.mark.parametrize("space", SPACES, ids=["2D", "3D"])
BASELINE = -1.0


def images(space: tuple[int, ...], n: int = 5, channels: int = 1, seed: int = 0) -> Tensor:
    """Uniform in [-0.9, 0.9]."""
    return torch.rand(n, channels, *space, generator=torch.Generator().manual_seed(seed)) * 1.8 - 0.9


def linear(space: tuple[int, ...], channels: int = 1) -> tuple[Target, Tensor]:
    """f(x) = 3 + sum of w * x, and w, (1, channels, *space)."""
    weights = torch.randn(1, channels, *space, generator=torch.Generator().manual_seed(1))
    return lambda x: 3 + (x * weights).flatten(1).sum(1), weights


def shares_of(x: Tensor, weights: Tensor) -> Tensor:
    """What each pixel gives the linear target above black: an exact map, (N, 1, *space)."""
    return ((x - BASELINE) * weights).sum(1, keepdim=True)


def network(dims: int) -> nn.Sequential:
    convolution = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
    pool = {2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}[dims]
    torch.manual_seed(3)
    return nn.Sequential(
        convolution(1, 4, 3), nn.Tanh(), convolution(4, 1, 2), nn.Softplus(), pool(1), nn.Flatten(0)
    ).eval()


def saliency(target: Target, x: Tensor) -> Tensor:
    return torch.autograd.grad(target(x.requires_grad_()).sum(), x)[0]


FIGURES: dict[str, Callable[..., Tensor]] = {
    "insertion": lambda f, x, m, **options: faithfulness.insertion_deletion(f, x, m, steps=7, **options).insertion,
    "deletion area": lambda f, x, m, **options: (
        faithfulness.insertion_deletion(f, x, m, steps=7, **options).deletion_area
    ),
    "correlation": partial(faithfulness.faithfulness_correlation, runs=9),
    "infidelity": partial(faithfulness.infidelity, samples=9),
    "infidelity, noise": partial(faithfulness.infidelity, samples=9, perturbation=faithfulness.noise, shares=False),
    "sensitivity": lambda f, x, m, **options: faithfulness.sensitivity_max(partial(saliency, f), x, **options),
}
figured = pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)
asking = pytest.mark.parametrize("name", [name for name in FIGURES if name != "sensitivity"])
RANDOM = [name for name in FIGURES if "insertion" not in name and "deletion" not in name]


def test_curves_by_hand() -> None:
    # Black to x adds 1, 3, -2, 0 in the order 3, 1, 0, -2 of the map.
    x, weights = torch.zeros(1, 1, 2, 2), torch.tensor([[1.0, 3.0], [-2.0, 0.0]])
    curves = faithfulness.insertion_deletion(
        lambda images: (images * weights).flatten(1).sum(1), x, weights[None, None], steps=4
    )
    assert curves.share.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert curves.insertion.tolist() == [[-2, 1, 2, 2, 0]]
    assert curves.deletion.tolist() == [[0, -3, -4, -4, -2]]
    assert curves.insertion_area.tolist() == [(-2 / 2 + 1 + 2 + 2 + 0) / 4]
    assert curves.deletion_area.tolist() == [(0 - 3 - 4 - 4 - 2 / 2) / 4]


@shaped
def test_insertion_and_deletion_of_a_linear_target_add_up(space: tuple[int, ...]) -> None:
    x, (target, _) = images(space, channels=2), linear(space, channels=2)
    curves = faithfulness.insertion_deletion(target, x, images(space, seed=2), steps=12)
    ends = target(x) + target(torch.full_like(x, BASELINE))
    torch.testing.assert_close(curves.insertion + curves.deletion, ends[:, None].expand(-1, 13), rtol=1e-4, atol=1e-4)


@shaped
def test_no_map_has_better_areas_than_the_exact_one(space: tuple[int, ...]) -> None:
    x, (target, weights) = images(space), linear(space)
    exact = faithfulness.insertion_deletion(target, x, shares_of(x, weights), steps=24)
    other = faithfulness.insertion_deletion(target, x, images(space, seed=2), steps=24)
    assert (exact.insertion_area > other.insertion_area).all() and (exact.deletion_area < other.deletion_area).all()


def test_tied_pixels_go_in_the_order_of_their_place() -> None:
    target, maps = (lambda x: x.flatten(1) @ torch.arange(6.0)), torch.zeros(1, 1, 2, 3)
    curve = faithfulness.flipping(target, torch.ones(1, 1, 2, 3), torch.zeros(1, 1, 2, 3), maps, steps=3)
    assert curve.tolist() == [[15, 14, 9, 0]]


@shaped
def test_baseline_of_each_image_or_of_all(space: tuple[int, ...]) -> None:
    x, (target, _), maps = images(space), linear(space), images(space, seed=2)
    one = images(space, n=1, seed=4)
    shared = faithfulness.insertion_deletion(target, x, maps, baseline=one, steps=6)
    apart = faithfulness.insertion_deletion(target, x, maps, baseline=one.expand_as(x), steps=6)
    assert torch.equal(shared.insertion, apart.insertion)
    torch.testing.assert_close(shared.insertion[:, 0], target(one).expand(len(x)))
    torch.testing.assert_close(shared.insertion[:, -1], target(x))


@figured
@pytest.mark.parametrize("batch", [1, 4, 64])
def test_no_more_than_a_batch_at_once(figure: Callable[..., Tensor], batch: int) -> None:
    seen, net = [], network(2)

    def target(x: Tensor) -> Tensor:
        seen.append(len(x))
        return net(x)

    x, maps = images(SPACES[0]), images(SPACES[0], seed=2)
    found = figure(target, x, maps, batch=batch)
    assert max(seen) <= batch
    torch.testing.assert_close(found, figure(target, x, maps), rtol=1e-4, atol=1e-6)


@shaped
def test_correlation_of_exact_opposite_and_flat_maps(space: tuple[int, ...]) -> None:
    x, (target, weights) = images(space, channels=2), linear(space, channels=2)
    maps = shares_of(x, weights)
    figure = partial(faithfulness.faithfulness_correlation, target, x, subset=0.2, runs=20)
    torch.testing.assert_close(figure(maps), torch.ones(5), rtol=0, atol=1e-4)
    torch.testing.assert_close(figure(-2 * maps), -torch.ones(5), rtol=0, atol=1e-4)
    assert figure(torch.ones_like(maps)).abs().max() < 1e-6


@shaped
def test_infidelity_of_an_exact_map_is_zero(space: tuple[int, ...]) -> None:
    x, (target, weights) = images(space), linear(space)
    shares = faithfulness.infidelity(target, x, shares_of(x, weights))
    slopes = weights.expand_as(x)
    noisy = faithfulness.infidelity(target, x, slopes, perturbation=faithfulness.noise, shares=False)
    boxed = faithfulness.infidelity(target, x, slopes, shares=False)
    torch.testing.assert_close(torch.stack([shares, noisy, boxed]), torch.zeros(3, 5), rtol=0, atol=1e-8)


def test_infidelity_of_no_map_to_noise_is_the_variance_it_causes() -> None:
    x, (target, weights) = images(SPACES[0], n=1), linear(SPACES[0])
    noise = partial(faithfulness.noise, width=0.3)
    found = faithfulness.infidelity(target, x, torch.zeros_like(x), perturbation=noise, shares=False, samples=4000)
    # Mean of 4000 squared normals: 5 % is more than two standard errors of 2.2 %.
    torch.testing.assert_close(found, 0.3**2 * weights.square().sum()[None], rtol=0.08, atol=0)


@shaped
@pytest.mark.parametrize("shares", [True, False])
def test_infidelity_is_that_of_captum(space: tuple[int, ...], shares: bool) -> None:
    net, x, maps = network(len(space)), images(space), images(space, seed=2)
    drawn = [image[None] for image in images(space, n=6, seed=5) * 0.1]

    def ours(images: Tensor, baseline: Tensor, random: torch.Generator) -> Tensor:
        return images - next(turns)

    def theirs(repeated: Tensor, baseline: Tensor) -> Tensor:
        return repeated - torch.cat(drawn).repeat(len(x), *[1] * (x.ndim - 1))

    turns = cycle(drawn)
    found = faithfulness.infidelity(net, x, maps, perturbation=ours, shares=shares, samples=6)
    decorated = captum_metrics.infidelity_perturb_func_decorator(shares)(theirs)
    black = torch.full_like(x, BASELINE)
    with torch.no_grad():
        expected = captum_metrics.infidelity(net, decorated, x, maps, baselines=black, n_perturb_samples=6)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)


@shaped
def test_boxes_become_the_baseline_and_nothing_else_does(space: tuple[int, ...]) -> None:
    sides = tuple(4 * side for side in space)
    x, baseline, random = torch.ones(2, 3, *sides), torch.zeros(2, 3, *sides), torch.Generator().manual_seed(0)
    for _ in range(30):
        gone = faithfulness.boxes(x, baseline, random) == 0
        places = gone.nonzero()[:, 2:]
        extent = places.amax(0) - places.amin(0) + 1
        assert gone.sum() == 2 * 3 * extent.prod()
        assert all(max(1, side // 16) <= width <= side // 4 for side, width in zip(sides, extent.tolist(), strict=True))


def test_sensitivity_of_a_linear_target_is_zero() -> None:
    target, _ = linear(SPACES[0])
    assert faithfulness.sensitivity_max(partial(saliency, target), images(SPACES[0])).tolist() == [0] * 5


def test_sensitivity_of_the_image_itself_is_the_size_of_the_noise() -> None:
    x = torch.full((1, 1, 64, 64), 0.5)
    found = faithfulness.sensitivity_max(lambda images: images, x, radius=0.1)
    # A uniform number within 0.1 has a root mean square of 0.1 / sqrt(3).
    torch.testing.assert_close(found, torch.tensor([0.1 / 3**0.5 / 0.5]), rtol=0.03, atol=0)
    assert faithfulness.sensitivity_max(torch.zeros_like, x).tolist() == [0]


@shaped
def test_sensitivity_is_that_of_captum(space: tuple[int, ...]) -> None:
    net, x, random = network(len(space)), images(space), torch.Generator().manual_seed(7)
    drawn = torch.stack([0.1 * (2 * torch.rand(1, *space, generator=random) - 1) for _ in range(4)])

    def theirs(given: Tensor | tuple[Tensor]) -> Tensor | tuple[Tensor]:
        with torch.enable_grad():
            if isinstance(given, tuple):
                return (saliency(net, given[0].clone()),)
            return saliency(net, given.clone())

    expected = captum_metrics.sensitivity_max(
        theirs, x, lambda repeated: repeated + drawn.repeat(len(x), *[1] * (x.ndim - 1)), n_perturb_samples=4
    )
    found = faithfulness.sensitivity_max(partial(saliency, net), x, radius=0.1, samples=4, seed=7)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@figured
@shaped
def test_does_not_depend_on_the_batch(figure: Callable[..., Tensor], space: tuple[int, ...]) -> None:
    net, x, maps = network(len(space)), images(space), images(space, seed=2)
    torch.testing.assert_close(figure(net, x, maps)[3:4], figure(net, x[3:4], maps[3:4]), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", RANDOM)
def test_same_seed_same_figure(name: str) -> None:
    net, x, maps = network(2), images(SPACES[0]), images(SPACES[0], seed=2)
    first = FIGURES[name](net, x, maps, seed=1)
    torch.rand(5)
    assert torch.equal(FIGURES[name](net, x, maps, seed=1), first)
    assert not torch.equal(FIGURES[name](net, x, maps, seed=2), first)


@figured
@pytest.mark.parametrize("wants_gradient", [False, True])
def test_leaves_everything_as_it_was(figure: Callable[..., Tensor], wants_gradient: bool) -> None:
    net, x, maps = network(2), images(SPACES[0]).requires_grad_(wants_gradient), images(SPACES[0], seed=2)
    before, state = (x.detach().clone(), maps.clone()), torch.get_rng_state()
    found = figure(net, x, maps)
    assert not found.requires_grad and x.grad is None and x.requires_grad is wants_gradient
    assert torch.equal(x.detach(), before[0]) and torch.equal(maps, before[1])
    assert torch.equal(torch.get_rng_state(), state) and torch.is_grad_enabled()


@asking
def test_targets_that_change_their_images_change_no_figure(name: str) -> None:
    net, x, maps = network(2), images(SPACES[0]), images(SPACES[0], seed=2)
    found = FIGURES[name](lambda given: net(given.mul_(0.5)), x, maps)
    torch.testing.assert_close(found, FIGURES[name](lambda given: net(given * 0.5), x, maps))


@figured
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_works_where_the_caller_takes_no_gradients(figure: Callable[..., Tensor], mode: Callable) -> None:
    net, x, maps = network(2), images(SPACES[0]), images(SPACES[0], seed=2)
    with mode():
        without = figure(net, x + 0, maps)
    torch.testing.assert_close(without.clone(), figure(net, x, maps))


def test_every_layer_from_the_output_down_is_drawn_anew() -> None:
    net = network(2)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    copies = list(faithfulness.randomised(net, seed=1))
    assert [name for name, _ in copies] == ["2", "0"]
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    changed = [
        {key for key, value in each.state_dict().items() if not torch.equal(value, before[key])} for _, each in copies
    ]
    assert changed == [{"2.weight", "2.bias"}, {"0.weight", "0.bias", "2.weight", "2.bias"}]
    assert torch.equal(copies[0][1][2].weight, copies[1][1][2].weight)


def test_randomising_follows_the_seed_and_nothing_else() -> None:
    net, state = network(2), torch.get_rng_state()
    first = [each.state_dict() for _, each in faithfulness.randomised(net, seed=1)][-1]
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)
    again, other = ([each for _, each in faithfulness.randomised(net, seed=seed)][-1].state_dict() for seed in (1, 9))
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    assert not any(torch.equal(value, other[key]) for key, value in first.items())


def test_layers_that_cannot_be_drawn_are_shuffled() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.size = nn.Parameter(torch.arange(24.0).view(4, 6), requires_grad=False)

    ((name, drawn),) = faithfulness.randomised(Scale())
    assert name == "Scale" and not drawn.size.requires_grad
    assert drawn.size.flatten().sort().values.tolist() == list(range(24))
    assert not torch.equal(drawn.size, Scale().size)


def test_a_network_without_parameters_is_told() -> None:
    with pytest.raises(AnomalyError, match="Tanh has no parameters"):
        next(faithfulness.randomised(nn.Tanh()))


@asking
@pytest.mark.parametrize(
    ("target", "message"),
    [
        (lambda x: x.flatten(1)[:, :3], r"gave \((\d+), 3\) for images \(\1, 1, 8, 6\)"),
        (lambda x: x.flatten(1).sum(1) * np.nan, "finite"),
        (lambda x: 1.0, "gave float"),
    ],
)
def test_wrong_targets_are_told(name: str, target: Target, message: str) -> None:
    with pytest.raises(AnomalyError, match=message):
        FIGURES[name](target, images(SPACES[0]), images(SPACES[0]))


@asking
def test_wrong_images_maps_and_baselines_are_told(name: str) -> None:
    figure, net, x = FIGURES[name], network(2), images(SPACES[0])
    with pytest.raises(AnomalyError, match=r"maps \(5, 1, 8, 5\) for images \(5, 1, 8, 6\).*\(5, 1, 8, 6\)"):
        figure(net, x, x[..., :-1])
    with pytest.raises(AnomalyError, match="finite ones"):
        figure(net, x, x / 0)
    with pytest.raises(AnomalyError, match=r"baseline has shape \(2, 1, 8, 6\)"):
        figure(net, x, x, baseline=x[:2])
    with pytest.raises(AnomalyError, match=r"\(5, 1, 8, 6\) torch.uint8"):
        figure(net, x.byte(), x)


def test_maps_that_are_no_maps_are_told() -> None:
    with pytest.raises(AnomalyError, match=r"explain gave \(2, 1, 8, 6\) for \(5, 1, 8, 6\)"):
        faithfulness.sensitivity_max(lambda x: x[:2], images(SPACES[0]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f, x: faithfulness.insertion_deletion(f, x, x, steps=49), "steps is 49; expected 1 to 48"),
        (lambda f, x: faithfulness.faithfulness_correlation(f, x, x, subset=1.0), "subset=1.0 of 48 pixels"),
        (lambda f, x: faithfulness.infidelity(f, x, x, samples=0), "samples is 0"),
        (lambda f, x: faithfulness.sensitivity_max(torch.abs, x, samples=0), "samples is 0"),
    ],
)
def test_wrong_settings_are_told(call: Callable, message: str) -> None:
    with pytest.raises(AnomalyError, match=message):
        call(network(2), images(SPACES[0]))
