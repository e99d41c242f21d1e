#!/usr/bin/env bash
# TorchIO's RandomAnisotropy stands in for thick slices: an axis is sampled down and up again, on the grid that the image
# had. Where the factor is even, the centres of the thick slices lie between two thin ones, the nearest is always the one
# further on, and the whole image arrives half a voxel off, towards the beginning of the axis. Labels beside it stay where
# they are. A network that learns super-resolution from such pairs learns to move images by half a voxel. And a thick slice
# is one of its thin slices, not their mean. With an odd factor nothing moves.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 torchio==1.2.1 numpy==2.4.6 2>/dev/null
cd "$folder"
venv/bin/python - <<'PYTHON' 2>/dev/null
import torch
import torchio as tio

print("torchio", tio.__version__)
places = torch.arange(32.0)[None, :, None, None].expand(1, 32, 16, 16).clone()  # each voxel says where it lies
subject = tio.Subject(scan=tio.ScalarImage(tensor=places), label=tio.LabelMap(tensor=(places > 15).float()))
as_said = True
for factor, expected in {2: 0.5, 3: 0.0, 4: 0.5, 5: 0.0}.items():
    thick = tio.RandomAnisotropy(axes=(0,), downsampling=(factor, factor))(subject)
    off = (thick.scan.data - places)[0, 6:26].mean().item()
    same = torch.equal(thick.label.data, subject.label.data)
    print(f"factor {factor}: a voxel holds what lies {off:+.2f} voxels further on; grid {thick.scan.affine.tolist() == subject.scan.affine.tolist()}, label untouched {same}")
    as_said &= abs(off - expected) < 0.01 and same
raise SystemExit(not as_said)
PYTHON
echo "as described"
