"""What the explainers share whose networks are trained: controls beside cases, and each case as a control would be."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from anomaly.errors import AnomalyError
from anomaly.training.batches import Batches, Beside, chunks, evenly, passes
from anomaly.training.games import Glance
from anomaly.training.journal import Journal
from anomaly.training.learned import Images, Learned, share_of
from anomaly.training.machine import Machine
from explain.base import Explainer, Explanation, Walk, apart

SHOWN = 8
HeldOut = tuple[Images, Images]


@dataclass(kw_only=True)
class TrainedExplainer(Learned, Explainer):
    """An explainer that draws each image as it would look on the other side, by networks trained for it.

    A method writes `build`, `stages` and `counterfactual`; batches are (controls, cases), each (batch, C, *space). Of a
    paired method each case stands beside its own counterpart.

    Args:
        steps: of the generator.
        batch: controls, and as many cases, in a batch.
        lr: learning rate of Adam.
        decay: share of the steps, at the end, over which all learning rates fall to 0: a game that goes round ends
            in its middle.
    """

    kind: ClassVar[str] = "explainer"
    paired: ClassVar[bool] = False
    takes_target: ClassVar[bool] = False
    positive: ClassVar[tuple[str, ...]] = ("steps", "batch", "lr")
    not_negative: ClassVar[tuple[str, ...]] = ("decay",)
    below_one: ClassVar[tuple[str, ...]] = ("decay",)
    steps: int = 1000
    batch: int = 32
    lr: float = 1e-4
    decay: float = 0.0

    def counterfactual(self, x: Tensor) -> Explanation:
        """The explanation of a few images on the device, without gradients; its map may be left to `drawn`."""
        raise NotImplementedError(f"{type(self).__name__} writes counterfactual(x)")

    def settle(self, controls: Images, cases: Images) -> None:
        """Learn, before any game, what has a closed form."""

    def fit(
        self,
        controls: Images,
        cases: Images | None = None,
        *,
        held_out: HeldOut | None = None,
        machine: Machine | None = None,
        seed: int = 0,
        journal: Journal | None = None,
    ) -> Self:
        """Learn to draw cases as controls.

        Args:
            controls: class 0, (n, C, *space) in [-1, 1]; a memory map is read batch by batch. Of a paired method
                the counterparts of the cases, one each, in their order.
            cases: class 1, (m, C, *space).
            held_out: further controls and cases, for a person to watch; None takes those trained on.
            machine: device, precision, processes.
            seed: of weights, batches and noise; the caller's random state stays as it was.
            journal: where to keep curves and checkpoints, and whether to resume.

        Raises:
            AnomalyError: images of the wrong shape, no cases, or pairs that are not as many on both sides.
        """
        self.admit(controls, cases)
        if cases is None:
            raise AnomalyError(f"{self.name} learns from controls and cases; give fit(controls, cases)")
        if self.paired and len(controls) != len(cases):
            raise AnomalyError(
                f"{self.name} learns from pairs; got {len(cases)} cases and {len(controls)} counterparts"
            )
        machine = machine or Machine()
        self.fill_in(tuple(controls.shape[1:]), min(len(controls), len(cases)), machine.processes * machine.nodes)
        share = share_of(self.batch, machine)
        with apart(seed, torch.device("cpu")):
            self.make(controls.shape[1:], machine, seed)
            with torch.no_grad():
                self.settle(controls, cases)
            seeds = (seed, seed) if self.paired else (2 * seed, 2 * seed + 1)
            sides = [
                Batches(images, size=self.batch, seed=each, share=share)
                for images, each in zip((controls, cases), seeds, strict=True)
            ]
            stages = list(self.stages())
            watch = self.onlooker(*(held_out or (controls, cases)))
            for stage in stages:
                stage.glance = stage.glance or partial(watch, stage.name)
            self.play(stages, Beside(*sides), machine=machine, seed=seed, journal=journal)
        self.net_.eval().requires_grad_(False)
        return self

    def check(self, x: Tensor) -> None:
        """Say plainly when nothing has been learned or the images cannot be explained."""
        self.ready()
        Explainer.check(self, x)

    def evidence(self, x: Tensor) -> Explanation:
        """The counterfactual of each image, a few at a time."""
        with torch.no_grad():
            parts = [self.counterfactual(part.to(self.device)) for part in x.split(passes(x.shape[1:]))]
        return joined(parts)

    def adam(self, parameters: Any, betas: tuple[float, float] = (0.0, 0.9)) -> torch.optim.Optimizer:
        """The optimiser of the players, with the momenta of a Wasserstein game."""
        return torch.optim.Adam(parameters, lr=self.lr, betas=betas)

    def falling(self, done: float) -> float:
        """Factor on a learning rate when a share of the steps is done: 1, and at the end straight down to 0."""
        return min(1.0, (1 - done) / self.decay) if self.decay else 1.0

    def onlooker(self, controls: Images, cases: Images) -> Callable[[str], Glance]:
        """What a person sees of the training: cases, their counterfactuals, and what these change in controls."""
        shown = [some(images, self.device) for images in (controls, cases)]

        def look(stage: str) -> Glance:
            with torch.no_grad():
                of_controls, of_cases = (self.counterfactual(x) for x in shown)
            pictures = {"case": shown[1], "counterfactual": of_cases.counterfactual, "case less it": of_cases.map}
            figures = {"change_in_cases": size(of_cases), "change_in_controls": size(of_controls)}
            return Glance(pictures={k: v for k, v in pictures.items() if v is not None}, figures=figures)

        return look


def difference(x: Tensor, counterfactual: Tensor) -> Tensor:
    """The map of a counterfactual: image minus counterfactual, the mean over channels, (N, 1, *space)."""
    return (x - counterfactual).mean(1, keepdim=True)


def drawn(
    x: Tensor,
    counterfactual: Tensor,
    field: Tensor | None = None,
    spread: Tensor | None = None,
    **diagnostics: Tensor,
) -> Explanation:
    """The explanation by a counterfactual; diagnostics by name."""
    return Explanation(difference(x, counterfactual), counterfactual, field, spread, diagnostics)


def size(explanation: Explanation) -> float:
    """Mean absolute value of the maps."""
    return float(explanation.map.abs().mean())


def some(images: Images, device: torch.device) -> Tensor:
    """Up to eight images, evenly spread."""
    chosen = evenly(len(images), SHOWN)
    return next(chunks(images[chosen], device, SHOWN))


def joined(parts: list[Explanation]) -> Explanation:
    """Explanations of parts of a batch as one."""

    def join(tensors: list[Tensor | None]) -> Tensor | None:
        there = [each for each in tensors if each is not None]
        return torch.cat(there) if there else None

    map = join([part.map for part in parts])
    assert map is not None
    walks = [part.walk for part in parts if part.walk is not None]
    return Explanation(
        map,
        join([part.counterfactual for part in parts]),
        join([part.field for part in parts]),
        join([part.spread for part in parts]),
        {name: torch.cat([part.diagnostics[name] for part in parts]) for name in parts[0].diagnostics},
        Walk(*(torch.cat([getattr(walk, each) for walk in walks]) for each in ("steps", "values", "frames")))
        if walks
        else None,
    )
