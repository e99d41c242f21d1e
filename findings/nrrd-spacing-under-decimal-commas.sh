#!/usr/bin/env bash
# A NRRD file with a spacing of 1.5 x 1.75 x 1.25 mm, read by SimpleITK in a process whose numbers have decimal commas
# (LC_NUMERIC=de_DE, as a viewer or a window's toolkit sets it from the desktop), comes back with 1 x 1 x 1: what stands
# behind the point is lost. No error, no warning. MetaImage and NIfTI files of the same image are read right in the same
# process.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet SimpleITK==2.5.7 numpy==2.4.6 2>/dev/null
cd "$folder"
mkdir locales
localedef -i de_DE -f UTF-8 locales/de_DE.UTF-8  # needs the sources of locales, as distributions ship them
LOCPATH="$folder/locales" venv/bin/python - <<'PYTHON' 2>/dev/null
import locale

import numpy as np
import SimpleITK as sitk

print("SimpleITK", sitk.Version_VersionString())
spacing = (1.5, 1.75, 1.25)
image = sitk.GetImageFromArray(np.zeros((3, 4, 5), np.int16))
image.SetSpacing(spacing)
names = ["image.nrrd", "image.mha", "image.nii.gz"]
for name in names:
    sitk.WriteImage(image, name)


def read():
    return {name: tuple(round(each, 4) for each in sitk.ReadImage(name).GetSpacing()) for name in names}


points = read()
locale.setlocale(locale.LC_NUMERIC, "de_DE.UTF-8")
commas = read()
locale.setlocale(locale.LC_NUMERIC, "C")
for name in names:
    print(f"{name}: decimal points {points[name]}, decimal commas {commas[name]}")
as_said = all(found == spacing for found in points.values())
as_said &= commas["image.nrrd"] == (1.0, 1.0, 1.0)
as_said &= commas["image.mha"] == commas["image.nii.gz"] == spacing
raise SystemExit(not as_said)
PYTHON
