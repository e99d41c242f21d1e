"""
From scores to an honest figure
===============================

Labels meet scores only in ``anomaly evaluate``. The score here is the distance from the mean normal image, one of the
floors that every method has to beat, so the curve of that floor lies under its own. It tells children with pneumonia
from others better than one might think. The interval counts children, not images. Real images: Kermany et al. 2018, CC
BY 4.0.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt

import anomaly
from anomaly.demonstration import unpack_chest_xray

folder = TemporaryDirectory()
work = Path(folder.name)
cohort = unpack_chest_xray(work / "images") / "cohort.csv"
run = anomaly.learn(cohort, work / "run", method="mean-image", where={"split": "train", "pneumonia": "0"})
scored = anomaly.score(run.folder, cohort, work / "scores", where={"split": "test"}, heatmaps=["none"])
result = anomaly.evaluate(scored.path, cohort, outcome="pneumonia", out=work / "scores")
print(result.headline)

figure, panels = plt.subplots(1, 2, figsize=(11, 4.8), layout="constrained")
for panel, name in zip(panels, ("distribution", "roc"), strict=True):
    panel.imshow(plt.imread(result.out / f"{name}.png"))
    panel.set_axis_off()
plt.show()
