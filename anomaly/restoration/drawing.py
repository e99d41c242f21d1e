"""One image restored: as poor as it is, onto the grid that it should have had; or made poor first, to try it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from anomaly.degradations.base import Degradation
from anomaly.degradations.covering import covered
from anomaly.errors import RunError, UnreadableImage
from anomaly.images import Image
from anomaly.images.frame import Frame
from anomaly.images.prepared import Prepared
from anomaly.images.preprocessing import Preprocessing
from anomaly.images.redrawn import within_limits
from anomaly.nets.whole import most_pixels, whole
from anomaly.restoration.placing import turned_back
from anomaly.restorers.degrading import chance
from anomaly.restorers.keeping import good, scale_as_poor, suited
from anomaly.restorers.run import RestorerRun
from anomaly.restorers.scales import Scale, laid_out, refuse_beyond, scale_of
from anomaly.runs.run import Run

UNTOLD = "nothing says what of it is to be drawn; give --holes, a mask that is not 0 there"


@dataclass(frozen=True)
class Drawn:
    """A restored image on its grid.

    Args:
        values: (C, *space), in the image's own intensities.
        frame: where it lies.
        change: mean of |restored - poor|, of a range of 2.
        largest: the largest of it.
    """

    values: np.ndarray
    frame: Frame
    change: float
    largest: float


class Brush(Protocol):
    """Whatever restores images: a run of a restorer, or of a detector that restores."""

    @property
    def run(self) -> RestorerRun | Run:
        """The run."""

    @property
    def degradation(self) -> Degradation | None:
        """What can be done to images here, to be undone."""

    @property
    def trained(self) -> frozenset[str]:
        """Subjects of the training."""

    @property
    def undoes(self) -> str:
        """In words."""

    def prepare(self, image: Image) -> tuple[Prepared, ...]:
        """The image as it is taken; UnreadableImage where it does not suit."""

    def draw(self, image: Image, prepared: Prepared, *, told: str | None) -> Drawn:
        """The image restored; made poor before where `told`, which chance follows from, is given."""


@dataclass(frozen=True)
class OwnGrid:
    """A run of a restorer, which takes images on their own grid."""

    run: RestorerRun

    @property
    def degradation(self) -> Degradation | None:
        """What it undoes."""
        return self.run.degradation

    @property
    def trained(self) -> frozenset[str]:
        """Subjects of the training."""
        return self.run.trained

    @property
    def undoes(self) -> str:
        """In words."""
        return self.run.undoes

    def prepare(self, image: Image) -> tuple[Prepared, ...]:
        """The image in the order of axes that the network takes, with its own values."""
        return (laid_out(image, self.run.preprocessing),)

    def draw(self, image: Image, prepared: Prepared, *, told: str | None) -> Drawn:
        """See `Brush`."""
        return self._simulated(image, prepared, told) if told is not None else self._as_it_is(image, prepared)

    def restored(self, y: np.ndarray, known: Tensor | None, scale: Scale) -> np.ndarray:
        """What is added to poor images (N, C, *space), in units of `scale`; what training never saw is clipped."""
        seen = torch.from_numpy(scale.scaled(y).clip(*self.run.limits)).to(self.run.restorer.device)
        there = None if known is None else known.expand(len(seen), *known.shape[1:]).to(seen.device)
        restorer = self.run.restorer
        drawn = whole(restorer.restored, seen, there, restorer.noise(seen), most=most_pixels(restorer.width))
        change: np.ndarray = (drawn - seen).cpu().numpy()
        return change

    def _as_it_is(self, image: Image, prepared: Prepared) -> Drawn:
        raw, degradation = prepared.pixels, self.degradation
        refuse_holes(image, degradation)
        known = None if image.mask is None else ~holes_of(image, self.run.preprocessing)
        counted = prepared.foreground if known is None else prepared.foreground & known
        if known is not None:
            refuse_extent(image, counted, known)
        scale = scale_of(image, raw, self.run.preprocessing, counted)
        refuse_beyond(image, scale.scaled(raw), self.run.preprocessing)
        own = replace(self.run.preprocessing, channels=len(image.pixels))
        colours = raw if own == self.run.preprocessing else laid_out(image, own).pixels
        if degradation is None:
            return _finished(image, prepared, colours, self.restored(raw, None, scale), scale)
        steps = degradation.steps(raw.ndim - 2)
        if max(steps) == 1 and known is None:
            return _finished(image, prepared, colours, self.restored(raw, None, scale), scale)
        if known is not None:
            left = covered(torch.from_numpy(scale.scaled(raw)), torch.from_numpy(known))
            poor = scale.values(left.image.numpy())
            return _finished(
                image, prepared, _pasted(colours, poor, known), self.restored(poor, left.known, scale), scale
            )
        space = tuple(side * step for side, step in zip(raw.shape[2:], steps, strict=True))
        left = degradation.placed(torch.from_numpy(raw), space)
        change = self.restored(left.image.numpy(), left.known, scale)
        lifted = degradation.lifted(torch.from_numpy(colours), space).numpy()
        starts = degradation.starts(raw.ndim - 2)
        return _finished(image, prepared, lifted, change, scale, steps, starts)

    def _simulated(self, image: Image, prepared: Prepared, told: str) -> Drawn:
        poor, _, own, seen, known = simulated(image, self.run.preprocessing, self.degradation, told, self.run.folder)
        change = self.restored(poor, known, seen) * seen.unit.reshape(1, -1, *[1] * (poor.ndim - 2))
        return _finished(image, prepared, own.values(poor), change, own)


def simulated(
    image: Image, preprocessing: Preprocessing, degradation: Degradation | None, told: str, folder: Path
) -> tuple[np.ndarray, np.ndarray, Scale, Scale, Tensor | None]:
    """A good image and what is left of it, both (S, C, *space) and scaled as good images are, cropped to whole steps.

    Args:
        image: as read.
        preprocessing: of the run.
        degradation: what is done to it.
        told: what chance follows from.
        folder: of the run, for messages.

    Returns:
        Poor and good image; the scale of the good one, which leads back to the image's own values; the scale of the
        poor one behind it, by which a network sees both; and which pixels are known.

    Raises:
        RunError: the run learned from given pairs.
    """
    if degradation is None:
        raise RunError(f"{folder} learned from given pairs; it has no degradation to make images poor by")
    laid = laid_out(image, preprocessing)
    own = scale_of(image, laid.pixels, preprocessing, laid.foreground)
    x = suited(image, good(image, preprocessing), degradation)
    left = degradation.degrade(torch.from_numpy(x), chance(told))
    return left.image.numpy(), x, own, scale_as_poor(image, x, preprocessing, degradation), left.known


def refuse_holes(image: Image, degradation: Degradation | None) -> None:
    """Say plainly when holes are missing, or given where they mean nothing.

    Raises:
        UnreadableImage: so.
    """
    takes = degradation is not None and degradation.tells and max(degradation.steps(image.ndim)) == 1
    if takes and image.mask is None:
        raise UnreadableImage(f"{image.path}: {UNTOLD}")
    if not takes and image.mask is not None:
        raise UnreadableImage(f"{image.path}: has a hole, of which this run makes nothing; leave --holes out")


def refuse_extent(image: Image, counted: np.ndarray, known: np.ndarray) -> None:
    """Say plainly when there is nothing to draw, or nothing to draw it from.

    Args:
        image: whose hole it is.
        counted: which pixels are known and of the image, (S, 1, *space) bool.
        known: which are not in the hole.

    Raises:
        UnreadableImage: so.
    """
    if known.all():
        raise UnreadableImage(f"{image.path}: its hole is empty on the grid of the run: there is nothing to draw")
    lost = [not there.any() and not outside.all() for there, outside in zip(counted, known, strict=True)]
    if any(lost):
        of = f" in {sum(lost)} of its {len(lost)} slices" if len(lost) > 1 else ""
        raise UnreadableImage(
            f"{image.path}: its hole covers all of it{of}: nothing is left of it to draw from; give a mask that is 0 "
            "where the image is known"
        )


def holes_of(image: Image, preprocessing: Preprocessing, least: float = 0.5) -> np.ndarray:
    """What of an image is to be drawn, (S, 1, *size) bool, as a network takes it: pixels of which more is hole."""
    assert image.mask is not None
    as_image = replace(image, pixels=image.mask[None].astype(np.float32), kind="array", mask=None, padding=None)
    laid = replace(preprocessing, channels=1, intensity="none", window=None, mask="none", foreground="none")
    found: np.ndarray = laid.apply(as_image).pixels > least
    return found


def _pasted(colours: np.ndarray, poor: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The image where it is known, what fills the holes elsewhere."""
    return np.where(known, colours, poor if poor.shape[1] == colours.shape[1] else poor.mean(1, keepdims=True))


def _finished(
    image: Image,
    prepared: Prepared,
    poor: np.ndarray,
    change: np.ndarray,
    scale: Scale,
    steps: Any = None,
    starts: Any = None,
) -> Drawn:
    """What was changed, in the image's own intensities, added to what was there before, and laid as the file lies."""
    added = change * scale.unit.reshape(1, -1, *[1] * (change.ndim - 2))
    if added.shape[1] != poor.shape[1]:
        added = added.mean(1, keepdims=True)
    values, frame = turned_back((poor + added).astype(np.float32), image, prepared, steps, starts)
    return Drawn(within_limits(image, values), frame, float(np.abs(change).mean()), float(np.abs(change).max()))
