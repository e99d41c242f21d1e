"""Scores of several visits of a person: how they change, what of it is noise, and what the change tells.

Knows no torch.

Floor 6: may import what lies below. Imports changes, cohorts, commandline, evaluation, images, pictures, reporting and
statistics; imported by commands.
"""

from anomaly.longitudinal.evaluating import evaluate_visits
from anomaly.longitudinal.question import VisitsEvaluation

__all__ = ["VisitsEvaluation", "evaluate_visits"]
