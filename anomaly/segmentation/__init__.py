"""`anomaly segment`: label maps and images to a run, a run and images to label maps, these against the truth.

Floor 6: may import what lies below. Imports cohorts, commandline, evaluation, images, nets, pictures, reporting,
restorers, runs, segmenters, statistics and training; imported by cli and synthesis.
"""
