"""Says how good explanations are: `judging` asks what flips and changes, `quality` where maps point, beside floors."""

from explain.evaluating.judging import Judged, evaluate

__all__ = ["Judged", "evaluate"]
