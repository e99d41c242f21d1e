"""Brings one image onto another: moved and turned, sheared, deformed, by optimisation or by a network that learned it.

Arrays and images in, transforms and displacement fields out; no files.

Floor 3: may import what lies below. Imports images, nets and training; imported by explain.sides and registration.
"""
