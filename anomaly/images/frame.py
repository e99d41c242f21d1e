"""Where a file lays its voxels, kept so that a map is laid the same way, whichever reader opens both.

A NIfTI file may say twice where it lies, by its sform and by its qform, and readers choose differently where the two
differ: nibabel takes the sform whatever its code, ITK (SimpleITK, ANTs, 3D Slicer) only where its code is 1 or there
is no qform. So what is written for an image carries both of its forms, their codes and its units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes

from anomaly.errors import AnomalyError

METRE, MICRON = 1, 3
MILLIMETRES = {METRE: 1e3, MICRON: 1e-3}
"""Of a unit of space by its code in NIfTI; 2, the millimetre, stands for no code and unknown ones as well."""
SPACE, TIME = 0b000111, 0b111000
TIMES = (8, 16, 24)  # seconds, milliseconds, microseconds
FORMS = (
    *("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("srow_x", "srow_y", "srow_z"),
)
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
ORTHOGONAL = 1e-3


@dataclass(frozen=True)
class Frame:
    """What has to be said again of a file's geometry.

    Args:
        affine: (4, 4), index of the image's own axes to millimetres, RAS+; of a picture, the third column is the axis
            that was dropped.
        header: the source's, where it was NIfTI; None where it is made of the affine.
        dropped: which of the file's first three axes was 1 long and was dropped; None for volumes, and for pictures
            whose file has two axes.
    """

    affine: np.ndarray
    header: Any = None
    dropped: int | None = None

    @classmethod
    def of(cls, affine: np.ndarray, dropped: int | None = None) -> Frame:
        """The frame of a file that is no NIfTI, by the affine of its three axes."""
        return cls(kept(np.asarray(affine, dtype=np.float64), dropped), None, dropped)

    def whole(self, values: np.ndarray, channels: bool = False) -> np.ndarray:
        """Values (*space), or (*space, C), with the three axes of space that the file has."""
        dims = values.ndim - int(channels)
        if dims == 3:
            return values
        if dims != 2:
            raise AnomalyError(f"expected values of a picture or a volume, got the shape {values.shape}")
        return np.expand_dims(values, 2 if self.dropped is None else self.dropped)

    def nifti(self, values: np.ndarray) -> Any:
        """A NIfTI image of stored values (i, j, k, ...) that lies as the source lies."""
        file = nib.Nifti1Image(values, None)  # with an affine nibabel would write its choice of the forms over both
        header = file.header
        if self.header is None:
            self._state(header)
            return file
        for name in FORMS:
            header[name] = self.header[name]
        header["pixdim"][:4] = self.header["pixdim"][:4]
        units = int(self.header["xyzt_units"])
        timed = values.ndim > 3 and units & TIME in TIMES
        header["xyzt_units"] = units & SPACE | (units & TIME if timed else 0)
        return file

    def _state(self, header: Any) -> None:
        """Both forms from the affine; a sheared one (tilted gantry) with the nearest upright frame as its qform."""
        affine = self.affine
        if self.dropped is not None:  # back into the order of the file's axes
            order = [*(axis for axis in range(3) if axis != self.dropped), self.dropped, 3]
            affine = affine[:, np.argsort(order)]
        header["pixdim"][1:4] = voxel_sizes(affine)
        header.set_sform(affine, code=1)
        header.set_qform(affine if orthogonal(affine) else upright(affine), code=1)
        header.set_xyzt_units("mm")

    def in_itk(self) -> np.ndarray:
        """(4, 4), index of the image's own axes to millimetres, RAS+, as ITK takes the file that `nifti` makes."""
        if self.header is None:
            return self.affine if orthogonal(self.affine) else upright(self.affine)
        header, scale = self.header, unit(self.header)
        sform, qform = int(header["sform_code"]), int(header["qform_code"])
        if sform > 0 and (sform == 1 or qform == 0) and orthogonal(header.get_sform()):
            found = header.get_sform()
        elif qform > 0:
            found = header.get_qform()
        elif sform > 0:
            found = header.get_sform()
        else:
            found = LPS @ np.diag([*header["pixdim"][1:4], 1.0])
        return kept(scaled(found, scale), self.dropped)


def of_nifti(header: Any, affine: np.ndarray, dropped: int | None) -> Frame:
    """The frame of a NIfTI file whose affine (in its own units) nibabel chose, an axis of length 1 dropped or not."""
    return Frame(kept(scaled(affine, unit(header)), dropped), header.copy(), dropped)


def unit(header: Any) -> float:
    """The millimetres of the unit in which a NIfTI header tells where voxels lie."""
    return MILLIMETRES.get(int(header["xyzt_units"]) & SPACE, 1.0)


def scaled(affine: np.ndarray, scale: float) -> np.ndarray:
    """The same affine in other units."""
    found = np.array(affine, dtype=np.float64)
    found[:3] *= scale
    return found


def kept(affine: np.ndarray, dropped: int | None) -> np.ndarray:
    """The affine with the column of a dropped axis behind those of the others."""
    if dropped is None:
        return affine
    return affine[:, [*(axis for axis in range(3) if axis != dropped), dropped, 3]]


def orthogonal(affine: np.ndarray) -> bool:
    """Whether the axes of an affine stand upright on one another, within a thousandth."""
    unit = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.abs(unit.T @ unit - np.eye(3)).max() < ORTHOGONAL)


def upright(affine: np.ndarray) -> np.ndarray:
    """The frame without shear that shares origin, first axis, plane of the first two axes, and all voxel sizes.

    That is how ITK lays a series of a tilted gantry: slices where they are, their stack upright.
    """
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    first = axes[:, 0]
    second = axes[:, 1] - first * (first @ axes[:, 1])
    second /= np.linalg.norm(second)
    third = np.cross(first, second)
    third *= 1.0 if third @ axes[:, 2] > 0 else -1.0
    found = np.array(affine, dtype=np.float64)
    found[:3, :3] = np.stack([first, second, third], axis=1) * voxel_sizes(affine)
    return found
