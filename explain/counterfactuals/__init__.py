"""The explainers that draw a case as a control would look: one file a method; what they share is `explain.trained`.

May import fields, explain's base and trained, and anomaly's nets, training and corridor. Imported by runs.
"""
