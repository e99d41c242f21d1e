"""The methods that draw the next visit, by name."""

from anomaly.evolution.depgan import DEPGAN
from anomaly.evolution.difference import DifferenceUNet

CLASSES = (DEPGAN, DifferenceUNet)
FORECASTERS = {cls.name: cls for cls in CLASSES}
