"""What a reader of explanations looks at: one figure an image, sheets of many, walks as frames and animations.

May import anomaly's pictures and images. Imported by runs and checking.
"""
