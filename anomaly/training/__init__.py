"""The loop that trains everything as a game of players: batches, curves, checkpoints, exact resume, devices.

It knows no method, no network and no image. `learned.Learned` is the base of all that is trained and kept as one file.

Floor 2: may import what lies below. Imports the ground floor alone; imported by checkup, clusters, commandline,
detectors, evolution, explain.attributions, explain.checking, explain.classifier, explain.counterfactuals,
explain.latent, explain.painting, explain.runs, explain.trained, exporting, generation, painters, progression,
registrars, registration, restoration, restorers, runs, scoring, segmentation, segmenters, synthesis, translation and
translators.
"""
