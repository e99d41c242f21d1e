"""How good a map or a counterfactual is, as plain numbers: beside a truth, a mask, the image, or the target itself.

May import explain's base and anomaly's corridor; knows no file. Imported by checking, evaluating and runs.
"""
