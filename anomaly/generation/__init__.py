"""New images drawn by a run, and how diverse, how like real ones and how new they are.

May import runs and all below. Imported by the command line alone.
"""
