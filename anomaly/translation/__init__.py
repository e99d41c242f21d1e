"""From one heap of images to another, with files: learning without pairs, drawing on the source grid, and its judges.

Floor 6: may import what lies below. Imports cohorts, commandline, detectors, generation, images, nets, pictures, runs,
statistics, training and translators; imported by cli, explain.painting and synthesis.
"""
