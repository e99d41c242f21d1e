"""What a reader of explanations looks at: one figure an image, sheets of many, walks as frames and animations.

Floor 4: may import what lies below. Imports anomaly.images and anomaly.pictures; imported by checking, painting and
runs.
"""
