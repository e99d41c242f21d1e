"""`anomaly explain ...` on the command line: what is learned and calibrated, what is explained, checked and evaluated.

Floor 7: may import what lies below. Imports anomaly.commandline, anomaly.reporting, anomaly.runs, attributions,
checking, classifier, counterfactuals, evaluating, latent, runs and sides; imported by cli.
"""

from explain.commands import learning, mapping
from explain.commands.shared import classifiers, commands, explainers

__all__ = ["classifiers", "commands", "explainers", "learning", "mapping"]
