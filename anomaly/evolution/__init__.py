"""What learns to draw the next visit from this one: how a map of disease evolves; torch alone.

Floor 3: may import what lies below. Imports nets and training; imported by progression.
"""
