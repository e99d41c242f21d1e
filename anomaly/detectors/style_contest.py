"""The contest of StyleGAN2: generator, critic and their lazy penalties (Karras et al. 2020a), augmented as it needs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.detectors.adversarial import BOTH, FEATURES, AdversarialDetector
from anomaly.errors import AnomalyError
from anomaly.nets.augmentation import Augmentation
from anomaly.nets.layers import crop
from anomaly.nets.pyramid import MEAN_POOL
from anomaly.nets.stylegan import group_of, sizes
from anomaly.training.games import Player, Stage, lately

PENALTY_EVERY, PATH_EVERY = 16, 4
R1 = 2e-4
"""The weight of R1 for one image and one pixel: gamma = 0.0002 pixels / batch (Karras et al. 2020b)."""
PATH_DECAY, MEAN_DECAY = 0.01, 0.995
SMALLEST = 8
"""Growth begins with images of so many pixels along their longest side."""
Batch = Tensor | tuple[Tensor, Tensor]
Terms = tuple[Tensor, dict[str, Tensor]]


class Game(nn.Module):
    """What the contest remembers: the mean path length, and how many real images were seen in all."""

    length: Tensor
    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("length", torch.zeros(()))
        self.register_buffer("seen", torch.zeros(()))


@dataclass(frozen=True)
class View:
    """The size a contest is at.

    Args:
        level: 0 the smallest.
        since: real images that were seen before.
        fading: images over which it fades in; 0 for at once.
    """

    level: int
    since: float = 0.0
    fading: float = 0.0

    def fade(self, game: Game) -> Tensor | float:
        """Factor on what this size adds."""
        return ((game.seen - self.since) / self.fading).clamp(0.0, 1.0) if self.fading else 1.0


@dataclass(kw_only=True)
class StyleContest(AdversarialDetector):
    """Generator G against critic D, in stages on ever larger images where `progressive` asks for it, then "gan".

    `net_` holds `generator` and `critic`, `chance` (of augmentation) and `game` (what the contest remembers). A batch
    is images, or with classes a pair: images and their classes.

    Args:
        steps: of generator and critic.
        batch: images in a step.
        lr: of both, by Adam(0, 0.99), brought down for the penalties that come only now and then.
        penalty: weight of R1, the squared slope of D at real images, in units of 0.0002 pixels / batch.
        path: weight of the path length penalty.
        mixing: share of drawn images whose finer layers follow another code.
        widest: most channels of a layer; `width` those at full size.
        half_life: images after which a change of G has reached half of its average, which is what is kept.
        augment: mean sign of D of real images that augmentation is steered to; 0 augments nothing.
        augment_images: real images over which the chance of augmentation may rise from 0 to 1.
        mirror: whether augmentation may mirror: only where left and right do not matter.
        turn: whether it may turn images all round.
        progressive: whether images are small at first, for a half of the steps.
        classes: how many classes are told apart; 0 for none. Set by `learn`, which counts them.
    """

    conditional: ClassVar[bool] = True
    positive: ClassVar[tuple[str, ...]] = (*AdversarialDetector.positive, "widest", "half_life", "augment_images")
    not_negative: ClassVar[tuple[str, ...]] = (
        *AdversarialDetector.not_negative, "path", "mixing", "augment", "classes",
    )  # fmt: skip
    at_most_one: ClassVar[tuple[str, ...]] = ("mixing", "augment")
    amounts: ClassVar[Mapping[str, tuple[int, int]]] = {"batch": (32, 4), "width": (64, 16)}
    steps: int = 10_000
    batch: int = 0
    lr: float = 2.5e-3
    penalty: float = 1.0
    path: float = 2.0
    mixing: float = 0.9
    latent: int = 128
    width: int = 0
    widest: int = 128
    half_life: float = 10_000.0
    augment: float = 0.6
    augment_images: float = 500_000.0
    mirror: bool = False
    turn: bool = False
    progressive: bool = False
    classes: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.classes == 1:
            raise AnomalyError("classes must be 0 or 2 or more, got 1")
        if self.batch > 1 and group_of(self.batch) == 1:
            raise AnomalyError(
                f"batch must be a multiple of 2 or 3, for the critic sees how groups of images differ; got {self.batch}"
            )

    @property
    def values_know_classes(self) -> bool:
        """The critic was told them, and some values are made of its features."""
        return self.classes > 0 and self.value_from in (BOTH, FEATURES)

    def stages(self) -> Sequence[Stage]:
        """Growth where asked for, then the contest at full size."""
        grown = sizes(self.net_["generator"].synthesis.pyramid)
        last = len(grown) - 1
        levels = [k for k in range(last) if max(grown[k]) >= SMALLEST] if self.progressive else []
        early = self.steps // 2 // len(levels) if levels else 0
        plan = [(f"grow {max(grown[k])}", k, early) for k in levels if early]
        plan.append(("gan", last, self.steps - early * len(levels)))
        stages, before = [], 0
        for name, level, steps in plan:
            stages.append(Stage(name=name, players=self._players(level, before=before, steps=steps), steps=steps))
            before += steps
        return stages

    def mapped(self, noise: Tensor, classes: Tensor | None = None) -> Tensor:
        """w (N, latent) from noise (N, latent), and classes (N,) where it was taught some."""
        if self.classes and classes is None:
            raise AnomalyError(f"this {self.name} draws {self.classes} classes; say which, by classes")
        if classes is not None and (not self.classes or not ((0 <= classes) & (classes < self.classes)).all()):
            known = f"0 to {self.classes - 1}" if self.classes else "none: it was taught no classes"
            raise AnomalyError(f"got classes {classes.unique().tolist()}, expected {known}")
        return self._mapping(noise, None if classes is None else self._one_hot(classes))

    def _players(self, level: int, *, before: int, steps: int) -> list[Player]:
        """Generator and critic, and their penalties, on images of one size, which fades in after `before` steps."""
        net, at = self.net_, View(level, self.batch * before, 0.0 if not before else self.batch * steps / 2)
        average = lately(0.5 ** (self.batch / self.half_life), steps)
        players = [
            Player(
                name="generator", owns=[net["generator"]], loss=partial(self.generator_loss, at=at),
                optimiser=self._adam(PATH_EVERY if self.path else 0), ema=average,
            ),
            Player(
                name="path", owns=[net["generator"]], loss=partial(self.path_loss, at=at), every=PATH_EVERY,
                shares="generator",
            ),
            Player(
                name="critic", owns=[net["critic"]], loss=partial(self.critic_loss, at=at),
                optimiser=self._adam(PENALTY_EVERY if self.penalty else 0),
            ),
            Player(
                name="slope", owns=[net["critic"]], loss=partial(self.slope_loss, at=at), every=PENALTY_EVERY,
                shares="critic",
            ),
        ]  # fmt: skip
        without = {"path": self.path, "slope": self.penalty}
        return [player for player in players if without.get(player.name, 1.0)]

    def _adam(self, every: int) -> Any:
        """Adam with room for a penalty in each `every`-th step (Karras et al. 2020a, appendix B)."""
        share = every / (every + 1) if every else 1.0
        return partial(torch.optim.Adam, lr=self.lr * share, betas=(0.0, 0.99**share))

    def generator_loss(self, batch: Batch, at: "View | None" = None) -> Tensor:
        """log(1 + exp(-D(G(z)))), the mean over drawn images."""
        at = at or self._full
        x, classes = self._told(batch)
        w = self._styles(len(x), classes, track=True)
        fake = self._synthesis(w, random=True, level=at.level, fade=at.fade(self.net_["game"]))
        return F.softplus(-self._judged(fake, classes, at)).mean()

    def path_loss(self, batch: Batch, at: "View | None" = None) -> Terms:
        """path (|J^T y| - a)^2, y noise, a the running mean of the lengths (Karras et al. 2020a, equation 4)."""
        at = at or self._full
        x, classes = self._told(batch)
        half = max(1, len(x) // 2)
        with torch.autocast(x.device.type, enabled=False):
            w = self._styles(half, None if classes is None else classes[:half])[:, : 2 * (at.level + 1)]
            drawn = self._synthesis(w, random=True, level=at.level, fade=at.fade(self.net_["game"]))
            lengths = path_lengths(drawn, w)
            length = self.net_["game"].length
            with torch.no_grad():
                length.lerp_(lengths.detach().mean(), PATH_DECAY)
            # A copy: the next step changes the running mean, which this graph may still be asked for.
            penalty = (lengths - length.clone()).square().mean()
        return self.path * PATH_EVERY * penalty, {"length": lengths.detach().mean()}

    def critic_loss(self, batch: Batch, at: "View | None" = None) -> Terms:
        """log(1 + exp(D(G(z)))) + log(1 + exp(-D(x))), means; steers augmentation by D(x)."""
        at = at or self._full
        x, classes = self._told(batch)
        game, chance = self.net_["game"], self.net_["chance"]
        with torch.no_grad():
            w = self._styles(len(x), classes)
            fake = self._synthesis(w, random=True, level=at.level, fade=at.fade(game))
        of_fake = self._judged(fake, classes, at)
        of_real = self._judged(self._shrunk(x, at), classes, at)
        chance.learn(of_real.detach(), self.batch)
        game.seen += self.batch
        terms = {"real": F.softplus(-of_real).mean(), "drawn": F.softplus(of_fake).mean()}
        return terms["real"] + terms["drawn"], terms

    def slope_loss(self, batch: Batch, at: "View | None" = None) -> Terms:
        """gamma / 2 |grad D(x)|^2 at real images (Mescheder et al. 2018, R1), gamma = 0.0002 pixels / batch."""
        at = at or self._full
        x, classes = self._told(batch)
        with torch.autocast(x.device.type, enabled=False):
            real = self._shrunk(x, at).detach().requires_grad_()
            squared = squared_slopes(self._judged(real, classes, at), real).mean()
        gamma = self.penalty * R1 * math.prod(real.shape[2:]) / self.batch
        return gamma / 2 * PENALTY_EVERY * squared, {"squared": squared.detach()}

    def _mapping(self, noise: Tensor, one_hot: Tensor | None) -> Tensor:
        w: Tensor = self.net_["generator"].mapping(noise, one_hot)
        return w

    def _synthesis(self, w: Tensor, **options: Any) -> Tensor:
        drawn: Tensor = self.net_["generator"].synthesis(w, **options)
        return drawn if options.get("level") is not None else crop(drawn, self.shape_[1:])

    def _padded(self, x: Tensor) -> Tensor:
        return self.net_["generator"].synthesis.pyramid.pad(x)

    def _one_hot(self, classes: Tensor) -> Tensor:
        return F.one_hot(classes.long(), self.classes).float()

    @property
    def _full(self) -> "View":
        return View(len(self.net_["generator"].synthesis.sizes) - 1)

    def _told(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Images, and one-hot classes where there are some."""
        return batch if isinstance(batch, Tensor) else batch[0], (
            None if isinstance(batch, Tensor) else self._one_hot(batch[1])
        )

    def _styles(self, count: int, classes: Tensor | None, *, track: bool = False) -> Tensor:
        """w of each layer (N, styles, latent) of new images, the finer layers of some from a second code."""
        mapping, styles = self.net_["generator"].mapping, self.net_["generator"].synthesis.styles
        first, second = self._mapping(
            torch.randn(2 * count, self.latent, device=mapping.mean.device),
            None if classes is None else classes.repeat(2, 1),
        ).chunk(2)
        if track:
            with torch.no_grad():
                mapping.mean.lerp_(first.detach().float().mean(0), 1 - MEAN_DECAY)
        device = first.device
        cut = torch.randint(1, styles, (count, 1), device=device)
        cut = torch.where(torch.rand(count, 1, device=device) < self.mixing, cut, styles)
        finer = torch.arange(styles, device=device)[None] >= cut
        return torch.where(finer[..., None], second[:, None], first[:, None])

    def _judged(self, x: Tensor, classes: Tensor | None, at: "View") -> Tensor:
        """D of images as augmentation lets it see them."""
        if self.augment:
            x = Augmentation(mirror=self.mirror, turn=self.turn)(x, self.net_["chance"].p)
        judged: Tensor = self.net_["critic"](x, classes, at.level, at.fade(self.net_["game"]))
        return judged

    def _shrunk(self, x: Tensor, at: "View") -> Tensor:
        """Real images, padded, and as small as the level asks."""
        x = self._padded(x)
        factors = self.net_["generator"].synthesis.factors
        for k in reversed(range(at.level, len(factors))):
            x = MEAN_POOL[x.ndim - 2](x, factors[k])
        return x


def path_lengths(drawn: Tensor, w: Tensor) -> Tensor:
    """|J^T y| (N,) for y ~ N(0, 1 / pixels), the root of the mean over styles (Karras et al. 2020a, section 3.2).

    Args:
        drawn: images (N, C, *space) as a function of w.
        w: (N, styles, latent).
    """
    noise = torch.randn_like(drawn) / math.sqrt(math.prod(drawn.shape[2:]))
    (slopes,) = torch.autograd.grad((drawn * noise).sum(), w, create_graph=True)
    return slopes.square().sum(2).mean(1).sqrt()


def squared_slopes(of_real: Tensor, real: Tensor) -> Tensor:
    """|grad D(x)|^2 (N,), differentiable once more."""
    (slopes,) = torch.autograd.grad(of_real.sum(), real, create_graph=True)
    return slopes.square().flatten(1).sum(1)
