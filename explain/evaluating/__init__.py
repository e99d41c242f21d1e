"""Says how good explanations are: `judging` asks what flips and changes, `quality` where maps point, beside floors.

May import association, measures, and anomaly's evaluation, cohorts, images, pictures and statistics. Imported by the
commands alone.
"""

from explain.evaluating.judging import Judged, evaluate

__all__ = ["Judged", "evaluate"]
