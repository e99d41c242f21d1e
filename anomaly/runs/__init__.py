"""The folder that a training leaves: learned, calibrated, written down, opened again, and nothing in it is code.

Floor 4: may import what lies below. Imports clusters, cohorts, degradations, detectors, images, pictures and training;
imported by checkup, cli, commandline, commands, demonstration, explain.checking, explain.commands, explain.exporting,
explain.painting, explain.runs, exporting, generation, progression, registration, restoration, restorers, scoring,
segmentation, synthesis and translation.
"""
