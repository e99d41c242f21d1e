"""
Toy cohorts with a known answer
===============================

Three toys from the literature, each with the map that a right explanation would draw: noise with two bright squares
(VA-GAN), textured squares that are too small (DeFI-GAN), and waves with an ellipse out of shape (DeScarGAN). All of it
is simulated. The truth is the healthy twin less the case; of squares the mask.
"""

import matplotlib.pyplot as plt

from anomaly.simulation.ellipses import Ellipses
from anomaly.simulation.squares import GrowingSquares, Squares, SquaresAnywhere
from anomaly.simulation.toys import collect

kinds = (Squares(count=20, size=112), SquaresAnywhere(count=20, size=112, seed=1))
kinds += (GrowingSquares(count=20, size=112), Ellipses(count=20, size=128))
figure, panels = plt.subplots(3, 4, figsize=(8, 6.3), layout="constrained")
for column, toy in enumerate(kinds):
    drawn = collect(toy, parts=("test",))
    control, case = (int((drawn.label == label).argmax()) for label in (0, 1))
    truth = drawn.masks[case] if drawn.truth is None else drawn.truth[case]
    end = abs(truth.astype(float)).max()
    pair = drawn.images[[control, case]]
    for row, image in enumerate(pair):
        panels[row, column].imshow(image, cmap="gray", vmin=pair.min(), vmax=pair.max())
    panels[2, column].imshow(truth, cmap="RdBu_r", vmin=-end, vmax=end)
    panels[0, column].set_title(toy.kind, fontsize=10)
for label, panel in zip(("control", "case", "truth"), panels[:, 0], strict=True):
    panel.set_ylabel(label)
for panel in panels.flat:
    panel.set(xticks=[], yticks=[])
plt.show()
