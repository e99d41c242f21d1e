"""Diffusion: closed forms for Gaussian images, whose noise is known exactly; guidance, networks, counterfactuals."""

import math
from functools import partial

import pytest
import torch
from test_conditional import CASES, CONTROLS
from tiny import CPU, lesion, normals, with_lesion
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.errors import AnomalyError
from anomaly.nets.diffusion import UNTOLD, Attention, Denoiser
from anomaly.nets.noising import TIMES, Noising, thresholded, times, without_classifier
from explain.counterfactuals.diffusion import GLIMPSE, DiffusionCounterfactual, NoisyClassifier

LINEAR = Noising("linear")
MEANS, SD = (-0.3, 0.4), 0.2
"""Of controls and cases whose pixels are Gaussian, each by itself."""
SMALL = {"width": 4, "levels": 3}


def marginal(mean: float, t: Tensor | int) -> tuple[Tensor, Tensor]:
    """Mean and variance of x_t for x from N(mean, SD^2)."""
    kept = LINEAR.kept[t]
    return kept.sqrt() * mean, kept * SD**2 + 1 - kept


def optimal(mean: float, x: Tensor, t: Tensor) -> Tensor:
    """E(noise | x_t) for x from N(mean, SD^2): -sqrt(1 - abar) times the score of x_t."""
    centre, variance = (each.view(-1, *[1] * (x.ndim - 1)) for each in marginal(mean, t))
    return ((1 - LINEAR.kept[t]).sqrt().view(centre.shape) * (x - centre) / variance).to(x.dtype)


def hidden(mean: float, x: Tensor, t: int) -> Tensor:
    """Where the way without chance ends at time t: as many standard deviations from the mean as it began."""
    centre, variance = marginal(mean, t)
    return centre + variance.sqrt() * (x - mean) / SD


def pixels(mean: float = MEANS[1]) -> Tensor:
    """Pixels up to three standard deviations from a mean, (1, 1, 7)."""
    return (mean + SD * torch.arange(-3, 4, dtype=torch.float64)).view(1, 1, -1)


class Knows(nn.Module):
    """Finds the noise in controls and cases of MEANS as well as can be; of an untold side, as in both together."""

    def forward(self, x: Tensor, t: Tensor, classes: Tensor | None = None) -> Tensor:
        classes = torch.full_like(t, UNTOLD) if classes is None else classes
        control, case = (optimal(mean, x, t) for mean in MEANS)
        share = torch.sigmoid(odds(x, t))
        both = share * case + (1 - share) * control
        shaped = classes.view(-1, *[1] * (x.ndim - 1))
        return torch.where(shaped == UNTOLD, both, torch.where(shaped == 1, case, control))


def odds(x: Tensor, t: Tensor) -> Tensor:
    """log p(case | x_t) / p(control | x_t) of each pixel."""
    (low, variance), (high, _) = (marginal(mean, t) for mean in MEANS)
    low, high, variance = (each.view(-1, *[1] * (x.ndim - 1)).to(x.dtype) for each in (low, high, variance))
    return ((x - low) ** 2 - (x - high) ** 2) / (2 * variance)


# Noise


@pytest.mark.parametrize("schedule", ["linear", "scaled-linear", "cosine"])
def test_ever_less_is_kept(schedule):
    kept = Noising(schedule).kept
    assert kept.shape == (TIMES,) and kept[0] < 1 and kept[0] > 0.999 and 0 < kept[-1] < 1e-3
    assert (kept.diff() < 0).all()


def test_what_is_kept_is_the_product_of_what_each_step_keeps():
    """Ho et al. 2020, section 4: beta from 1e-4 to 0.02; Nichol and Dhariwal 2021, eq. 17."""
    betas = [1e-4 + k * (0.02 - 1e-4) / 999 for k in range(TIMES)]
    assert LINEAR.kept[499].item() == pytest.approx(math.prod(1 - beta for beta in betas[:500]), rel=1e-5)
    half = math.cos((0.5 + 0.008) / 1.008 * math.pi / 2) ** 2 / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    assert Noising("cosine").kept[499].item() == pytest.approx(half, rel=1e-4)


def test_noisy_images_have_the_mean_and_variance_of_their_time():
    x, t = torch.full((2, 1, 100, 100), 0.5), torch.tensor([0, 300])
    x_t = LINEAR.noisy(x, t, torch.randn_like(x))
    for each, time in zip(x_t, t.tolist(), strict=True):
        kept = LINEAR.kept[time].item()
        assert each.mean().item() == pytest.approx(0.5 * kept**0.5, abs=4 * (1 - kept) ** 0.5 / 100)
        assert each.var().item() == pytest.approx(1 - kept, rel=0.06)


def test_the_loss_is_the_mean_squared_error_of_the_noise():
    """Of black images x_t is nothing but noise; without any idea of it the loss is its variance."""
    x, asked = torch.zeros(4000, 1, 2, 2), []

    def exact(x_t: Tensor, t: Tensor) -> Tensor:
        asked.append(t)
        return x_t / (1 - LINEAR.kept[t]).sqrt().float().view(-1, 1, 1, 1)

    assert LINEAR.loss(exact, x).item() == pytest.approx(0, abs=1e-10)
    assert LINEAR.loss(lambda x_t, t: torch.zeros_like(x_t), x).item() == pytest.approx(1, abs=0.05)
    assert LINEAR.loss(lambda x_t, t: exact(x_t, t) + 2, x).item() == pytest.approx(4, rel=1e-4)
    counts = torch.histc(asked[0].float(), 10, 0, TIMES)
    assert (counts - 400).abs().max() < 5 * 400**0.5 and len(asked[0].unique()) > 950


# The way there and back


def test_times_are_evenly_spaced_and_end_where_asked():
    assert times(0.5, 5) == [-1, 99, 199, 299, 399, 499]
    assert times(0.75, 2) == [-1, 374, 749]
    assert times(0.003, 50) == [-1, 0, 1, 2]
    assert times(1.0, 1) == [-1, 999] and times(0.0001, 9) == [-1, 0]


def test_a_single_step_by_hand():
    """Song et al. 2021, eq. 12, there with the noise found in the image, back with that found where it led."""
    x, kept = torch.tensor([[[0.5, -1.0]]], dtype=torch.float64), LINEAR.kept[499].item()
    asked = []

    def predict(x_t: Tensor, t: Tensor) -> Tensor:
        asked.append(t.tolist())
        return 0.25 * x_t

    there = LINEAR.encode(x, predict, ratio=0.5, steps=1)
    expected = (kept**0.5 + 0.25 * (1 - kept) ** 0.5) * x
    torch.testing.assert_close(there, expected)
    back = LINEAR.decode(there, predict, ratio=0.5, steps=1)
    torch.testing.assert_close(back, there * (1 - 0.25 * (1 - kept) ** 0.5) / kept**0.5)
    assert asked == [[0], [499]]


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_with_many_steps_the_way_of_gaussian_images_is_the_closed_form_and_leads_back(schedule, monkeypatch):
    noising = Noising(schedule)
    monkeypatch.setattr(LINEAR, "kept", noising.kept)
    x, predict = pixels(0.3), partial(optimal, 0.3)
    there = noising.encode(x, predict, ratio=0.75, steps=750)
    torch.testing.assert_close(there, hidden(0.3, x, 749), rtol=0, atol=0.02)
    torch.testing.assert_close(noising.decode(there, predict, ratio=0.75, steps=750), x, rtol=0, atol=0.01)
    closed = noising.decode(hidden(0.3, x, 749), predict, ratio=0.75, steps=750)
    torch.testing.assert_close(closed, x, rtol=0, atol=0.01)


def test_what_few_steps_lose_halves_with_twice_as_many_and_lies_far_out():
    x, predict = pixels(0.3), partial(optimal, 0.3)

    def lost(steps: int, corrections: int = 0) -> Tensor:
        there = LINEAR.encode(x, predict, ratio=0.5, steps=steps, corrections=corrections)
        return (LINEAR.decode(there, predict, ratio=0.5, steps=steps) - x).abs().flatten()

    assert lost(100)[0].item() == pytest.approx(lost(50)[0].item() / 2, rel=0.1)
    assert lost(50)[3] < 1e-3 and lost(50)[0].item() == pytest.approx(3 * lost(50)[2].item(), rel=0.01)
    assert lost(50, corrections=1)[0] < lost(50)[0] / 5 and lost(50, corrections=5)[0] < 1e-5


def test_each_image_of_a_batch_goes_its_own_way():
    x = torch.cat([pixels(0.3), pixels(-0.5)])
    there = LINEAR.encode(x, Knows(), ratio=0.5, steps=5)
    torch.testing.assert_close(there[1:], LINEAR.encode(x[1:], Knows(), ratio=0.5, steps=5))


# Guidance


def test_guidance_formulae_by_hand():
    x, t = torch.tensor([[[0.5, -1.0]], [[0.0, 2.0]]]), torch.tensor([10, 700])
    noise = torch.tensor([[[1.0, 2.0]], [[-1.0, 0.5]]])
    towards = LINEAR.by_classifier(lambda x, t: -(x - 3).square().flatten(1).sum(1) / 2, 7.0)
    rest = (1 - LINEAR.kept[t]).sqrt().float().view(-1, 1, 1)
    torch.testing.assert_close(towards(x, t, noise), noise - 7 * rest * (3 - x))
    free = without_classifier(lambda x, t: 2 * x, 3.0)
    expected = torch.tensor([[[1 + 3 * (1 - 1), 2 + 3 * (-2 - 2)]], [[-1 + 3 * (0 + 1), 0.5 + 3 * (4 - 0.5)]]])
    torch.testing.assert_close(free(x, t, noise), expected.float())


def test_an_exact_classifier_turns_the_noise_of_all_into_that_of_its_class():
    """By Bayes' rule, at scale 1: score(x_t | y) = score(x_t) + grad log p(y | x_t)."""
    x, t = torch.randn(3, 1, 1, dtype=torch.float64), torch.tensor([5, 300, 900])
    guide = LINEAR.by_classifier(lambda x, t: F.logsigmoid(-odds(x, t)).flatten(), 1.0)
    torch.testing.assert_close(guide(x, t, Knows()(x, t)), optimal(MEANS[0], x, t))


def test_led_there_as_a_case_and_back_as_a_control_a_pixel_lands_where_the_closed_form_says():
    x, steps = pixels(), {"ratio": 0.5, "steps": 500}
    there = LINEAR.encode(x, partial(optimal, MEANS[1]), **steps)
    guide = without_classifier(partial(optimal, MEANS[0]), 1.0)
    back = LINEAR.decode(there, partial(optimal, MEANS[1]), guide=guide, **steps)
    centre, variance = marginal(MEANS[0], 499)
    expected = MEANS[0] + SD * (hidden(MEANS[1], x, 499) - centre) / variance.sqrt()
    torch.testing.assert_close(back, expected, rtol=0, atol=0.01)
    assert (back < x).all()


def test_images_are_clamped_to_their_own_quantile():
    x = torch.tensor([[[0.0, 1.0, -2.0, 3.0, -4.0]], [[0.0, 0.1, -0.2, 0.3, -0.9]]])
    expected = torch.tensor([[[0, 1 / 3, -2 / 3, 1, -1]], [[0.0, 0.1, -0.2, 0.3, -0.9]]])
    torch.testing.assert_close(thresholded(x, 0.75), expected)


def test_clamped_on_the_way_back_an_image_stays_in_range_and_its_noise_agrees_with_it():
    x_t = 5 * torch.randn(2, 1, 6, 6, dtype=torch.float64)
    noise = torch.randn_like(x_t)
    whole = LINEAR.decode(x_t, lambda x, t: noise, ratio=0.5, steps=1, clamp=0.9)
    kept = LINEAR.kept[499]
    torch.testing.assert_close(whole, thresholded((x_t - (1 - kept).sqrt() * noise) / kept.sqrt(), 0.9))
    assert LINEAR.decode(x_t, lambda x, t: noise, ratio=0.5, steps=7, clamp=0.9).abs().max() <= 1
    # Once clamped, image and noise still make x_t: the second of two steps finds the same image if it is not changed.
    image = torch.rand_like(x_t) - 0.5
    truth = LINEAR.noisy(image, torch.tensor([499, 499]), noise)
    back = LINEAR.decode(truth, lambda x, t: noise, ratio=0.5, steps=2, clamp=0.9)
    torch.testing.assert_close(back, image)


# Networks


def awaken(net: nn.Module) -> None:
    """Draw all weights, of which some are 0 at first."""
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)


@pytest.mark.parametrize("shape", [(1, 18, 21), (2, 16, 16), (1, 10, 13, 9), (1, 24, 24, 3), (1, 5, 3)])
def test_every_size_comes_back_and_says_nothing_at_first(shape):
    net, x, t = Denoiser(shape, **SMALL, attention=2, blocks=2), torch.randn(2, *shape), torch.tensor([3, 999])
    assert net(x, t).shape == x.shape and not net(x, t).any()
    awaken(net)
    said = net(x, t)
    torch.testing.assert_close(net(x[1:], t[1:]), said[1:], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(said, net(x, t.flip(0)), atol=1e-3)


def test_thick_slices_are_not_halved_and_widths_are_the_published():
    net = Denoiser((1, 24, 24, 3), width=4, levels=3)
    assert net.factors == [(2, 2, 1), (2, 2, 1)] and net.widths == [4, 8, 12]
    assert [len(each) for each in (net.down, net.halve, net.enlarge, net.up)] == [3, 2, 2, 2]
    assert Denoiser((1, 64, 64), width=64, levels=4).widths == [64, 128, 192, 256]


@pytest.mark.parametrize("shape", [(1, 9, 9), (1, 6, 9, 8)])
def test_every_weight_learns(shape):
    net = Denoiser(shape, **SMALL, classes=2)
    awaken(net)
    LINEAR.loss(lambda x, t: net(x, t, torch.tensor([0, 1, UNTOLD])), torch.randn(3, *shape)).backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in net.parameters())


def test_a_class_is_told_or_not():
    net, x, t = Denoiser((1, 8, 8), **SMALL, classes=2), torch.randn(1, 1, 8, 8), torch.tensor([50])
    awaken(net)
    control, case, untold = (net(x, t, torch.tensor([each])) for each in (0, 1, UNTOLD))
    assert torch.equal(net(x, t), untold)
    assert min((a - b).abs().max().item() for a, b in [(control, case), (control, untold), (case, untold)]) > 1e-3


def test_attention_adds_nothing_at_first_and_knows_no_places():
    attention, x = Attention(8), torch.randn(2, 8, 3, 5)
    assert torch.equal(attention(x), x)
    nn.init.normal_(attention.tell.weight)
    moved = attention(x.flip(3))
    torch.testing.assert_close(moved.flip(3), attention(x), rtol=1e-4, atol=1e-5)
    x[0, :, 0, 0] += 1
    assert not torch.allclose(attention(x)[0, :, 2, 4], moved.flip(3)[0, :, 2, 4])


# The explainer


def knowing(**settings: object) -> DiffusionCounterfactual:
    """An explainer whose networks know all there is to know of MEANS, of images of one pixel."""
    explainer = DiffusionCounterfactual(clamp=0.0, inference_steps=100, ratio=0.5, **settings)
    explainer.net_ = nn.ModuleDict({"denoiser": Knows()})
    explainer.net_["classifier"] = Tells()
    return explainer


class Tells(nn.Module):
    """The exact logit of being a case, of images of one pixel."""

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return odds(x, t).flatten()


ONE = torch.tensor([0.3, 0.5, 0.6, -0.4]).view(-1, 1, 1, 1)
"""Images of one pixel: three cases and a control."""


@pytest.mark.parametrize("guidance", ["free", "classifier"])
def test_guided_at_scale_1_cases_end_among_the_controls(guidance):
    explanation = knowing(guidance=guidance, scale=1.0).counterfactual(ONE)
    moved = explanation.counterfactual.flatten()
    assert ((moved - MEANS[0]).abs() < 3 * SD).all() and (moved[:3] < ONE.flatten()[:3] - 0.4).all()
    torch.testing.assert_close(explanation.map, ONE - explanation.counterfactual)
    assert (explanation.diagnostics["reconstruction"] < 0.05).all()


def test_both_ways_of_guidance_agree_where_all_is_known():
    free, classifier = (knowing(guidance=each, scale=2.0).counterfactual(ONE) for each in ("free", "classifier"))
    torch.testing.assert_close(free.counterfactual, classifier.counterfactual, rtol=1e-3, atol=1e-3)


def test_against_the_reconstruction_only_what_guidance_changes_is_evidence():
    few = {"scale": 1.0}
    published, own = knowing(**few), knowing(**few, against="reconstruction")
    published.inference_steps = own.inference_steps = 5  # too few to draw the image again
    of_image, of_reconstruction = published.counterfactual(ONE), own.counterfactual(ONE)
    lost = of_image.diagnostics["reconstruction"]
    assert lost.min() > 0.01
    gap = (of_image.map - of_reconstruction.map).flatten().abs()
    torch.testing.assert_close(gap, lost, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(of_reconstruction.map, ONE - of_reconstruction.counterfactual)


def test_zero_takes_the_published_scale_and_ratio():
    for guidance, scale, ratio in [("free", 3.0, 0.75), ("classifier", 100.0, 0.5)]:
        default = replaced(knowing(guidance=guidance), ratio=0.0, inference_steps=3).counterfactual(ONE)
        told = replaced(knowing(guidance=guidance), scale=scale, ratio=ratio, inference_steps=3).counterfactual(ONE)
        assert torch.equal(default.map, told.map)


def replaced(explainer: DiffusionCounterfactual, **settings: object) -> DiffusionCounterfactual:
    for name, value in settings.items():
        setattr(explainer, name, value)
    return explainer


def test_so_many_images_are_not_told_their_side():
    explainer, told = DiffusionCounterfactual(dropout=0.25), []

    class Listens(nn.Module):
        def forward(self, x: Tensor, t: Tensor, classes: Tensor) -> Tensor:
            told.append(classes)
            return x

    explainer.net_ = nn.ModuleDict({"denoiser": Listens()})
    explainer.denoiser_loss((torch.zeros(2000, 1, 1, 1), torch.zeros(2000, 1, 1, 1)))
    controls, cases = told[0].split(2000)
    assert set(controls.tolist()) == {0, UNTOLD} and set(cases.tolist()) == {1, UNTOLD}
    assert (told[0] == UNTOLD).float().mean().item() == pytest.approx(0.25, abs=0.03)


def test_a_classifier_that_knows_nothing_guides_nowhere_and_costs_log_2():
    explainer = DiffusionCounterfactual(guidance="classifier", width=4, levels=2, inference_steps=3)
    explainer.make(CONTROLS.shape[1:], CPU, 0)
    loss, terms = explainer.classifier_loss((CONTROLS, CASES))
    assert loss.item() == pytest.approx(math.log(2)) and terms["right"].item() == 0.5
    explanation = explainer.counterfactual(CASES)
    change = explanation.map.flatten(1).abs().mean(1)
    torch.testing.assert_close(change, explanation.diagnostics["reconstruction"])


def test_the_classifier_learns_on_noisy_images_and_leaves_the_other_network_alone():
    controls = normals(12, (1, 8, 8), 1)
    settings = {"width": 4, "levels": 2, "lr": 1e-2, "inference_steps": 3, "classifier_steps": 40, "steps": 1}
    explainer = DiffusionCounterfactual(guidance="classifier", batch=8, **settings)
    explainer.fit(controls, controls + 0.7, machine=CPU)
    assert [stage.name for stage in explainer.stages()] == ["diffusion", "classifier"]
    other = DiffusionCounterfactual(guidance="classifier", batch=8, **{**settings, "classifier_steps": 1})
    other.fit(controls, controls + 0.7, machine=CPU)
    for key, value in explainer.net_["denoiser"].state_dict().items():
        assert torch.equal(value, other.net_["denoiser"].state_dict()[key])
    net, t = explainer.net_["classifier"], torch.full((12,), 100)
    x_t = LINEAR.noisy(controls, t, torch.randn_like(controls))
    assert isinstance(net, NoisyClassifier) and (net(x_t + 0.7, t) > net(x_t, t)).all()
    assert (explainer.explain(controls + 0.7).map.flatten(1).mean(1) > 0).all()


def test_looking_is_cheap(monkeypatch):
    explainer = DiffusionCounterfactual(width=4, levels=2, inference_steps=40)
    explainer.make((1, 8, 8), CPU, 0)
    seen = []
    monkeypatch.setattr(DiffusionCounterfactual, "_noise", lambda self, x, t, c=None: seen.append(len(x)) or 0 * x)
    images = normals(20, (1, 8, 8), 1)
    glance = explainer.onlooker(images, images)("diffusion")
    assert sum(seen) == 2 * 4 * 4 * GLIMPSE  # two sides of four images; there, back, and back twice guided
    assert glance.pictures["counterfactual"].shape == (4, 1, 8, 8) and explainer.inference_steps == 40


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("guidance", "none", "guidance=none is unknown; take one of free, classifier"),
        ("against", "x", "against=x is unknown; take one of image, reconstruction"),
        ("schedule", "x", "schedule=x is unknown; take one of linear"),
        ("ratio", 1.5, "ratio must be 1 or less, got 1.5"),
        ("dropout", 1.1, "dropout must be 1 or less"),
        ("clamp", 2, "clamp must be 1 or less"),
        ("ema", 1, "ema must be below 1"),
        ("dropout", 0.0, "dropout must lie between 0 and 1"),
        ("dropout", 1.0, "dropout must lie between 0 and 1"),
    ],
)
def test_settings_that_make_no_sense_are_told(setting, value, message):
    with pytest.raises(AnomalyError, match=message):
        DiffusionCounterfactual(**{setting: value})
    if setting == "schedule":
        with pytest.raises(AnomalyError, match=message):
            Noising(value)


def test_it_finds_what_cases_have_and_controls_have_not():
    shape = (1, 8, 8)
    cases = with_lesion(normals(40, shape, 2))
    explainer = DiffusionCounterfactual(
        steps=200, batch=8, width=8, levels=2, lr=1e-2, decay=0.5, ema=0.9, inference_steps=10, ratio=0.5
    )
    explainer.fit(normals(40, shape, 1), cases, machine=CPU)
    map, seen = explainer.explain(with_lesion(normals(8, shape, 3))).map, lesion(shape[1:])
    inside, elsewhere = map[seen.expand_as(map)].mean(), map[(~seen).expand_as(map)].abs().mean()
    assert inside > 0.2 and inside > 2 * elsewhere
