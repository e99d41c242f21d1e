#!/usr/bin/env bash
# Following a velocity that is the same everywhere for one unit of time moves everything by that velocity. MONAI's DVF2DDF,
# which its VoxelMorph integrates by, composes small displacements and takes them for 0 beyond the image, so that the
# displacement fades towards the side that the velocity points to: of 1 voxel 0.63 are left at that face and 0.39 in the
# corner, and of 8 voxels 4.98 five voxels inside it. The opposite face keeps all. What a registration says of the rim of an
# image, and of its volume change there, is the padding's. Integrate with the edges repeated, or leave a margin as wide
# as the largest displacement.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 monai==1.6.1 numpy==2.4.6 2>/dev/null
cd "$folder"
venv/bin/python - <<'PYTHON' 2>/dev/null
import monai
import torch
from monai.networks.blocks import DVF2DDF

print("monai", monai.__version__, "torch", torch.__version__)
integrate = DVF2DDF(num_steps=7)
found = {}
for velocity in (1.0, 4.0, 8.0):
    field = integrate(torch.full((1, 3, 24, 24, 24), velocity))[0, 0]
    places = {"centre": (12, 12, 12), "near face": (0, 12, 12), "far face": (23, 12, 12), "far corner": (23, 23, 23),
              "5 inside": (19, 12, 12)}  # fmt: skip
    found[velocity] = {name: field[place].item() for name, place in places.items()}
    print(f"velocity {velocity:g}: {', '.join(f'{name} {each:.2f}' for name, each in found[velocity].items())}")
as_said = all(abs(each["centre"] - velocity) < 1e-3 for velocity, each in found.items())
as_said &= all(abs(each["near face"] - velocity) < 1e-3 for velocity, each in found.items())
as_said &= all(each["far face"] < 1.1 and each["far corner"] < 0.7 for each in found.values())
as_said &= found[8.0]["5 inside"] < 5.5
raise SystemExit(not as_said)
PYTHON
