"""What a poorer scan takes from images: noise, fewer pixels, missing parts, k-space, dose; exact, in torch, 2D and 3D.

Floor 2: may import what lies below. Imports the ground floor alone; imported by classical, detectors, restoration,
restorers and runs.
"""
