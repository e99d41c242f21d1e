"""
Lesions planted into real X-rays
================================

How small and how faint a lesion does a method still find? ``anomaly simulate lesions`` puts lesions of known place,
size and contrast into normal images of yours. Here are the kinds it knows, much larger than one would ask for. The
lesions are simulated, the chest X-rays real: Kermany et al. 2018, CC BY 4.0.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from anomaly.demonstration import unpack_chest_xray
from anomaly.images import read
from anomaly.simulation.planting import Recipe, plant

work = TemporaryDirectory()
folder = unpack_chest_xray(Path(work.name))
cohort = pd.read_csv(folder / "cohort.csv")
normals = cohort[(cohort["split"] == "test") & (cohort["pneumonia"] == 0)]["path"].iloc[[3, 8, 15, 21]]
recipes = [Recipe(kind=kind, radius=(7, 9), unit="pixels") for kind in ("blob", "sphere", "deformation")]
recipes.append(Recipe(kind="blob", radius=(3, 4), unit="pixels", polarity="dark", count_per_image=4))
seeds = (0, 17, 19, 3)
titles = ("a blob", "a sphere", "a deformation", "four dark blobs")

figure, panels = plt.subplots(3, 4, figsize=(8, 6.3), layout="constrained")
for column, (path, recipe) in enumerate(zip(normals, recipes, strict=True)):
    image = read(folder / path)
    planted = plant(image, recipe, np.random.default_rng(seeds[column]))
    panels[0, column].imshow(image.pixels[0], cmap="gray", vmin=0, vmax=255)
    panels[1, column].imshow(planted.pixels[0], cmap="gray", vmin=0, vmax=255)
    panels[2, column].imshow(planted.pixels[0], cmap="gray", vmin=0, vmax=255)
    panels[2, column].contour(planted.mask, levels=[0.5], colors="#E69F00")
    panels[0, column].set_title(titles[column], fontsize=10)
for label, panel in zip(("as it was", "planted", "the truth"), panels[:, 0], strict=True):
    panel.set_ylabel(label)
for panel in panels.flat:
    panel.set(xticks=[], yticks=[])
plt.show()
