"""
Who gets worse, and when
========================

Kaplan-Meier curves by thirds of a score, as ``anomaly evaluate --time --event`` draws them. The study is simulated:
300 persons with two knees each, seen every year. The score is made up as well: what truly drives the loss of cartilage
in these knees, blurred by as much noise as a poor method might add. The test counts persons, since two knees of one
are not two witnesses.
"""

import matplotlib.pyplot as plt
import numpy as np

from anomaly.simulation.population import draw_population
from anomaly.statistics import kaplan_meier, log_rank, thirds

study = draw_population(300, seed=0)
knees = study[study["visit"] == 0]
knees = knees[knees["time"].astype(float) > 0]
noise = np.random.default_rng(0).normal(scale=0.3, size=len(knees))
group = thirds((knees["effusion"] + knees["marrow"]).to_numpy() + noise)
time, event = knees["time"].to_numpy(dtype=float), knees["event"].to_numpy(dtype=int)
test = log_rank(time, event, group, subject=knees["person"])

figure, panel = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
colours = {"low": "#0072B2", "middle": "#E69F00", "high": "#D55E00"}
for curve in sorted(kaplan_meier(time, event, group), key=lambda each: list(colours).index(str(each.group))):
    colour = colours[str(curve.group)]
    panel.step(curve.time, curve.free, where="post", color=colour, label=f"{curve.group} third of the score")
    panel.fill_between(curve.time, curve.low, curve.high, step="post", color=colour, alpha=0.15, linewidth=0)
panel.set(xlabel="Years since the first image", ylabel="Share of knees that have not progressed", xlim=(0, 4.2))
panel.set_title(f"Simulated study; {test.method}: p = {test.p_value:.1g}", fontsize=10)
panel.legend(loc="lower left")
plt.show()
