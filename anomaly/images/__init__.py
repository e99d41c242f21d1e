"""Read the images users have (NIfTI, DICOM, PNG, JPEG, TIFF, NumPy), find them, and write maps back."""

from anomaly.images.finding import find
from anomaly.images.image import Image
from anomaly.images.nifti import write_volume
from anomaly.images.reading import read

__all__ = ["Image", "find", "read", "write_volume"]
