"""How far a predicted change of volume may be off: learned from persons that took no part in the training."""

import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from anomaly.statistics.conformal import CONFIDENCE, chance_above, fewest, of_persons, reach

logger = logging.getLogger(__name__)
UNITS = ("even", "spread", "volume")
"""What an interval may be as wide as: the same for all, as the draws spread, or as the volume is large."""
FEWEST_TO_CHOOSE = 5


@dataclass(frozen=True)
class Calibration:
    """Residuals of persons held out, which make intervals of new ones.

    Args:
        unit: of `UNITS`, what residuals are told in, chosen on the persons that chose the weights.
        offset: what is added to spread or volume, so that no interval is empty.
        residuals: true minus predicted change of each pair held out, in units.
        subjects: whose each is, numbered.
        draws: of how many the predictions were the mean: the mean of others is off otherwise, and spreads otherwise. 1
            of a method without noise.
    """

    unit: str
    offset: float
    residuals: tuple[float, ...]
    subjects: tuple[int, ...]
    draws: int = 1

    @classmethod
    def of(cls, chosen: pd.DataFrame, held_out: pd.DataFrame, *, draws: int = 1) -> "Calibration":
        """From two tables of pairs: subject, volume, spread, change and true_change; `chosen` chooses the unit."""
        offset = float((chosen["true_change"] - chosen["change"]).abs().median()) or 1.0
        widths = {name: cls._width(chosen, name, offset) for name in UNITS}
        enough = chosen["subject"].nunique() >= FEWEST_TO_CHOOSE
        unit = min(widths, key=lambda name: widths[name]) if enough else UNITS[0]
        off = (held_out["true_change"] - held_out["change"]) / _units(held_out, unit, offset)
        numbers = pd.factorize(held_out["subject"])[0]
        made = cls(unit, offset, tuple(map(float, off)), tuple(map(int, numbers)), draws)
        if made.persons < fewest():
            logger.warning("%s; give --calibrate a larger share, or more persons", made.why_none)
        return made

    @staticmethod
    def _width(table: pd.DataFrame, unit: str, offset: float) -> float:
        """The mean width of intervals that hold nine in ten of these pairs."""
        units = _units(table, unit, offset)
        off = np.abs(table["true_change"] - table["change"]) / units
        return float(np.quantile(off, 0.9) * units.mean())

    @classmethod
    def read(cls, facts: Mapping[str, Any]) -> "Calibration":
        """As `run.json` tells it."""
        told = facts["calibration"]
        return cls(told["unit"], told["offset"], tuple(told["residuals"]), tuple(told["subjects"]), told["draws"])

    def facts(self) -> dict[str, Any]:
        """For `run.json`."""
        return {**asdict(self), "persons": self.persons, "confidence": CONFIDENCE, "reach": _finite(self.reach)}

    @property
    def persons(self) -> int:
        """How many persons were held out."""
        return len(set(self.subjects))

    @property
    def reach(self) -> float:
        """How many units an interval reaches to either side; infinite where too few persons were held out."""
        return reach(of_persons(np.abs(self.residuals), np.array(self.subjects)))

    @property
    def why_none(self) -> str:
        """Why there are no intervals; "" where there are."""
        if math.isfinite(self.reach):
            return ""
        return f"no interval: {self.persons} persons were held out to calibrate it; {fewest()} are needed for 95 %"

    def why_none_of(self, draws: int) -> str:
        """The same of predictions that are the mean of so many draws."""
        if draws == self.draws:
            return self.why_none
        return f"no interval: it was calibrated with {self.draws} draws, not {draws}; leave --draws at {self.draws}"

    def said(self, table: pd.DataFrame, draws: int | None = None) -> pd.DataFrame:
        """Columns change_low, change_high and p_growing of predictions with volume, spread and change.

        A volume cannot fall below 0, so neither does the lower end. All of them are NaN
        where too few persons were held out, or where predictions are the mean of another number of draws.
        """
        if draws not in (None, self.draws) or not math.isfinite(self.reach):
            return pd.DataFrame(np.nan, index=table.index, columns=["change_low", "change_high", "p_growing"])
        units = _units(table, self.unit, self.offset)
        far = units * self.reach
        change = table["change"].to_numpy(float)
        chance = chance_above(change, self.residuals, np.array(self.subjects), units)
        low = np.maximum(change - far, -table["volume"].to_numpy(float))
        return pd.DataFrame({"change_low": low, "change_high": change + far, "p_growing": chance}, index=table.index)


def _units(table: pd.DataFrame, unit: str, offset: float) -> np.ndarray:
    """What a residual of 1 stands for, in each row."""
    if unit == "even":
        return np.ones(len(table))
    return table[unit].to_numpy(float) + offset


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
