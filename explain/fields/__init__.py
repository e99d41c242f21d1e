"""Displacement fields: how they move images, how they are joined and undone, and the files other programs read.

Floor 3: may import what lies below. Imports anomaly.images; imported by counterfactuals and runs.
"""
