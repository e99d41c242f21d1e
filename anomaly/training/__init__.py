"""The loop that trains everything as a game of players: batches, curves, checkpoints, exact resume, devices.

May import the corridor alone: it knows no method, no network and no image file. Imported by detectors, runs, and all
of explain that learns; `learned.Learned` is the base of everything that is trained and kept as one file.
"""
