"""How images of any grid and scale come to the grid and range a network expects: the settings, checked when made.

Nothing that reads or resamples an image is imported before one is prepared, so that a wrong setting is told at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import inf
from numbers import Integral
from typing import TYPE_CHECKING, Any

from anomaly.errors import AnomalyError

if TYPE_CHECKING:
    import numpy as np

    from anomaly.images.image import Image
    from anomaly.images.prepared import Prepared

CHOICES: Mapping[str, tuple[str, ...]] = {
    "fit": ("pad", "resize", "crop"),
    "slices": ("axial", "sagittal", "coronal"),
    "intensity": ("percentile", "range", "window", "zscore", "none"),
    "foreground": ("none", "otsu"),
    "mask": ("none", "given"),
}


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How images become network input; saved with a run by `dataclasses.asdict`, made again by its fields.

    dims: 2 for pictures and slices of volumes, 3 for whole volumes.
    size: pixels of every axis, one number for all; None keeps each image's own size.
    fit: how an image comes to that size. "pad" scales all axes alike, in millimetres where they are known, so
        that the whole image fits, and fills up with background; "resize" stretches every axis; "crop" does
        not scale: it cuts, or fills up, around the centre.
    spacing: millimetres a pixel, one number for all axes; with it "pad" no longer magnifies, and shrinks only
        what does not fit.
    orientation: where the axes of a volume point to, such as "RAS"; "keep" leaves them. Pictures are kept.
    slices: "axial", "sagittal" or "coronal", the direction in which dims=2 takes a volume apart.
    intensity: what becomes -1 and 1. "percentile" takes `percentiles` of the foreground, "range" the range of
        the file's type or its DICOM window, "window" takes `window` (as for CT), "zscore" four standard
        deviations from the mean; what lies beyond is clipped. "none" uses values as they are. Colours share
        one scale, other channels have each their own.
    foreground: "otsu" blackens all but the largest bright structure (holes filled); "none" does not.
    mask: "given" takes of each image what lies within its mask, and nothing else: the box around it is what comes to
        `size`, percentiles are taken inside, and outside is black; slices that the mask leaves empty are dropped.
        "none" makes nothing of masks.
    channels: how many the network expects. Colours become luminance for 1, grey is repeated for 3.
    context: with dims=2 on volumes, how many slices either side stand behind each slice as further channels, nearest
        first, below before above, and last a plane of its height, -1 to 1 from end to end of the volume, or of the box
        around its mask. 0 gives the height alone, None nothing.

    Raises AnomalyError for a setting that cannot be.
    """

    dims: int = 2
    size: int | tuple[int, ...] | None = 64
    fit: str = "pad"
    spacing: float | tuple[float, ...] | None = None
    orientation: str = "RAS"
    slices: str = "axial"
    intensity: str = "percentile"
    percentiles: tuple[float, float] = (0.5, 99.5)
    window: tuple[float, float] | None = None
    foreground: str = "none"
    mask: str = "none"
    channels: int = 1
    context: int | None = None

    def __post_init__(self) -> None:
        _require("dims", self.dims, _whole(self.dims) and self.dims in (2, 3), "2 or 3")
        for name, kind in (("size", int), ("spacing", float)):
            object.__setattr__(self, name, _per_axis(name, getattr(self, name), self.dims, kind))
        for name in ("percentiles", "window"):
            object.__setattr__(self, name, _pair(name, getattr(self, name)))
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            _require(name, value, value in choices, "one of " + ", ".join(choices))
        codes = "".join(sorted(self.orientation.translate(str.maketrans("LPI", "RAS"))))
        told = "three letters such as RAS, or keep"
        _require("orientation", self.orientation, codes == "ARS" or self.orientation == "keep", told)
        low, high = self.percentiles
        _require("percentiles", self.percentiles, 0 <= low < high <= 100, "low < high, from 0 to 100")
        window = self.window is not None if self.intensity == "window" else True
        _require("window", self.window, window, "(low, high), as (-1000, 400) for the lungs in CT")
        _require("channels", self.channels, _whole(self.channels) and self.channels >= 1, "1 or more")
        sliced = self.context is None or (self.dims == 2 and _whole(self.context) and self.context >= 0)
        _require("context", self.context, sliced, "0 or more slices either side, with dims 2")
        resized = self.fit == "resize" and self.size is not None and self.spacing is not None
        _require("spacing", self.spacing, not resized, "None, since fit 'resize' sets it; or use 'pad' or 'crop'")

    @property
    def context_channels(self) -> int:
        """How many channels behind those of the image are its context: neighbouring slices, and the height."""
        return 0 if self.context is None else 2 * self.context * self.channels + 1

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The pixels of every axis, `dims` numbers; None where images keep their own size."""
        return self.size if isinstance(self.size, tuple) else None

    def apply(self, image: Image) -> Prepared:
        """Prepare one image; UnreadableImage where it does not suit the settings (which says the way out)."""
        from anomaly.images.prepared import prepare

        asked = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "size"}
        return prepare(image, shape=self.shape, **asked)

    def grid(self, space: tuple[int, ...]) -> np.ndarray:
        """Where a volume prepared like this lies when it has no source: (4, 4), see `placing.centred`."""
        from anomaly.images.placing import centred

        return centred(self.orientation, self.spacing if isinstance(self.spacing, tuple) else None, space)


def _require(name: str, value: object, fine: bool, expected: str) -> None:
    if not fine:
        raise AnomalyError(f"{name} is {value!r}; expected {expected}")


def _whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _per_axis(name: str, value: Any, dims: int, kind: type) -> tuple[Any, ...] | None:
    """Give one positive number for every axis; None stays None."""
    if value is None:
        return None
    expected = f"one positive number, {dims} of them, or None"
    try:
        numbers = tuple(kind(one) for one in (value if isinstance(value, tuple | list) else [value]))
    except (TypeError, ValueError, OverflowError) as error:
        raise AnomalyError(f"{name} is {value!r}; expected {expected}") from error
    numbers = numbers * dims if len(numbers) == 1 else numbers
    _require(name, value, len(numbers) == dims and all(0 < one < inf for one in numbers), expected)
    return numbers


def _pair(name: str, value: Any) -> tuple[float, float] | None:
    if value is None and name == "window":
        return None
    fine = isinstance(value, tuple | list) and len(value) == 2 and value[0] < value[1]
    _require(name, value, fine, "two numbers, low < high")
    return float(value[0]), float(value[1])
