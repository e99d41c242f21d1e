"""
Where pain shows
================

``anomaly associate`` asks at every pixel whether the maps of painful and painless knees differ, and corrects for all
pixels by shufflings that keep the knees of a person together. The knees are simulated, 240 of 120 persons. The maps
are distances from the mean healthy knee, and there are only 200 shufflings, to be done in seconds.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt

import anomaly
from explain import associate

folder = TemporaryDirectory()
work = Path(folder.name)
cohort = anomaly.simulate("knees", work / "knees", persons=120, size=64, image_months=(0,), workers=1)
prepared = anomaly.Preprocessing(size=64, intensity="range")
run = anomaly.learn(cohort, work / "run", method="mean-image", where={"split": "train"}, preprocessing=prepared)
scored = anomaly.score(run.folder, cohort, work / "scores", where={"split": "test"}, heatmaps=["nifti"])
found = associate(
    work / "scores", cohort, outcome="pain", adjust=["age", "sex"], smooth=4, permutations=200, out=work / "where"
)
print(found.headline)

picture = plt.imread(work / "where" / "association.png")
figure, panel = plt.subplots(figsize=(8, 8 * picture.shape[0] / picture.shape[1]), layout="constrained")
panel.imshow(picture)
panel.set_axis_off()
plt.show()
