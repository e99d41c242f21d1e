"""`anomaly paint`: lesions of a class painted into images, and out of them, where a mask says where.

Floor 7: may import what lies below. Imports the ground floor alone; imported by nobody else.
"""
