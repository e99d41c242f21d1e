#!/usr/bin/env bash
# A label map laid on a grid that lies half a voxel further: as happens whenever two grids share their centre and one has
# an even, the other an odd number of voxels. "Nearest" is a tie everywhere. torch's grid_sample breaks ties to the even
# index, and so does MONAI's ResampleToMatch, which calls it: every second voxel is read twice and the others never.
# A sheet one voxel thick (cartilage, cortex) at an odd index vanishes, at an even one it is twice as thick. ITK (through
# SimpleITK) and scipy, asked the same, read each voxel once.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 monai==1.6.1 SimpleITK==2.5.7 scipy==1.17.1 numpy
cd "$folder"
venv/bin/python - <<'PYTHON' 2>/dev/null
import monai
import numpy as np
import scipy
import SimpleITK as sitk
import torch
from monai.data import MetaTensor
from monai.transforms import ResampleToMatch
from scipy import ndimage
from torch.nn import functional as F

print("torch", torch.__version__, "MONAI", monai.__version__, "SimpleITK", sitk.Version_VersionString(), "scipy", scipy.__version__)
SIDE = 16
index = np.broadcast_to(np.arange(SIDE, dtype=np.float32)[:, None, None], (SIDE, 4, 4)).copy()


def by_torch(values):
    places = [torch.arange(n, dtype=torch.float64) for n in values.shape]
    places[0] = places[0] + 0.5
    scaled = [(2 * p + 1) / n - 1 for p, n in zip(places, values.shape)]
    grid = torch.stack(torch.meshgrid(*scaled, indexing="ij")[::-1], -1)[None]
    x = torch.from_numpy(values)[None, None].double()
    return F.grid_sample(x, grid, mode="nearest", padding_mode="border", align_corners=False)[0, 0].numpy()


def by_monai(values):
    shifted = torch.eye(4)
    shifted[0, 3] = 0.5
    image = MetaTensor(torch.from_numpy(values)[None], affine=torch.eye(4))
    like = MetaTensor(torch.zeros(1, *values.shape), affine=shifted)
    return ResampleToMatch(mode="nearest", padding_mode="border")(image, img_dst=like)[0].numpy()


def by_itk(values):
    image = sitk.GetImageFromArray(values.transpose(2, 1, 0))
    like = sitk.GetImageFromArray(np.zeros_like(values).transpose(2, 1, 0))
    like.SetOrigin((0.5, 0, 0))
    return sitk.GetArrayFromImage(sitk.Resample(image, like, sitk.Transform(), sitk.sitkNearestNeighbor)).transpose(2, 1, 0)


def by_scipy(values):
    return ndimage.affine_transform(values, np.eye(3), (0.5, 0, 0), order=0, mode="nearest")


found = {}
for name, way in (("torch", by_torch), ("MONAI", by_monai), ("ITK", by_itk), ("scipy", by_scipy)):
    read = way(index)[1:-1, 0, 0].astype(int)
    sheets = []
    for place in (7, 8):
        sheet = np.zeros((SIDE, 4, 4), np.float32)
        sheet[place] = 1
        sheets.append(round(float(way(sheet).sum()) / 16))
    found[name] = (len(set(read)) == len(read), sheets)
    print(f"{name}: voxels read {read.tolist()}; a sheet one voxel thick at 7 becomes {sheets[0]} thick, at 8 {sheets[1]}")
even, each = (False, [0, 2]), (True, [1, 1])
raise SystemExit(found != {"torch": even, "MONAI": even, "ITK": each, "scipy": each})
PYTHON
echo "as described"
