"""Sanity checks of an explainer: does its map depend on what it is said to explain?

A file a question: `permuted` takes the meaning out of the labels and trains again, `cascade` takes what a target
learned out of it layer by layer. `calibrating` takes of all maps of a run what it draws where labels mean nothing.

Floor 6: may import what lies below. Imports anomaly.cohorts, anomaly.images, anomaly.pictures, anomaly.runs,
anomaly.statistics, anomaly.training, attributions, base, measures, pictures, runs and sides; imported by commands.
"""

from explain.checking.calibrating import Calibrated, calibrate
from explain.checking.check import Checked, check

__all__ = ["Calibrated", "Checked", "calibrate", "check"]
