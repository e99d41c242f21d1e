"""The whole analysis on real images that come with the program: train, score, evaluate, report."""

import logging
from pathlib import Path

from anomaly.demonstration.data import unpack_chest_xray
from anomaly.evaluation import evaluate
from anomaly.reporting import report
from anomaly.runs.learning import learn
from anomaly.scoring.score import score

logger = logging.getLogger(__name__)


def demo(out: Path | str, *, steps: int | None = None) -> Path:
    """Learn normal chest X-rays, score others, ask whether the scores tell pneumonia; this is `anomaly demo`.

    A second call goes on where the first was stopped.

    Args:
        out: gets `images/`, `run/` and `scores/`.
        steps: of training; None takes the method's own.

    Returns:
        The report, one HTML file.
    """
    out = Path(out)
    images = unpack_chest_xray(out / "images")
    logger.info("450 normal chest X-rays of children to learn from, 240 others to score (Kermany et al. 2018)")
    cohort, settings = images / "cohort.csv", {} if steps is None else {"steps": steps}
    run = learn(cohort, out / "run", where={"split": "train", "pneumonia": "0"}, settings=settings, resume=True)
    scored = score(run.folder, cohort, out / "scores", where={"split": "test"})
    result = evaluate(scored.path, cohort, outcome="pneumonia", out=out / "scores")
    logger.info(result.headline)
    return report(result.out)
