"""Who was imaged, and the tables that go in and out: cohorts, classes, outcomes beside scores, results row by row.

Floor 3: may import what lies below. Imports images; imported by checkup, commandline, evaluation, explain.association,
explain.checking, explain.evaluating, explain.painting, explain.runs, explain.sides, generation, longitudinal,
progression, registration, reporting, restoration, restorers, runs, scoring, segmentation, simulation, synthesis and
translation.
"""
