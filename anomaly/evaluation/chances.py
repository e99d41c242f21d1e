"""Whether the score, turned into a chance of the outcome, means what it says."""

import numpy as np
import pandas as pd

from anomaly import statistics
from anomaly.errors import EvaluationError
from anomaly.evaluation.gathering import Gathered
from anomaly.evaluation.section import Section
from anomaly.pictures import figures


def calibrated(data: Gathered, sign: str, seed: int) -> Section | None:
    """Calibration of the chance that a logistic model gives from the score, for persons it was not fitted on."""
    event, score = data.event, data.images[data.names[0]].to_numpy()
    bins = int(np.clip(event.size // 50, 3, 10))
    try:
        chance = statistics.cross_fitted(event, score, data.groups, seed=seed)
        found = statistics.calibration(event, chance, data.groups, bins=bins)
    except EvaluationError as error:
        data.notes.append(f"Calibration could not be told: {error}.")
        return None
    right = statistics.error_if_right(chance, bins=bins, seed=seed)
    summary: dict[str, object] = {"n": event.size, "events": int(event.sum()), "expected_error": found.error}
    summary |= {"expected_error_if_right": right, "brier": found.brier, "scaled_brier": found.scaled_brier}
    slope = found.slope.value if found.slope is not None else float("nan")
    summary |= {"in_the_large": found.in_the_large.value, "slope": slope}
    far = f"gets {100 * found.scaled_brier:.0f} % of the way from knowing only how frequent {sign} is to knowing who"
    if found.scaled_brier <= 0:
        far = f"tells no more than how frequent {sign} is"
    steep = f" The slope is {slope:.2f}: 1 is right, below 1 the chances are too extreme." if slope > 0 else ""
    sentence = (
        f"Read as a chance of {sign}, the score is off by {100 * found.error:.1f} points of a hundred on average, "
        f"where chances that are right would be off by {100 * right:.1f} with so many images (expected calibration "
        f"error); it {far} (scaled Brier score {found.scaled_brier:z.2f}).{steep}"
    )
    caption = (
        "Chances by a logistic model of the score, each for persons the model was not fitted on. In the large and "
        "slope have no interval: with chances cross-fitted in one sample none would hold; validate on another cohort "
        "for that. The points of the figure hold equally many images."
    )
    drawn = figures.calibration(found.curve)
    return Section("calibration", "As a chance", [sentence], caption, pd.DataFrame([summary]), drawn)
