"""Latent shift: an image changed along the slope of a target in the codes of any autoencoder (Cohen et al. 2021)."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from anomaly.errors import AnomalyError
from explain.base import Explanation
from explain.latent.base import Latent
from explain.latent.roads import Line
from explain.latent.search import first_stop
from explain.trained import joined

FIRST, OCTAVES, HALVINGS = 0.01, 9, 10
"""Of the search: the first step, as a share of the length of the code; how often that doubles, in two steps each; and
how often the last interval is halved."""


@dataclass(kw_only=True)
class LatentShift(Latent):
    """Changes an image along the slope of the target at its code, until the target has fallen or much has changed.

    D(z + lambda df(D(z))/dz), z = E(x) (Cohen et al. 2021), E and D of a generator. Lambda falls from 0 until the
    probability sigmoid((f - threshold) / scale) has fallen by `fall` or below `lowest`, or the image has changed by
    more than `change`; if the target was lower before that, the shift ends where it was lowest. An image below `lowest`
    stays as it is; its frames go as far as it would have. Nothing is learned, and no random number drawn.

    The map is D(z) less the end of the shift: signed, and what the counterfactual lacks. The original's map, the mean
    absolute difference of each frame and the next, is the absolute of this one over the number of steps wherever a
    pixel only brightens or only darkens on the way; both follow from `walk.frames`.

    Diagnostics: "before", "drawn", "end" and "after", the target of image, D(z), its shifted drawing and
    counterfactual; "gap", |before - drawn|; "reconstruction", mean |x - D(z)|; "monotone", rank correlation of lambda
    and target over the frames; "steps", lambda; "changed", sum |D(z) - end| / sum |D(z)|; "reached", 1 where the
    probability fell as wanted or was at `lowest`.

    Args:
        fall: of the probability, wanted.
        lowest: probability that is low enough; 0 walks on to `fall` or `change`, with controls too.
        change: the most of the image, sum |D(z) - end| / sum |D(z)|, with intensities in [-1, 1], 0 mid-grey.
        threshold: above it an image counts as a case; to be set for a target that is no logit.
        scale: of the target, 1 for a logit.
    """

    name: ClassVar[str] = "latent-shift"
    summary: ClassVar[str] = "change along the slope of the target in an autoencoder's codes; learns nothing"
    cite: ClassVar[str] = "Cohen et al. 2021 (latent shift)"
    fall: float = 0.8
    lowest: float = 0.05
    change: float = 0.05
    threshold: float = field(default=0.0, repr=False, compare=False)
    scale: float = field(default=1.0, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._check_frames()
        if not (0 < self.fall <= 1 and 0 <= self.lowest < 1 and self.change > 0):
            raise AnomalyError(
                f"got fall={self.fall}, lowest={self.lowest} and change={self.change}; expected probabilities, and a "
                "change above 0"
            )

    def evidence(self, x: Tensor) -> Explanation:
        """The shift of each image by itself, so that none depends on its batch."""
        device = self.given(x.shape[1:]).device
        with torch.no_grad():
            return joined([self._shifted(image.to(device)) for image in x.split(1)])

    def _shifted(self, x: Tensor) -> Explanation:
        code = self.given(x.shape[1:]).encode(x)
        slope, drawn = self.slopes(code), self.decode(code)
        size, steepness = code.norm(), slope.norm()
        # One unit of length on the way is the code's own; in lambda it is this many.
        unit = torch.where(steepness > 0, size / steepness.clamp_min(1e-30), torch.zeros_like(steepness))
        road = Line(code, slope * unit)
        before, start = self.ask(x), self.ask(drawn)
        probability = self._probability(start)
        spared, low = self._probability(before) < self.lowest, probability < self.lowest
        wanted = torch.where(low, torch.zeros_like(start), (probability - self.fall).clamp_min(self.lowest))

        def ask(rows: Tensor, distances: Tensor) -> tuple[Tensor, Tensor]:
            moved = self.decode(road(rows, -distances))
            value = self.ask(moved)
            return value, (self._probability(value) < wanted) | (_changed(drawn, moved) > self.change)

        grid = [FIRST * 2 ** (k / 2) for k in range(2 * OCTAVES + 1)]
        found = first_stop(ask, start, torch.ones_like(start, dtype=torch.bool), grid, halvings=HALVINGS)
        end = torch.where(spared | low, torch.zeros_like(start), 0 - found.position)
        explanation = self.shown(x, road, end, torch.where(end < 0, -end, found.last), unit)
        moved = self.decode(road(torch.zeros(1, dtype=torch.long, device=x.device), end))
        reached = spared | (~low & (self._probability(found.value) < wanted))
        told = {"steps": end * unit, "changed": _changed(drawn, moved), "reached": reached.to(x)}
        return replace(explanation, diagnostics=explanation.diagnostics | told)

    def _probability(self, value: Tensor) -> Tensor:
        return ((value - self.threshold) / self.scale).sigmoid()


def _changed(drawn: Tensor, moved: Tensor) -> Tensor:
    """By how much of its intensity an image has changed."""
    total = drawn.abs().flatten(1).sum(1)
    return (drawn - moved).abs().flatten(1).sum(1) / total.clamp_min(1e-12)
