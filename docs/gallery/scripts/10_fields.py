"""
How a field moves an image
==========================

``deformation`` explains by moving, not by painting. Its field says where each pixel is fetched from. A velocity that
is integrated cannot fold space; the Jacobian says where things grew and where they shrank. The knee is simulated, and
the movement was made by hand: nothing was learned here.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from anomaly.nets import fields
from anomaly.simulation.anatomy import SITES, Lesions, draw_knee

size = 128
knee = draw_knee(Lesions(), person=1, knee=0, scan=0, side="right", site=SITES[0], seed=0, size=size).image
row, column = np.mgrid[:size, :size] - np.array([62, 70])[:, None, None]
near = np.exp(-(row**2 + column**2) / (2 * 16**2))
velocity = -0.5 * np.stack([row, column]) * near
field = fields.integrate(torch.from_numpy(velocity)[None])
moved = fields.warp(torch.from_numpy(knee)[None, None], field)
shrunk = fields.log_jacobian(field)
folded = float(fields.folded_share(field))

figure, panels = plt.subplots(1, 4, figsize=(11, 3.1), layout="constrained")
panels[0].imshow(knee, cmap="gray")
panels[1].imshow(moved[0, 0], cmap="gray")
panels[2].imshow(knee, cmap="gray", alpha=0.6)
sparse = np.s_[3::8]
places = np.mgrid[:size, :size][:, sparse, sparse]
arrows = -field[0, :, sparse, sparse].numpy()  # from where each pixel is fetched to where it is seen
arrows[:, np.hypot(*arrows) < 0.5] = np.nan
start = places - arrows
panels[2].quiver(
    start[1], start[0], arrows[1], arrows[0], angles="xy", scale_units="xy", scale=1, color="#D55E00", width=0.009
)
shown = panels[3].imshow(shrunk[0, 0], cmap="RdBu_r", vmin=-1, vmax=1)
figure.colorbar(shown, ax=panels[3], label="log Jacobian: below 0 things grew", shrink=0.85)
titles = ("before", "after", "where things went", f"{100 * folded:.0f} % of the pixels folded")
for panel, title in zip(panels, titles, strict=True):
    panel.set_title(title, fontsize=10)
    panel.set(xticks=[], yticks=[], xlim=(18, 122), ylim=(114, 10))
plt.show()
