"""Explainers that walk through the codes of a generator: what changes as the target falls, while images stay real.

Floor 4: may import what lies below. Imports anomaly.statistics, anomaly.training, attributions, base and trained;
imported by commands and runs.
"""
