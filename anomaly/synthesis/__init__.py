"""`anomaly synthesize`: images drawn from label maps, what they are worth, and what training on them is worth.

Floor 7: may import what lies below. Imports cohorts, commandline, detectors, generation, images, nets, painters,
pictures, runs, segmentation, segmenters, training and translation; imported by cli.
"""
