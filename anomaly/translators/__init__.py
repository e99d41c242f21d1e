"""What learns to draw one image from another: restorers of pairs, and translators between two heaps; torch alone.

Floor 3: may import what lies below. Imports nets and training; imported by restoration, restorers, segmenters and
translation.
"""
