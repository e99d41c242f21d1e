"""VoxelMorph: a network that has learned to bring images onto one another, and does it in one pass; 2D or 3D."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.errors import AnomalyError
from anomaly.nets.agreement import AGREEMENTS, WINDOWED
from anomaly.nets.critics import PatchCritic
from anomaly.nets.fields import bending, folded_share, inverse_consistency, invert, length, warp
from anomaly.nets.voxelmorph import FieldNetwork, field_of, gradient, joined, perturbed
from anomaly.nets.within import mean_within, within
from anomaly.training.games import Glance, Loss, Player, Source, Stage
from anomaly.training.journal import Journal
from anomaly.training.learned import Learned
from anomaly.training.loop import cosine
from anomaly.training.machine import Machine

COSTS: Mapping[str, Callable[[Tensor], Tensor]] = {"gradient": gradient, "bending": bending}
JUDGED = 12
"""Pixels a side of the smallest image of which the critic sees a patch."""
COVERED, NOTHING = 0.5, 2.0
"""Of a mask, what may be left uncovered at no cost; and what it costs when nothing is covered."""
PLENTY = 2**31
"""Pairs, of which there are as many as are asked for."""
Pair = tuple[Tensor, Tensor]


class Found(NamedTuple):
    """What the network found of a batch of pairs: the field, that of the way back, and of each round the velocity."""

    field: Tensor
    inverse: Tensor | None
    velocities: list[Tensor]


@dataclass(kw_only=True)
class VoxelMorph(Learned):
    """Brings one image onto another by a field that a network gives, learned from pairs without a truth.

    The network sees both images and says a velocity; the field is where that leads in one unit of time, so that it does
    not fold and its inverse is known (Dalca et al. 2018). It learns from nothing but how well the images then agree,
    both ways, and how smooth the velocity is. Images have to lie roughly on one another already.

    Args:
        agreement: what is to be small: "difference" (mean squares: one scanner, one contrast), "correlation" (local:
            brightness may differ), "either-way" (its square: bright may be dark) or "information" (minus mutual
            information: two contrasts).
        window: deviation of the window of local correlation, in pixels.
        smoothness: weight of what the velocity costs.
        cost: "gradient" (squared differences of neighbours) or "bending" (second differences, so that turning and
            growing as a whole cost nothing).
        symmetric: whether the fixed image, brought back onto the moving one, has to agree as well.
        width: channels at full size.
        levels: sizes, the full one and each of the halvings.
        halved: work at half the size: a quarter of the time, of volumes an eighth, and smoother fields.
        rounds: networks one after the other, each of which sees what the ones before have left.
        integration: steps of scaling and squaring; 0 takes the velocity for the field, which may fold, and whose way
            back is sought step by step.
        adversarial: weight of the cross-entropy with a critic that takes (warped, fixed) for two images of one; 0
            leaves it out.
        critic_width: channels of that critic after its first convolution.
        perturbation: pixels by which the critic's own pairs, an image and itself, are moved against one another.
        steps: of the training.
        batch: pairs in a batch.
        lr: learning rate at the beginning; falls by half a cosine to 0.
    """

    name: ClassVar[str] = "voxelmorph"
    summary: ClassVar[str] = "a network that brings images onto one another in one pass, learned without a truth"
    cite: ClassVar[str] = "Balakrishnan et al. 2019; Dalca et al. 2018 (velocities); Mahapatra et al. 2018 (critic)"
    kind: ClassVar[str] = "registrar"
    positive: ClassVar[tuple[str, ...]] = (
        *("window", "width", "levels", "rounds", "critic_width", "perturbation", "steps", "batch", "lr"),
    )
    not_negative: ClassVar[tuple[str, ...]] = ("smoothness", "integration", "adversarial")
    choices: ClassVar[Mapping[str, Iterable[str]]] = {"agreement": AGREEMENTS, "cost": COSTS}
    amounts: ClassVar[Mapping[str, tuple[int, int]]] = {"steps": (3000, 1500), "batch": (8, 1)}
    agreement: str = "correlation"
    window: float = 2.5
    smoothness: float = 0.1
    cost: str = "gradient"
    symmetric: bool = True
    width: int = 16
    levels: int = 4
    halved: bool = True
    rounds: int = 1
    integration: int = 7
    adversarial: float = 0.0
    critic_width: int = 16
    perturbation: float = 0.3
    steps: int = 0
    batch: int = 0
    lr: float = 1e-3

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """A network for each round, and a critic where it is asked for."""
        network = partial(FieldNetwork, shape, width=self.width, levels=self.levels, halved=self.halved)
        nets = nn.ModuleDict({"rounds": nn.ModuleList(network() for _ in range(self.rounds))})
        if self.adversarial > 0:
            if min(shape[1:]) < JUDGED:
                raise AnomalyError(
                    f"images of {' x '.join(map(str, shape[1:]))} pixels are too small for the critic; expected "
                    f"{JUDGED} or more a side, or adversarial=0"
                )
            nets["critic"] = PatchCritic(2 * shape[0], len(shape) - 1, width=self.critic_width, halved=2)
        return nets

    def stages(self) -> Sequence[Stage]:
        """One game: the networks of all rounds together, alone or with the critic."""
        adam = partial(torch.optim.Adam, lr=self.lr)
        players = [
            Player(name="registrar", owns=[self.net_["rounds"]], loss=self.loss, optimiser=adam, schedule=cosine)
        ]
        if self.adversarial > 0:
            judging = partial(torch.optim.Adam, lr=self.lr / 2, betas=(0.5, 0.999))
            critic = [self.net_["critic"]]
            players.append(
                Player(name="critic", owns=critic, loss=self.critic_loss, optimiser=judging, schedule=cosine)
            )
        return [Stage(name="register", players=players, steps=self.steps)]

    def fit(
        self,
        batches: Source,
        shape: Sequence[int],
        *,
        held_out: Pair | None = None,
        masked: bool = False,
        machine: Machine | None = None,
        seed: int = 0,
        journal: Journal | None = None,
    ) -> Self:
        """Learn to bring moving images onto fixed ones.

        Args:
            batches: batch number k is (moving, fixed), each (batch, C, *space) in [-1, 1].
            shape: (C, *space).
            held_out: such a batch for a person to watch; None shows the first one.
            masked: pixels that are -1 in all channels lie outside a mask; they do not count.
            machine: device, precision, processes.
            seed: of weights.
            journal: where to keep curves and checkpoints, and whether to resume.
        """
        machine, shown = machine or Machine(), held_out or batches[0]
        self.fill_in(tuple(shape), PLENTY, machine.processes * machine.nodes)
        self.masked_ = masked
        self.make(tuple(shape), machine, seed)
        stages = list(self.stages())
        there = shown[0].to(machine.torch_device), shown[1].to(machine.torch_device)
        stages[0].glance = partial(self.glance, there)
        self.play(stages, batches, machine=machine, seed=seed, journal=journal)
        self.net_.eval().requires_grad_(False)
        return self

    def found(self, moving: Tensor, fixed: Tensor, *, back: bool = True) -> Found:
        """Fields for images (N, C, *space) of any sides, in pixels, with their gradients; of the way back if asked."""
        there, returning, velocities = [], [], []
        seen = moving
        drawn = partial(field_of, space=moving.shape[2:], halved=self.halved, steps=self.integration)
        known = back and self.integration > 0  # the way back of a field that was not integrated has to be sought
        for network in self.net_["rounds"]:
            velocity = network(seen, fixed)
            velocities.append(velocity)
            there.append(drawn(velocity))
            returning.extend([drawn(-velocity)] if known else [])
            if len(there) < self.rounds:
                seen = warp(moving, joined(there))
        whole = joined(there)
        inverse = joined(returning[::-1]) if known else invert(whole) if back else None
        return Found(whole, inverse, velocities)

    def loss(self, batch: Pair) -> Loss:
        """Disagreement of (warped, fixed), and back, + smoothness cost(velocity) + adversarial CE(critic, real)."""
        moving, fixed = batch
        found = self.found(moving, fixed, back=self.symmetric)
        ways = [(moving, fixed, found.field), *([(fixed, moving, found.inverse)] if found.inverse is not None else [])]
        terms = {"agreement": torch.stack([self.disagreement(*way).mean() for way in ways]).mean()}
        costs = COSTS[self.cost]
        terms[self.cost] = torch.stack([costs(velocity).mean() for velocity in found.velocities]).sum()
        total = terms["agreement"] + self.smoothness * terms[self.cost]
        if self.adversarial > 0:
            judged = self.net_["critic"](torch.cat([warp(moving, found.field), fixed], 1))
            terms["adversarial"] = F.softplus(-judged).mean()
            total = total + self.adversarial * terms["adversarial"]
        return total, terms

    def critic_loss(self, batch: Pair) -> Loss:
        """Half the cross-entropy for (fixed slightly moved, fixed) as real and (warped, fixed) as not."""
        moving, fixed = batch
        with torch.no_grad():
            warped = warp(moving, self.found(moving, fixed, back=False).field)
            real = perturbed(fixed, self.perturbation)
        judged = self.net_["critic"](torch.cat([torch.cat([each, fixed], 1) for each in (warped, real)]))
        of_warped, of_real = judged.chunk(2)
        return (F.softplus(of_warped).mean() + F.softplus(-of_real).mean()) / 2

    def disagreement(self, moving: Tensor, fixed: Tensor, field: Tensor) -> Tensor:
        """How little the warped image agrees with the fixed one, (N,), where both lie within their masks.

        A field that carries the one mask off the other would leave nothing to disagree: beyond half of the fixed mask,
        what is no longer covered counts as disagreement, up to `NOTHING`.
        """
        setting = {"sigma": self.window} if self.agreement in WINDOWED else {}
        measured = partial(AGREEMENTS[self.agreement], warp(moving, field), fixed, **setting)
        if not self.masked_:
            return measured(None)
        theirs, own = warp(within(moving).float(), field), within(fixed)
        lost = (COVERED - mean_within(theirs, own)).clamp_min(0) / COVERED
        return measured(own & (theirs.detach() > 0.5)) + NOTHING * lost

    @torch.no_grad()
    def field(self, moving: Tensor, fixed: Tensor) -> Tensor:
        """The field (N, dims, *space) in pixels that brings moving onto fixed images, as `fields` gives it."""
        self._admit(moving, fixed)
        with torch.inference_mode():  # which keeps less beside each tensor: of small images a tenth of the time
            pairs = zip(moving.to(self.device).split(1), fixed.to(self.device).split(1), strict=True)
            found = [self.found(*pair, back=False).field for pair in pairs]
        return torch.cat(found)  # joined outside, it can be computed with like any other

    @torch.no_grad()
    def fields(self, moving: Tensor, fixed: Tensor) -> tuple[Tensor, Tensor]:
        """Fields (N, dims, *space) in pixels that bring moving onto fixed images, and back; each pair by itself.

        Args:
            moving, fixed: (N, C, *space), prepared as in training; sides may be any.

        Raises:
            AnomalyError: nothing has been learned, or images of other channels or axes, or of two shapes.
        """
        self._admit(moving, fixed)
        pairs = zip(moving.to(self.device).split(1), fixed.to(self.device).split(1), strict=True)
        there, back = zip(*(self.found(*pair)[:2] for pair in pairs), strict=True)
        return torch.cat(there), torch.cat(back)

    def _admit(self, moving: Tensor, fixed: Tensor) -> None:
        self.ready()
        if moving.shape != fixed.shape or moving.ndim != len(self.shape_) + 1 or moving.shape[1] != self.shape_[0]:
            raise AnomalyError(
                f"images have shapes {tuple(moving.shape[1:])} and {tuple(fixed.shape[1:])}, the registrar was fitted "
                f"on {self.shape_[0]} channels and {len(self.shape_) - 1} axes; prepare both in the same way"
            )

    def glance(self, shown: Pair) -> Glance:
        """What a person sees of the training: moving, warped and fixed images, and figures of them."""
        moving, fixed = shown
        field, _ = self.fields(moving, fixed)
        figures = {name: float(values.mean()) for name, values in self.judged(moving, fixed).items()}
        pictures = {"moving": moving, "warped": warp(moving, field), "fixed": fixed}
        return Glance(pictures=pictures, figures=figures)

    @torch.no_grad()
    def judged(self, moving: Tensor, fixed: Tensor) -> dict[str, Tensor]:
        """Figures of pairs, (N,) each: disagreement before and after, folded share, pixels moved, there and back."""
        field, inverse = self.fields(moving, fixed)
        nowhere = torch.zeros_like(field)
        moving, fixed = moving.to(field.device), fixed.to(field.device)
        return {
            "before": self.disagreement(moving, fixed, nowhere),
            "after": self.disagreement(moving, fixed, field),
            "folded": folded_share(field),
            "moved": mean_within(length(field), within(fixed) if self.masked_ else None),
            "there_and_back": inverse_consistency(field, inverse),
        }
