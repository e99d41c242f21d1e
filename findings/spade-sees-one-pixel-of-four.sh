#!/usr/bin/env bash
# MONAI's SPADENet draws an image from a label map of the same size, but reads the map last at half of it: after its last
# SPADE block it doubles once more and convolves, and smaller copies of the map are taken by the nearest pixel. So one
# pixel of four has a say (of a volume one voxel of eight), those with even indices; the gradient by all others is
# exactly 0. A band one pixel thick (cartilage, a vessel wall) at an odd row changes nothing at all in what is drawn.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 monai==1.6.1 numpy
cd "$folder"
venv/bin/python - <<'PYTHON' 2>/dev/null
import monai
import torch
from monai.networks.nets import SPADENet
from torch.nn import functional as F

print("torch", torch.__version__, "MONAI", monai.__version__)
CLASSES = 3
ok = True
for dims, side in ((2, 64), (3, 32)):
    torch.manual_seed(0)
    net = SPADENet(dims, 1, 1, CLASSES, [side] * dims, [8, 16, 32], z_dim=8, is_vae=True).eval()
    noise = torch.randn(1, 8)

    def draw(labels):
        return net.decode(labels, noise)

    labels = torch.rand(1, CLASSES, *[side] * dims, requires_grad=True)
    (slope,) = torch.autograd.grad(draw(labels).square().sum(), labels)
    felt = slope.abs().sum(1)[0] > 0
    even = felt[(slice(None, None, 2),) * dims]
    share, of_even = felt.float().mean().item(), even.float().mean().item()
    changed = []
    for row in (21, 22):
        places = torch.zeros(1, *[side] * dims, dtype=torch.long)
        places[:, side // 4 :] = 1
        with_band = places.clone()
        with_band[:, row] = 2
        drawn = [draw(F.one_hot(each, CLASSES).movedim(-1, 1).float()) for each in (places, with_band)]
        changed.append((drawn[0] - drawn[1]).abs().max().item())
    print(f"{dims}D: {share:.4f} of the pixels matter, of those with even indices {of_even:.2f}; a band one pixel thick changes "
          f"the drawing by at most {changed[0]:.3g} at row 21, {changed[1]:.3g} at row 22")
    ok &= abs(share - 0.5**dims) < 0.01 and of_even > 0.99 and changed[0] == 0 and changed[1] > 1e-3
raise SystemExit(not ok)
PYTHON
echo "as described"
