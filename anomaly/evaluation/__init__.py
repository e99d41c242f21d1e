"""Scores beside a cohort, maps beside a truth: what they tell, with honest intervals; labels meet them here alone.

Knows no torch.

Floor 4: may import what lies below. Imports cohorts, images, pictures and statistics; imported by commands,
demonstration, explain.evaluating, longitudinal and segmentation.
"""

from anomaly.evaluation.evaluating import Evaluation, evaluate

__all__ = ["Evaluation", "evaluate"]
