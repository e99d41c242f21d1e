"""Restoration: images are degraded in a way of one's choice, and what a restorer of normal ones would not draw."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from anomaly.degradations.base import Degradation
from anomaly.degradations.register import DEGRADATIONS, make
from anomaly.detectors.restoring import RestoringDetector
from anomaly.errors import AnomalyError

SETTINGS = {"noise_sigma": "sigma", "coarse": "coarse", "factor": "factor"}
"""Settings of degradations as the detector calls them -> as the degradation does."""


@dataclass(kw_only=True)
class Restoration(RestoringDetector):
    """Restorer of normal images of which something was taken: what it would not have drawn is abnormal.

    Settings of degradations are 0 unless they are given, and filled in with the degradation's own.

    Args:
        degradation: what is taken from images: "noise", "downsample".
        noise_sigma: of "noise": standard deviation, as a share of the range of the images.
        coarse: of "noise": pixels between two independent values.
        factor: of "downsample": pixels along each side of an area that becomes one.
    """

    name: ClassVar[str] = "restoration"
    summary: ClassVar[str] = "degrades normals and learns to undo it; heads l1, l2, ssim, combined"
    cite: ClassVar[str] = "Kascenas et al. 2022; Zavrtanik et al. 2021 (RIAD)"
    choices: ClassVar[Mapping[str, Iterable[str]]] = {**RestoringDetector.choices, "degradation": DEGRADATIONS}
    not_negative: ClassVar[tuple[str, ...]] = (*RestoringDetector.not_negative, *SETTINGS)
    degradation: str = "noise"
    noise_sigma: float = 0.0
    coarse: int = 0
    factor: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        own = self._own()
        for name in SETTINGS:
            if getattr(self, name) and name not in own:
                known = ", ".join(own) or "no settings"
                raise AnomalyError(
                    f"{name}={getattr(self, name)} is no setting of {self.degradation}, which has {known}"
                )
        _ = self.made

    @property
    def made(self) -> Degradation:
        """The degradation with its settings."""
        given: dict[str, Any] = {own: getattr(self, name) for name, own in self._own().items() if getattr(self, name)}
        return make(self.degradation, given)

    def fill_in(self, shape: tuple[int, ...], count: int, processes: int = 1) -> None:
        """Fill in what nobody set, the degradation's own settings as well."""
        super().fill_in(shape, count, processes)
        made = self.made
        for name, own in self._own().items():
            setattr(self, name, getattr(made, own))

    def _own(self) -> dict[str, str]:
        """Settings of the degradation, as they are called here and there."""
        known = {field.name for field in dataclasses.fields(DEGRADATIONS[self.degradation])}
        return {name: own for name, own in SETTINGS.items() if own in known}
