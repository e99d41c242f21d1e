"""Networks and losses: torch in, torch out, in two or three dimensions.

Floor 2: may import what lies below. Imports the ground floor alone; imported by checkup, detectors, evolution,
explain.attributions, explain.classifier, explain.counterfactuals, explain.runs, exporting, painters, registrars,
registration, restoration, restorers, segmentation, segmenters, synthesis, translation and translators.
"""
