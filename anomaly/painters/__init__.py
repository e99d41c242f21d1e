"""What draws: images from label maps, and lesions of a class into images and out of them; torch and physics alone.

Floor 3: may import what lies below. Imports nets and training; imported by explain.painting and synthesis.
"""
