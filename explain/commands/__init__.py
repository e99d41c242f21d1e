"""`anomaly explain ...` on the command line: what is learned and calibrated, what is explained, checked and evaluated.

And `anomaly associate`, whose maps explain a whole cohort.

Floor 7: may import what lies below. Imports anomaly.commandline, anomaly.reporting, anomaly.runs, association,
attributions, checking, classifier, counterfactuals, evaluating, latent, runs and sides; imported by cli.
"""

from explain.commands import learning, mapping
from explain.commands.associating import associate
from explain.commands.shared import classifiers, commands, explainers

__all__ = ["associate", "classifiers", "commands", "explainers", "learning", "mapping"]
