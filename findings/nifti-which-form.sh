#!/usr/bin/env bash
# A NIfTI file may say where it lies twice, by its sform and by its qform, each with a code. Where the two differ, nibabel
# takes the sform whatever its code; ITK (through SimpleITK) takes it only where its code is 1 (scanner) or there is no
# qform, and the qform otherwise. So one valid file, as tools write it that move the sform alone and leave the scanner's
# qform (codes 2 and 1), or that put an image into MNI space (code 4), lies in two places.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet nibabel==5.4.2 SimpleITK==2.5.7 numpy
cd "$folder"
venv/bin/python - <<'PYTHON' 2>/dev/null
import nibabel as nib
import numpy as np
import SimpleITK as sitk

print("nibabel", nib.__version__, "SimpleITK", sitk.Version_VersionString())
sform = np.diag([2.0, 3.0, 4.0, 1.0])
qform = sform.copy()
sform[:3, 3], qform[:3, 3] = (10, 20, 30), (-5, -6, -7)


def said(origin):
    return "sform" if np.allclose(origin, sform[:3, 3]) else "qform" if np.allclose(origin, qform[:3, 3]) else "neither"


found = {}
for sform_code in range(1, 5):
    for qform_code in range(0, 5):
        image = nib.Nifti1Image(np.zeros((4, 5, 6), np.float32), None)
        image.header.set_zooms((2, 3, 4))
        image.header.set_sform(sform, sform_code)
        image.header.set_qform(qform, qform_code)
        nib.save(image, "image.nii")
        in_nibabel = nib.load("image.nii").affine[:3, 3]
        in_itk = np.array(sitk.ReadImage("image.nii").GetOrigin()) * [-1, -1, 1]
        found[sform_code, qform_code] = said(in_nibabel), said(in_itk)
        print(f"sform code {sform_code}, qform code {qform_code}: nibabel takes the {said(in_nibabel)}, ITK the {said(in_itk)}")
expected = {(s, q): ("sform", "sform" if s == 1 or q == 0 else "qform") for s, q in found}
raise SystemExit(found != expected)
PYTHON
echo "as described"
