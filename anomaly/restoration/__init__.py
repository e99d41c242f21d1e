"""Image in, image out, with files: windows of images of any size, trainings, what they draw on the right grid, judges.

Floor 6: may import what lies below. Imports cohorts, commandline, degradations, images, pictures, runs,
statistics, training and translators; imported by cli.
"""
