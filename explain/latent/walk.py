"""Walks through the codes of a generator along the direction that a target rises in (Schutte et al. 2021)."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import log, sqrt
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from anomaly.errors import AnomalyError
from anomaly.training.batches import chunks, evenly, passes
from anomaly.training.journal import Journal
from anomaly.training.machine import Machine
from explain.base import Explanation, Images, apart
from explain.latent import directions
from explain.latent.base import Latent, Road
from explain.latent.generator import Generator, in_layers, new_codes
from explain.latent.kept import Kept
from explain.latent.nuisances import Nuisances, Told, all_coefficients
from explain.latent.projection import projected
from explain.latent.roads import Line, Path
from explain.latent.search import first_stop
from explain.trained import HeldOut, TrainedExplainer

logger = logging.getLogger(__name__)
GRADIENT, PATH = "gradient", "path"
DIRECTIONS = (*directions.BY_VALUES, GRADIENT, PATH)
STRIDE, PIECE = 0.25, 0.125
"""Steps of the search along a line, and the pieces of a path, in standard deviations."""
UNMOVED = 1.0
"""How far the frames go, in standard deviations, of an image that does not move."""
LEAST = 1e-3
"""Of what the target is to fall by: less is no fall."""
LITTLE = 0.5
"""Of a direction less than this is little to be left of it."""
ASKED, USUAL = 256, 0.95
"""Images of each side that are looked at, at most, and the quantile of theirs above which an image is unlike them."""


@dataclass(kw_only=True)
class LatentWalk(Latent, TrainedExplainer):
    """Walks in the codes of a generator against the direction of disease until a target says control.

    x(a) = G(E(x) + a u): u is found once, from codes of new images and what the target says of each; a follows for
    each image, where the target of G first falls to a wanted probability (Schutte et al. 2021). There is no game: all
    but the generator is learned in closed form. Of a code w+ with a part for each layer all layers move alike, but on a
    path. The frames go as far beyond the image as to the counterfactual.

    An image whose probability is already as low as wanted stays as it is; its frames go one standard deviation both
    ways. Where the wanted probability is not reached, the walk ends where the target is lowest.

    Diagnostics: "before", "drawn", "end" and "after", the target of image, image as drawn again, end of the walk as
    drawn and counterfactual; "gap", |before - drawn|; "reconstruction", mean |x - G(E(x))|; "monotone", rank
    correlation of step and target over the frames; "steps", a in standard deviations of codes along u, below 0 towards
    health; "reached", 1 where the walk reached the wanted probability or the image had it, 0 where not, or where the
    image as drawn again is there already though the image is not; "unlike", 1 where reconstruction or gap lies above
    the 95 % quantile of those of held-out images: the generator cannot draw this patient, and the walk is another's.
    What is wanted is said of the end of the walk as drawn, not of a counterfactual that keeps what was not drawn
    (`keep`): see "after".

    Args:
        direction: "logistic" (regression of whether the target is above its threshold), "ridge" (of the target),
            "svm" (of its extremes), "gradient" (mean slope), or "path": for each image along its own slopes.
        samples: new images that the direction is found from.
        probability: wanted, sigmoid((f - threshold) / scale).
        refine: steps of bringing the code of an image closer to it first; 0 takes the encoder's.
        furthest: the most to walk, in standard deviations of the codes along u.
        threshold: above it an image counts as a case; to be set before `fit` for a target that is no logit.
        scale: of the target, 1 for a logit; to be set before `fit` for one that is none.
    """

    name: ClassVar[str] = "latent-walk"
    summary: ClassVar[str] = "walks in a generator's codes until a given target says control; unpaired"
    cite: ClassVar[str] = "Schutte et al. 2021; Shen et al. 2020 (InterFaceGAN); Karras et al. 2020 (StyleGAN2)"
    positive: ClassVar[tuple[str, ...]] = ("samples", "probability", "frames", "furthest")
    not_negative: ClassVar[tuple[str, ...]] = ("refine",)
    below_one: ClassVar[tuple[str, ...]] = ("probability",)
    choices: ClassVar[Mapping[str, Iterable[str]]] = {"direction": DIRECTIONS}
    # Nothing is trained, so these are no settings here.
    steps: ClassVar[int] = 0  # type: ignore[misc]
    batch: ClassVar[int] = 1  # type: ignore[misc]
    lr: ClassVar[float] = 0.0  # type: ignore[misc]
    decay: ClassVar[float] = 0.0  # type: ignore[misc]
    direction: str = "logistic"
    samples: int = 5000
    probability: float = 0.05
    refine: int = 0
    furthest: float = 10.0
    threshold: float = field(default=0.0, repr=False, compare=False)
    scale: float = field(default=1.0, repr=False, compare=False)
    told_: dict[str, Told] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_frames()

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """Room for what is learned; its shapes are the generator's."""
        return Kept("direction", "spread", "nuisance", "threshold", "scale", "error", "gap")

    def fit(
        self,
        controls: Images,
        cases: Images | None = None,
        *,
        held_out: HeldOut | None = None,
        machine: Machine | None = None,
        seed: int = 0,
        journal: Journal | None = None,
        nuisance: Nuisances | None = None,
        people: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> Self:
        """Find the direction, and how well the generator draws people it was not trained on.

        Args:
            controls: class 0, (n, C, *space) in [-1, 1].
            cases: class 1, (m, C, *space).
            held_out: further controls and cases, to tell what is usual; None takes those given, of which the generator
                may have seen some and draw them better.
            machine: device.
            seed: of the new images.
            journal: has nothing to keep: there is no game.
            nuisance: what must not change, by name: values of the controls (n,) and of the cases (m,), see
                `explain.latent.nuisances`. How well each is told from the codes is then in `told_`, which is not saved.
            people: whose images the controls (n,) and the cases (m,) are, where some have several.

        Raises:
            AnomalyError: no generator or target, images that do not fit, no cases, or no direction to be found.
        """
        self.admit(controls, cases)
        if cases is None:
            raise AnomalyError(f"{self.name} learns from controls and cases; give fit(controls, cases)")
        if not self.scale > 0:
            raise AnomalyError(f"the scale of the target must be positive, got {self.scale}")
        generator = self.given(self.shape_)
        with apart(seed, torch.device("cpu")), torch.no_grad():
            self.make(self.shape_, machine or Machine(), seed)
            nuisances = self._coefficients(generator, (controls, cases), nuisance or {}, people)
            direction, spread = self._found(generator, nuisances)
            error, gap = self._usual(generator, held_out or (controls, cases))
            self.net_.hold(
                direction=direction, spread=spread, nuisance=nuisances, threshold=torch.tensor(self.threshold),
                scale=torch.tensor(self.scale), error=error, gap=gap,
            )  # fmt: skip
        self.net_.eval().to(generator.device)
        return self

    # Learning

    def _found(self, generator: Generator, nuisances: Tensor) -> tuple[Tensor, Tensor]:
        """The direction (K,) of w and the SD of codes along it, (1,); of a path none, (0,), and the SDs of w, (K,)."""
        codes = new_codes(generator, self.samples)
        layers = len(in_layers(codes[0], nuisances.shape[1])) // codes.shape[1]
        if self.direction == PATH:
            return codes.new_zeros(0), codes.std(0)
        pieces = codes.split(passes(self.shape_))
        if self.direction == GRADIENT:
            vector = directions.gradient(_numpy(torch.cat([self.slopes(piece) for piece in pieces])))
        else:
            values = _numpy(torch.cat([self.ask(self.decode(piece)) for piece in pieces]))
            vector = directions.BY_VALUES[self.direction](_numpy(codes), values, self.threshold)
        # Along a step alike in all layers a linear prediction changes by the sum of its coefficients over them.
        over_layers = _numpy(nuisances).reshape(len(nuisances), layers, codes.shape[1]).sum(1)
        rest = directions.orthogonal(vector, over_layers)
        if (left := float(vector @ rest)) < LITTLE:
            logger.warning("without what tells the nuisances %.0f %% of the direction's length are left", 100 * left)
        found = torch.from_numpy(rest).to(codes)
        return found, (codes @ found).std()[None]

    def _coefficients(
        self,
        generator: Generator,
        sides: Sequence[Images],
        nuisances: Nuisances,
        people: tuple[np.ndarray, np.ndarray] | None,
    ) -> Tensor:
        """Coefficients (r, K) in the codes of images; notes how well each nuisance is told."""
        coded = sides if nuisances else [sides[0][:1]]
        codes = _numpy(torch.cat([generator.encode(x) for side in coded for x in chunks(side, generator.device)]))
        vectors, self.told_ = all_coefficients(
            codes, nuisances, len(sides[0]), None if people is None else np.concatenate(people)
        )
        return torch.from_numpy(vectors).float().to(generator.device)

    def _usual(self, generator: Generator, sides: Sequence[Images]) -> tuple[Tensor, Tensor]:
        """Error and gap that one in twenty images lies above."""
        told = []
        for x in (x for side in sides for x in chunks(side[evenly(len(side), ASKED)], generator.device)):
            drawn = self.decode(self.encode(x))
            told.append(torch.stack([(x - drawn).abs().flatten(1).mean(1), (self.ask(x) - self.ask(drawn)).abs()]))
        error, gap = torch.cat(told, 1).float().quantile(USUAL, dim=1)
        return error, gap

    # Explaining

    def encode(self, x: Tensor) -> Tensor:
        """Codes (N, K) of images, refined where asked for."""
        generator = self.given(x.shape[1:])
        code = generator.encode(x)
        return projected(generator, x, code, self.refine) if self.refine else code

    def road(self, code: Tensor) -> Road:
        """The way through codes (N, K), in standard deviations."""
        net = self.net_
        if self.direction != PATH:
            return Line(code, in_layers(net.direction * net.spread, code.shape[1]).to(code))
        spread = in_layers(net.spread, code.shape[1]).to(code)
        layers = code.shape[1] / len(net.spread)
        basis = torch.from_numpy(directions.span(net.nuisance.cpu().double().numpy())).to(code)

        def steps(code: Tensor) -> Tensor:
            slope = self.slopes(code)
            rest = slope - (slope @ basis.T) @ basis
            length = rest.norm(dim=1, keepdim=True)
            some = length > directions.NOTHING * slope.norm(dim=1, keepdim=True)
            unit = torch.where(some, rest / length.clamp_min(1e-30), torch.zeros_like(rest))
            return unit * sqrt(layers) * (unit * spread).norm(dim=1, keepdim=True)

        return Path(code, steps, PIECE)

    def counterfactual(self, x: Tensor) -> Explanation:
        """The walk of a few images."""
        x = x.to(self.given(x.shape[1:]).device)
        code = self.encode(x)
        road = self.road(code)
        before, start = self.ask(x), self.ask(self.decode(code))
        wanted = float(self.net_.threshold + self.net_.scale * log(self.probability / (1 - self.probability)))

        def ask(rows: Tensor, distances: Tensor) -> tuple[Tensor, Tensor]:
            values = self.ask(self.decode(road(rows, -distances)))
            return values, values <= wanted

        stride = PIECE if self.direction == PATH else STRIDE
        grid = [min(self.furthest, stride * (k + 1)) for k in range(int(np.ceil(self.furthest / stride)))]
        moving = (before > wanted) & (start > wanted)
        found = first_stop(ask, start, moving, grid, least=LEAST * (start - wanted).clamp_min(0))
        reach = torch.where(found.position > 0, found.position, torch.full_like(found.position, UNMOVED))
        end = 0 - found.position  # where nothing moves no -0
        explanation = self.shown(x, road, end, reach)
        told = explanation.diagnostics
        unlike = (told["reconstruction"] > self.net_.error.to(x)) | (told["gap"] > self.net_.gap.to(x))
        reached = (before <= wanted) | (moving & (found.value <= wanted))
        told |= {"steps": end, "reached": reached.to(x), "unlike": unlike.to(x)}
        return explanation

    def evidence(self, x: Tensor) -> Explanation:
        """The walk of each image, a few at a time; warns of those that the generator cannot draw."""
        explanation = super().evidence(x)
        unlike = int(explanation.diagnostics["unlike"].sum())
        if unlike:
            logger.warning(
                "%d of %d images are drawn less well by the generator, or taken for others by the target once drawn, "
                "than 95 %% of held-out images (unlike): their walks may be another's", unlike, len(x),
            )  # fmt: skip
        return explanation


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.cpu().double().numpy()
