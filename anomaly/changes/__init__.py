"""What changed between two images of one person that lie on one grid: maps of change, and lesions that came or went.

Plain arrays in, maps and tables out.

Floor 3: may import what lies below. Imports statistics; imported by longitudinal and progression.
"""
