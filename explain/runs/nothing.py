"""What is said beside each map of a run: how much of it would be drawn if labels meant nothing."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from anomaly.pictures.scales import NOTHING
from explain.runs.calibration import NOT_MEASURED, Calibration
from explain.runs.source import Source

AS_DRAWN, LARGEST = "change_as_drawn", "largest_change"


@dataclass(frozen=True)
class IfNothing:
    """Words and figures for what a source draws.

    Args:
        calibration: what was measured of it; None where nothing was.
        raw: maps are as they are drawn all the same.
        asked: its maps ought to vanish with labels permuted, so that a reader has to be told.
        untold: that it cannot be told, where a call of `calibrate` found that; empty where none did.
    """

    calibration: Calibration | None
    raw: bool
    asked: bool
    untold: str = ""

    @classmethod
    def of(cls, source: Source) -> "IfNothing":
        """Of what explains."""
        asked = source.run is not None and source.run.vanishing
        found = source.run.untold if source.run is not None and asked and source.calibration is None else None
        return cls(source.calibration, source.raw, asked, "" if found is None else found.sentence)

    @property
    def empty(self) -> bool:
        """Whether all maps are empty, since nothing of them holds."""
        return self.calibration is not None and not self.calibration.holds and not self.raw

    @property
    def facts(self) -> dict[str, Any] | None:
        """What all maps share, for `explain.json`; None where nothing was measured."""
        return None if self.calibration is None else {"raw": self.raw, **asdict(self.calibration)}

    @property
    def remark(self) -> str:
        """Of all maps, in plain words; nothing where they have no reason to vanish."""
        if self.calibration is not None:
            return self.calibration.told(self.raw)
        return (self.untold or NOT_MEASURED) if self.asked else ""

    def beside(self, figures: dict[str, float]) -> dict[str, float]:
        """The figures of an image, with those of what would be drawn if labels meant nothing, where that was measured.

        Added are `change_if_nothing`, the mean over held-out cases and not of this image, and `share_if_nothing`, that
        over the `change`: above 1 where more would be drawn on that mean, NaN where next to nothing is drawn.
        """
        if self.calibration is None or AS_DRAWN not in figures:
            return figures
        nothing, change = self.calibration.nothing(self.raw), figures["change"]
        share = nothing / change if change > 0 and figures[LARGEST] >= NOTHING else float("nan")
        return {**figures, "change_if_nothing": nothing, "share_if_nothing": share}

    def told_of(self, figures: Mapping[str, float]) -> str:
        """Of one map, by its figures."""
        if self.calibration is None or "change" not in figures:
            return self.remark
        return self.calibration.told_of(figures["change"], self.raw, figures[LARGEST])
