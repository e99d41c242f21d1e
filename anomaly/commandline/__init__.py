"""What the commands of the program share: their options, how these are read, what is printed, how a command ends.

Floor 5: may import what lies below. Imports clusters, cohorts, detectors, images, runs, simulation and training;
imported by cli, commands, explain.commands, explain.painting, longitudinal, progression, registration, restoration,
segmentation, synthesis and translation.
"""
