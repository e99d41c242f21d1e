"""A lesion painted in, or out, where a mask says where: from its surroundings and its class."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import pi, sqrt
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.errors import AnomalyError
from anomaly.nets.film import FilmedUNet
from anomaly.nets.within import mean_of_batch
from anomaly.painters.lesions_filling import filled
from anomaly.painters.lesions_nets import LesionCritic
from anomaly.training.games import Glance, Loss, Player, Source, Stage, lately
from anomaly.training.journal import Journal
from anomaly.training.learned import Learned
from anomaly.training.loop import cosine
from anomaly.training.machine import Machine

NORMAL = 0
"""The class of what is painted out."""
NOISE = 8
"""Numbers that are drawn for a painting, beside a field of noise."""
SPREAD = sqrt(1 / (3 * pi))
"""Weight of the scatter of two draws at which, of Gaussian pixels, the scatter that is best is the true one."""


class Holes(NamedTuple):
    """Images with a hole each, and what is known of what belongs there.

    Args:
        x: (N, C, *space) in [-1, 1]; where the hole is, what is true, or anything where that is not known.
        hole: (N, 1, *space) bool.
        classes: (N,) int64, 0 for normal tissue.
        tissues: (N, T, *space), 1 where a pixel is of a tissue, else 0; T may be 0.
    """

    x: Tensor
    hole: Tensor
    classes: Tensor
    tissues: Tensor


@dataclass(kw_only=True)
class LesionPainter(Learned):
    """Paints into a hole what belongs there, by its surroundings and by the class that is asked for.

    A U-Net sees the image with its hole filled smoothly, where the hole is, the tissues around if they are given, and
    noise; it is told the class at every level, and says what to add inside the hole. Two draws are compared with the
    truth: their mean by its absolute error, less their scatter, so that draws differ as much as the truth is uncertain
    (Bendel et al. 2023). A critic of patches says whether what the hole holds is real, and of which
    class (Odena et al. 2017). Class 0 is normal tissue, learned from holes where nothing is ill.

    Args:
        width: channels of the network at full size, doubled at each halving.
        levels: sizes of the network, the full one and each of the halvings.
        critic_width: channels of the critic's first convolution.
        halved: halvings of the critic: 2 judge patches of 34 pixels, 1 of 16.
        steps: of training.
        batch: holes in a batch; half of them lesions, half normal.
        window: pixels a side of the windows around holes; 0 takes twice the size of most lesions, 32 to 128, of volumes
            16 to 48.
        lr: learning rate of Adam, of the network and of the critic, falling by half a cosine.
        l1: weight of the error of the mean of two draws.
        spread: of the scatter of two draws, as a share of what fits Gaussian pixels.
        adversarial: weight of the critic's patches.
        told: weight of the critic's class.
        ema: share of the running average of the network's weights that each step leaves.
        flips: whether windows are mirrored by chance, along each axis.
        from_ill: whether normal tissue is also learned beside lesions, in images that have some. Where no image is
            without lesions it always is.
        near: share of the normal holes that are put about where lesions lie; the others anywhere.
        look_every: steps between two pictures of held-out images.
    """

    name: ClassVar[str] = "lesion-painter"
    summary: ClassVar[str] = "paints a lesion of a class in or out where a mask says where; the rest stays as it is"
    cite: ClassVar[str] = (
        "Isola et al. 2017 (critic of patches); Odena et al. 2017 (class); Bendel et al. 2023 (several draws); Perez "
        "et al. 2018 (FiLM)"
    )
    kind: ClassVar[str] = "painter"
    positive: ClassVar[tuple[str, ...]] = (
        "width", "levels", "critic_width", "halved", "steps", "batch", "lr", "l1", "look_every",
    )  # fmt: skip
    not_negative: ClassVar[tuple[str, ...]] = ("window", "spread", "adversarial", "told", "ema", "near")
    below_one: ClassVar[tuple[str, ...]] = ("ema",)
    width: int = 16
    levels: int = 4
    critic_width: int = 32
    halved: int = 2
    steps: int = 3000
    batch: int = 8
    window: int = 0
    lr: float = 4e-4
    l1: float = 10.0
    spread: float = 1.0
    adversarial: float = 0.5
    told: float = 0.5
    ema: float = 0.99
    flips: bool = True
    from_ill: bool = False
    near: float = 0.5
    look_every: int = 500
    classes_: int = field(init=False, repr=False, compare=False, default=0)
    tissues_: int = field(init=False, repr=False, compare=False, default=0)

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """The network that paints and its critic, for windows of shape (C, *space)."""
        channels, *space = shape
        widths = [self.width << level for level in range(self.levels)]
        seen = (channels + 2 + self.tissues_, *space)
        paints = FilmedUNet(seen, out=channels, told=self.classes_ + NOISE, widths=widths)
        critic = LesionCritic(
            channels, len(space), classes=self.classes_, width=self.critic_width, halved=self.halved
        )  # fmt: skip
        nets = nn.ModuleDict({"paints": paints, "critic": critic})
        nets.register_buffer("classes", torch.tensor(self.classes_))
        nets.register_buffer("tissues", torch.tensor(self.tissues_))
        return nets

    def rebuild(self, shape: tuple[int, ...], tensors: Mapping[str, Tensor]) -> nn.Module:
        """As `build`, told by the file how many classes and tissues there are."""
        self.classes_, self.tissues_ = int(tensors["classes"]), int(tensors["tissues"])
        return self.build(shape)

    def stages(self) -> Sequence[Stage]:
        """One game of two: who paints, and who judges."""
        adam = partial(torch.optim.Adam, lr=self.lr, betas=(0.5, 0.999))
        average = lately(self.ema, self.steps) if self.ema else 0.0
        paints = Player(
            name="paints", owns=[self.net_["paints"]], loss=self.loss, optimiser=adam, schedule=cosine, ema=average
        )  # fmt: skip
        critic = Player(
            name="critic", owns=[self.net_["critic"]], loss=self.loss_critic, optimiser=adam, schedule=cosine
        )  # fmt: skip
        players = [critic, paints] if self.adversarial or self.told else [paints]
        return [Stage(name="paint", players=players, steps=self.steps, look_every=self.look_every)]

    def fit(
        self,
        holes: Source,
        shape: Sequence[int],
        classes: int,
        tissues: int = 0,
        *,
        shown: Holes | None = None,
        machine: Machine | None = None,
        seed: int = 0,
        journal: Journal | None = None,
    ) -> Self:
        """Learn from windows with holes whose content is known.

        Args:
            holes: batch k -> `Holes` of windows.
            shape: (C, *window) of one window.
            classes: the normal one among them, 2 or more.
            tissues: channels of tissues.
            shown: windows of persons held out, for a reader to see how it goes.
            machine: device, precision, processes.
            seed: of weights and noise.
            journal: where to keep curves and checkpoints, and whether to resume.

        Raises:
            AnomalyError: no class beside the normal one.
        """
        if classes < 2:
            raise AnomalyError(f"got {classes} class; expected normal tissue and a class of lesions or more")
        machine, self.classes_, self.tissues_ = machine or Machine(), classes, tissues
        self.make(shape, machine, seed)
        (stage,) = self.stages()
        stage.glance = None if shown is None else partial(self._glance, shown)
        self.play([stage], holes, machine=machine, seed=seed, journal=journal)
        self.net_.eval().requires_grad_(False)
        return self

    def drawn(self, holes: Holes, noise: Tensor, grain: Tensor) -> Tensor:
        """Images whose holes are painted, (N, C, *space); outside they are as they were.

        Args:
            holes: what surrounds them, and the class.
            noise: (N, NOISE).
            grain: (N, 1, *space) of noise.
        """
        x, hole, classes, tissues = holes
        known = (~hole).to(x)
        base = filled(x, hole)
        marked = torch.where(hole, grain, -2.0)
        seen = torch.cat([base, 2 * hole.to(x) - 1, marked, tissues * known], 1)
        told = torch.cat([F.one_hot(classes, self.classes_).to(x), noise], 1)
        return torch.where(hole, base + self.net_["paints"](seen, told).to(x), x)

    def loss(self, batch: Holes) -> Loss:
        """L1 of the mean of two draws less their scatter, and what the critic says of them."""
        holes = Holes(*batch)
        both = [self.drawn(holes, *self._noise(holes.x)) for _ in range(2)]
        terms = {"l1": self.l1 * sampled(both, holes.x, holes.hole, self.spread)}
        if self.adversarial or self.told:
            judged = [self.net_["critic"](each, holes.hole) for each in both]
            patches = [-(logits * weights).sum() / len(holes.x) for logits, weights, _ in judged]
            told = [F.cross_entropy(each.float(), holes.classes) for _, _, each in judged]
            terms["critic"] = self.adversarial * torch.stack(patches).mean()
            terms["told"] = self.told * torch.stack(told).mean()
        return torch.stack(list(terms.values())).sum(), terms

    def loss_critic(self, batch: Holes) -> Loss:
        """Hinge loss of patches, real against painted, and cross-entropy of the class of what is real."""
        holes = Holes(*batch)
        with torch.no_grad():
            painted = self.drawn(holes, *self._noise(holes.x))
        (real, weights, told), (drawn, _, _) = (self.net_["critic"](each, holes.hole) for each in (holes.x, painted))
        hinge = ((F.relu(1 - real) + F.relu(1 + drawn)) * weights).sum() / len(holes.x)
        classes = F.cross_entropy(told.float(), holes.classes)
        return hinge + classes, {"hinge": hinge, "classes": classes}

    def paint(self, holes: Holes, names: Sequence[str], draws: int = 1, seed: int = 0) -> Tensor:
        """Several paintings of each hole, (draws, N, C, *space) in [-1, 1] inside the holes; outside the images.

        Args:
            holes: of any size.
            names: of the images, from which, with the seed, their noise is drawn.
            draws: how many.
            seed: another one gives other paintings.

        Raises:
            AnomalyError: nothing has been learned, or a class that there is not.
        """
        self.ready()
        if not 0 <= int(holes.classes.min()) <= int(holes.classes.max()) < self.classes_:
            raise AnomalyError(f"got the classes {holes.classes.tolist()}; expected 0 to {self.classes_ - 1}")
        here = Holes(*(each.to(self.device) for each in holes))
        found = []
        with torch.no_grad():
            for k in range(draws):
                parts = [told_noise(f"{seed} {k} {name}", tuple(holes.x.shape[2:])) for name in names]
                noise, grain = (torch.stack(each).to(self.device) for each in zip(*parts, strict=True))
                painted = self.drawn(here, noise, grain).clamp(-1, 1)
                found.append(torch.where(here.hole, painted, here.x).to(holes.x.device))
        return torch.stack(found)

    @staticmethod
    def _noise(x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.randn(len(x), NOISE, device=x.device, dtype=x.dtype), torch.randn_like(x[:, :1])

    def _glance(self, shown: Holes) -> Glance:
        names = [str(k) for k in range(len(shown.x))]
        first, second = self.paint(shown, names, 2)
        pictures = {
            "real": shown.x, "hole": torch.where(shown.hole, -1.0, shown.x), "painted": first, "once more": second,
        }  # fmt: skip
        off = mean_of_batch((first - shown.x).abs(), shown.hole)
        return Glance(pictures=pictures, figures={"off": float(off)})


def sampled(both: Sequence[Tensor], x: Tensor, hole: Tensor, spread: float = 1.0) -> Tensor:
    """|mean of two draws - truth| less `spread` times SPREAD times their standard deviation, mean over holes."""
    first, second = both
    error = mean_of_batch(((first + second) / 2 - x).abs(), hole)
    scatter = sqrt(pi) / 2 * mean_of_batch((first - second).abs(), hole)  # of two Gaussian draws their deviation
    return error - spread * SPREAD * scatter


def told_noise(told: str, space: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Numbers (NOISE,) and a field (1, *space) of noise that follow from words alone."""
    digest = hashlib.sha256(told.encode()).digest()
    random = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    return torch.randn(NOISE, generator=random), torch.randn(1, *space, generator=random)
