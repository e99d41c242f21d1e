"""Intervals and tests for scores of images, honest when one person gives several images.

Throughout, `outcome` is (n,) of 0/1, a score (n,), `subject` (n,) of names or numbers: images of one
subject are correlated and count together. Leave `subject` out only where each image is another person.
"""

from anomaly.statistics.auroc import SCALES, auroc_covariance, auroc_interval, compare_aurocs
from anomaly.statistics.estimates import Comparison, Estimate
from anomaly.statistics.resampling import average_precision_interval, bootstrap, sensitivity_interval
from anomaly.statistics.shares import proportion

__all__ = [
    "SCALES",
    "Comparison",
    "Estimate",
    "auroc_covariance",
    "auroc_interval",
    "average_precision_interval",
    "bootstrap",
    "compare_aurocs",
    "proportion",
    "sensitivity_interval",
]
