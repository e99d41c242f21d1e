"""Who was imaged, and the tables that go in and out: cohorts, classes, outcomes beside scores, results row by row.

May import images and the corridor. Imported by runs, scoring, generation, evaluation, reporting and explain; tables
are read and written here, so that no room above parses a CSV by itself.
"""
