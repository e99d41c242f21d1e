"""VoxelMorph: begins with nothing, recovers a known shift, folds nothing, keeps masks out, comes back exactly."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import CPU

from anomaly.errors import AnomalyError
from anomaly.nets.fields import integrate, inverse_consistency, warp
from anomaly.nets.voxelmorph import FieldNetwork, field_of, folded, gradient, joined, perturbed
from anomaly.registrars.learned import VoxelMorph
from anomaly.training.journal import Journal

TINY: dict[str, Any] = {"width": 4, "levels": 2, "steps": 3, "batch": 2, "agreement": "difference"}


class Shifted:
    """Batches of soft dots, and the same dots `by` pixels along the first axis; each at its own place."""

    def __init__(self, space: tuple[int, ...], by: float, size: int = 4) -> None:
        self.space, self.by, self.size = space, by, size

    def __getitem__(self, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        random = torch.Generator().manual_seed(k)
        side = torch.tensor(self.space).float().view(1, -1)
        centres = side * (0.35 + 0.3 * torch.rand(self.size, len(self.space), generator=random))
        step = torch.zeros(1, len(self.space))
        step[0, 0] = self.by
        return self.dots(centres + step), self.dots(centres)

    def dots(self, centres: torch.Tensor) -> torch.Tensor:
        axes = torch.meshgrid(*[torch.arange(side).float() for side in self.space], indexing="ij")
        places = torch.stack(axes)[None] - centres.view(len(centres), -1, *[1] * len(self.space))
        return 1.6 * torch.exp(-places.square().sum(1, keepdim=True) / (2 * 3.0**2)) - 0.8


def fitted(space: tuple[int, ...] = (16, 16), **settings: Any) -> VoxelMorph:
    return VoxelMorph(**{**TINY, **settings}).fit(Shifted(space, 1.0, 2), (1, *space), machine=CPU)


@pytest.mark.parametrize("halved", [True, False])
@pytest.mark.parametrize("space", [(16, 13), (9, 12, 8)])
def test_a_network_that_has_learned_nothing_moves_nothing(space: tuple[int, ...], halved: bool) -> None:
    network = FieldNetwork((2, *space), width=4, levels=2, halved=halved)
    x = torch.rand(2, 2, *space)
    field = field_of(network(x, x.flip(-1)), space, halved=halved, steps=7)
    assert field.shape == (2, len(space), *space) and (field == 0).all()


@pytest.mark.parametrize(("space", "halved"), [((24, 24), True), ((24, 24), False), ((16, 16, 16), True)])
def test_a_known_shift_is_found_on_dots_it_has_not_seen(space: tuple[int, ...], halved: bool) -> None:
    settings = {"width": 8, "steps": 150, "lr": 5e-3, "batch": 4, "smoothness": 0.01, "halved": halved}
    registrar = VoxelMorph(**{**TINY, **settings}).fit(Shifted(space, 2.0), (1, *space), machine=CPU)
    moving, fixed = Shifted(space, 2.0)[1000]
    field, inverse = registrar.fields(moving, fixed)
    dot = (fixed > 0.2).expand(-1, len(space), *space)
    expected = torch.zeros_like(field)
    expected[:, 0] = 2
    assert (field - expected)[dot].abs().mean() < 0.3
    assert (field + inverse)[dot].abs().mean() < 0.3  # a shift: the way back is the way there, turned round
    told = registrar.judged(moving, fixed)
    assert (told["after"] < 0.2 * told["before"]).all() and (told["folded"] == 0).all()
    assert (told["there_and_back"] < 0.1).all()


def test_a_steady_velocity_arrives_whole_at_the_border() -> None:
    velocity = torch.full((1, 2, 8, 8), 2.0)
    assert torch.allclose(field_of(velocity, (15, 16), halved=True, steps=7), torch.full((1, 2, 15, 16), 4.0))
    assert torch.allclose(field_of(velocity, (8, 8), halved=False, steps=7), integrate(velocity))


def test_cells_of_half_the_size_lie_in_the_middle_of_their_pixels() -> None:
    cells = torch.arange(8.0).view(1, 1, 8, 1).expand(1, 2, 8, 8)
    field = field_of(cells, (16, 16), halved=True, steps=0)
    # Cell k has its middle at pixel 2 k + 1/2, and what is k cells there is 2 k pixels.
    assert torch.allclose(field[0, 0, 1:-1, 3], torch.arange(16.0)[1:-1] - 0.5)


def test_neighbours_become_channels() -> None:
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert folded(x).shape == (1, 4, 2, 2)
    assert sorted(folded(x)[0, :, 0, 0].tolist()) == [0, 1, 4, 5]


def test_the_cost_of_a_slope_by_hand() -> None:
    field = torch.zeros(1, 2, 5, 6)
    field[0, 1] = 0.5 * torch.arange(6.0)
    assert float(gradient(field)) == pytest.approx(0.25)
    assert float(gradient(field + 3)) == pytest.approx(0.25)


def test_fields_of_rounds_are_joined_in_their_order() -> None:
    x = torch.rand(1, 1, 12, 12)
    first, second = (torch.zeros(1, 2, 12, 12) for _ in range(2))
    first[:, 0], second[:, 1] = 1, 2
    both = joined([first, second])
    assert torch.allclose(warp(x, both)[..., :9, :9], warp(warp(x, first), second)[..., :9, :9], atol=1e-5)
    assert fitted(rounds=2).fields(x, x.flip(-1))[0].shape == both.shape


def test_terms_of_the_loss_add_up() -> None:
    registrar = fitted(adversarial=0.5, smoothness=0.2)
    total, terms = registrar.loss(Shifted((16, 16), 1.0)[7])
    expected = terms["agreement"] + 0.2 * terms["gradient"] + 0.5 * terms["adversarial"]
    assert float(total) == pytest.approx(float(expected), rel=1e-5)


def test_the_critic_moves_and_the_network_with_it() -> None:
    registrar, alone = fitted(adversarial=1.0), fitted()
    fresh = VoxelMorph(**{**TINY, "adversarial": 1.0})
    fresh.make((1, 16, 16), CPU, 0)
    before = dict(fresh.net_.named_parameters())
    moved = {name.split(".")[0] for name, p in registrar.net_.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"rounds", "critic"}
    x, y = Shifted((16, 16), 1.0)[5]
    assert not torch.equal(registrar.fields(x, y)[0], alone.fields(x, y)[0])
    assert torch.isfinite(registrar.critic_loss((x, y)))
    with pytest.raises(AnomalyError, match="too small for the critic"):
        fitted((8, 8), adversarial=1.0)


def test_the_critic_is_shown_images_moved_a_little() -> None:
    x = Shifted((32, 32), 0.0)[0][0]
    moved = perturbed(x, 0.3)
    assert 0 < (moved - x).abs().mean() < 0.05


def test_what_lies_outside_masks_does_not_count() -> None:
    registrar = fitted()
    registrar.masked_ = True
    moving, fixed = (each.clamp_min(-0.9) for each in Shifted((16, 16), 1.0)[3])
    inside = torch.zeros(1, 1, 16, 16, dtype=torch.bool)
    inside[..., 2:12, 2:12] = True
    nowhere = torch.zeros(len(moving), 2, 16, 16)
    given = registrar.disagreement(torch.where(inside, moving, -1), torch.where(inside, fixed, -1), nowhere)
    by_hand = (moving - fixed)[..., 2:12, 2:12].square().flatten(1).mean(1)
    assert torch.allclose(given, by_hand, atol=1e-6)


@pytest.mark.parametrize("agreement", ["difference", "correlation", "information"])
def test_a_field_that_carries_one_mask_off_the_other_is_no_agreement(agreement: str) -> None:
    registrar = fitted(agreement=agreement)
    registrar.masked_ = True
    inside = torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    inside[..., 8:16, 8:16] = True
    moving, fixed = (torch.where(inside, torch.rand(1, 1, 32, 32) - 0.5, -1) for _ in range(2))
    off = torch.zeros(1, 2, 32, 32)
    off[:, 0] = 12.0
    little = torch.zeros_like(off)
    little[:, 0] = 2.0  # three quarters are still covered
    before, after, still = (registrar.disagreement(moving, fixed, each) for each in (0 * off, off, little))
    assert (after > before + 0.5).all() and (after >= 2).all() and (still < 1.7).all()


def test_without_integration_the_way_back_is_one() -> None:
    registrar = fitted(integration=0, halved=False)
    moving, fixed = Shifted((24, 24), 1.0)[7]
    bent = torch.zeros(1, 2, 24, 24)
    bent[0, 0] = 2 * torch.sin(torch.arange(24) / 4)[:, None]
    registrar.net_["rounds"][0].forward = lambda *_: bent
    field, back = registrar.fields(moving[:1], fixed[:1])
    assert torch.equal(field, bent) and inverse_consistency(field, back) < 0.05
    assert inverse_consistency(field, -field) > 0.2


def test_same_seed_same_weights_and_each_pair_by_itself() -> None:
    one, other = fitted(), fitted()
    x, y = Shifted((16, 16), 1.0)[9]
    assert all(torch.equal(a, b) for a, b in zip(one.net_.parameters(), other.net_.parameters(), strict=True))
    whole, alone = one.fields(x, y)[0], one.fields(x[2:3], y[2:3])[0]
    assert torch.equal(whole[2:3], alone) and whole.abs().max() > 0


def test_saved_and_loaded(tmp_path: Path) -> None:
    registrar = fitted(rounds=2, adversarial=0.1)
    registrar.save(tmp_path / "weights.safetensors")
    again = VoxelMorph.load(tmp_path / "weights.safetensors")
    x, y = Shifted((16, 16), 1.0)[9]
    assert again == registrar and torch.equal(again.fields(x, y)[0], registrar.fields(x, y)[0])


def test_images_of_any_size_but_not_of_another_kind() -> None:
    registrar = fitted()
    assert registrar.fields(torch.rand(1, 1, 21, 11), torch.rand(1, 1, 21, 11))[0].shape == (1, 2, 21, 11)
    for moving, fixed in (
        (torch.rand(1, 2, 16, 16), torch.rand(1, 2, 16, 16)),
        (torch.rand(1, 1, 8, 8, 8), torch.rand(1, 1, 8, 8, 8)),
        (torch.rand(1, 1, 16, 16), torch.rand(1, 1, 16, 15)),
    ):
        with pytest.raises(AnomalyError, match="1 channels and 2 axes"):
            registrar.fields(moving, fixed)
    with pytest.raises(AnomalyError, match="learned nothing yet"):
        VoxelMorph().fields(torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8))


def test_a_stopped_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    class Stopping(Shifted):
        def __getitem__(self, k: int) -> tuple[torch.Tensor, torch.Tensor]:
            if k == 9:
                raise KeyboardInterrupt
            return super().__getitem__(k)

    def train(source: Shifted, resume: bool = False) -> VoxelMorph:
        settings = {**TINY, "steps": 6, "adversarial": 0.1}
        journal = Journal(folder=tmp_path, resume=resume, save_every=2)
        return VoxelMorph(**settings).fit(source, (1, 16, 16), held_out=source[0], machine=CPU, journal=journal)

    whole = fitted(steps=6, adversarial=0.1)
    with pytest.raises(KeyboardInterrupt):
        train(Stopping((16, 16), 1.0, 2))
    assert (
        json.loads((sorted((tmp_path / "checkpoint").glob("[0-9]*"))[-1] / "checkpoint.json").read_text())["step"] == 4
    )
    again = train(Shifted((16, 16), 1.0, 2), resume=True)
    assert all(torch.equal(a, b) for a, b in zip(whole.net_.parameters(), again.net_.parameters(), strict=True))


def test_a_field_can_be_computed_with_further() -> None:
    registrar, x = fitted(), torch.rand(1, 1, 16, 16, requires_grad=True)
    field = registrar.field(x.detach(), x.detach().flip(-1))
    warp(x, field).sum().backward()
    assert x.grad is not None and not field.is_inference()
