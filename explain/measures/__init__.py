"""How good a map or a counterfactual is, as plain numbers: beside a truth, a mask, the image, or the target itself.

Knows no file.

Floor 3: may import what lies below. Imports anomaly.statistics and base; imported by checking, evaluating, painting and
runs.
"""
