"""Who is a case and who a control: folders, tables, pairs, and the counterpart of each case.

Floor 4: may import what lies below. Imports anomaly.cohorts, anomaly.images and anomaly.registrars; imported by
checking, commands, exporting and runs.
"""
