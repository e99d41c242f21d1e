"""The classifier that explainers take for their target: what it learns, keeps and gives back; 2D and 3D."""

import numpy as np
import pytest
import torch
from tiny import CPU, SHAPES, normals, with_lesion
from torch import Tensor, nn

from anomaly.errors import AnomalyError, RunError
from anomaly.nets.classifiers import Plain, Residual, SidesCritic, whole_halvings
from anomaly.statistics.metrics import auroc
from anomaly.training.games import Glance
from anomaly.training.journal import Journal
from explain.classifier import ARCHITECTURES, Classifier, varied

SMALL = {"width": 4, "steps": 40, "batch": 8, "lr": 3e-3, "look_every": 20}
designs = pytest.mark.parametrize("design", ARCHITECTURES)


def sides(n: int, shape: tuple[int, ...], seed: int) -> tuple[Tensor, Tensor]:
    """As many controls, and cases with a bright box."""
    return normals(n, shape, seed), with_lesion(normals(n, shape, seed + 100))


def fitted(design: str, shape: str, **settings: object) -> Classifier:
    classifier = Classifier(architecture=design, **{**SMALL, **settings})
    return classifier.fit(*sides(30, SHAPES[shape], 1), held_out=sides(12, SHAPES[shape], 2), machine=CPU)


# What it learns


@designs
@pytest.mark.parametrize("shape", ["2D", "3D"])
def test_tells_unseen_cases_from_controls(design, shape, tmp_path):
    classifier = fitted(design, shape)
    controls, cases = sides(20, SHAPES[shape], 5)
    logits = classifier.logit(torch.cat([controls, cases]))
    assert auroc([0] * 20 + [1] * 20, logits.numpy()) > 0.95
    torch.testing.assert_close(classifier.logit(cases[:1]), logits[20:21], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(classifier.probability(cases), 1 / (1 + (-logits[20:]).exp()))
    classifier.save(tmp_path / "weights.safetensors")
    loaded = Classifier.load(tmp_path / "weights.safetensors")
    assert loaded == classifier and torch.equal(loaded.logit(controls), classifier.logit(controls))


def test_the_loss_is_the_cross_entropy_of_as_many_controls_as_cases():
    classifier = Classifier(augment=0)
    classifier.net_ = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False), nn.Flatten(0))
    nn.init.ones_(classifier.net_[1].weight)
    controls, cases = torch.full((1, 1, 2, 2), -0.25), torch.full((1, 1, 2, 2), 0.5)  # logits -1 and 2
    expected = (np.log1p(np.exp(-1)) + np.log1p(np.exp(-2))) / 2
    assert classifier.loss((controls, cases)).item() == pytest.approx(expected, rel=1e-6)
    held_out = classifier._held_out_loss((controls.repeat(3, 1, 1, 1), cases))  # sides of unlike size count the same
    assert held_out.item() == pytest.approx(expected, rel=1e-6)


def test_a_logit_of_zero_lies_in_the_middle_whatever_the_prevalence():
    controls, cases = normals(90, (1, 8, 8), 1), with_lesion(normals(10, (1, 8, 8), 2))
    classifier = Classifier(**{**SMALL, "steps": 60}).fit(controls, cases, machine=CPU)
    unseen_controls, unseen_cases = sides(20, (1, 8, 8), 5)
    assert (classifier.logit(unseen_controls) < 0).float().mean() > 0.8
    assert (classifier.logit(unseen_cases) > 0).float().mean() > 0.8


# Early stopping


def test_the_weights_with_the_lowest_held_out_loss_are_kept(monkeypatch):
    seen: list[tuple[float, Tensor]] = []
    original = Classifier._held_out_loss

    def noted(self, held_out):
        loss = original(self, held_out)
        seen.append((loss.item(), self.net_.head.weight.clone()))
        return loss

    monkeypatch.setattr(Classifier, "_held_out_loss", noted)
    controls, cases = sides(12, (1, 8, 8), 1)
    # Held-out labels are exchanged, so that learning makes the loss rise.
    classifier = Classifier(**{**SMALL, "look_every": 5, "patience": 3})
    classifier.fit(controls, cases, held_out=(cases, controls), machine=CPU)
    losses = [loss for loss, _ in seen]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 3 < 8
    assert torch.equal(classifier.net_.head.weight, seen[best][1])


def test_without_held_out_images_all_steps_are_trained():
    shown: list[Glance] = []
    journal = Journal(draw=lambda stage, step, seen: shown.append(seen))
    Classifier(**{**SMALL, "steps": 3}).fit(*sides(8, (1, 8, 8), 1), machine=CPU, journal=journal)
    assert shown == []


def test_a_person_sees_the_auroc_on_held_out_images(tmp_path):
    shown: list[Glance] = []
    journal = Journal(folder=tmp_path, draw=lambda stage, step, seen: shown.append(seen))
    controls, cases = sides(9, (1, 8, 8), 1)
    classifier = Classifier(**SMALL).fit(controls, cases, held_out=(controls[:5], cases), machine=CPU, journal=journal)
    logits = torch.cat([classifier.logit(controls[:5]), classifier.logit(cases)])
    assert shown[-1].figures == {"auroc": auroc([0] * 5 + [1] * 9, logits.numpy())}
    assert "seen/auroc" in (tmp_path / "training.csv").read_text()


# As a target


@designs
@pytest.mark.parametrize("shape", ["2D", "3D"])
def test_the_logit_is_differentiable_and_asking_changes_nothing(design, shape):
    classifier = fitted(design, shape, steps=2)
    before = {name: value.clone() for name, value in classifier.net_.state_dict().items()}
    x = normals(3, SHAPES[shape], 5).requires_grad_()
    (slope,) = torch.autograd.grad(classifier.logit(x)[1], x)
    assert slope[1].abs().sum() > 0 and slope[[0, 2]].abs().sum() == 0
    assert not any(parameter.requires_grad for parameter in classifier.net_.parameters())
    assert not any(module.training for module in classifier.net_.modules())
    assert all(torch.equal(value, before[name]) for name, value in classifier.net_.state_dict().items())


@designs
def test_the_logit_is_the_mean_of_the_class_activation_map(design):
    """Zhou et al. 2016, eq. 2: the map is the last features weighted by the last layer."""
    classifier = fitted(design, "2D", steps=2)
    x, net = normals(2, SHAPES["2D"], 5), classifier.net_
    features = net.trunk(x)
    assert min(features.shape[2:]) >= 8
    activation = torch.einsum("nc...,c->n...", features, net.head.weight[0]) + net.head.bias
    torch.testing.assert_close(activation.flatten(1).mean(1), classifier.logit(x), rtol=1e-4, atol=1e-5)


def test_the_two_architectures_share_no_layer():
    residual, plain = (
        {type(module) for module in ARCHITECTURES[name]((1, 64, 64), width=4, dropout=0).trunk.modules()}
        for name in ("residual", "plain")
    )
    assert residual & plain == {nn.Sequential, nn.Conv2d, nn.BatchNorm2d}
    kernels = []
    for design in (Residual, Plain):
        layers = design((1, 64, 64), width=4, dropout=0).modules()
        kernels.append({layer.kernel_size for layer in layers if isinstance(layer, nn.Conv2d)})
    assert kernels == [{(3, 3), (1, 1)}, {(3, 3), (4, 4)}]


def test_another_seed_gives_another_classifier_and_the_same_seed_the_same():
    x, controls, cases = normals(3, (1, 8, 8), 9), *sides(9, (1, 8, 8), 1)

    def logit(seed: int) -> Tensor:
        return Classifier(**{**SMALL, "steps": 3}).fit(controls, cases, machine=CPU, seed=seed).logit(x)

    state = torch.get_rng_state()
    first = logit(4)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    assert torch.equal(logit(4), first) and not torch.equal(logit(5), first)


# Variation


@pytest.mark.parametrize("shape", [(1, 9, 7), (2, 6, 5, 4)])
def test_images_are_varied_within_their_limits(shape):
    torch.manual_seed(0)
    x = torch.full((200, *shape), 0.5)
    level = varied(x, 0.1).flatten(1)
    # 0.5 (1 +- 0.1) +- 0.1, and noise of SD 0.02.
    assert level.mean(1).min() > 0.5 - 0.16 and level.mean(1).max() < 0.5 + 0.16
    assert level.mean(1).std() == pytest.approx((0.05**2 / 3 + 0.1**2 / 3) ** 0.5, rel=0.2)
    assert level.std(1).mean() == pytest.approx(0.02, rel=0.2)
    assert varied(x, 0) is x


def test_images_are_moved_by_whole_pixels_with_edges_repeated(monkeypatch):
    draws = iter([0.75, 0.5, 0.5, 0.5])  # of [0, 1): half way up along rows, nothing else
    monkeypatch.setattr(torch, "rand", lambda *size, **options: torch.full(size, next(draws)))
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    x = torch.arange(4.0).view(1, 1, 4, 1).expand(1, 1, 4, 3)
    moved = varied(x, 0.5)  # 4 rows * 0.5 * 0.5: one
    assert moved[0, 0, :, 0].tolist() == [1, 2, 3, 3]


# Networks


@pytest.mark.parametrize(
    ("space", "factors"),
    [
        ((64, 64), [(2, 2)] * 3),
        ((31, 33), [(1, 2), (2, 2)]),
        ((18, 20), [(2, 2)]),
        ((10, 12, 9), [(1, 1, 1)]),
        ((96, 96, 20), [(2, 2, 1), (2, 2, 1), (2, 2, 2)]),
    ],
)
def test_axes_are_halved_while_eight_pixels_are_left(space, factors):
    assert whole_halvings(space) == factors
    for side, along in zip(space, zip(*whole_halvings(space), strict=True), strict=True):
        left = side / np.prod(along)
        assert 8 <= left < 16


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_the_critic_of_both_sides_judges_each_image_by_itself(shape):
    critic, x = SidesCritic(shape, width=2), normals(4, shape)
    assert critic(x).shape == (4, 3)
    torch.testing.assert_close(critic(x)[2:3], critic(x[2:3]), rtol=1e-4, atol=1e-6)


# Mistakes


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"architecture": "vgg"}, "architecture=vgg is unknown; take one of residual, plain"),
        ({"dropout": 1.0}, "dropout must be below 1, got 1.0"),
        ({"augment": -0.1}, "augment must be 0 or more"),
        ({"patience": 0}, "patience must be positive"),
    ],
)
def test_wrong_settings_are_told(settings, message):
    with pytest.raises(AnomalyError, match=message):
        Classifier(**settings)


def test_wrong_images_are_told(tmp_path):
    x = normals(4, (1, 8, 8))
    with pytest.raises(AnomalyError, match="call fit first"):
        Classifier().logit(x)
    with pytest.raises(AnomalyError, match=r"\(1, 9, 9\), controls \(1, 8, 8\)"):
        Classifier().fit(x, normals(4, (1, 9, 9)))
    with pytest.raises(AnomalyError, match=r"\(0, 1, 8, 8\)"):
        Classifier().fit(x, x[:0])
    with pytest.raises(AnomalyError, match=r"\(1, 9, 9\), controls \(1, 8, 8\)"):
        Classifier().fit(x, x, held_out=(x, normals(4, (1, 9, 9))))
    classifier = Classifier(**{**SMALL, "steps": 1}).fit(x, x, machine=CPU)
    with pytest.raises(AnomalyError, match=r"\(1, 9, 9\), the classifier was fitted on \(1, 8, 8\)"):
        classifier.logit(normals(1, (1, 9, 9)))
    (tmp_path / "w").write_bytes(b"nothing")
    with pytest.raises(RunError, match="cannot be read as a trained classifier"):
        Classifier.load(tmp_path / "w")


def test_settings_make_the_same_classifier():
    classifier = Classifier(architecture="plain", width=3)
    assert Classifier(**classifier.settings()) == classifier
