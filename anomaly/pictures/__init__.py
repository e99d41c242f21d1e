"""What a reader looks at: heatmaps, figures, and the page that pictures are laid out on.

Knows no torch.

Floor 3: may import what lies below. Imports images and statistics; imported by evaluation, explain.association,
explain.checking, explain.evaluating, explain.painting, explain.pictures, explain.runs, longitudinal, progression,
registration, reporting, restoration, restorers, runs, scoring, segmentation, simulation, synthesis and translation.
"""
