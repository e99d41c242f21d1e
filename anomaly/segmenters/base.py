"""What every segmenter shares: it learns from windows with label maps, and from windows without, and gives shares."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from anomaly.errors import AnomalyError
from anomaly.nets.unet import UNet
from anomaly.nets.within import within
from anomaly.segmenters.augmenting import STRENGTHS, Augmenting
from anomaly.segmenters.inference import whole_shares
from anomaly.segmenters.losses import overlap
from anomaly.segmenters.watching import few_windows
from anomaly.training.games import Player, Source, Stage, lately
from anomaly.training.journal import Journal
from anomaly.training.learned import Learned
from anomaly.training.loop import cosine
from anomaly.training.machine import Machine

HeldOut = Sequence[tuple[Tensor, Tensor]]
"""Whole images (1, C, *space) with the places of their classes (1, *space), to watch by."""
Labelled = tuple[Tensor, Tensor]
LOOKS = 5
"""At held-out images, or more, however few the steps."""
SHOWN = 64
"""Windows that a look may have at least, however few are learned from between two."""
PLENTY = 2**31
"""Windows of images, of which there are as many as are asked for."""


@dataclass(kw_only=True)
class Segmenter(Learned):
    """Says of each pixel which class it is; `fit(windows with labels, shape, classes)`, then `probabilities(x)`.

    `classes_` is the number of classes, the background among them, which is class 0. Networks take images of any size.
    Where images have masks, `masked_` is to be set before `fit`: what lies outside then has no part in any loss, and is
    background. `spacing_`, lengths of a pixel along the axes, may be set before as well: windows are turned by these.

    Args:
        width: channels at full size, doubled at each halving.
        levels: sizes, the full one and each of the halvings.
        dropout: chance of a channel to be dropped in the deeper half of the network, on the way up.
        steps: of the training.
        batch: windows with label maps in a batch; methods that learn from images without take as many of those.
        window: pixels a side of the windows; 0 takes 64, of volumes 32. Shorter axes are taken whole.
        lr: learning rate of AdamW at the start; falls to 0 like half a cosine.
        weight_decay: of AdamW.
        ema: share of the running average of weights, which is what is kept, that each step leaves.
        augment: how windows are varied by chance: "none", "weak" (turned, scaled and moved) or "strong" (bent as well,
            and of other contrast, brightness, noise, sharpness, resolution and shading, as other scanners have them).
        flips: whether they are mirrored as well, along each axis; only where left and right have the same classes.
    """

    kind: ClassVar[str] = "segmenter"
    unlabelled: ClassVar[bool] = False
    """Whether it learns from images without label maps as well."""
    positive: ClassVar[tuple[str, ...]] = ("width", "levels", "steps", "batch", "lr")
    not_negative: ClassVar[tuple[str, ...]] = ("dropout", "weight_decay", "ema", "window")
    below_one: ClassVar[tuple[str, ...]] = ("dropout", "ema")
    choices: ClassVar[Mapping[str, Iterable[str]]] = {"augment": STRENGTHS}
    amounts: ClassVar[Mapping[str, tuple[int, int]]] = {"width": (16, 8), "steps": (1500, 600), "batch": (8, 2)}
    width: int = 0
    levels: int = 4
    dropout: float = 0.1
    steps: int = 0
    batch: int = 0
    window: int = 0
    lr: float = 2e-3
    weight_decay: float = 0.01
    ema: float = 0.99
    augment: str = "strong"
    flips: bool = False
    classes_: int = field(init=False, repr=False, compare=False, default=0)
    spacing_: tuple[float, ...] = field(init=False, repr=False, compare=False, default=())

    def fit(
        self,
        labelled: Source,
        shape: Sequence[int],
        classes: int,
        *,
        unlabelled: Source | None = None,
        held_out: HeldOut = (),
        machine: Machine | None = None,
        seed: int = 0,
        journal: Journal | None = None,
    ) -> Self:
        """Learn from batches.

        Args:
            labelled: batch k -> images (N, C, *window) in [-1, 1] and the places of their classes (N, *window), int64.
                Where it seeks marked pixels out, its attribute `anywhere` is to be the like of it that does not, for
                methods that compare both sides: windows cut as the unlabelled ones are.
            shape: (C, *window) of one window.
            classes: the background among them, 2 or more.
            unlabelled: batch k -> images (M, C, *window); for methods that take such, the others leave them alone.
            held_out: whole images to watch by; the weights that did best on them are kept. None are needed. Of many
                or large ones windows are taken, evenly spread, so that looks take less time than steps.
            machine: device, precision, processes.
            seed: of weights, and of whatever chance plays a part in a step.
            journal: where to keep curves and checkpoints, and whether to resume.

        Raises:
            AnomalyError: no unlabelled images for a method that learns from them, or fewer than two classes.
        """
        self.refuse_alone(unlabelled)
        if classes < 2:
            raise AnomalyError(f"expected the background and a class or more, got {classes} classes in all")
        machine, self.classes_ = machine or Machine(), classes
        self.fill_in(tuple(shape), PLENTY, machine.processes * machine.nodes)
        self.refuse_shares(machine.processes * machine.nodes)
        self.make(shape, machine, seed)
        stages = list(self.stages())
        if any(bool((places > 0).any()) for _, places in held_out):
            stages[-1].look_every = max(1, min(stages[-1].look_every, self.steps // LOOKS))
            most = max(SHOWN, stages[-1].look_every * self.batch // 2)  # a look costs a sixth of the steps between
            stages[-1].watch = partial(self.missed, few_windows(held_out, self.shape_[1:], most))
        source = labelled
        if self.unlabelled and unlabelled is not None:
            source = Both(labelled, unlabelled)
            self.feed(stages, Both(getattr(labelled, "anywhere", labelled), unlabelled))
        self.play(stages, source, machine=machine, seed=seed, journal=journal)
        self.settle()
        return self

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """The network that says which class, `student`, and how many classes there are."""
        nets = nn.ModuleDict({"student": self.network(shape)})
        nets.register_buffer("classes", torch.tensor(self.classes_))
        return nets

    def network(self, shape: tuple[int, ...]) -> UNet:
        """The U-Net of the settings."""
        return unet(shape, self.classes_, width=self.width, levels=self.levels, dropout=self.dropout)

    def rebuild(self, shape: tuple[int, ...], tensors: Mapping[str, Tensor]) -> nn.Module:
        """What is kept: one network, and a buffer `classes` that says how many classes there are."""
        self.classes_ = int(tensors["classes"])
        return Segmenter.build(self, shape)

    def settle(self) -> None:
        """After the training: what is not asked any more is left out, the rest stands still."""
        self.net_.eval().requires_grad_(False)

    def stages(self) -> Sequence[Stage]:
        """One stage of one player."""
        return [Stage(name="segment", players=[self.player(self.loss, self.average)], steps=self.steps)]

    def feed(self, stages: Sequence[Stage], anywhere: Source) -> None:
        """Give stages of their own batches to those that need windows of both sides cut alike; none here."""

    @property
    def average(self) -> float:
        """What a step leaves of the running average, less in short trainings."""
        return lately(self.ema, self.steps) if self.ema else 0.0

    def player(self, loss: Callable[[Any], Any], ema: float) -> Player:
        """The network as a player, moved by AdamW at a rate that falls to 0."""
        return Player(
            name=self.name, owns=[self.net_["student"]], loss=loss, optimiser=self.optimiser, schedule=cosine, ema=ema
        )

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(parameters, lr=self.lr, weight_decay=self.weight_decay)

    def loss(self, batch: Any) -> Any:
        """What the network is moved by: a scalar, or with it its terms by name."""
        raise NotImplementedError

    @property
    def augmenting(self) -> Augmenting:
        """What varies windows."""
        return Augmenting(strength=self.augment, flips=self.flips, masked=self.masked_, spacing=self.spacing_)

    def counted(self, x: Tensor) -> Tensor | None:
        """Which pixels of images (N, C, *space) count, (N, *space) bool; None for all."""
        return within(x)[:, 0] if self.masked_ else None

    def logits(self, x: Tensor) -> Tensor:
        """(N, C, *space) -> (N, K, *space), of any size; on the device of the network, differentiable."""
        found: Tensor = self.net_["student"](x)
        return found

    def probabilities(self, x: Tensor) -> Tensor:
        """Share of each class, (N, C, *space) -> (N, K, *space), which add up to 1; on the device that x comes from.

        Raises:
            AnomalyError: nothing has been learned, or images have other channels or axes.
        """
        self.refuse_others(x)
        with torch.no_grad():
            shares = self.logits(x.to(self.device)).float().softmax(1).to(x.device)
        if self.masked_:
            background = torch.zeros_like(shares)
            background[:, 0] = 1
            shares = torch.where(within(x), shares, background)
        return shares

    def refuse_others(self, x: Tensor) -> None:
        """Say plainly when nothing has been learned, or images are of another kind.

        Raises:
            AnomalyError: so it is.
        """
        self.ready()
        if x.ndim != len(self.shape_) + 1 or x.shape[1] != self.shape_[0]:
            raise AnomalyError(
                f"images have shape {tuple(x.shape)}, the segmenter was fitted on {self.shape_[0]} channels and "
                f"{len(self.shape_) - 1} axes; prepare them in the same way"
            )

    def whole(self, x: Tensor, window: Sequence[int] | None = None) -> Tensor:
        """As `probabilities`, by windows as large as those it learned from, or as told; see `whole_shares`.

        Raises:
            AnomalyError: nothing has been learned, or images have other channels or axes.
        """
        self.refuse_others(x)
        width = max(self.width, self.classes_)
        return whole_shares(self.probabilities, x, window=window or self.shape_[1:], width=width)

    def missed(self, held_out: HeldOut) -> Tensor:
        """1 - the mean Dice, over all pixels of held-out images, of the classes that these have."""
        both, total, marked = (torch.zeros(self.classes_ - 1, dtype=torch.float64) for _ in range(3))
        for x, places in held_out:
            found, places = self.whole(x).cpu(), places.cpu()
            for sums, more in zip((both, total), overlap(found, places), strict=True):
                sums += more
            marked += torch.bincount(places.flatten(), minlength=self.classes_)[1:]
        return (1 - (2 * both / total)[marked > 0].mean()).float().to(self.device)

    def refuse_shares(self, processes: int) -> None:
        """Say plainly when a batch shared by so many processes leaves too few windows to each; none are here."""

    def refuse_alone(self, unlabelled: Source | None) -> None:
        """Say plainly when images without label maps are missing.

        Raises:
            AnomalyError: they are, and this method learns from them.
        """
        if self.unlabelled and unlabelled is None:
            raise AnomalyError(
                f"{self.name} learns from images without label maps as well, and there are none; give --unlabelled, or "
                "take --method supervised"
            )


class Both:
    """Batches with label maps beside batches without."""

    def __init__(self, labelled: Source, unlabelled: Source) -> None:
        self.labelled, self.unlabelled = labelled, unlabelled

    def __getitem__(self, k: int) -> tuple[Labelled, Tensor]:
        """Batch number k of each."""
        return self.labelled[k], self.unlabelled[k]


def unet(shape: Sequence[int], classes: int, *, width: int, levels: int, dropout: float) -> UNet:
    """The network of all segmenters: image -> a number for each class.

    Its last layer begins as the others do (He et al. 2015), not at 0: from there, steps of Adam as small as these take
    a hundred of them until classes come apart.
    """
    net = UNet(shape, out=classes, widths=[width << k for k in range(levels)], norm="instance", dropout=dropout)
    nn.init.kaiming_normal_(net.leave.weight, nonlinearity="relu")  # type: ignore[arg-type]
    return net
