"""Which voxels of a group map count: those of the body, by the masks of the images, or by what is dark around them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

from anomaly.errors import EvaluationError, UnreadableImage
from anomaly.images import Image
from anomaly.images.intensities import otsu_threshold
from anomaly.images.masking import read_mask
from explain.association.maps import Maps, mean_image
from explain.association.people import Sample

NONE = "none"
DARK = 0.5
"""Of Otsu's threshold: what is dimmer and joined to the border lies outside. At all of it lungs would, too."""
LEAST, FEW = 0.02, 40


def within_body(maps: Maps, sample: Sample, notes: list[str]) -> Maps:
    """The maps without the voxels outside the body; `notes` says which voxels count, and why.

    Where every image names its mask, those inside all masks count. Else, where the images lie on the grid of the maps,
    what is not joined to the border through voxels dimmer than half of Otsu's threshold (1979) of their mean: lungs and
    ventricles are dim too, and lie inside. Else all.

    Raises:
        EvaluationError: a mask cannot be read, or no voxel lies inside all.
    """
    before = int(maps.mask.sum())
    inside, told = _in_masks(maps, sample) or _not_dark(maps, sample) or (None, "")
    if inside is None:
        notes.append(
            f"All {before:,} voxels count, those outside the body too: no masks, and no images with something dark "
            "around it, lie on the grid of the maps. Give --mask FILE, and fewer are corrected for."
        )
        return maps
    kept = maps.within(inside)
    notes.append(f"{int(kept.mask.sum()):,} of {before:,} voxels count: {told}")
    return kept


def _in_masks(maps: Maps, sample: Sample) -> tuple[np.ndarray, str] | None:
    """Voxels inside the masks of all images; None where an image names none."""
    named = sample.names("mask")
    if named is None or not all(isinstance(each, str) for each in named):
        return None
    packed = []
    for name, path in zip(sample.images["id"], named, strict=True):
        grid = Image(np.empty((1, *maps.mask.shape), np.float32), maps.affine, Path(str(name)), "nifti")
        try:
            packed.append(np.packbits(read_mask(Path(path), grid)))
        except UnreadableImage as error:
            raise EvaluationError(f"{error}; or give --mask FILE or none") from None
    count = maps.mask.size
    lacking = np.zeros(count, dtype=np.int32)
    for each in packed:
        lacking += np.unpackbits(each, count=count) == 0
    once = lacking == 1
    alone = [int(np.count_nonzero(once & (np.unpackbits(each, count=count) == 0))) for each in packed]
    most = int(np.argmax(alone))
    about = f"{sample.images['id'].iloc[most]} takes most of them away, {alone[most]:,} that all others have"
    inside = lacking == 0
    if not inside.any():
        raise EvaluationError(
            f"no voxel lies inside the masks of all {len(packed)} images ({about}); leave that image out, or give "
            "--mask"
        )
    return inside.reshape(maps.mask.shape), f"those inside the masks of all {len(packed)} images ({about})."


def _not_dark(maps: Maps, sample: Sample) -> tuple[np.ndarray, str] | None:
    """Voxels of the body by the mean of the images; None where these are not at hand, or nothing dark surrounds it."""
    paths = sample.names("image")
    if paths is None:
        return None
    few = np.unique(np.linspace(0, len(paths) - 1, FEW).round().astype(int))
    mean = mean_image([str(paths[k]) for k in few], maps)
    if mean is None or not np.ptp(mean) > 0:
        return None
    dim = mean <= DARK * otsu_threshold(mean)
    parts, _ = ndimage.label(dim)
    inside = ~np.isin(parts, np.setdiff1d(_border(parts), 0))
    if not LEAST <= inside.mean() < 1 or not (inside & maps.mask).any():
        return None
    return inside, (
        f"those of the body, as the mean of {few.size} images shows it: what is dark and joined to the border "
        "is left out. --mask FILE says otherwise, --mask none counts all."
    )


def _border(values: np.ndarray) -> np.ndarray:
    """The outermost values along each axis."""
    ends: Sequence[np.ndarray] = [np.take(values, [0, -1], axis).ravel() for axis in range(values.ndim)]
    return np.concatenate(ends)
