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
from anomaly.images.frame import Frame, of_nifti
from anomaly.images.image import single
from anomaly.images.prepared import Prepared

INTENT = 1007  # NIFTI_INTENT_VECTOR
LPS = np.array([-1, -1, 1], dtype=np.float32)  # there and back
CONVENTION = "counterfactual(p) = image(p + d(p)), d in mm, LPS"


def field_in_mm(field: np.ndarray, prepared: Prepared, where: Frame | np.ndarray) -> np.ndarray:
    """Bring the field of one image from the grid a network saw to the grid of its file, in millimetres, RAS+.

    Args:
        field: (dims, *size) in prepared pixels, component c along axis c, as in `anomaly.nets.fields`; for the slices
            of a volume (S, 2, *size), which move within their planes only.
        prepared: the image as the network took it.
        where: `Image.frame` of the source image, or its affine, (4, 4), index to millimetres, RAS+. Where a file says
            twice where it lies, the millimetres are those of the form that ITK takes, for which fields are written.

    Returns:
        (*source, 3) float32, interpolated linearly; 0 in the background and outside what was prepared. The third
        component of a picture is 0 where its affine does not tilt it.

    Raises:
        AnomalyError: the field has another shape than the prepared image.
    """
    affine = _frame(where).in_itk()
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


def write_field(path: Path, displacement: np.ndarray, where: Frame | np.ndarray) -> None:
    """Write a displacement as NIfTI that ITK, ANTs and 3D Slicer read as a displacement field transform.

    counterfactual(p) = image(p + d(p)): the transform takes a point of the counterfactual to the point of the image
    it came from. Resampling the image by it, onto the image's own grid, draws the counterfactual. The file is float32
    (i, j, k, 1, 3) with the intent code of vectors, 1007, in millimetres to the left, to the back and up (LPS), since
    ITK takes vectors of this intent as they are; its description says so. It lies as the image lies, with both of its
    forms and its units, and appears whole or not at all.

    Two things to know in ITK: beyond the image it draws its default value, where `anomaly.nets.fields.warp` repeats
    the edge; and it drops a third axis of length 1 from vectors only. Pictures then fit where their affine does not
    tilt them, in readers of three dimensions (ANTs, 3D Slicer) as they are, in SimpleITK by their first two components.

    Args:
        displacement: millimetres in RAS+, (i, j, k, 3), or (i, j, 3), which is written with the axis of length 1 where
            the image's file has it.
        where: `Image.frame` of the image it belongs to, or its affine.

    Raises:
        AnomalyError: the displacement has another shape.
    """
    if displacement.ndim not in (3, 4) or displacement.shape[-1] != 3:
        raise AnomalyError(f"expected a displacement (i, j, 3) or (i, j, k, 3), got {displacement.shape}")
    frame = _frame(where)
    vectors = frame.whole((displacement * LPS).astype(np.float32), channels=True)
    file = frame.nifti(vectors[:, :, :, None])
    file.header.set_intent(INTENT)
    file.header["descrip"] = CONVENTION.encode()
    with whole(path) as part:
        nib.save(file, part)


def _frame(where: Frame | np.ndarray) -> Frame:
    return where if isinstance(where, Frame) else Frame(where)


def read_field(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read what `write_field` wrote: the displacement in millimetres, RAS+, and the affine.

    Returns:
        (i, j, k, 3) float32, or (i, j, 3) where an axis is 1 long; and (4, 4), as ITK takes it, whose millimetres the
        displacement is in.

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
    dropped = single(shape[:3])
    frame = of_nifti(file.header, np.asarray(file.affine, dtype=np.float64), dropped)
    return vectors if dropped is None else vectors.squeeze(dropped), frame.in_itk()
