"""
What a classifier looked at
===========================

Attributions ask a classifier about one image. The images are simulated: noise, where cases have two bright squares at
random places. The classifier is small and was trained for seconds, so the maps show what the methods do, not what a
good classifier would give.
"""

import matplotlib.pyplot as plt
import torch

from anomaly.simulation.squares import SquaresAnywhere
from anomaly.simulation.toys import collect
from explain import EXPLAINERS, Classifier

drawn = collect(SquaresAnywhere(count=400, size=48))
images = torch.from_numpy(drawn.images)[:, None]
images = images / images.abs().max()
train, label = torch.from_numpy(drawn.split == "train"), torch.from_numpy(drawn.label)
classifier = Classifier(steps=100, width=8, lr=3e-3).fit(images[train & (label == 0)], images[train & (label == 1)])
cases = ((drawn.split == "test") & (drawn.label == 1)).nonzero()[0][:3]

methods = ["saliency", "smooth-grad", "integrated-gradients", "deep-lift", "grad-cam"]
figure, panels = plt.subplots(3, 2 + len(methods), figsize=(11, 5), layout="constrained")
for row, case in enumerate(cases):
    panels[row, 0].imshow(drawn.images[case], cmap="gray")
    panels[row, 1].imshow(drawn.masks[case], cmap="gray")
for column, name in enumerate(methods, start=2):
    explained = EXPLAINERS[name](target=classifier.logit).explain(images[cases])
    for row, values in enumerate(explained.map[:, 0].numpy()):
        end = abs(values).max()
        panels[row, column].imshow(values, cmap="RdBu_r", vmin=-end, vmax=end)
for panel, title in zip(panels[0], ["case", "truth", *methods], strict=True):
    panel.set_title(title.replace("-", "\n"), fontsize=9)
for panel in panels.flat:
    panel.set(xticks=[], yticks=[])
plt.show()
