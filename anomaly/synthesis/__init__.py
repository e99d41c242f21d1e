"""`anomaly synthesize`: images drawn from label maps, what they are worth, and what training on them is worth.

Floor 7: may import what lies below. Imports the ground floor alone; imported by nobody else.
"""
