"""How a drawn knee is stored: whole numbers of one scale, masks as bit flags, tissues as one number a pixel."""

import gzip
from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np

from anomaly.files import write_whole
from anomaly.images.pictures import write_grey
from anomaly.simulation.population import FINDINGS
from anomaly.simulation.tissues import LABELS

ENDINGS = {2: ".png", 3: ".nii.gz"}
FLAGS = {name: 1 << bit for bit, name in enumerate(FINDINGS)}
# The numbers of label maps. A finding wins over the tissue it lies in; wear and spurs have no number of their own.
NUMBERS = {**LABELS, "effusion": 6, "marrow": 7}
WHITE = 1.5  # the brightest signal that 8 bits hold: nothing of a knee comes near, so nothing is cut off
VOLUME_UNITS = 1000


def stored(image: np.ndarray, dims: int) -> np.ndarray:
    """An image in scanner units as it is stored: uint8 of 255 / `WHITE` a unit in 2D, int16 of 1000 in 3D."""
    if dims == 2:
        return np.rint(np.clip(image * (255 / WHITE), 0, 255)).astype(np.uint8)
    return np.rint(image * VOLUME_UNITS).astype(np.int16)


def flagged(masks: Mapping[str, np.ndarray]) -> np.ndarray:
    """The masks of the findings in one array of uint8: the sum of `FLAGS` over those that hold the pixel."""
    return np.asarray(np.sum([masks[name] * np.uint8(flag) for name, flag in FLAGS.items()], axis=0, dtype=np.uint8))


def numbered(masks: Mapping[str, np.ndarray]) -> np.ndarray:
    """What each pixel is, by `NUMBERS`, 0 where it is none of them, as uint8: tissues with the findings laid over."""
    found = np.zeros(next(iter(masks.values())).shape, dtype=np.uint8)
    for name, number in NUMBERS.items():
        found[masks[name]] = number
    return found


def write_pixels(path: Path, values: np.ndarray, affine: np.ndarray) -> None:
    """Write (rows, columns) uint8 as PNG, (i, j, k) as NIfTI with the affine (4, 4) in mm; whole or not at all."""
    if values.ndim == 2:
        write_grey(path, values)
        return
    volume = nib.Nifti1Image(values, affine)
    volume.header.set_xyzt_units("mm")
    write_whole(path, gzip.compress(volume.to_bytes(), compresslevel=1, mtime=0))
