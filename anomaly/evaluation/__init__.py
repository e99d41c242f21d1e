"""Scores beside a cohort: how well they tell an outcome, with honest intervals; labels meet scores here alone.

May import cohorts, pictures, statistics and the corridor; knows no torch. Imported by the demonstration, the command
line and explain's evaluating.
"""

from anomaly.evaluation.evaluating import Evaluation, evaluate

__all__ = ["Evaluation", "evaluate"]
