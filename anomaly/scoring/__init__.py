"""A run, or several as one judge, beside images: one row and one map for each, only what is missing.

May import runs and all below. Imported by the demonstration and the command line alone.
"""
