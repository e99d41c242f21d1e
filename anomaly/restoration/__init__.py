"""What runs that restore do to images: they draw them on the right grid, and are judged beside what learns nothing.

Floor 6: may import what lies below. Imports classical, cohorts, commandline, degradations, images, nets, pictures,
reporting, restorers, runs, statistics, training and translators; imported by cli.
"""
