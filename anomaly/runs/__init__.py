"""The folder that a training leaves: learned, calibrated, written down, opened again, and nothing in it is code.

May import detectors, cohorts, pictures and what lies below them. Imported by scoring, generation and explain's runs.
"""
