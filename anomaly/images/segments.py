"""DICOM segmentations (SEG) as label maps: frames laid where they say they lie, each segment by its number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.pixels import pixel_array

from anomaly.errors import UnreadableImage
from anomaly.images.dicom_geometry import LPS_TO_RAS
from anomaly.images.dicom_tags import is_dicom, numbers, of_frame, opened
from anomaly.images.image import Image
from anomaly.images.masking import STRAYS

CLASSES = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})
"""SOPClassUID of segmentations, and of those that hold one label map (DICOM PS3.3 A.51 and supplement 243)."""
BINARY, LABEL_MAP = "BINARY", "LABELMAP"


def is_segmentation(path: Path) -> bool:
    """Whether a file is a DICOM segmentation of voxels."""
    if not path.is_file() or not is_dicom(path):
        return False
    return str(opened(path, header=["SOPClassUID"]).get("SOPClassUID") or "") in CLASSES


def numbers_of_segments(path: Path) -> frozenset[int]:
    """The numbers of the segments that have a pixel.

    Raises:
        UnreadableImage: as `read_segments`.
    """
    return frozenset().union(*(np.unique(frame).tolist() for frame in _frames(opened(path), path)))


def read_segments(path: Path, image: Image) -> np.ndarray:
    """The numbers of segments (*space) on the grid of an image, float32; 0 where there is none.

    Empty frames may be left out, so a segmentation has no grid of its own: each frame is laid into the image by its
    position (ImagePositionPatient, DICOM PS3.3 C.7.6.16.2.3), as the number of its segment (ReferencedSegmentNumber,
    C.8.20.2), or, of one that is a label map, as its values.

    Raises:
        UnreadableImage: fractions, segments that overlap, or frames that lie on another grid than the image.
    """
    data = opened(path)
    found = np.zeros(image.space, dtype=np.float32)
    if not image.placed:
        raise UnreadableImage(f"{path}: is a DICOM segmentation, and {image.path.name} does not tell where it lies")
    for number, frame in enumerate(_frames(data, path)):
        rows, columns = np.nonzero(frame)
        if not rows.size:
            continue
        at = tuple(_places(data, number, rows, columns, image, path))
        new, old = frame[rows, columns], found[at]
        if both := int(((old > 0) & (old != new)).sum()):
            first = int(old[(old > 0) & (old != new)][0])
            raise UnreadableImage(
                f"{path}: segments {first} and {int(new[0])} overlap in {both} pixels; a label map has one number for "
                "each: export segments that do not overlap, or each as a file of its own"
            )
        found[at] = new
    return found


def _frames(data: Dataset, path: Path) -> list[np.ndarray]:
    """Each frame (rows, columns) as the numbers of segments."""
    kind = str(data.get("SegmentationType") or "none told")
    if kind not in (BINARY, LABEL_MAP):
        raise UnreadableImage(
            f"{path}: is a DICOM segmentation of the type {kind}; expected {BINARY} or {LABEL_MAP}: export it as one "
            "of these, cut at one half"
        )
    stored = pixel_array(data)
    frames = list(stored if stored.ndim == 3 else stored[None])
    if kind == LABEL_MAP:
        return [frame.astype(np.int64) for frame in frames]
    return [(frame > 0) * _segment(data, k, path) for k, frame in enumerate(frames)]


def _segment(data: Dataset, frame: int, path: Path) -> int:
    told = numbers(of_frame(data, frame, "SegmentIdentificationSequence", "ReferencedSegmentNumber"),
                   "ReferencedSegmentNumber")  # fmt: skip
    if not told:
        raise UnreadableImage(f"{path}: does not tell of which segment frame {frame + 1} is (ReferencedSegmentNumber)")
    return int(told[0])


def _places(
    data: Dataset, frame: int, rows: np.ndarray, columns: np.ndarray, image: Image, path: Path
) -> list[np.ndarray]:
    """Indices along each axis of the image of pixels (n,) of a frame."""
    holders = {
        "ImagePositionPatient": ("PlanePositionSequence", 3),
        "ImageOrientationPatient": ("PlaneOrientationSequence", 6),
        "PixelSpacing": ("PixelMeasuresSequence", 2),
    }
    told = {name: np.array(numbers(of_frame(data, frame, group, name), name)) for name, (group, _) in holders.items()}
    if lacking := [name for name, (_, count) in holders.items() if told[name].size != count]:
        raise UnreadableImage(f"{path}: does not tell where frame {frame + 1} lies ({', '.join(lacking)})")
    along, down = told["ImageOrientationPatient"].reshape(2, 3)
    down_by, along_by = told["PixelSpacing"]  # between rows, between columns
    points = told["ImagePositionPatient"] + np.outer(rows, down * down_by) + np.outer(columns, along * along_by)
    inverse = np.linalg.inv(image.affine) @ LPS_TO_RAS
    index = points @ inverse[:3, :3].T + inverse[:3, 3]
    nearest = np.rint(index).astype(np.intp)
    space = np.array([*image.space, 1][:3])
    astray = float(np.abs(index - nearest).max())
    steps = inverse[:3, :3] @ np.stack([down * down_by, along * along_by], axis=1)
    if max(astray, float(np.abs(steps - np.rint(steps)).max()) * max(image.space)) > STRAYS:
        raise UnreadableImage(
            f"{path}: frame {frame + 1} lies between the voxels of {image.path.name}, {astray:.2g} voxels off, or has "
            "pixels of another size; resample it onto the image's grid"
        )
    if (nearest < 0).any() or (nearest >= space).any():
        raise UnreadableImage(
            f"{path}: frame {frame + 1} marks what lies outside of {image.path.name}; give its own segmentation"
        )
    return [nearest[:, axis] for axis in range(image.ndim)]
