"""The adversarial detectors: their mathematics against closed forms, what each stage moves, what a person is told."""

import logging

import numpy as np
import pytest
import torch
from tiny import CPU, SHAPES, normals, tiny
from torch import Tensor, nn

from anomaly.detectors import AlphaGAN, FAnoGAN
from anomaly.detectors.adversarial import COLLAPSED, LOOKS, Contest, Referee, spread, told_apart, warnings
from anomaly.errors import AnomalyError
from anomaly.nets.losses import gradient_penalty
from anomaly.training.loop import train_stages


class Features(nn.Module):
    """A critic whose features are a linear map of the image."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(matrix)

    def features(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.matrix.T

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x).sum(1)


class Line(nn.Module):
    """Code -> image of shape (1, 4, 4) and back, by one matrix."""

    def __init__(self, matrix: Tensor, shape: tuple[int, ...] = (1, 4, 4)) -> None:
        super().__init__()
        self.matrix, self.shape = nn.Parameter(matrix), shape

    def forward(self, code: Tensor) -> Tensor:
        return (code.flatten(1) @ self.matrix.T).view(-1, *self.shape)


def built(name: str, shape: str = "2D", **settings: object):
    detector = tiny(name, **settings)
    detector.shape_ = SHAPES[shape]
    torch.manual_seed(0)
    detector.net_ = detector.build(detector.shape_)
    return detector


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    """The networks any of whose parameters or running statistics changed."""
    return {name.split(".")[0] for name, value in before.items() if not torch.equal(value, after[name])}


# Wasserstein


@pytest.mark.parametrize("dims", [2, 3])
def test_the_penalty_of_a_linear_critic_is_its_slope(dims):
    detector = built("fanogan", {2: "2D", 3: "3D"}[dims])
    size = int(np.prod(detector.shape_))
    detector.net_["critic"] = Features(torch.full((1, size), 3 / size**0.5))  # a slope of 3 everywhere
    x = normals(6, detector.shape_)
    assert detector.penalised(x, x.flip(0)).item() == pytest.approx(4.0, rel=1e-5)


@pytest.mark.parametrize("penalty", [10.0, 100.0])
def test_the_critic_finds_the_distance_of_two_shifted_gaussians(penalty):
    """It is |shift|; with a soft penalty the best slope is 1 + |shift| / (2 penalty), the estimate that much more."""
    shift = torch.tensor([1.2, -1.6])
    detector = FAnoGAN(latent=2, penalty=penalty)
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1), nn.Flatten(0))
    detector.net_ = nn.ModuleDict({"generator": nn.Identity(), "critic": critic})
    optimiser = torch.optim.Adam(critic.parameters(), lr=3e-3)
    estimates = []
    for _ in range(1200):
        optimiser.zero_grad()
        loss, terms = detector.critic_loss(torch.randn(128, 2) + shift)
        loss.backward()
        optimiser.step()
        estimates.append(terms["distance"].item())
    assert np.mean(estimates[-300:]) == pytest.approx(2.0 * (1 + 2.0 / (2 * penalty)), rel=0.05)


def test_the_losses_of_fanogan_are_their_formulas():
    detector, x = built("fanogan"), normals(5, SHAPES["2D"])
    detector.net_.eval()
    torch.manual_seed(1)
    loss, terms = detector.critic_loss(x)
    torch.manual_seed(1)
    fake = detector.decode(torch.randn(5, detector.latent))
    penalty = gradient_penalty(detector.criticise, x, fake).mean()
    expected = detector.criticise(fake).mean() - detector.criticise(x).mean() + 10 * penalty
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    assert terms["penalty"].item() == pytest.approx(penalty.item(), rel=1e-4)
    torch.manual_seed(1)
    assert detector.generator_loss(x).item() == pytest.approx(-detector.criticise(fake).mean().item(), rel=1e-4)


def test_the_losses_of_alphagan_are_their_formulas():
    detector, x = built("alphagan", "3D", penalty=7.0, reconstruction=3.0), normals(5, SHAPES["3D"])
    detector.net_.eval()
    D, C, G, E = detector.criticise, detector.criticise_code, detector.decode, detector.encode
    torch.manual_seed(1)
    loss, terms = detector.drawing_loss(x)
    torch.manual_seed(1)
    z = torch.randn(5, detector.latent)
    residual = (G(E(x)) - x).abs().mean()
    expected = -D(G(E(x))).mean() - D(G(z)).mean() - C(E(x)).mean() + 3 * residual
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    assert terms["residual"].item() == pytest.approx(residual.item(), rel=1e-5) == detector.loss(x).item()
    torch.manual_seed(1)
    loss, terms = detector.critic_loss(x)
    torch.manual_seed(1)
    fake = torch.cat([G(torch.randn(5, detector.latent)), G(E(x))]).detach()
    penalties = gradient_penalty(D, torch.cat([x, x]), fake).chunk(2)  # one mixture an image, drawn together
    distance = D(x).mean() - (D(G(E(x))).mean() + D(G(z)).mean()) / 2
    assert terms["distance"].item() == pytest.approx(distance.item(), rel=1e-4, abs=1e-5)
    expected = -2 * D(x).mean() + D(G(E(x))).mean() + D(G(z)).mean() + 7 * sum(each.mean() for each in penalties)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    torch.manual_seed(1)
    loss, terms = detector.code_critic_loss(x)
    torch.manual_seed(1)
    penalty = gradient_penalty(C, torch.randn(5, detector.latent), E(x).detach()).mean()
    expected = -C(z).mean() + C(E(x)).mean() + 7 * penalty
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


# Encoder and scores


@pytest.mark.parametrize("mapping", ["izi", "izi_f", "ziz"])
def test_the_encoder_inverts_a_linear_generator(mapping):
    torch.manual_seed(0)
    basis = torch.linalg.qr(torch.randn(16, 3))[0]
    detector = FAnoGAN(latent=3, mapping=mapping, kappa=0.5)
    encoder = Line(0.1 * torch.randn(3, 16), (3,))
    networks = {"generator": Line(basis), "critic": Features(torch.randn(6, 16)), "encoder": encoder}
    detector.net_ = nn.ModuleDict(networks)
    optimiser = torch.optim.Adam(encoder.parameters(), lr=0.02)
    for _ in range(600):
        optimiser.zero_grad()
        detector.loss(detector.decode(torch.randn(64, 3))).backward()
        optimiser.step()
    code = torch.randn(10, 3)
    torch.testing.assert_close(detector.encode(detector.decode(code)), code, rtol=0, atol=0.02)


def test_kappa_weighs_the_features_in_the_loss_and_in_the_score():
    for kappa in (0.0, 0.25, 4.0):
        detector, x = built("fanogan", kappa=kappa), normals(4, SHAPES["2D"])
        detector.net_.eval()
        drawn = detector.decode(detector.encode(x))
        image = (x - drawn).square().flatten(1).mean(1)
        features = (detector.features(x) - detector.features(drawn)).square().mean(1)
        assert detector.loss(x).item() == pytest.approx((image + kappa * features).mean().item(), rel=1e-5)
        parts = detector.score(x).parts
        torch.testing.assert_close(parts["both"], image + kappa * features)
        torch.testing.assert_close(parts["image"], image)
        torch.testing.assert_close(parts["features"], features)
        code = detector.encode(x)
        torch.testing.assert_close(parts["latent"], (code - detector.encode(drawn)).abs().mean(1))
        assert torch.equal(detector.score(x).value, parts["both"])


@pytest.mark.parametrize(
    ("setting", "value"), [("mapping", "iziz"), ("width", -1), ("kappa", -1.0), ("critic_turns", 0)]
)
def test_settings_out_of_range_are_refused(setting, value):
    with pytest.raises(AnomalyError, match=setting):
        FAnoGAN(**{setting: value})


def test_a_momentum_of_one_and_codes_of_another_length_are_refused():
    with pytest.raises(AnomalyError, match="momentum must be below 1, got 1"):
        AlphaGAN(momentum=1.0)
    with pytest.raises(AnomalyError, match=r"codes have shape \(2, 3\), expected \(N, 4\)"):
        built("fanogan").decode(torch.zeros(2, 3))


def test_scoring_takes_one_pass_of_each_network_and_a_second_of_the_encoder():
    detector, calls = built("fanogan"), []
    detector.net_.eval()
    for name in ("encoder", "generator", "critic"):
        trunk = detector.net_[name] if name == "generator" else next(iter(detector.net_[name].children()))
        trunk.register_forward_hook(lambda module, given, result, name=name: calls.append((name, len(given[0]))))
    detector.score(normals(4, SHAPES["2D"]))
    assert calls == [("encoder", 4), ("generator", 4), ("critic", 8), ("encoder", 4)]


# What each stage moves


def test_each_stage_of_fanogan_moves_what_it_should_and_nothing_else():
    detector = built("fanogan", steps=2, encoder_steps=2)
    before = weights(detector.net_)
    wgan, encoder = detector.stages()
    batches = [normals(8, SHAPES["2D"], seed) for seed in range(40)]
    train_stages(detector.net_, [wgan], batches, machine=CPU)
    between = weights(detector.net_)
    assert moved(before, between) == {"generator", "critic"}
    train_stages(detector.net_, [encoder], batches, machine=CPU)
    assert moved(between, weights(detector.net_)) == {"encoder"}


@pytest.mark.parametrize(
    ("player", "networks"),
    [(0, {"encoder", "generator"}), (1, {"critic"}), (2, {"code_critic"})],
)
def test_each_player_of_alphagan_moves_its_own_parameters(player, networks):
    detector = built("alphagan", "3D")
    (stage,) = detector.stages()
    stage.players, stage.steps = [stage.players[player]], 1
    before = weights(detector.net_)
    train_stages(detector.net_, [stage], [normals(8, SHAPES["3D"])], machine=CPU)
    assert moved(before, weights(detector.net_)) == networks


def test_the_critic_of_fanogan_takes_its_turns():
    wgan, encoder = built("fanogan", critic_turns=3).stages()
    assert [(player.name, player.turns) for player in wgan.players] == [("critic", 3), ("generator", 1)]
    assert [player.name for player in encoder.players] == ["encoder"]
    published = FAnoGAN()
    published.fill_in((1, 64, 64), 1000)
    assert (published.steps, published.width) == (20_000, 64)
    assert (published.critic_turns, published.batch, published.lr, published.penalty) == (5, 64, 1e-4, 10.0)
    assert (published.encoder_steps, published.encoder_lr, published.kappa) == (50_000, 5e-5, 1.0)
    assert (AlphaGAN().steps, AlphaGAN().batch, AlphaGAN().lr, AlphaGAN().latent) == (12_000, 4, 2e-4, 1000)


# What a person is told


def test_pairs_told_apart_and_spread_by_hand():
    assert told_apart(torch.tensor([2.0, 1.0]), torch.tensor([0.0, 1.0])) == pytest.approx(3.5 / 4)
    assert spread(torch.tensor([[0.0], [1.0], [3.0]])) == pytest.approx((1 + 3 + 2) / 3)


def contest(distance: float = 1.0, apart: bool = True, diversity: float = 1.0) -> Contest:
    fake = torch.zeros(4)
    return Contest(fake + distance if apart else fake + torch.tensor([distance * 4 + 3, -1, -1, -1]), fake, diversity)


def test_a_critic_that_wins_and_a_generator_that_collapses_are_told_after_several_looks():
    growing = [contest(distance) for distance in range(1, LOOKS + 1)]
    assert set(warnings(growing)) == {"won"} and not warnings(growing[:-1])
    assert not warnings(growing[::-1]), "a distance that falls is a generator that learns"
    assert not warnings([contest(distance) for distance in (5.0, 4.5, 5.2, 5.3)]), "nor is one that wavers a victory"
    assert not warnings([*growing[:-1], contest(9.0, apart=False)])
    flat = [contest(apart=False, diversity=COLLAPSED / 2)] * LOOKS
    assert set(warnings(flat)) == {"collapsed"} and "differ from one another 10% as much" in warnings(flat)["collapsed"]
    assert not warnings([*flat[:-1], contest(apart=False, diversity=COLLAPSED)])


def test_a_collapsed_generator_is_seen_in_training(caplog, tmp_path):
    from anomaly.training.journal import Journal

    class Constant(nn.Module):
        def __init__(self, shape: tuple[int, ...]) -> None:
            super().__init__()
            self.image = nn.Parameter(torch.zeros(shape))

        def forward(self, code: Tensor) -> Tensor:
            return self.image.expand(len(code), *self.image.shape) + 0 * code.sum()

    class Collapsed(FAnoGAN):
        def build(self, shape: tuple[int, ...]) -> nn.Module:
            net = super().build(shape)
            net["generator"] = Constant(shape)
            return net

    detector = Collapsed(width=4, latent=4, batch=8, steps=LOOKS + 2, encoder_steps=2)
    journal, shown = Journal(folder=tmp_path, save_every=1, log_every=1), []
    journal.draw = lambda stage, step, seen: shown.append((stage, step, seen))
    with caplog.at_level(logging.WARNING, logger="anomaly"):
        detector.fit(normals(16, SHAPES["2D"]), machine=CPU, journal=journal)
    told = [record.getMessage() for record in caplog.records if "collapsed" in record.getMessage()]
    assert len(told) == 1 and f"wgan, step {LOOKS}:" in told[0], "once, as soon as it is sure"
    assert [(stage, step) for stage, step, _ in shown] == [
        *(("wgan", step) for step in range(1, LOOKS + 3)), ("encoder", 1), ("encoder", 2)
    ]  # fmt: skip
    assert [bool(seen.warnings) for *_, seen in shown][:LOOKS] == [False] * (LOOKS - 1) + [True]


def test_a_glance_shows_samples_images_and_reconstructions_from_the_same_codes():
    detector, x = built("alphagan"), normals(12, SHAPES["2D"])
    detector.net_.eval()
    first, again = Referee(detector, x)("gan"), Referee(detector, x)("gan")
    assert list(first.pictures) == ["sample", "image", "reconstruction"]
    assert torch.equal(first.pictures["sample"], again.pictures["sample"]) and len(first.pictures["sample"]) == 8
    assert torch.equal(first.pictures["image"], x[:8])
    with torch.no_grad():
        torch.testing.assert_close(first.pictures["reconstruction"], detector.decode(detector.encode(x[:8])))
    assert set(first.figures) == {"distance", "told_apart", "diversity", "code_spread"}
    assert first.figures == again.figures
    codes = detector.encode(x).detach().numpy()
    assert first.figures["code_spread"] == pytest.approx(codes.std(0).mean(), rel=1e-4)


def test_fanogan_shows_of_each_stage_what_it_trains():
    detector = built("fanogan")
    detector.net_.eval()
    referee = Referee(detector, normals(12, SHAPES["2D"]))
    assert not referee("encoder").warnings
    assert list(referee("wgan").pictures) == ["sample", "image"] and referee("wgan").figures
    assert list(referee("encoder").pictures) == ["image", "reconstruction"]
    assert set(referee("encoder").figures) == {"code_spread"}
    assert {stage.name for stage in detector.stages()} == set(detector.shown)


def test_an_encoder_that_saturates_is_told_at_the_second_look():
    detector = built("fanogan")
    detector.net_.eval()
    with torch.no_grad():
        detector.net_["encoder"][1].bias.fill_(50.0)  # far in the flat part of the tanh
    referee = Referee(detector, normals(12, SHAPES["2D"]))
    assert not referee("encoder").warnings
    told = referee("encoder").warnings
    assert list(told) == ["alike"] and "encoder_lr" in told["alike"]
    with torch.no_grad():
        detector.net_["encoder"][1].bias.zero_()
        detector.net_["encoder"][1].weight.mul_(100)
    assert not referee("encoder").warnings


def test_the_encoder_begins_with_small_steps():
    detector = built("fanogan", encoder_steps=1000)
    (encoder,) = detector.stages()[1].players
    rates = [encoder.schedule(step / 1000) for step in (0, 49, 99, 100, 999)]
    assert rates == pytest.approx([0.01, 0.5, 1.0, 1.0, 1.0])


def test_of_few_real_images_nothing_is_said_and_an_unknown_stage_shows_nothing():
    detector = built("alphagan")
    detector.net_.eval()
    one = normals(1, SHAPES["2D"])
    looks = [Referee(detector, one)("gan") for _ in range(2 * LOOKS)]
    assert not any(each.warnings for each in looks) and np.isnan(looks[0].figures["diversity"])
    assert not Referee(detector, one)("a stage of one's own").pictures
