"""Brings images with their files onto one another: follow-up to baseline, left to right, a cohort to a template.

Floor 6: may import what lies below. Imports cohorts, commandline, images, nets, pictures, registrars, runs and
training; imported by cli.
"""
