"""
A walk that needs no training of its own
========================================

``latent-shift`` changes an image along the slope of a classifier in the codes of any autoencoder. Here the codes are
principal components of normal and pneumonic chests, in closed form, and the classifier was trained for seconds on few
images: it shows how a walk is taken, not what pneumonia looks like. Real images: Kermany et al. 2018, CC BY 4.0.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import pandas as pd
import torch

from anomaly import Preprocessing
from anomaly.demonstration import unpack_chest_xray
from anomaly.detectors import PCA
from anomaly.images import read
from explain import Classifier, LatentShift

work = TemporaryDirectory()
folder = unpack_chest_xray(Path(work.name))
cohort = pd.read_csv(folder / "cohort.csv")
prepare = Preprocessing(size=64)
images = torch.cat([torch.from_numpy(prepare.apply(read(folder / path)).pixels) for path in cohort["path"]])
ill = torch.tensor(cohort["pneumonia"].to_numpy() == 1)
cases, controls = images[ill], images[~ill]
unseen, cases = cases[:2], cases[2:]
classifier = Classifier(steps=40, batch=16, width=8).fit(controls, cases)
codes = PCA(components=100).fit(torch.cat([cases, controls[: len(cases)]]))

walked = LatentShift(target=classifier.logit, generator=codes, frames=7, change=0.3).explain(unseen)
figure, panels = plt.subplots(2, 6, figsize=(11, 4), layout="constrained")
for row, image in enumerate(unseen):
    panels[row, 0].imshow(image[0], cmap="gray", vmin=-1, vmax=1)
    for column, k in enumerate((6, 3, 1, 0), start=1):
        panels[row, column].imshow(walked.walk.frames[row, k, 0], cmap="gray", vmin=-1, vmax=1)
        panels[row, column].set_title(f"logit {walked.walk.values[row, k]:+.1f}", fontsize=9)
    panels[row, 0].set_title(f"the X-ray, logit {walked.diagnostics['before'][row]:+.1f}", fontsize=9)
    end = float(walked.map[row].abs().max())
    panels[row, 5].imshow(walked.map[row, 0], cmap="RdBu_r", vmin=-end, vmax=end)
    panels[row, 5].set_title("what the walk takes away", fontsize=9)
for panel in panels.flat:
    panel.set(xticks=[], yticks=[])
plt.show()
