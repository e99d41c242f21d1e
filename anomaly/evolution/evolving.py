"""What every method that draws the next visit has in common: its data, its measures, and how it is asked."""

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from anomaly.errors import AnomalyError
from anomaly.evolution.measures import dice, temperature_for, volume
from anomaly.nets.film import FilmedUNet
from anomaly.nets.within import mean_within
from anomaly.training.batches import Batches, Beside, chunks, evenly
from anomaly.training.games import Glance, Player, Stage, lately
from anomaly.training.journal import Journal
from anomaly.training.learned import Images, Learned, share_of
from anomaly.training.loop import cosine
from anomaly.training.machine import Machine

BEFORE, AFTER, INSIDE, IMAGE = 0, 1, 2, 3
"""Channels of a pair of visits: the map at both, what counts, and from `IMAGE` on the baseline image, if any."""
SHOWN, WATCHED = 8, 128
EVEN = 0.05
"""Intervals whose standard deviation is a smaller share of their mean are one interval."""
Batch = tuple[Tensor, Tensor]
"""Pairs of visits (N, 3 or more, *space) and the years between them (N, 1)."""


@dataclass(kw_only=True)
class Evolving(Learned):
    """Draws from the map of a disease now how it changes until the next visit; `fit(pairs, years)`.

    Maps are in [0, 1]; a forecast of the change, in [-1, 1], is cut so that now + change stays in [0, 1]. What is
    learned is judged by the weighted sum of how far the change is off, of how far the volume above `threshold` is off,
    and of 1 - Dice.
    """

    kind: ClassVar[str] = "forecaster"
    positive: ClassVar[tuple[str, ...]] = ("width", "levels", "steps", "batch", "lr", "threshold", "look_every")
    not_negative: ClassVar[tuple[str, ...]] = ("temperature", "l1", "l2", "volume", "dice", "ema")
    below_one: ClassVar[tuple[str, ...]] = ("threshold", "ema")
    amounts: ClassVar[Mapping[str, tuple[int, int]]] = {"steps": (3000, 1500), "batch": (16, 2), "width": (32, 16)}
    noisy: ClassVar[int] = 0
    width: int = 0
    levels: int = 4
    steps: int = 0
    batch: int = 0
    lr: float = 1e-4
    threshold: float = 0.5
    temperature: float = 0.0
    l1: float = 0.0
    l2: float = 0.0
    volume: float = 0.0
    dice: float = 0.0
    ema: float = 0.99
    flips: bool = True
    look_every: int = 100
    patience: int = 10

    @property
    def softness(self) -> float:
        """The temperature in use."""
        return self.temperature or temperature_for(self.threshold)

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """The network that draws, of shape (1 + channels of the image, *space), and what it has to know of its data."""
        seen = (shape[0] + self.masked_, *shape[1:])
        widths = [self.width << level for level in range(self.levels)]
        nets = nn.ModuleDict({"draws": FilmedUNet(seen, out=1, told=self.noisy + 1, widths=widths)})
        for name in ("years", "size", "timed"):  # mean interval, mean volume in pixels, whether intervals differ
            nets.register_buffer(name, torch.ones(()))
        return nets

    @abstractmethod
    def players(self) -> Sequence[Player]:
        """Who learns, in the order in which they move."""

    def fit(
        self,
        pairs: Images,
        years: np.ndarray,
        *,
        held_out: tuple[Images, np.ndarray],
        machine: Machine | None = None,
        seed: int = 0,
        journal: Journal | None = None,
    ) -> Self:
        """Learn how maps change.

        Args:
            pairs: (n, 3 or more, *space): map now, map at the next visit (both 0 to 1), what counts (0 or 1), and the
                channels of the image now, in [-1, 1], if there is one.
            years: (n,) between the visits; where all are about the same, they play no part.
            held_out: the same of other persons; the weights kept are those that are best on them.
            machine: device, precision, processes.
            seed: of weights, batches and noise; the caller's random state stays as it was.
            journal: where to keep curves and checkpoints, and whether to resume.

        Raises:
            AnomalyError: pairs of another form, or intervals that are not above 0.
        """
        years, machine = np.asarray(years, dtype=np.float32), machine or Machine()
        _admit(pairs, years)
        _admit(*held_out)
        self.fill_in((1, *pairs.shape[2:]), len(pairs), machine.processes * machine.nodes)
        self.masked_ = not all(bool((part[:, INSIDE] > 0).all()) for part in chunks(pairs))
        self.make((pairs.shape[1] - 2, *pairs.shape[2:]), machine, seed)
        self._note(pairs, years)
        share = share_of(self.batch, machine)
        asked: dict[str, Any] = dict(size=self.batch, seed=seed, share=share)
        (stage,) = self.stages()
        stage.watch, stage.glance = self._watch(*held_out), self._onlooker(*held_out)
        batches = Beside(Batches(pairs, **asked), Batches(years[:, None], **asked))
        self.play([stage], batches, machine=machine, seed=seed, journal=journal)
        self.net_.eval().requires_grad_(False)
        return self

    def stages(self) -> Sequence[Stage]:
        """One game, watched by persons held out."""
        return [
            Stage(
                name="evolve",
                players=self.players(),
                steps=self.steps,
                look_every=self.look_every,
                patience=self.patience,
            )
        ]

    def artist(self, loss: Callable[[Batch], Any], betas: tuple[float, float]) -> Player:
        """The network that draws, as a player."""
        adam = partial(torch.optim.Adam, lr=self.lr, betas=betas)
        average = lately(self.ema, self.steps) if self.ema else 0.0
        return Player(
            name="draws", owns=[self.net_["draws"]], loss=loss, optimiser=adam, schedule=cosine, ema=average
        )  # fmt: skip

    def _note(self, pairs: Images, years: np.ndarray) -> None:
        sizes = [volume(part[:, AFTER : AFTER + 1], self.threshold, 0.0) for part in chunks(pairs)]
        self.net_.size.fill_(max(1.0, float(torch.cat(sizes).mean())))
        self.net_.years.fill_(float(years.mean()))
        self.net_.timed.fill_(float(years.std() > EVEN * years.mean()))

    def drawn(self, pairs: Tensor, years: Tensor, noise: Tensor | None = None) -> Tensor:
        """How maps change, (N, 1, *space) in (-1, 1); nothing changes outside of what counts.

        This is what the errors of the change and the critic of changes see in training, so that there is a slope where
        now + change leaves [0, 1]; `forecast` gives it cut to that, and by that the best weights are told.

        Args:
            pairs: (N, 3 or more, *space); the map of the next visit is not looked at.
            years: (N, 1).
            noise: (N, K) of a method that has such.
        """
        before, inside = pairs[:, BEFORE : BEFORE + 1], pairs[:, INSIDE : INSIDE + 1]
        parts = [2 * before - 1, pairs[:, IMAGE:], *([2 * inside - 1] if self.masked_ else [])]
        time = torch.where(self.net_.timed > 0, years / self.net_.years, 1.0)
        told = time if noise is None else torch.cat([noise, time], 1)
        change = torch.tanh(self.net_["draws"](torch.cat(parts, 1), told).float())
        return torch.where(inside > 0, change, 0)

    def bounded(self, pairs: Tensor, change: Tensor) -> Tensor:
        """The maps of the next visit, now + change within [0, 1]."""
        return (pairs[:, BEFORE : BEFORE + 1] + change).clamp(0, 1)

    def cost(self, pairs: Tensor, change: Tensor) -> dict[str, Tensor]:
        """What is off in a change (N, 1, *space), by name, each weighted, (N,)."""
        before, after = pairs[:, BEFORE : BEFORE + 1], pairs[:, AFTER : AFTER + 1]
        inside = pairs[:, INSIDE : INSIDE + 1] > 0
        off, drawn = change - (after - before), self.bounded(pairs, change)
        limit = (self.threshold, self.softness, inside)
        found = {}
        if self.l1 > 0:
            found["l1"] = self.l1 * mean_within(off.abs(), inside)
        if self.l2 > 0:
            found["l2"] = self.l2 * mean_within(off.square(), inside)
        if self.volume > 0:
            sizes = volume(drawn, *limit) - volume(after, *limit)
            found["volume"] = self.volume * (sizes / self.net_.size).square()
        if self.dice > 0:
            found["dice"] = self.dice * (1 - dice(drawn, after, *limit))
        return found

    def noise(self, names: Sequence[str], draws: int) -> Tensor | None:
        """Noise (draws, N, K), of each image by its name alone, so that none depends on its batch; None of others."""
        if not self.noisy:
            return None
        found = []
        for name in names:
            digest = hashlib.sha256(name.encode()).digest()
            random = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
            found.append(torch.randn((draws, self.noisy), generator=random))
        return torch.stack(found, 1)

    @torch.no_grad()
    def forecast(self, pairs: Tensor, years: Tensor, names: Sequence[str], draws: int = 1) -> Tensor:
        """How maps change, (draws, N, 1, *space), on the device they come from.

        Args:
            pairs: (N, 3 or more, *space) as in training; the map of the next visit is not looked at.
            years: (N,) until the next visit.
            names: of the images, from which their noise is drawn.
            draws: of a method with noise; the others give one.

        Raises:
            AnomalyError: nothing has been learned, or pairs of another form.
        """
        self.ready()
        if pairs.ndim != len(self.shape_) + 1 or (pairs.shape[1] - 2, *pairs.shape[2:]) != self.shape_:
            raise AnomalyError(
                f"pairs have shape {tuple(pairs.shape[1:])}, expected {(self.shape_[0] + 2, *self.shape_[1:])}: map "
                "now, map then, what counts, and the image where it learned with one; prepare them in the same way"
            )
        noise, found = self.noise(names, draws), []
        for k in range(draws if self.noisy else 1):
            parts, start = [], 0
            for part in chunks(pairs, self.device):
                end = start + len(part)
                told = None if noise is None else noise[k, start:end].to(part)
                change = self.drawn(part, years[start:end, None].to(part), told)
                parts.append((self.bounded(part, change) - part[:, BEFORE : BEFORE + 1]).to(pairs.device))
                start = end
            found.append(torch.cat(parts))
        return torch.stack(found)

    def _watch(self, pairs: Images, years: np.ndarray) -> Callable[[], Tensor]:
        chosen = evenly(len(pairs), WATCHED)
        x, t = _few(pairs, years, chosen)
        names = [str(k) for k in chosen]

        def look() -> Tensor:
            change = self.forecast(x, t, names, 4).mean(0)
            terms = self.cost(x.to(self.device), change.to(self.device))
            return torch.stack(list(terms.values())).sum(0).mean()

        return look

    def _onlooker(self, pairs: Images, years: np.ndarray) -> Callable[[], Glance]:
        x, t = _few(pairs, years, evenly(len(pairs), SHOWN))

        def look() -> Glance:
            change = self.forecast(x, t, [str(k) for k in range(len(x))], 4).mean(0)
            before, after = x[:, BEFORE : BEFORE + 1], x[:, AFTER : AFTER + 1]
            drawn = before + change
            limit = (self.threshold, 0.0, x[:, INSIDE : INSIDE + 1] > 0)
            shown = {"now": before, "drawn": drawn, "next visit": after}
            pictures = {name: 2 * each - 1 for name, each in shown.items()} | {"change": change}
            off = (volume(drawn, *limit) - volume(after, *limit)).abs().mean() / self.net_.size.cpu()
            return Glance(
                pictures=pictures, figures={"dice": float(dice(drawn, after, *limit).mean()), "off": float(off)}
            )

        return look


def flipped(pairs: Tensor) -> Tensor:
    """Pairs (N, C, *space) mirrored by chance along each axis."""
    for axis in range(2, pairs.ndim):
        chosen = (torch.rand(len(pairs), device=pairs.device) < 0.5).view(-1, *[1] * (pairs.ndim - 1))
        pairs = torch.where(chosen, pairs.flip(axis), pairs)
    return pairs


def _few(pairs: Images, years: np.ndarray, chosen: np.ndarray) -> Batch:
    x = pairs[torch.from_numpy(chosen)] if isinstance(pairs, Tensor) else torch.from_numpy(np.array(pairs[chosen]))
    return x.float(), torch.from_numpy(np.asarray(years, dtype=np.float32)[chosen])


def _admit(pairs: Any, years: np.ndarray) -> None:
    if pairs.ndim not in (4, 5) or not len(pairs) or pairs.shape[1] < IMAGE:
        raise AnomalyError(
            f"expected pairs (n, 3 or more, *space), 2D or 3D, at least one; got {tuple(pairs.shape)}: map now, map at "
            "the next visit, what counts, and the image now if there is one"
        )
    years = np.asarray(years)
    if years.shape != (len(pairs),) or not (np.isfinite(years).all() and (years > 0).all()):
        raise AnomalyError(f"expected the years between {len(pairs)} pairs of visits, each above 0; got {years}")
