"""One HTML page of what a folder holds; it opens anywhere, without a network.

Knows no torch.

Floor 4: may import what lies below. Imports cohorts and pictures; imported by commands, demonstration,
explain.commands, longitudinal, progression, restoration and segmentation.
"""

from anomaly.reporting.page import report

__all__ = ["report"]
