"""One image moved and turned until it lies on another, in one call."""

from anomaly.images import Image
from anomaly.registrars.linear import linear
from anomaly.registrars.transforms import Transform


def register(moving: Image, fixed: Image, *, seed: int = 0) -> Image:
    """One image moved and turned, not deformed, until it lies on another; on the other's grid.

    Mattes' mutual information of the mean of the channels, from coarse to fine (SimpleITK). What lies outside becomes
    the least value of the image.

    Args:
        moving: what is moved, such as the mirrored painless knee.
        fixed: what it is laid on.
        seed: of the voxels that are compared.

    Raises:
        AnomalyError: SimpleITK is not there, one is a picture and one a volume, or no overlap is found.
    """
    found = Transform.linear(linear(moving, fixed, "rigid", seed=seed), moving, fixed)
    return found.image(moving)
