#!/usr/bin/env bash
# Two transforms that stand in for a scan of lower resolution sample an image down and up again, on the grid that it had,
# and do not lay it back where it was. TorchIO's RandomAnisotropy takes the nearest thin slice, which is for an even factor
# always the one further on: the image arrives half a voxel off. MONAI's RandSimulateLowResolution (by default "nearest"
# down, "trilinear" up) moves it the other way, by half a voxel at a zoom of 0.5 and by one and a half at 0.3. Labels
# beside the image stay where they are, the affine too. A network that learns super-resolution from such pairs learns to
# move images; one that segments is shown borders beside its labels. With odd factors, and in MONAI with
# downsample_mode="area", nothing moves (0.5). Both take single pixels where a thick slice is a mean.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 torchio==1.2.1 monai==1.6.1 numpy==2.4.6 2>/dev/null
cd "$folder"
venv/bin/python - <<'PYTHON' 2>/dev/null
import monai
import torch
import torchio as tio
from monai.transforms import RandSimulateLowResolution

print("torchio", tio.__version__, "monai", monai.__version__)
places = torch.arange(32.0)[None, :, None, None].expand(1, 32, 32, 32).clone()  # each voxel says where it lies
subject = tio.Subject(scan=tio.ScalarImage(tensor=places), label=tio.LabelMap(tensor=(places > 15).float()))
as_said = True


def off(image):
    return (torch.as_tensor(image) - places)[0, 8:24].mean().item()


for factor, expected in {2: 0.5, 3: 0.0, 4: 0.5, 5: 0.0}.items():
    thick = tio.RandomAnisotropy(axes=(0,), downsampling=(factor, factor))(subject)
    same = torch.equal(thick.label.data, subject.label.data) and (thick.scan.affine == subject.scan.affine).all()
    print(f"torchio, factor {factor}: a voxel holds what lies {off(thick.scan.data):+.2f} voxels on; label, affine as before: {same}")
    as_said &= abs(off(thick.scan.data) - expected) < 0.01 and bool(same)
for zoom, mode, low, high in ((0.5, "nearest", -0.51, -0.49), (0.3, "nearest", -1.8, -1.2), (0.5, "area", -0.01, 0.01)):
    coarse = RandSimulateLowResolution(prob=1, zoom_range=(zoom, zoom), downsample_mode=mode)(places)
    print(f"monai, zoom {zoom}, {mode}: a voxel holds what lies {off(coarse):+.2f} voxels on")
    as_said &= low < off(coarse) < high
raise SystemExit(not as_said)
PYTHON
echo "as described"
