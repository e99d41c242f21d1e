"""Intervals and tests for scores of images, honest when one person gives several images.

Throughout, `outcome` is (n,) of 0/1, a score (n,), `subject` (n,) of names or numbers: images of one
subject are correlated and count together. Leave `subject` out only where each image is another person.

Floor 2: may import what lies below. Imports the ground floor alone; imported by changes, detectors, evaluation,
explain.association, explain.checking, explain.classifier, explain.evaluating, explain.latent, explain.measures,
explain.painting, explain.runs, generation, longitudinal, pictures, progression, restoration, segmentation, simulation
and translation.
"""

from anomaly.statistics.adjusted_roc import AdjustedRoc, adjusted_auroc
from anomaly.statistics.auroc import SCALES, auroc_covariance, auroc_interval, compare_aurocs
from anomaly.statistics.design import design
from anomaly.statistics.estimates import Comparison, Estimate
from anomaly.statistics.hazards import cox, pooled_logistic
from anomaly.statistics.linear import mean_difference
from anomaly.statistics.models import AddedValue, added_value, cross_fitted, odds_ratio
from anomaly.statistics.multiplicity import adjust
from anomaly.statistics.paired import conditional_odds_ratio, matched_concordance
from anomaly.statistics.precision import average_precision_interval
from anomaly.statistics.probabilities import Calibration, calibration, error_if_right
from anomaly.statistics.repeatability import Repeatability, repeatability
from anomaly.statistics.resampling import bootstrap
from anomaly.statistics.sensitivity import sensitivity_interval
from anomaly.statistics.shape import bend, odds_in_thirds
from anomaly.statistics.shares import proportion
from anomaly.statistics.slopes import Slopes, slopes
from anomaly.statistics.survival import Curve, LogRank, kaplan_meier, log_rank, thirds
from anomaly.statistics.time_roc import time_dependent_auroc
from anomaly.statistics.time_varying import cox_by_interval, odds_by_visit

__all__ = [
    "SCALES",
    "AddedValue",
    "AdjustedRoc",
    "Calibration",
    "Comparison",
    "Curve",
    "Estimate",
    "LogRank",
    "Repeatability",
    "Slopes",
    "added_value",
    "adjust",
    "adjusted_auroc",
    "auroc_covariance",
    "auroc_interval",
    "average_precision_interval",
    "bend",
    "bootstrap",
    "calibration",
    "compare_aurocs",
    "conditional_odds_ratio",
    "cox",
    "cox_by_interval",
    "cross_fitted",
    "design",
    "error_if_right",
    "kaplan_meier",
    "log_rank",
    "matched_concordance",
    "mean_difference",
    "odds_by_visit",
    "odds_in_thirds",
    "odds_ratio",
    "pooled_logistic",
    "proportion",
    "repeatability",
    "sensitivity_interval",
    "slopes",
    "thirds",
    "time_dependent_auroc",
]
