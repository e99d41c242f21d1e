"""The explainers that draw a case as a control would look: one file a method; what they share is `explain.trained`.

Floor 4: may import what lies below. Imports anomaly.nets, anomaly.training, base and trained; imported by commands and
runs.
"""
