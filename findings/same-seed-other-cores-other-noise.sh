#!/usr/bin/env bash
# The noise filters of ITK, through SimpleITK, take a seed, and give the same noise for the same seed only where the image
# is split among the same number of work units, which is by default the number of cores. A simulated low dose or a
# training set made by "seed 42" is another on a laptop than on a cluster node, from the second part of the image on: the
# first rows agree, so a look at the first values says that all is well. With one work unit it is the same everywhere.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet SimpleITK==2.5.7 numpy==2.4.6 2>/dev/null
cd "$folder"
venv/bin/python - <<'PYTHON' 2>/dev/null
import numpy as np
import SimpleITK as sitk

print("SimpleITK", sitk.Version_VersionString())
image = sitk.GetImageFromArray(np.full((32, 64, 64), 100, np.float32))


def noisy(kind, units):
    filter = getattr(sitk, kind)()
    filter.SetSeed(42)
    filter.SetNumberOfThreads(units)
    filter.SetNumberOfWorkUnits(units)
    return sitk.GetArrayFromImage(filter.Execute(image)).astype(float)


as_said = True
for kind in ("AdditiveGaussianNoiseImageFilter", "ShotNoiseImageFilter", "SpeckleNoiseImageFilter"):
    one, again, four = noisy(kind, 1), noisy(kind, 1), noisy(kind, 4)
    differ = (one != four).mean(axis=(1, 2))
    print(f"{kind}: one unit twice the same: {(one == again).all()}; one and four: slices that differ {(differ > 0).sum()}"
          f" of 32, the first of them slice {int(np.argmax(differ > 0))}, largest difference {abs(one - four).max():.0f}")
    as_said &= bool((one == again).all() and differ[0] == 0 and (differ > 0).sum() == 24)
raise SystemExit(not as_said)
PYTHON
echo "as described"
