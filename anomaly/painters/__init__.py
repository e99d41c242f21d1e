"""What draws: images from label maps, and lesions of a class into images and out of them; torch and physics alone.

Floor 3: may import what lies below. Imports the ground floor alone; imported by nobody else.
"""
