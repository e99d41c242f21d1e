"""Whether the score, turned into a chance of the outcome, means what it says."""

import pandas as pd

from anomaly import figures, statistics
from anomaly.errors import EvaluationError
from anomaly.evaluation.gathering import Gathered
from anomaly.evaluation.section import Section, ends, interval


def calibrated(data: Gathered, sign: str, seed: int) -> Section | None:
    """Calibration of the chance that a logistic model gives from the score, for persons it was not fitted on."""
    event, score = data.event, data.images[data.names[0]].to_numpy()
    try:
        chance = statistics.cross_fitted(event, score, data.groups, seed=seed)
        found = statistics.calibration(event, chance, data.groups)
    except EvaluationError as error:
        data.notes.append(f"Calibration could not be told: {error}.")
        return None
    summary: dict[str, object] = {"n": event.size, "events": int(event.sum()), "expected_error": found.error}
    summary |= {"brier": found.brier, "scaled_brier": found.scaled_brier} | ends("in_the_large", found.in_the_large)
    slope = ""
    if found.slope is not None:
        summary |= ends("slope", found.slope)
        slope = f" The slope is {interval(found.slope)}: 1 is right, below 1 the chances are too extreme."
    far = f"gets {100 * found.scaled_brier:.0f} % of the way from knowing only how frequent {sign} is to knowing who"
    if found.scaled_brier <= 0:
        far = f"tells no more than how frequent {sign} is"
    sentence = (
        f"Read as a chance of {sign}, the score is off by {100 * found.error:.1f} points of a hundred on average "
        f"(expected calibration error), and {far} (scaled Brier score {found.scaled_brier:z.2f}).{slope}"
    )
    caption = (
        "Chances by a logistic model of the score, each for persons the model was not fitted on; in the large and "
        f"slope with 95 % intervals ({found.in_the_large.method}); the figure's points hold equally many images."
    )
    drawn = figures.calibration(found.curve)
    return Section("calibration", "As a chance", [sentence], caption, pd.DataFrame([summary]), drawn)
