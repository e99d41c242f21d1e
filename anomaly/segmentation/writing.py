"""Label maps, probabilities and uncertainty of an image as files on its grid; and the volume of each class."""

from pathlib import Path

import numpy as np

from anomaly.cohorts.results import safe_id
from anomaly.images import Image
from anomaly.images.labels import Labels, write_labels
from anomaly.images.nifti import write_volume
from anomaly.segmentation.finding import Asked, Found

SEGMENTATION = "segmentation"
SAYS = "found by anomaly segment, not drawn by hand"


def write_found(folder: Path, name: str, image: Image, found: Found, asked: Asked) -> list[str]:
    """Write what was found in an image; names of the files, the label map first.

    Args:
        folder: gets them.
        name: id of the image.
        image: as read.
        found: on its grid.
        asked: what is to be written, and the numbers of the classes.
    """
    values = asked.labels.values(found.places)
    files = [write_labels(folder / f"{name}_{SEGMENTATION}", image, values, SAYS)]
    if found.shares is not None:
        for called, share in zip(file_names(asked.labels), found.shares[1:], strict=True):
            files.append(folder / f"{name}_probability-{called}.nii.gz")
            write_volume(files[-1], share, image.frame, says=SAYS)
    for what, unsure in (("uncertainty", found.uncertainty), ("disagreement", found.disagreement)):
        if unsure is not None:
            files.append(folder / f"{name}_{what}.nii.gz")
            write_volume(files[-1], unsure, image.frame, says=SAYS)
    return [file.name for file in files]


def file_names(labels: Labels) -> list[str]:
    """The classes as files are called by them; with their places where two would be called alike.

    Names that differ by capitals alone are alike: most disks of macOS and Windows take them for one file.
    """
    names = [safe_id(name) for name in labels.names]
    alike = len({each.casefold() for each in names}) < len(names)
    return [f"{each}-{k}" for k, each in enumerate(names, start=1)] if alike else names


def volumes(places: np.ndarray, image: Image, labels: Labels) -> dict[str, float | str]:
    """The volume of each class (`volume_NAME`), and its unit: mm3, mm2 of pictures, or pixels."""
    counts = np.bincount(places.ravel(), minlength=labels.count)
    told: dict[str, float | str] = {
        f"volume_{name}": float(counts[place] * image.voxel) for place, name in enumerate(labels.names, start=1)
    }
    return {**told, "unit": image.unit}
