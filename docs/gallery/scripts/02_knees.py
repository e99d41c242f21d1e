"""
Simulated knees and what was drawn into them
============================================

``anomaly simulate knees`` draws studies of such knees. Nobody was imaged: a program draws the bones, the cartilage and
the lesions, and therefore knows where they are. Effusion and marrow lesions hurt, worn cartilage is what progression
adds up to, and osteophytes are a decoy that harms nobody.
"""

import matplotlib.pyplot as plt

from anomaly.simulation.anatomy import SITES, Lesions, draw_knee

colours = {"effusion": "#56B4E9", "marrow": "#E69F00", "thinning": "#CC79A7", "osteophytes": "#009E73"}
figure, panels = plt.subplots(2, 5, figsize=(11, 4.8), layout="constrained")
for column, name in enumerate(["healthy", *colours]):
    lesions = Lesions() if name == "healthy" else Lesions(**{name: 1.0})
    knee = draw_knee(lesions, person=1, knee=0, scan=0, side="right", site=SITES[0], seed=0, size=192)
    for panel in panels[:, column]:
        panel.imshow(knee.image, cmap="gray", vmin=0, vmax=1)
        panel.set_axis_off()
    panels[0, column].set_title(name)
    if name in colours:
        panels[1, column].contour(knee.masks[name], levels=[0.5], colors=colours[name], linewidths=1.2)
plt.show()
