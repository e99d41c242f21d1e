"""From cases and controls to a run folder, and from a run folder to explained images.

Floor 5: may import what lies below. Imports anomaly.clusters, anomaly.cohorts, anomaly.images, anomaly.nets,
anomaly.pictures, anomaly.runs, anomaly.statistics, anomaly.training, attributions, base, classifier, counterfactuals,
latent, measures, pictures, sides and trained; imported by checking, commands, exporting and painting.
"""
