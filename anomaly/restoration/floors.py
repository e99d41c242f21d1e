"""What needs no learning, as a floor for what was learned: of each degradation its own, a filter as strong as suits."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from anomaly.classical.classical import FILTERS, FLOORS, classical, tuned
from anomaly.degradations.base import Degradation, Degraded
from anomaly.errors import AnomalyError, MissingPackage, UnreadableImage
from anomaly.images import read
from anomaly.images.preprocessing import Preprocessing
from anomaly.restorers.degrading import chance, fitted
from anomaly.restorers.keeping import good

logger = logging.getLogger(__name__)
TUNED_BY = 6


@dataclass(frozen=True)
class Floors:
    """The classical ways to undo a degradation, by name.

    Args:
        degradation: None where pairs were given, which have no floor but the poor images.
        strengths: of those that are filters; usual ones elsewhere.
        names: which of them can be had here.
        untuned: filters whose strength is the usual one, for there was no image to choose it by.
    """

    degradation: Degradation | None
    names: tuple[str, ...] = ()
    strengths: Mapping[str, float | None] = field(default_factory=dict)
    untuned: tuple[str, ...] = ()

    def drawn(self, left: Degraded) -> dict[str, Tensor]:
        """What each of them draws of poor images (N, C, *space), beside which `known` is (N or 1, 1, *space)."""
        if self.degradation is None:
            return {}
        known = None if left.known is None else left.known.expand(len(left.image), *left.known.shape[1:])
        whole = Degraded(left.image, known)
        return {name: classical(name, self.degradation, whole, self.strengths.get(name)) for name in self.names}

    @classmethod
    def of(cls, degradation: Degradation | None, files: Sequence[str], preprocessing: Preprocessing) -> "Floors":
        """The floors of a degradation, their strengths chosen by a few good images that nobody reports on.

        Args:
            degradation: None for none.
            files: of such images; those that are gone are passed over, and without any the usual strengths hold.
            preprocessing: of the run.
        """
        if degradation is None:
            return cls(None)
        pairs = list(_pairs(degradation, files, preprocessing))
        names, strengths = [], {}
        for name in FLOORS.get(degradation.name, ()):
            try:
                if name in FILTERS:  # which may need a package that is not here
                    classical(name, degradation, Degraded(torch.zeros(1, 1, 16, 16)))
                found = [tuned(name, degradation, x, left) for x, left in pairs]
            except MissingPackage as error:
                logger.warning("%s is left out: %s", name, error)
                continue
            names.append(name)
            told = sorted(each for each in found if each is not None)
            strengths[name] = told[len(told) // 2] if told else None
        untuned = () if pairs else tuple(name for name in names if name in FILTERS)
        return cls(degradation, tuple(names), strengths, untuned)


def _pairs(
    degradation: Degradation, files: Sequence[str], preprocessing: Preprocessing
) -> list[tuple[Tensor, Degraded]]:
    """Good images and what is left of them, of the first files that are there; of volumes a slice."""
    found: list[tuple[Tensor, Degraded]] = []
    for file in files:
        if len(found) == TUNED_BY or not Path(file).exists():
            continue
        try:
            x = torch.from_numpy(fitted(good(read(Path(file)), preprocessing), degradation))
        except (UnreadableImage, AnomalyError):
            continue
        middle = len(x) // 2
        found.append((x[middle : middle + 1], degradation.degrade(x[middle : middle + 1], chance("floors", file))))
    return found
