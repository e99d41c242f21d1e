"""A run, or several as one judge, beside images: one row and one map for each, only what is missing.

Floor 5: may import what lies below. Imports clusters, cohorts, images, pictures, runs and training; imported by
checkup, commands, demonstration and exporting.
"""
