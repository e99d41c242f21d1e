"""Lesions of a class painted into images and out of them: trainings, twins, new cases, and their judges.

Floor 7: may import what lies below. Imports anomaly.classical, anomaly.cohorts, anomaly.commandline, anomaly.images,
anomaly.painters, anomaly.pictures, anomaly.restorers, anomaly.runs, anomaly.segmenters, anomaly.statistics,
anomaly.training, anomaly.translation, evaluating, measures, pictures and runs; imported by cli.
"""
