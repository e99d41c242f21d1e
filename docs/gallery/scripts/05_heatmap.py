"""
A heatmap of a chest X-ray, in seconds
======================================

The whole way of ``anomaly train`` and ``anomaly score``, with a method in closed form: principal components of normal
chest X-rays. What they cannot draw is abnormal, in units of how normal children vary at that pixel. A floor, not the
best that can be done: see the benchmarks. Real images: Kermany et al. 2018, CC BY 4.0.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import pandas as pd

import anomaly
from anomaly.demonstration import unpack_chest_xray

folder = TemporaryDirectory()
work = Path(folder.name)
cohort = unpack_chest_xray(work / "images") / "cohort.csv"
run = anomaly.learn(cohort, work / "run", method="pca", where={"split": "train", "pneumonia": "0"})
scored = anomaly.score(run.folder, cohort, work / "scores", where={"split": "test", "pneumonia": "1"})
scores = pd.read_csv(scored.path).sort_values("value", ascending=False)

figure, panels = plt.subplots(2, 1, figsize=(6, 7.4), layout="constrained")
for panel, heatmap in zip(panels, scores["heatmap"].iloc[[20, 16]], strict=True):
    panel.imshow(plt.imread(scored.path.parent / heatmap))
    panel.set_axis_off()
plt.show()
