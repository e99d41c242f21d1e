"""How images are to be laid on one another: what moves them as a whole, and what deforms them then."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anomaly.errors import AnomalyError
from anomaly.registrars.base import Registrar
from anomaly.registrars.demons import Demons, refuse_metric
from anomaly.registrars.grids import simpleitk

WHOLE = ("rigid", "affine")
BY = (*WHOLE, "demons")


@dataclass(frozen=True, kw_only=True)
class Way:
    """How one image is laid on another.

    Args:
        by: "rigid" (moved and turned), "affine" (stretched and sheared as well), "demons" (then deformed), or the run
            folder of `anomaly register train`, which deforms as it learned to.
        metric: "correlation" within one contrast, "mutual-information" between contrasts.
        start: "rigid" or "affine", what a deformation begins with.
        seed: of the voxels that the start compares.
        device: where a run works.
    """

    by: str = "demons"
    metric: str = "correlation"
    start: str = "affine"
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        refuse_metric(self.metric)
        if self.start not in WHOLE:
            raise AnomalyError(f"the start is {self.start!r}; expected rigid or affine")
        if self.by not in BY and not Path(self.by).is_dir():
            raise AnomalyError(
                f"by is {self.by!r}; expected {', '.join(BY)}, or the run folder of `anomaly register train`"
            )
        if self.seed < 0:
            raise AnomalyError(f"the seed is {self.seed}; expected 0 or more")
        simpleitk()

    @property
    def whole(self) -> str:
        """What moves an image as a whole."""
        return self.by if self.by in WHOLE else self.start

    def deformable(self) -> Registrar | None:
        """What deforms it then; None where nothing does.

        Raises:
            RunError: the folder holds no run of a registrar.
        """
        if self.by in WHOLE:
            return None
        if self.by == "demons":
            return Demons(metric=self.metric)
        return open_registrar(self.by, device=self.device)

    def told(self, deformable: Registrar | None) -> dict[str, Any]:
        """Settings that all rows of a table share."""
        run = getattr(deformable, "identity", None)
        by = self.by if self.by in BY else run or str(Path(self.by).resolve())
        return {"by": by, "metric": self.metric, "start": self.whole, "seed": self.seed}


def open_registrar(run: str, *, device: str) -> Registrar:
    """The registrar that a run folder holds.

    Raises:
        RunError: there is none, or a damaged one.
    """
    from anomaly.registration.run import RegistrarRun

    return RegistrarRun.open(run, device=device)
