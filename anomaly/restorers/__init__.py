"""From images to a run that restores: windows of images of any size, what degrades them, trainings, model cards.

Floor 5: may import what lies below. Imports cohorts, degradations, images, pictures, runs, training and translators;
imported by explain.painting and restoration.
"""
