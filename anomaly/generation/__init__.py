"""New images drawn by a run, and how diverse, how like real ones and how new they are.

Floor 5: may import what lies below. Imports cohorts, detectors, images, runs, statistics and training; imported by cli,
synthesis and translation.
"""
