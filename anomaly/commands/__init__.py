"""The commands of the program that stand by themselves: what is learned, scored, evaluated and reported.

Floor 7: may import what lies below. Imports commandline, evaluation, longitudinal, reporting, runs, scoring and
simulation; imported by cli.
"""

from anomaly.commands.learning import simulate, train
from anomaly.commands.scoring import evaluate, report, score

__all__ = ["evaluate", "report", "score", "simulate", "train"]
