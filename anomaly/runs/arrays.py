"""Images that somebody has at hand in Python: arrays, tensors, pictures and files become images, and are scored."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anomaly.errors import AnomalyError
from anomaly.images import Image, find, read
from anomaly.images.image import MOST_CHANNELS, as_float, checked
from anomaly.images.masking import masked, what_counts
from anomaly.images.prepared import Prepared, scaled
from anomaly.images.preprocessing import Preprocessing
from anomaly.shown import Readable

GREATEST = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}
PLAIN = {"1": "L", "P": "RGB", "PA": "RGB", "RGBA": "RGB", "RGBX": "RGB", "CMYK": "RGB", "YCbCr": "RGB", "LA": "L"}
"""What pictures of a mode of PIL are turned into, where their numbers are no grey values or colours yet."""
logger = logging.getLogger(__name__)
KINDS = (
    "a file, an array (rows, columns), (rows, columns, 3) or (i, j, k), a batch (N, C, rows, columns) or "
    "(N, C, i, j, k), or a list of such images"
)


@dataclass(frozen=True, repr=False)
class ImageScores(Readable):
    """What a run says of images that were handed to it, in their order.

    Args:
        value: how abnormal, in the method's own unit, (N,).
        z: the same on the scale of a standard normal among held-out normals, (N,).
        p_value: share of held-out normal subjects at least as abnormal, (N,).
        maps: departure from normal in standard deviations at each pixel, one (*space) an image, on its own grid.
    """

    value: np.ndarray
    z: np.ndarray
    p_value: np.ndarray
    maps: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.value)

    def _in_short(self) -> tuple[str, dict[str, object]]:
        count = len(self)
        told = {
            name: ", ".join(f"{each:.4g}" for each in getattr(self, name)[:5]) for name in ("value", "z", "p_value")
        }
        return f"{count} image{'s' * (count != 1)}", {
            **{name: text + (" ..." if count > 5 else "") for name, text in told.items()},
            "maps": " ".join(str(map.shape) for map in self.maps[:3]) + (" ..." if count > 3 else ""),
        }


def prepared(
    given: Any, preprocessing: Preprocessing, shape: tuple[int, ...], affine: np.ndarray | None, mask: Any = None
) -> list[Prepared]:
    """Images that somebody has at hand, as a run takes them; its images have the shape (C, *space).

    Raises:
        AnomalyError: as `images_of`, or an image of another shape once prepared.
        UnreadableImage: an image that cannot be read, or does not suit the preprocessing.
    """
    ready = []
    for image in _masked(images_of(given, preprocessing.dims, affine), mask, preprocessing):
        ready.append(scaled(preprocessing.apply(image), image.path))
        if (got := ready[-1].pixels.shape[1:]) != shape:
            raise AnomalyError(
                f"{image.path}: has shape {got} once prepared; expected {shape} (C, *space), as the run was trained on"
            )
    return ready


def _masked(images: list[Image], mask: Any, preprocessing: Preprocessing) -> list[Image]:
    """Images with their masks: a file or an array (*space) for one image, a list of such for several."""
    if mask is None:
        return images
    if preprocessing.mask != "given":
        raise AnomalyError("the run was trained without masks and takes none; leave mask out")
    masks = list(mask) if isinstance(mask, list | tuple) else [mask]
    if len(masks) != len(images):
        raise AnomalyError(f"got {len(masks)} masks for {len(images)} images; give one for each")
    return [_with(image, each) for image, each in zip(images, masks, strict=True)]


def _with(image: Image, mask: Any) -> Image:
    if isinstance(mask, str | Path):
        return masked(image, mask)
    inside = _numbers(mask)
    if inside.shape != image.space:
        raise AnomalyError(f"{image.path}: its mask has the shape {inside.shape}; expected {image.space}")
    return dataclasses.replace(image, mask=what_counts(inside, image, f"the mask of {image.path}"))


def of_images(ready: Sequence[Prepared]) -> np.ndarray:
    """Which image each slice is of, (S,)."""
    return np.repeat(np.arange(len(ready)), [len(each.pixels) for each in ready])


def refuse_unprepared(pixels: Any) -> None:
    """Say plainly where values are not those of prepared images, in [-1, 1].

    Raises:
        AnomalyError: some are beyond, or are no numbers.
    """
    low, high = float(pixels.min()), float(pixels.max())
    if not max(-low, high) <= 1.001:
        raise AnomalyError(
            f"the values go from {low:.4g} to {high:.4g}; expected prepared images, in [-1, 1]. Give images as their "
            "files hold them to run.score(...), which prepares them, or prepare them by run.preprocessing.apply(...)"
        )


def images_of(given: Any, dims: int, affine: np.ndarray | None = None) -> list[Image]:
    """One image or several, in any form a person has them in, as images before any preprocessing.

    Args:
        given: see `KINDS`; arrays in the file's own units, as NumPy, torch on any device, or PIL.
        dims: of the run, which tells what an array of three axes is.
        affine: (4, 4), index to millimetres, RAS+, of arrays.

    Raises:
        AnomalyError: another type, a shape that could mean several things, or no image.
    """
    if isinstance(given, list | tuple):
        if not given:
            raise AnomalyError(f"got an empty list; expected {KINDS}")
        return [image for k, each in enumerate(given) for image in _one(each, dims, affine, k)]
    return _one(given, dims, affine, 0)


def _one(given: Any, dims: int, affine: np.ndarray | None, number: int) -> list[Image]:
    if isinstance(given, str | Path):
        path = Path(given)
        if path.is_dir() and find(path) != [path]:  # a folder that is one DICOM series is one image
            raise AnomalyError(f"{path} is a folder; score it by anomaly.score(RUN, {str(path)!r}, OUT)")
        if not path.exists():
            raise AnomalyError(f"{path}: no such file; correct the path")
        return [read(path)]
    if hasattr(given, "iloc"):
        raise AnomalyError(
            "got a table; score what it lists by anomaly.score(RUN, TABLE, OUT), or give its paths as a list"
        )
    if affine is None and dims == 3:
        logger.warning(
            "an array does not say how it lies: axes are taken to run to the right, to the front and up, a millimetre "
            "a voxel; give affine=, or a file"
        )
    array, name = _numbers(given), Path(f"array {number}" if number else "the array")
    return [_image(each, array.dtype, affine, name) for each in _apart(array, dims)]


def _numbers(given: Any) -> np.ndarray:
    """An array of whatever holds one."""
    if hasattr(given, "detach"):  # a tensor of torch, on any device
        given = given.detach().cpu()
        return np.asarray(given.float() if given.dtype.is_floating_point else given)
    if hasattr(given, "convert") and hasattr(given, "mode"):  # a picture of PIL
        return np.asarray(given.convert(PLAIN[given.mode]) if given.mode in PLAIN else given)
    if not hasattr(given, "__array__"):
        raise AnomalyError(f"got {type(given).__name__}; expected {KINDS}")
    return np.asarray(given)


def _apart(array: np.ndarray, dims: int) -> Sequence[np.ndarray]:
    """The images (C, *space) of an array."""
    shape, count = array.shape, array.ndim
    if 0 in shape:
        raise AnomalyError(f"got an array {shape} without a value; expected {KINDS}")
    if count == 2:
        return [array[None]]
    if count == 3 and shape[-1] in (3, 4) and dims == 2 and array.dtype in GREATEST:
        return [np.moveaxis(array[..., :3], -1, 0)]
    if count == 3 and dims == 3:
        return [array[None]]
    if count in (4, 5) and shape[1] <= MOST_CHANNELS and not (count == 4 and dims == 3):
        return list(array)
    if count in (4, 5) and shape[-1] <= 4 < shape[1]:
        raise AnomalyError(f"got {shape}, whose channels seem to come last; give numpy.moveaxis(x, -1, 1)")
    raise AnomalyError(
        f"got an array {shape}, which may be a batch, channels or a volume; say by its axes what it is: expected "
        f"{KINDS}"
    )


def _image(pixels: np.ndarray, kind: np.dtype[Any], affine: np.ndarray | None, name: Path) -> Image:
    greatest = GREATEST.get(kind)
    matrix = np.eye(4) if affine is None else np.asarray(affine, dtype=float)
    if matrix.shape != (4, 4):
        raise AnomalyError(f"the affine has the shape {matrix.shape}; expected (4, 4), index to millimetres")
    limits = None if greatest is None else (0.0, greatest)
    what = "picture" if limits and pixels.ndim == 3 else "array"
    return checked(Image(as_float(pixels, name), matrix, name, what, limits))
