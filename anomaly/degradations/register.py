"""Every degradation by its name."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from anomaly.degradations.base import Degradation
from anomaly.degradations.covering import Border, Mask
from anomaly.degradations.fourier import KSpace
from anomaly.degradations.noise import Noise
from anomaly.degradations.photons import LowDose
from anomaly.degradations.sampling import Downsample
from anomaly.degradations.slices import Slices
from anomaly.errors import AnomalyError

CLASSES: tuple[type[Degradation], ...] = (Noise, Downsample, Slices, Mask, Border, KSpace, LowDose)
DEGRADATIONS: dict[str, type[Degradation]] = {cls.name: cls for cls in CLASSES}


def make(name: str, settings: Mapping[str, Any]) -> Degradation:
    """The degradation of a name, with settings of its own.

    Raises:
        AnomalyError: there is none of that name, it has no such setting, or a setting cannot be.
    """
    if name not in DEGRADATIONS:
        raise AnomalyError(f"degradation {name} is unknown; take one of {', '.join(DEGRADATIONS)}")
    cls = DEGRADATIONS[name]
    known = [field.name for field in dataclasses.fields(cls)]
    if foreign := [each for each in settings if each not in known]:
        raise AnomalyError(f"{name} has no setting {foreign[0]}; it has {', '.join(known) or 'none'}")
    return cls(**settings)
