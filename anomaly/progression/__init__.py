"""From this visit to the next, with files: learning from pairs of visits, predicting, and judging what was predicted.

Floor 6: may import what lies below. Imports changes, cohorts, commandline, detectors, evolution, images, pictures,
reporting, runs, statistics and training; imported by cli.
"""
