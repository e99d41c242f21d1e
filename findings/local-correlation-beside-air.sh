#!/usr/bin/env bash
# A squared correlation lies between 0 and 1. MONAI's LocalNormalizedCrossCorrelationLoss, minus its mean over windows,
# works out variances as differences of sums of squares in float32, and where a window holds one value alone the rounding
# of both is divided by one another. In CT whole regions hold one value: air at -1000, the padding of some scanners at
# -3024. An image against itself moved by a voxel scores -0.84 with air at -1000 where double precision says -0.62, and
# -4.0 with padding at -3024, beyond any correlation; a background at 1000.1 gives minus ten to the thirteenth. At -1024
# all is well, for powers of two are exact. The padding of zeros at the rim counts as image, too: an image beside air of 0,
# against itself, is -0.3, and beside any other air -0.7. Scale to about 0 to 1, with air at exactly 0, and watch that the
# loss stays above -1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 monai==1.6.1 numpy==2.4.6 2>/dev/null
cd "$folder"
venv/bin/python - <<'PYTHON' 2>/dev/null
import monai
import torch
from monai.losses import LocalNormalizedCrossCorrelationLoss

print("monai", monai.__version__, "torch", torch.__version__)
loss = LocalNormalizedCrossCorrelationLoss(spatial_dims=3, kernel_size=9)
tissue = 40 + 50 * torch.randn(1, 1, 24, 24, 24, generator=torch.Generator().manual_seed(0))
found = {}
for air in (0.0, -1000.0, -1024.0, -3024.0, 1000.1):
    image = torch.full((1, 1, 48, 48, 48), air)
    image[:, :, 12:36, 12:36, 12:36] = tissue
    moved = torch.roll(image, 1, 2)
    single, double = loss(moved, image).item(), loss(moved.double(), image.double()).item()
    own = loss(image.double(), image.double()).item()
    found[air] = (single, double)
    print(f"air {air:g}: moved by a voxel {single:.4g}, in double precision {double:.4f}; against itself {own:.3f}")
as_said = abs(found[-1024.0][0] - found[-1024.0][1]) < 1e-3 and all(-1 <= double <= 0 for _, double in found.values())
as_said &= found[-1000.0][0] < found[-1000.0][1] - 0.1
as_said &= found[-3024.0][0] < -1.1 and found[1000.1][0] < -1.1
raise SystemExit(not as_said)
PYTHON
