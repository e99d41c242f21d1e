"""What a training would be and take, told without one: `anomaly train --dry-run`. Nothing is written."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.errors import AnomalyError
from anomaly.images.caching import first_readable
from anomaly.runs.describing import several_settings
from anomaly.runs.learning import create_asked, learn, parted, refuse_context
from anomaly.runs.plans import refuse_taken
from anomaly.runs.units import refuse_scale, undone, warn_of_spacing
from anomaly.shown import Readable, aligned
from anomaly.training.forecast import Forecast, free
from anomaly.training.machine import Machine


@dataclass(frozen=True, repr=False)
class Foreseen(Readable):
    """What a training would be.

    Args:
        method: its name.
        settings: with those filled in that nobody set.
        images: found, by the part of the split that they fall into.
        shape: (C, *space) of one image as it is prepared.
        forecast: what it will take.
        free: bytes of memory that are free; None where nothing says so.
    """

    method: str
    settings: Mapping[str, Any]
    images: Mapping[str, int]
    shape: tuple[int, ...]
    forecast: Forecast
    free: float | None

    def _in_short(self) -> tuple[str, dict[str, object]]:
        found = ", ".join(f"{count} to {part}" for part, count in self.images.items())
        return f"{self.method} would take {self.forecast}", {
            "settings": several_settings(self.settings),
            "images": f"{sum(self.images.values())} found: {found}",
            "prepared": f"{' x '.join(map(str, self.shape[1:]))} pixels, {self.shape[0]} channel"
            + ("s" if self.shape[0] > 1 else ""),
            "free": None if self.free is None else f"{self.free / 2**30:.1f} GB of memory",
        }

    def told(self) -> str:
        """What the program prints."""
        title, lines = self._in_short()
        return f"{title}\n{aligned(lines)}"


def foresee(normals: Path | str | pd.DataFrame, out: Path | str | None = None, **asked: Any) -> Foreseen:
    """What `learn` would do with the same arguments: method, settings, images found, time and memory.

    The table and one or two images are read, and one step is taken and thrown away; nothing is written.

    Args:
        normals: a folder or a table of images of normal people.
        out: the run folder, to be told if it is taken; None asks for none.
        asked: as `learn` takes them.

    Raises:
        AnomalyError: as `learn`, or it has no such argument.
    """
    try:
        bound = inspect.signature(learn).bind(normals, out or "", **asked)
    except TypeError as error:
        raise AnomalyError(f"foresee takes what learn takes: {error}") from None
    bound.apply_defaults()
    given = bound.arguments
    if out is not None:
        refuse_taken(Path(out), given["resume"])
    cohort, told, preprocessing = parted(**{name: given[name] for name in inspect.signature(parted).parameters})
    detector = create_asked(given["method"], given["settings"], given["classes"], told)
    refuse_context(detector, preprocessing)
    refuse_scale(undone(detector), preprocessing)
    warn_of_spacing(undone(detector), cohort, preprocessing)
    detector.masked_, detector.context_ = preprocessing.mask == "given", preprocessing.context_channels
    pixels = first_readable(cohort[cohort["split"] == "train"], preprocessing)
    counts = {part: int((cohort["split"] == part).sum()) for part in ("train", "choose", "calibrate")}
    machine = given["machine"] or Machine()
    stand_in = np.broadcast_to(pixels[:1], (counts["train"] * len(pixels), *pixels.shape[1:]))
    detector.plan(stand_in, machine)
    forecast = detector.foresee(stand_in, machine)
    return Foreseen(detector.name, detector.settings(), counts, pixels.shape[1:], forecast, free(machine))
