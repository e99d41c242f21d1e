#!/usr/bin/env bash
# Registration is usually begun where the centres of mass of two scans meet: SimpleITK's CenteredTransformInitializer with
# MOMENTS, dipy's transform_centers_of_mass. Both weigh voxels by their values, whatever these are. A scan that was
# standardised to mean 0, as networks are given it, has a mass of nearly nothing, and the start lies hundreds of
# thousands of kilometres away (no error). Standardised by the head alone, its mass is negative: the start looks sound,
# and points the wrong way. The scans here differ by a shift of (6, -6, 4) mm. Subtract the least value first, or begin
# with SimpleITK's GEOMETRY.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet SimpleITK==2.5.7 dipy==1.12.1 numpy==2.4.6 2>/dev/null
cd "$folder"
venv/bin/python - <<'PYTHON' 2>/dev/null
import dipy
import numpy as np
import SimpleITK as sitk
from dipy.align.imaffine import transform_centers_of_mass

print("SimpleITK", sitk.Version_VersionString(), "dipy", dipy.__version__)
rng = np.random.default_rng(0)
z, y, x = np.mgrid[:40, :48, :44]


def head(cz, cy, cx):
    r = ((z - cz) / 16) ** 2 + ((y - cy) / 19) ** 2 + ((x - cx) / 18) ** 2
    return np.where(r < 1, 100 - 40 * r, 0) + rng.normal(0, 1, z.shape)


def of_itk(values):
    image = sitk.GetImageFromArray(values.astype(np.float32))
    image.SetSpacing((2, 2, 2))
    return image


fixed, moving = head(20, 24, 22), head(22, 21, 25)
ways = {
    "as they are": lambda v: v,
    "mean 0, deviation 1": lambda v: (v - v.mean()) / v.std(),
    "median of the head 0": lambda v: (v - np.median(v[v > 25])) / v[v > 25].std(),
}
found = {}
for name, way in ways.items():
    start = sitk.CenteredTransformInitializer(
        of_itk(way(fixed)), of_itk(way(moving)), sitk.Euler3DTransform(), sitk.CenteredTransformInitializerFilter.MOMENTS
    )
    itk = np.array(start.TransformPoint((44.0, 48.0, 40.0))) - (44.0, 48.0, 40.0)
    grid = np.diag([2.0, 2.0, 2.0, 1.0])
    of_dipy = transform_centers_of_mass(way(fixed).T, grid, way(moving).T, grid).affine[:3, 3]
    found[name] = (itk, of_dipy)
    print(f"{name}: SimpleITK {np.array2string(itk, precision=1)}, dipy {np.array2string(of_dipy, precision=1)} mm")
truth = np.array([6.0, -6.0, 4.0])
right, none, wrong = (found[name] for name in ways)
as_said = all(np.abs(each - truth).max() < 0.5 for each in right)
as_said &= all(np.abs(each).max() > 1e4 for each in none)
as_said &= all((np.sign(each) == -np.sign(truth)).all() and np.abs(each).max() < 20 for each in wrong)
raise SystemExit(not as_said)
PYTHON
