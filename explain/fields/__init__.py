"""Displacement fields: how they move images, how they are joined and undone, and the files other programs read.

May import anomaly's images and corridor. Imported by counterfactuals and runs.
"""
