"""Displacement fields in files that other programs read: on the grid of the image, in millimetres of the patient.

In memory a displacement is (*space, 3), in millimetres to the right, to the front and up (RAS+), like the affine of
`anomaly.images.Image`; the file holds the same vectors to the left and to the back (LPS), as ITK expects them.
"""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from anomaly.errors import AnomalyError, UnreadableImage
from anomaly.files import whole
from anomaly.images.prepared import Prepared

INTENT = 1007  # NIFTI_INTENT_VECTOR
LPS = np.array([-1, -1, 1], dtype=np.float32)  # there and back
CONVENTION = "counterfactual(p) = image(p + d(p)), d in mm, LPS"


def field_in_mm(field: np.ndarray, prepared: Prepared, affine: np.ndarray) -> np.ndarray:
    """Bring the field of one image from the grid a network saw to the grid of its file, in millimetres, RAS+.

    Args:
        field: (dims, *size) in prepared pixels, component c along axis c, as in `explain.fields.fields`; for the slices
            of a volume (S, 2, *size), which move within their planes only.
        prepared: the image as the network took it.
        affine: of the source image, (4, 4), index to millimetres, RAS+.

    Returns:
        (*source, 3) float32, interpolated linearly; 0 in the background and outside what was prepared. The third
        component of a picture is 0 where its affine does not tilt it.

    Raises:
        AnomalyError: the field has another shape than the prepared image.
    """
    size = prepared.foreground.shape[2:]
    slices = prepared.sliced is not None
    expected = (len(prepared.foreground), len(size), *size) if slices else (len(size), *size)
    if field.shape != expected:
        raise AnomalyError(f"the field has shape {field.shape}; this image was prepared as {expected}")
    moving = [axis for axis in range(len(prepared.source)) if axis != prepared.sliced]
    # Columns: the millimetres that one prepared pixel along each axis is.
    millimetres = (affine[:3, : len(prepared.source)] @ prepared.matrix[:-1, :-1])[:, moving]
    components = np.moveaxis(field, 1, 0) if slices else field[:, None]
    restored = [prepared.restore(component[:, None]) for component in components]
    return np.stack(restored, axis=-1) @ millimetres.T.astype(np.float32)


def write_field(path: Path, displacement: np.ndarray, affine: np.ndarray) -> None:
    """Write a displacement as NIfTI that ITK, ANTs and 3D Slicer read as a displacement field transform.

    counterfactual(p) = image(p + d(p)): the transform takes a point of the counterfactual to the point of the image
    it came from. Resampling the image by it, onto the image's own grid, draws the counterfactual. The file is float32
    (i, j, k, 1, 3) with the intent code of vectors, 1007, in millimetres to the left, to the back and up (LPS), since
    ITK takes vectors of this intent as they are; its description says so. It appears whole or not at all.

    Two things to know in ITK: beyond the image it draws its default value, where `explain.fields.fields.warp` repeats
    the edge; and it drops a third axis of length 1 from vectors only. Pictures then fit where their affine does not
    tilt them, in readers of three dimensions (ANTs, 3D Slicer) as they are, in SimpleITK by their first two components.

    Args:
        displacement: millimetres in RAS+, (i, j, k, 3), or (i, j, 3), which is written with k of length 1.
        affine: (4, 4), of the image it belongs to.

    Raises:
        AnomalyError: the displacement has another shape.
    """
    if displacement.ndim not in (3, 4) or displacement.shape[-1] != 3:
        raise AnomalyError(f"expected a displacement (i, j, 3) or (i, j, k, 3), got {displacement.shape}")
    space = displacement.shape[:-1]
    vectors = (displacement * LPS).astype(np.float32).reshape(*space, *(1,) * (4 - len(space)), 3)
    file = nib.Nifti1Image(vectors, affine)
    file.set_qform(affine, code=1)
    file.set_sform(affine, code=1)
    file.header.set_xyzt_units("mm")
    file.header.set_intent(INTENT)
    file.header["descrip"] = CONVENTION.encode()
    with whole(path) as part:
        nib.save(file, part)


def read_field(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read what `write_field` wrote: the displacement in millimetres, RAS+, and the affine.

    Returns:
        (i, j, k, 3) float32, or (i, j, 3) where k is 1 long; and (4, 4).

    Raises:
        UnreadableImage: the file is no NIfTI vector field of three components.
    """
    try:
        file: Any = nib.load(path)
    except nib.filebasedimages.ImageFileError as error:
        raise UnreadableImage(f"{path}: {error}; expected NIfTI, as write_field writes it") from error
    intent = int(file.header["intent_code"]) if isinstance(file, nib.Nifti1Image) else None
    shape = file.shape
    if intent != INTENT or len(shape) != 5 or shape[3:] != (1, 3):
        raise UnreadableImage(
            f"{path}: has intent code {intent} and shape {shape}; expected a vector field, {INTENT} and (i, j, k, 1, 3)"
        )
    vectors = np.asarray(file.dataobj, dtype=np.float32)[:, :, :, 0] * LPS
    space = shape[:2] if shape[2] == 1 else shape[:3]
    return vectors.reshape(*space, 3), np.asarray(file.affine, dtype=np.float64)
