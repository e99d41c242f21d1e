#!/usr/bin/env bash
# Mutual information does not care what values images have, only how well one tells the other: an image tells itself,
# and its negative, equally well, also in other units. MONAI's GlobalMutualInformationLoss does so with
# kernel_type="b-spline". By default it takes "gaussian", whose bins lie from 0 to 1 wherever the values lie: of an image
# of 0 to 255 the information about itself is 0.0002 nats instead of 1.2, with next to no gradient, so that a
# registration stands still; of a standardised one it prefers the image to its negative three to one. No error.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 monai==1.6.1 scipy==1.17.1 numpy==2.4.6 2>/dev/null
cd "$folder"
venv/bin/python - <<'PYTHON' 2>/dev/null
import monai
import numpy as np
import torch
from monai.losses import GlobalMutualInformationLoss
from scipy import ndimage

print("monai", monai.__version__, "torch", torch.__version__)
smooth = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(1, 1, 32, 32, 32)), (0, 0, 2, 2, 2))
image = torch.tensor((smooth - smooth.min()) / np.ptp(smooth)).float()
units = {"0 to 1": lambda v: v, "0 to 255": lambda v: 255 * v, "standardised": lambda v: (v - v.mean()) / v.std()}
found = {}
for kernel in ("b-spline", "gaussian"):
    loss = GlobalMutualInformationLoss(kernel_type=kernel)
    for name, of in units.items():
        moving = of(image).requires_grad_()
        own = loss(moving, of(image))
        slope = torch.autograd.grad(own, moving)[0].abs().sum().item() * (moving.max() - moving.min()).item()
        negative = loss(of(1 - image), of(image))
        found[kernel, name] = (-own.item(), -negative.item())
        print(f"{kernel}, {name}: of itself {-own.item():.4f} nats, of its negative {-negative.item():.4f}, slope {slope:.4f}")
spline = [each for (kernel, _), pair in found.items() if kernel == "b-spline" for each in pair]
as_said = max(spline) - min(spline) < 1e-3 and min(spline) > 1
as_said &= found["gaussian", "0 to 255"][0] < 0.01
own, negative = found["gaussian", "standardised"]
as_said &= own > 2 * negative
raise SystemExit(not as_said)
PYTHON
