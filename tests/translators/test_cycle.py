"""CycleGAN: its losses by hand, its patches, its memory, that masks stay, and that a stopped training goes on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import CPU
from torch import nn

from anomaly.errors import AnomalyError, RunError
from anomaly.nets.residual_translator import ResidualTranslator
from anomaly.nets.within import within
from anomaly.training.journal import Journal
from anomaly.translators.cycle import CycleGAN, patch
from anomaly.translators.judge import Judge, moved
from anomaly.translators.remembered import OldFakes

TINY = {
    "form": "direct",
    "identity": 5.0,
    "steps": 3,
    "batch": 2,
    "width": 2,
    "blocks": 1,
    "critic_width": 2,
    "halved": 0,
    "remembered": 3,
}


def images(count: int, *space: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 1, *space, generator=torch.Generator().manual_seed(seed)) * 1.8 - 0.9


def fitted(**settings: object) -> CycleGAN:
    return CycleGAN(**{**TINY, **settings}).fit(images(5, 12, 12), images(7, 12, 12, seed=1), machine=CPU)


class Plus(nn.Module):
    """Says that so much is to be added."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.value.expand_as(x)


class Mean(nn.Module):
    """Judges an image by its mean."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((1, 2, 3), keepdim=True)


def by_hand(**settings: object) -> CycleGAN:
    """A game of which everything can be worked out: F -> T adds 0.25, T -> F takes 0.5, critics say the mean."""
    game = CycleGAN(**{**TINY, "form": "residual", "remembered": 0, **settings})
    shape = (1, 7, 7)
    game.net_ = nn.ModuleDict(
        {
            "there": Plus(0.25), "back": Plus(-0.5), "critic_from": Mean(), "critic_to": Mean(),
            "old_from": OldFakes(shape, 0), "old_to": OldFakes(shape, 0),
        }
    )  # fmt: skip
    return game


def test_losses_worked_by_hand() -> None:
    game, x, y = by_hand(), torch.full((1, 1, 7, 7), 0.1), torch.full((2, 1, 7, 7), 0.3)
    total, terms = game.generators_loss((x, y))
    # drawn as T: 0.35, so (0.35 - 1)^2; as F: -0.2, so (-0.2 - 1)^2; there and back 0.25 off both ways
    assert float(terms["adversarial"].detach()) == pytest.approx(0.65**2 + 1.2**2)
    assert float(terms["cycle"]) == pytest.approx(0.25 + 0.25)
    assert float(terms["identity"]) == pytest.approx(0.25 + 0.5)
    assert float(total) == pytest.approx(0.65**2 + 1.2**2 + 10 * 0.5 + 5 * 0.75)
    loss, told = game.critics_loss((x, x))
    assert float(told["to"]) == pytest.approx(((0.1 - 1) ** 2 + 0.35**2) / 2)
    assert float(told["from"]) == pytest.approx(((0.1 - 1) ** 2 + 0.2**2) / 2)
    assert float(loss) == pytest.approx(float(told["to"] + told["from"]))


def test_weights_weigh_and_nothing_leaves_a_term_out() -> None:
    x = torch.full((1, 1, 7, 7), 0.1)
    total, terms = by_hand(cycle=0.0, identity=0.0, adversarial=2.0).generators_loss((x, x))
    assert set(terms) == {"adversarial"} and float(total) == pytest.approx(2 * float(terms["adversarial"]))


def test_the_rate_is_constant_and_then_falls_to_nothing() -> None:
    game = CycleGAN(**{**TINY, "decay": 0.5})
    assert [game.falling(done) for done in (0.0, 0.5, 0.75, 1.0)] == [1.0, 1.0, 0.5, 0.0]
    assert CycleGAN(**{**TINY, "decay": 0.0}).falling(0.99) == 1.0


@pytest.mark.parametrize("halved", [0, 1, 2, 3])
def test_a_patch_is_as_large_as_what_moves_one_judgement(halved: int) -> None:
    from anomaly.nets.critics import PatchCritic

    critic = PatchCritic(1, 2, width=2, halved=halved)
    for stage in critic.stages:  # norms look at the whole image
        for k, layer in enumerate(stage):
            if isinstance(layer, nn.InstanceNorm2d):
                stage[k] = nn.Identity()
    side = 4 * patch(halved)
    x = torch.zeros(1, 1, side, side, requires_grad=True)
    judged = critic(x)
    judged[0, 0, judged.shape[2] // 2, judged.shape[3] // 2].backward()
    rows = torch.nonzero(x.grad[0, 0].abs().sum(1) > 0)
    assert int(rows.max() - rows.min()) + 1 == patch(halved)


def test_images_smaller_than_a_patch_are_refused() -> None:
    with pytest.raises(AnomalyError, match=r"12 x 12 pixels are smaller than the patches of 34 .* --set halved=0"):
        fitted(halved=2)
    with pytest.raises(AnomalyError, match=r"of 6 x 12 pixels .* give a larger --size"):
        CycleGAN(**TINY).fit(images(3, 6, 12), images(3, 6, 12), machine=CPU)


def test_heaps_of_two_shapes_are_refused() -> None:
    with pytest.raises(AnomalyError, match=r"\(1, 12, 12\), those of the other heap \(1, 12, 14\)"):
        CycleGAN(**TINY).fit(images(3, 12, 12), images(3, 12, 14), machine=CPU)
    with pytest.raises(AnomalyError, match="at least one"):
        CycleGAN(**TINY).fit(images(3, 12, 12), images(0, 12, 12), machine=CPU)


@pytest.mark.parametrize("network", ["resnet", "unet"])
@pytest.mark.parametrize("space", [(12, 15), (8, 9, 12)])
def test_in_two_and_three_dimensions_and_any_sides(network: str, space: tuple[int, ...]) -> None:
    x = images(3, *space)
    game = CycleGAN(**{**TINY, "network": network, "steps": 1, "batch": 1}).fit(x, x[:2], machine=CPU)
    drawn = game.translate(x)
    assert drawn.shape == x.shape and float(drawn.abs().max()) <= 1


@pytest.mark.parametrize("norm", ["instance", "group", "none"])
def test_a_generator_draws_nothing_until_it_has_learned(norm: str) -> None:
    net, x = ResidualTranslator((2, 9, 10), width=4, blocks=2, norm=norm), torch.rand(2, 2, 9, 10)
    assert torch.equal(net(x), torch.zeros(2, 2, 9, 10))
    with pytest.raises(AnomalyError, match="too thin"):
        ResidualTranslator((1, 3, 16), width=2, blocks=1)


def test_a_translation_does_not_depend_on_its_batch_and_is_saved(tmp_path: Path) -> None:
    game, x = fitted(), images(4, 12, 12, seed=5)
    together = game.translate(x)
    alone = torch.cat([game.translate(one[None]) for one in x])
    assert torch.allclose(together, alone, atol=1e-6) and not torch.equal(together, x)
    assert not torch.equal(game.translate(x, back=True), together)
    game.save(tmp_path / "w.safetensors")
    again = CycleGAN.load(tmp_path / "w.safetensors")
    assert torch.equal(again.translate(x), together) and again.settings() == game.settings()
    with pytest.raises(RunError, match="'cyclegan', expected 'judge'"):
        Judge.load(tmp_path / "w.safetensors")


def test_what_critics_remember_is_of_no_finished_run() -> None:
    """Old drawings come from people; a run that is handed on is not to hold them."""
    game = fitted()
    assert int(game.net_["old_to"].held) == 3
    assert not [name for name in game.net_.state_dict() if name.startswith("old")]


def test_the_memory_fills_up_and_then_exchanges_half() -> None:
    memory = OldFakes((1, 1, 1), 4)
    first = torch.arange(4.0).view(4, 1, 1, 1)
    assert torch.equal(memory.shown(first), first) and torch.equal(memory.images, first)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        shown = torch.cat([memory.shown(torch.full((1, 1, 1, 1), 10.0 + k)) for k in range(400)]).flatten()
    new = shown == torch.arange(400) + 10.0
    assert 160 < int(new.sum()) < 240  # binomial, 200 with a deviation of 10
    told = [*shown.tolist(), *memory.images.flatten().tolist()]
    assert sorted(told) == [*np.arange(4.0), *np.arange(10.0, 410.0)]  # none is lost and none comes twice


def test_masks_are_kept() -> None:
    x = images(5, 12, 12)
    x[:, :, :4] = -1
    game = CycleGAN(**{**TINY, "lr": 0.05})
    game.masked_ = True
    game.fit(x, x.flip(3), machine=CPU)
    drawn = game.translate(x)
    assert torch.equal(within(drawn), within(x)) and not torch.equal(drawn, x)
    assert (drawn[:, :, :4] == -1).all()


def test_the_same_seed_gives_the_same_weights() -> None:
    first, second = (fitted().net_.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = CycleGAN(**TINY).fit(images(5, 12, 12), images(7, 12, 12, seed=1), machine=CPU, seed=1).net_.state_dict()
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_stopped_training_ends_as_one_that_was_not(tmp_path: Path) -> None:
    """What critics remember is given back exactly: without it the second half would go another way."""
    x, y = images(5, 12, 12), images(7, 12, 12, seed=1)
    settings = {**TINY, "steps": 8, "remembered": 2}

    def train(folder: Path, resume: bool = False) -> dict[str, torch.Tensor]:
        journal = Journal(folder=folder, resume=resume, save_every=5)
        return CycleGAN(**settings).fit(x, y, machine=CPU, journal=journal).net_.state_dict()

    whole = train(tmp_path / "whole")

    class Stop(Exception):
        pass

    game, calls = CycleGAN(**settings), 0
    loss = game.critics_loss

    def stopping(batch: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 7:
            raise Stop
        return loss(batch)

    game.critics_loss = stopping  # type: ignore[method-assign]
    with pytest.raises(Stop):
        game.fit(x, y, machine=CPU, journal=Journal(folder=tmp_path / "cut", save_every=5))
    resumed = train(tmp_path / "cut", resume=True)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_it_learns_a_shift_of_brightness_without_pairs() -> None:
    random = np.random.default_rng(0)
    dots = random.random((40, 1, 12, 12)) < 0.2
    heaps = np.where(dots, 0.6, -0.6).astype(np.float32)
    x, y = heaps[:20], (heaps[20:] * 0.5).astype(np.float32)
    settings = {**TINY, "steps": 60, "width": 4, "critic_width": 8, "lr": 1e-2, "remembered": 20}
    game = CycleGAN(**settings).fit(x, y, machine=CPU)
    drawn = game.translate(torch.from_numpy(x)).numpy()
    before, after = np.abs(x - 0.5 * x).mean(), np.abs(drawn - 0.5 * x).mean()
    assert after < 0.75 * before


def test_what_is_added_begins_as_the_image_and_leaves_it() -> None:
    x = images(6, 12, 12)
    begun = CycleGAN(**{**TINY, "form": "residual", "identity": 0.0})
    begun.make(x.shape[1:], CPU, 0)
    assert torch.equal(begun.translate(x), x)
    assert not torch.equal(begun.fit(x, -x, machine=CPU).translate(x), x)


def test_a_judge_tells_what_can_be_told_and_nothing_else() -> None:
    x = images(80, 12, 12)
    told, heaps = {}, {"darker": images(80, 12, 12, seed=1) - 0.1, "alike": images(80, 12, 12, seed=2)}
    for name, drawn in heaps.items():
        judge = Judge(steps=60, width=4).fit(x[:40], drawn[:40], machine=CPU)
        real, fake = judge.logits(x[40:]), judge.logits(drawn[40:])
        told[name] = float((fake[:, None] > real[None]).float().mean())
    assert told["darker"] > 0.9 and 0.25 < told["alike"] < 0.75


def test_an_image_is_moved_and_not_changed() -> None:
    x = torch.arange(20.0).view(1, 1, 20, 1).expand(3, 1, 20, 20).contiguous()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        shifted = moved(x, 0.2)
    assert set(shifted.unique().tolist()) <= set(x.unique().tolist()) and not torch.equal(shifted, x)
