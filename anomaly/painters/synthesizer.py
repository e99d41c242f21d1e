"""What draws images from label maps: what all of its methods share, the game against critics among it."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from anomaly.errors import AnomalyError
from anomaly.levels import OUTSIDE
from anomaly.nets.within import kept, mean_of_batch
from anomaly.painters.critics import CriticsAtScales, features_apart, fooled, judged
from anomaly.painters.mapped import by_seeds, hot, inside_of
from anomaly.training.batches import passes
from anomaly.training.games import Glance, Player, Source, Stage, lately
from anomaly.training.journal import Journal
from anomaly.training.learned import Learned
from anomaly.training.loop import cosine
from anomaly.training.machine import Machine

SHOWN = 8
Batch = tuple[Tensor, Tensor]
"""Images (N, C, *space) in [-1, 1] and the places of their classes (N, *space), `NOWHERE` outside masks."""
Terms = tuple[Tensor, dict[str, Tensor]]


@dataclass(kw_only=True)
class Synthesizer(Learned):
    """Draws images from label maps; `fit(images with label maps, shape, classes)`, then `draw(places, seeds)`.

    One that draws plays against critics that see the map and the image (Isola et al. 2017): a critic tells real from
    drawn, and |drawn - real| and what the critic's layers see of both hold it to the image of the same map. `classes_`
    counts the classes, the background, class 0, among them.
    """

    kind: ClassVar[str] = "synthesizer"
    game: ClassVar[str] = "hinge"
    positive: ClassVar[tuple[str, ...]] = (
        "steps", "batch", "lr", "lr_critic", "width", "levels", "critic_width", "scales",
    )  # fmt: skip
    not_negative: ClassVar[tuple[str, ...]] = ("l1", "adversarial", "features", "noise", "halved", "ema")
    below_one: ClassVar[tuple[str, ...]] = ("ema",)
    steps: int = 1000
    batch: int = 4
    lr: float = 2e-4
    lr_critic: float = 4e-4
    width: int = 16
    levels: int = 4
    noise: int = 1
    l1: float = 10.0
    adversarial: float = 1.0
    features: float = 0.1
    critic_width: int = 24
    halved: int = 2
    scales: int = 2
    ema: float = 0.99
    classes_: int = field(init=False, repr=False, compare=False, default=0)

    @abstractmethod
    def artist(self, shape: tuple[int, ...]) -> nn.Module:
        """The network that draws, for images of shape (C, *space)."""

    @abstractmethod
    def drawn(self, places: Tensor, grain: Tensor, style: Tensor) -> Tensor:
        """Images (N, C, *space) in [-1, 1], differentiable.

        Args:
            places: (N, *space).
            grain: what chance is drawn with, (N, noise, *space).
            style: (N, Z); of a method without styles Z is 0.
        """

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """The one that draws and its critics."""
        judged = shape[0] + self.classes_
        critics = CriticsAtScales(
            judged, shape[1:], width=self.critic_width, halved=self.halved, scales=self.scales
        )  # fmt: skip
        nets = nn.ModuleDict({"artist": self.artist(shape), "critics": critics})
        nets.register_buffer("classes", torch.tensor(self.classes_))
        return nets

    def rebuild(self, shape: tuple[int, ...], tensors: Mapping[str, Tensor]) -> nn.Module:
        """As `build`, told by the file how many classes there are."""
        self.classes_ = int(tensors["classes"])
        return self.build(shape)

    def stages(self) -> Sequence[Stage]:
        """The one that draws, then the critics, each by a rate of its own."""
        betas = (0.5, 0.999)
        average = lately(self.ema, self.steps) if self.ema else 0.0
        artist = Player(
            name="artist", owns=self.owned(), loss=self.artist_loss, schedule=cosine, ema=average,
            optimiser=partial(torch.optim.Adam, lr=self.lr, betas=betas),
        )  # fmt: skip
        critics = Player(
            name="critics", owns=[self.net_["critics"]], loss=self.critics_loss, schedule=cosine,
            optimiser=partial(torch.optim.Adam, lr=self.lr_critic, betas=betas),
        )  # fmt: skip
        players = [artist, critics] if self.adversarial or self.features else [artist]
        return [Stage(name="synthesize", players=players, steps=self.steps)]

    def owned(self) -> list[nn.Module]:
        """The networks that move with the one that draws."""
        return [self.net_["artist"]]

    def fit(
        self,
        source: Source,
        shape: Sequence[int],
        classes: int,
        *,
        held_out: Batch | None = None,
        machine: Machine | None = None,
        seed: int = 0,
        journal: Journal | None = None,
    ) -> Self:
        """Learn how images of label maps look.

        Args:
            source: batch k -> images (N, C, *space) in [-1, 1] and places of their classes (N, *space).
            shape: (C, *space) of one image.
            classes: the background among them, 2 or more.
            held_out: a few more of both, for a person to watch; None takes those of the first batch.
            machine: device, precision, processes.
            seed: of weights and of chance; the caller's random state stays as it was.
            journal: where to keep curves and checkpoints, and whether to resume.

        Raises:
            AnomalyError: one class alone, or images too small for a critic.
        """
        if classes < 2:
            raise AnomalyError(f"got {classes} classes, the background among them; expected 2 or more")
        machine, self.classes_ = machine or Machine(), classes
        self.make(shape, machine, seed)
        (stage,) = self.stages()
        stage.glance = self._onlooker(held_out or source[0])
        self._last: Tensor | None = None
        self.play([stage], source, machine=machine, seed=seed, journal=journal)
        self._last = None
        self.net_.eval().requires_grad_(False)
        self.settle(source)
        return self

    def settle(self, source: Source) -> None:
        """Note what is needed once the networks stand still; nothing by default."""

    def given(self, x: Tensor, places: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Images drawn in training as the real ones (N, C, *space) of the same maps, and what that costs by name."""
        return self.drawn(places, self.grain(places), x.new_zeros(len(x), 0)), {}

    def grain(self, places: Tensor, seeds: Sequence[int] | None = None) -> Tensor:
        """What chance is drawn with beside maps (N, *space), (N, noise, *space): by seeds, or anew without them."""
        shape = (self.noise, *places.shape[1:])
        if seeds is None:
            return torch.randn(len(places), *shape, device=places.device)
        return by_seeds(seeds, *shape).to(places.device)

    def artist_loss(self, batch: Batch) -> Terms:
        """l1 |drawn - real| + adversarial (what the critics say) + features |what they see| + what a style costs."""
        x, places = batch
        drawn, terms = self.given(x, places)
        self._last = drawn.detach()
        inside = inside_of(places) if self.masked_ else None
        terms["l1"] = self.l1 * mean_of_batch((drawn - x).abs(), inside)
        if self.adversarial or self.features:
            maps = hot(places, self.classes_)
            seen = self.net_["critics"](torch.cat([maps, drawn], 1))
            terms["adversarial"] = self.adversarial * fooled(self.game, seen)
            if self.features:
                with torch.no_grad():
                    real = self.net_["critics"](torch.cat([maps, x], 1))
                terms["features"] = self.features * features_apart(real, seen)
        return torch.stack(list(terms.values())).sum(), terms

    def critics_loss(self, batch: Batch) -> Tensor:
        """What the critics pay for taking real for drawn and drawn for real."""
        x, places = batch
        drawn = self._last
        if drawn is None or drawn.shape != x.shape:
            with torch.no_grad():
                drawn = self.given(x, places)[0]
        maps = hot(places, self.classes_)
        critics = self.net_["critics"]
        return judged(self.game, critics(torch.cat([maps, x], 1)), critics(torch.cat([maps, drawn], 1)))

    def finished(self, values: Tensor, places: Tensor) -> Tensor:
        """Values of a network as an image in [-1, 1]; exactly -1 outside masks."""
        return kept(torch.tanh(values.float()), inside_of(places) if self.masked_ else None)

    def styles(self, seeds: Sequence[int]) -> Tensor:
        """A style for each seed, (N, Z); none by default."""
        return torch.zeros(len(seeds), 0)

    @torch.no_grad()
    def draw(self, places: Tensor, seeds: Sequence[int], styles: Sequence[int] | None = None) -> Tensor:
        """Images (N, C, *space) in [-1, 1] of label maps, on the device these come from.

        Args:
            places: (N, *space) whole numbers from 0 to K - 1, `NOWHERE` outside masks.
            seeds: one an image; the same map and seed give the same image in any batch, another seed another one.
            styles: seeds of the styles alone, such as one for all slices of a scan; None takes those of the images.

        Raises:
            AnomalyError: nothing has been learned, maps of another shape or with unknown classes, or not a seed each.
        """
        self.ready()
        if tuple(places.shape[1:]) != self.shape_[1:]:
            raise AnomalyError(f"maps have shape {tuple(places.shape[1:])}; expected {self.shape_[1:]}, as learned")
        styles = seeds if styles is None else styles
        for told in (seeds, styles):
            if len(told) != len(places):
                raise AnomalyError(f"got {len(told)} seeds for {len(places)} maps; give one for each")
        known = inside_of(places)[:, 0]
        if bool((places[known] >= self.classes_).any()):
            raise AnomalyError(f"maps hold the class {int(places[known].max())}; expected 0 to {self.classes_ - 1}")
        if not self.masked_ and not bool(known.all()):
            raise AnomalyError("maps have masks, and it was learned without; leave them out")
        size, found = passes(self.shape_), []
        for start in range(0, len(places), size):
            part, own = places[start : start + size].to(self.device), seeds[start : start + size]
            style = self.styles(styles[start : start + size]).to(self.device)
            image = self.drawn(part, self.grain(part, own), style)
            found.append(image.clamp(OUTSIDE, 1).to(places.device))
        return torch.cat(found) if found else torch.empty(0, *self.shape_)

    def _onlooker(self, shown: Batch) -> Callable[[], Glance]:
        x, places = (each[:SHOWN] for each in shown)

        def look() -> Glance:
            with torch.no_grad():
                own, _ = self.given(x.to(self.device), places.to(self.device))
                apart = float((own.cpu() - x).abs().mean())
            grey = torch.where(inside_of(places), 2 * places.unsqueeze(1).float() / (self.classes_ - 1) - 1, -1)
            pictures: dict[str, Any] = {"labels": grey, "drawn": own.cpu(), "real": x}
            return Glance(pictures=pictures, figures={"l1": apart})

        return look
