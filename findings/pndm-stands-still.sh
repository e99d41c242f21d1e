#!/usr/bin/env bash
# MONAI's PNDMScheduler, as it is made by default (Runge-Kutta first, 1,000 steps), takes nothing away: the sample after
# all steps is the noise that it began with. set_timesteps counts the passes of the Runge-Kutta part in as steps, 1,009 for
# 1,000, and each step then leads 1000 // 1009 = 0 times down; with 500 steps 1000 // 509 = 1 where the times lie 2 apart,
# and noise is left. With skip_prk_steps=True the same scheduler gives the spread of the data. Seen with the exact noise
# predictor of a normal distribution (in closed form, no network, no training); nothing is said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 monai==1.6.1 numpy==2.4.6 2>/dev/null
cd "$folder"
venv/bin/python - <<'PYTHON' 2>/dev/null
import monai
import torch
from monai.networks.schedulers import PNDMScheduler

print("monai", monai.__version__)
SPREAD = 0.25


def sampled(steps, **settings):
    """Samples and the noise that they began as, drawn with E[noise | x_t] of data N(0, 0.25^2)."""
    scheduler = PNDMScheduler(num_train_timesteps=1000, schedule="linear_beta", **settings)
    scheduler.set_timesteps(steps)
    torch.manual_seed(0)
    x = begun = torch.randn(20000, 1)
    for t in scheduler.timesteps:
        kept = scheduler.alphas_cumprod[t]
        noise = (1 - kept).sqrt() * x / (kept * SPREAD**2 + 1 - kept)
        x, _ = scheduler.step(noise, int(t), x)
    return x, begun


found = {}
for steps in (100, 500, 1000):
    for skipped in (False, True):
        x, begun = sampled(steps, skip_prk_steps=skipped)
        found[steps, skipped] = x.std().item()
        print(f"{steps} steps, skip_prk_steps={skipped}: spread {x.std():.3f}, of the data {SPREAD}, of the noise {begun.std():.3f}")
right = all(abs(found[steps, True] - SPREAD) < 0.02 for steps in (100, 500, 1000))
raise SystemExit(not (right and found[1000, False] > 0.99 and found[500, False] > 0.45))
PYTHON
echo "as described"
