"""Lesions of a class painted into images and out of them: trainings, twins, new cases, and their judges.

Floor 7: may import what lies below.
"""
