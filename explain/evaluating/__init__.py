"""Says how good explanations are: `judging` asks what flips and changes, `quality` where maps point, beside floors.

Floor 5: may import what lies below. Imports anomaly.cohorts, anomaly.evaluation, anomaly.images, anomaly.pictures,
anomaly.statistics and measures; imported by commands and painting.
"""

from explain.evaluating.judging import Judged, evaluate

__all__ = ["Judged", "evaluate"]
