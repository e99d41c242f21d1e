"""From images to a run that restores: windows of images of any size, what degrades them, trainings, model cards.

Floor 5: may import what lies below. Imports cohorts, degradations, images, nets, pictures, runs, training and
translators; imported by explain.painting, restoration and segmentation.
"""
