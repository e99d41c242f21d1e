"""What becomes -1 and 1 of an image that is to be restored: by the poor image, for that is all there is in the end.

A good image is scaled as any image. What is done to it changes its darkest and brightest values (noise spreads them),
and a poor image that comes later is scaled by its own. So where a scale follows from the image itself, that of the poor
one holds for both: a network sees in training what it will see later.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np

from anomaly.errors import UnreadableImage
from anomaly.images import Image
from anomaly.images.intensities import BOUNDS
from anomaly.images.prepared import Prepared
from anomaly.images.preprocessing import Preprocessing

OF_THE_IMAGE = ("percentile", "zscore")
"""Intensities whose scale follows from the image itself."""


@dataclass(frozen=True)
class Scale:
    """What becomes -1 and what 1, for each channel: (C,) both."""

    low: np.ndarray
    high: np.ndarray

    @property
    def unit(self) -> np.ndarray:
        """What a difference of 1 stands for, (C,)."""
        return (self.high - self.low) / 2

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """Values (S, C, *space) with these at -1 and 1, not clipped, float32."""
        low, unit = (_along_channels(each, values.ndim) for each in (self.low, self.unit))
        return ((values - low) / unit - 1).astype(np.float32)

    def values(self, scaled: np.ndarray) -> np.ndarray:
        """The way back."""
        low, unit = (_along_channels(each, scaled.ndim) for each in (self.low, self.unit))
        return ((scaled + 1) * unit + low).astype(np.float32)

    def of_scaled(self, other: "Scale") -> "Scale":
        """This scale, of values that were scaled by it, with another one behind."""
        return Scale(self.low + (other.low + 1) * self.unit, self.low + (other.high + 1) * self.unit)

    @classmethod
    def none(cls, channels: int) -> "Scale":
        """The scale that leaves values as they are."""
        return cls(-np.ones(channels), np.ones(channels))


def laid_out(image: Image, preprocessing: Preprocessing) -> Prepared:
    """An image as a network takes it, on its own grid and with its own values; padding has the least of them.

    Raises:
        UnreadableImage: it does not suit the preprocessing.
    """
    prepared = dataclasses.replace(preprocessing, size=None, intensity="none", window=None).apply(image)
    if prepared.foreground.all():
        return prepared
    counted = np.broadcast_to(prepared.foreground, prepared.pixels.shape)
    least = prepared.pixels[counted].min()
    return dataclasses.replace(prepared, pixels=np.where(counted, prepared.pixels, least).astype(np.float32))


def scale_of(
    image: Image, values: np.ndarray, preprocessing: Preprocessing, counted: np.ndarray | None = None
) -> Scale:
    """What becomes -1 and 1 of values (S, C, *space) of an image, as `Preprocessing` says.

    Args:
        image: whose they are.
        values: its own, or those of a poorer image.
        preprocessing: says by what.
        counted: (S, 1, *space) bool, which pixels say so; None for all.

    Raises:
        UnreadableImage: it does not tell, or all pixels are alike.
    """
    channels, intensity = values.shape[1], preprocessing.intensity
    if intensity == "none":
        return Scale.none(channels)
    by_channel = np.moveaxis(values, 1, 0).reshape(channels, -1)
    if counted is not None and counted.any():
        by_channel = by_channel[:, counted.ravel()]
    asked = {"percentile": preprocessing.percentiles, "window": preprocessing.window}.get(intensity)
    colours = channels == 3 and image.kind in ("picture", "dicom")
    groups = [slice(None)] if colours else [slice(c, c + 1) for c in range(channels)]
    low, high = np.empty(channels), np.empty(channels)
    for group in groups:
        low[group], high[group] = BOUNDS[intensity](image, by_channel[group], asked)
    return Scale(low, high)


def refuse_beyond(image: Image, scaled: np.ndarray, preprocessing: Preprocessing) -> None:
    """Say plainly when values that are used as they are do not lie about in [-1, 1].

    Raises:
        UnreadableImage: they do not.
    """
    low, high = float(scaled.min()), float(scaled.max())
    if preprocessing.intensity == "none" and max(-low, high) > MOST:
        raise UnreadableImage(
            f"{image.path}: its values go from {low:.4g} to {high:.4g}; with intensity 'none' they are used as they "
            f"are and should lie in [-1, 1], of poor images within {MOST:g}: scale them, or take another intensity"
        )


def refuse_apart(poor: Image, good: Image, scaled: np.ndarray) -> None:
    """Say plainly when a good image has other units than the poor one: most of it lies beyond black and white.

    Args:
        poor, good: of a pair.
        scaled: values of the good one, by the scale of the poor one; a background that has the least does not count.

    Raises:
        UnreadableImage: so.
    """
    drawn = scaled[scaled > scaled.min()]
    beyond = np.abs(drawn) > APART
    if beyond.mean() > 0.5 if drawn.size else abs(scaled.flat[0]) > APART:
        raise UnreadableImage(
            f"{poor.path}: most of its good image {good.path.name} lies beyond what is black and white here (from "
            f"{scaled.min():.4g} to {scaled.max():.4g}, expected about -1 to 1); bring both to the same units, or take "
            "another intensity"
        )


MOST = 5.0
"""How far from 0 values may lie that nobody scaled: noise reaches beyond 1."""
APART = 1.5
"""Beyond which values of a good image are none of the poor one's range."""


def _along_channels(values: np.ndarray, ndim: int) -> np.ndarray:
    return values.reshape(1, -1, *[1] * (ndim - 2))
