"""Who is a case and who a control: folders, tables, pairs, and the counterpart of each case.

May import anomaly's cohorts, images and corridor. Imported by runs and checking.
"""
