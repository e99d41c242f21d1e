"""
What preparing an image does
============================

Files come in all shapes and scales; a network wants one. ``--fit`` says how an image comes to its size,
``--intensity`` what becomes black and white, ``--foreground`` what is background. Each run keeps its settings and
prepares every later image alike. The knee is simulated; it was made taller than wide, and darker than its file could
hold. Otsu's threshold, in the last panel, suits a bright head on black; of this knee it loses the bone, which is dark
here: look before you use it.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from anomaly import Preprocessing
from anomaly.images import Image
from anomaly.simulation.anatomy import SITES, Lesions, draw_knee

knee = draw_knee(Lesions(effusion=1), person=1, knee=0, scan=0, side="right", site=SITES[0], seed=0, size=128)
pixels = (100 * knee.image[:, 25:105]).astype(np.float32)[None]
image = Image(pixels, np.eye(4), Path("knee.png"), "picture", limits=(0.0, 255.0))
asked = [{"fit": fit} for fit in ("pad", "resize", "crop")]
asked += [{"intensity": name} for name in ("percentile", "range", "zscore")] + [{"foreground": "otsu"}]

figure, panels = plt.subplots(2, 4, figsize=(9, 5), layout="constrained")
panels[0, 0].imshow(pixels[0], cmap="gray", vmin=0, vmax=255)
panels[0, 0].set_title("the file, black to white as stored", fontsize=9)
for panel, settings in zip(panels.flat[1:], asked, strict=True):
    prepared = Preprocessing(size=96, **settings).apply(image)
    panel.imshow(prepared.pixels[0, 0], cmap="gray", vmin=-1, vmax=1)
    panel.set_title(", ".join(f"{name} {value}" for name, value in settings.items()), fontsize=9)
for panel in panels.flat:
    panel.set_axis_off()
plt.show()
