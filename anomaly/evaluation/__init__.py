"""Scores beside a cohort: how well they tell an outcome, with honest intervals; labels meet scores here alone.

Knows no torch.

Floor 4: may import what lies below. Imports cohorts, pictures and statistics; imported by cli, demonstration and
explain.evaluating.
"""

from anomaly.evaluation.evaluating import Evaluation, evaluate

__all__ = ["Evaluation", "evaluate"]
