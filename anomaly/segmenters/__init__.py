"""What says of each pixel which class it is: methods that learn from label maps, and from images without; torch alone.

Floor 4: may import what lies below. Imports nets, training and translators; imported by explain.painting, exporting,
segmentation and synthesis.
"""
