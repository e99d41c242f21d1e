#!/usr/bin/env bash
# An RT dose grid stores whole numbers; its dose in gray is the stored number times DoseGridScaling (DICOM PS3.3, RT Dose
# Module). ITK, through SimpleITK, lays the grid where it lies (spacing, origin, the frames' offsets) but hands out the
# stored numbers, without a word: of a dose of 23 mGy it says 23, of the same dose stored with another scale something
# else. A CT beside it comes rescaled, so nothing warns whoever reads both alike.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pydicom==3.0.1 SimpleITK==2.5.7 numpy 2>/dev/null
cd "$folder"
venv/bin/python - <<'PYTHON' 2>/dev/null
import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RTDoseStorage, generate_uid

print("pydicom", pydicom.__version__, "SimpleITK", sitk.Version_VersionString())


def written(name, kind, stored, **tags):
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = kind
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.Rows, data.Columns = stored.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    data.PixelSpacing, data.ImageOrientationPatient = [0.5, 0.25], [1, 0, 0, 0, 1, 0]
    data.ImagePositionPatient = [-5, 7, 9]
    data.PixelData = stored.astype("<u2").tobytes()
    for tag, value in tags.items():
        setattr(data, tag, value)
    data.save_as(name, enforce_file_format=True)
    return name


stored = np.arange(24).reshape(2, 3, 4)
dose = written(
    "dose.dcm", RTDoseStorage, stored, Modality="RTDOSE", DoseUnits="GY", DoseType="PHYSICAL", DoseSummationType="PLAN",
    NumberOfFrames=2, FrameIncrementPointer=0x3004000C, GridFrameOffsetVector=[0, 3], DoseGridScaling="0.001",
)
scan = written("scan.dcm", CTImageStorage, stored[0], Modality="CT", RescaleSlope="0.5", RescaleIntercept="-10")
read = sitk.ReadImage(dose)
in_itk, in_gray = sitk.GetArrayFromImage(read), pydicom.dcmread(dose).pixel_array * 0.001
ct = sitk.GetArrayFromImage(sitk.ReadImage(scan))
print(f"dose: {in_gray.max():g} Gy is said by ITK to be {in_itk.max():g} ({in_itk.dtype}), spacing {read.GetSpacing()}")
print(f"CT: stored 11 with slope 0.5 and intercept -10 is said to be {ct.max():g}, rescaled as it should be")
placed = read.GetSpacing() == (0.25, 0.5, 3.0) and read.GetOrigin() == (-5.0, 7.0, 9.0)
raise SystemExit(not (placed and (in_itk == stored).all() and np.allclose(ct[0], stored[0] * 0.5 - 10)))
PYTHON
echo "as described"
