"""Explainers that walk through the codes of a generator: what changes as the target falls, while images stay real.

May import attributions, explain's base and trained, and anomaly's training and statistics. Imported by runs.
"""
