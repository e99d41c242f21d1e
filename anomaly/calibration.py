"""What the held-out normals say a score means: units for maps, z and p for values."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from safetensors.numpy import load_file, save_file
from scipy import stats

from anomaly.files import whole


@dataclass(frozen=True)
class Calibration:
    """Scores of normal images that were neither trained on nor chosen by.

    Args:
        values: anomaly value of each held-out case, (n,).
        subjects: whose they are, (n,).
        map_mean: mean of the anomaly map, (1, *space).
        map_sd: standard deviation of each pixel over normals, moderated towards the pooled one, (1, *space).
        mean_image: mean normal image (C, *space), for the baseline that is printed beside every score.
    """

    values: np.ndarray
    subjects: np.ndarray
    map_mean: np.ndarray
    map_sd: np.ndarray
    mean_image: np.ndarray

    def p_value(self, values: np.ndarray) -> np.ndarray:
        """Share of held-out normals at least as abnormal, (1 + #{calibration >= s}) / (n + 1).

        For a normal case exchangeable with the held-out ones, P(p <= alpha) <= alpha whatever the distribution
        of the scores (Vovk et al. 2005).
        """
        return conformal_p(self.values, values)

    def z(self, values: np.ndarray) -> np.ndarray:
        """Values on the scale of a standard normal among normals; see `normal_score`."""
        return normal_score(self.values, values)

    def map_z(self, maps: np.ndarray) -> np.ndarray:
        """Anomaly maps (N, 1, *space) in standard deviations of normal variation at each pixel."""
        return (maps - self.map_mean) / self.map_sd

    def save(self, path: Path) -> None:
        """Write as safetensors."""
        subjects = np.frombuffer("\n".join(self.subjects).encode(), dtype=np.uint8)
        arrays = {"values": self.values, "subjects": subjects, "map_mean": self.map_mean, "map_sd": self.map_sd}
        with whole(path) as part:
            save_file({**arrays, "mean_image": self.mean_image}, part)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        arrays = load_file(path)
        subjects = np.array(arrays.pop("subjects").tobytes().decode().split("\n"))
        return cls(subjects=subjects, **arrays)


def conformal_p(calibration: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(1 + number of calibration values >= s) / (n + 1) for each value s; NaN where s is NaN."""
    at_least = len(calibration) - np.searchsorted(np.sort(calibration), values, side="left")
    return np.where(np.isnan(values), np.nan, (1 + at_least) / (len(calibration) + 1))


def normal_score(calibration: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Where each value stands among the calibration values, as a quantile of the standard normal.

    Between calibration values the normal quantiles of i / (n + 1) are joined by straight lines; beyond the
    outermost ones the line goes on with one unit a standard deviation, so abnormal images keep their order
    (with slope 1 where all calibration values are the same).
    """
    ordered, first = np.unique(np.sort(calibration), return_index=True)
    ranks = (first + np.append(first[1:], len(calibration)) + 1) / 2
    quantiles = stats.norm.ppf(ranks / (len(calibration) + 1))
    spread = float(np.std(calibration)) if len(ordered) > 1 else 1.0
    z = np.interp(values, ordered, quantiles)
    z = z + np.maximum(values - ordered[-1], 0) / spread
    return z - np.maximum(ordered[0] - values, 0) / spread
