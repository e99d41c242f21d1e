"""Sends people to scanners by what becomes of them, so that contrast goes with an outcome to a degree that is known."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from anomaly.errors import CohortError
from anomaly.simulation.population import FINDINGS

FOLLOWED = (*FINDINGS, "pain", "progression", "incidence")
_STREAM = 7  # of the seed; those below are the population's
NOTE = """Scanners
- Who was scanned where was drawn last: the odds of scanner {scanner}, the one of the brightest fat and the strongest
  contrast, are {odds:g} times as high for persons with {follows} in a knee as for all others. Age and BMI differ by
  scanner only as far as they go with {follows}.
"""


@dataclass(frozen=True, kw_only=True)
class Confounding:
    """How the scanner goes with what a person has: a nuisance that images show.

    scanner_odds: odds ratio of the last scanner (C of three) for persons with what it follows, above 0; 1 is none.
    scanner_follows: one of `FOLLOWED`: a finding at baseline, pain at baseline, or an outcome, in either knee.
    """

    scanner_odds: float = 1.0
    scanner_follows: str = "progression"

    def __post_init__(self) -> None:
        if not 0 < self.scanner_odds < np.inf:
            raise CohortError(
                f"scanner_odds is {self.scanner_odds:g}; give an odds ratio above 0, or 1 for scanners by chance"
            )
        if self.scanner_follows not in FOLLOWED:
            raise CohortError(f"scanner_follows is {self.scanner_follows!r}; give one of {', '.join(FOLLOWED)}")

    @property
    def settings(self) -> dict[str, Any]:
        """What is set, or nothing where the scanner follows nothing."""
        return asdict(self) if self.scanner_odds != 1 else {}

    def sites(self, table: pd.DataFrame, *, seed: int, sites: int) -> np.ndarray:
        """The site of each row of `draw_population`, one for all rows of a person: as drawn, or drawn anew.

        The odds of the last site are sqrt(odds) / (sites - 1) with what is followed and 1 / (sqrt(odds) (sites - 1))
        without, so that their ratio is the one asked for; the other sites share the rest alike.
        """
        if self.scanner_odds == 1:
            return table["site"].to_numpy()
        has = self.concerned(table)
        chance = np.random.default_rng([seed, _STREAM]).random((len(has), 2))
        odds = self.scanner_odds ** np.where(has, 0.5, -0.5) / (sites - 1)
        other = (chance[:, 1] * (sites - 1)).astype(int)
        site = np.where(chance[:, 0] < odds / (1 + odds), sites - 1, other)
        return np.asarray(site[table["person"].to_numpy()])

    def concerned(self, table: pd.DataFrame) -> np.ndarray:
        """Whether each person (persons,) has what the scanner follows in a knee; not known counts as not."""
        first = table[table["visit"] == 0]
        return np.asarray((first[self.scanner_follows].fillna(0) > 0).groupby(first["person"]).any())

    def facts(self, first: pd.DataFrame, name: str, last: int) -> Mapping[str, Any]:
        """For `truth.json`: what was asked for, and the shares scanned there, with and without what is followed.

        Args:
            first: rows at baseline, with the sites that `sites` gave.
            name: of the last scanner.
            last: its number.
        """
        if self.scanner_odds == 1:
            return {}
        there = np.asarray((first["site"] == last).groupby(first["person"]).first())
        has = self.concerned(first)
        shares = {
            label: round(float(there[which].mean()), 4) if which.any() else None
            for label, which in (("share_with", has), ("share_without", ~has))
        }
        return {"scanner": {"scanner": name, **asdict(self), "persons_with": int(has.sum()), **shares}}

    def note(self, name: str) -> str:
        """For `README.txt`: a paragraph, or nothing."""
        if self.scanner_odds == 1:
            return ""
        return "\n" + NOTE.format(scanner=name, odds=self.scanner_odds, follows=self.scanner_follows)
