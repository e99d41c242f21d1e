#!/usr/bin/env bash
# A DICOM segmentation (SEG) holds its frames segment by segment and leaves out those that are empty. SimpleITK (ITK with
# GDCM) opens one without a word as a volume: of two segments over six slices of 2 mm, of which four and two are marked,
# it gives six slices 1 mm apart, running up where the frames run down, the second segment stacked on the first as if it
# lay above it, and 255 for what is marked. A fractional one gives 0 to 255 for 0 to 1. So its size may even be that of
# the image, and every volume and overlap computed from it is wrong. A SEG of the newer kind that holds one label map
# (supplement 243) it does not open at all.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet highdicom==0.28.2 pydicom==3.0.2 SimpleITK==2.5.7 numpy
cd "$folder"
venv/bin/python - <<'PYTHON' 2>/dev/null
import highdicom as hd
import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

print("highdicom", hd.__version__, "pydicom", pydicom.__version__, "SimpleITK", sitk.Version_VersionString())
study, series, frame = generate_uid(), generate_uid(), generate_uid()


def slice_of(k):
    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.SOPClassUID, one.SOPInstanceUID = MRImageStorage, generate_uid()
    one.PatientID, one.PatientName, one.PatientBirthDate, one.PatientSex = "1", "A", "", ""
    one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = study, series, frame
    one.StudyID, one.SeriesNumber, one.InstanceNumber, one.AccessionNumber = "1", 1, k + 1, ""
    one.StudyDate = one.StudyTime = one.ReferringPhysicianName = one.PositionReferenceIndicator = ""
    one.Modality, one.Manufacturer = "MR", "none"
    one.Rows, one.Columns, one.PixelSpacing, one.SliceThickness = 8, 10, [1.0, 1.0], 2.0
    one.ImageOrientationPatient, one.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 2.0 * k]
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 0
    one.PixelData = np.zeros((8, 10), np.uint16).tobytes()
    return one


def segment(number):
    return hd.seg.SegmentDescription(
        segment_number=number, segment_label=f"segment {number}", segmented_property_category=codes.SCT.Tissue,
        segmented_property_type=codes.SCT.Bone, algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
    )


labels = np.zeros((6, 8, 10), np.uint8)
labels[1:5, 2:6, 2:6], labels[2:4, 3:5, 7:9] = 1, 2
shares = np.stack([0.6 * (labels == 1), 1.0 * (labels == 2)], -1).astype(np.float32)
ok = True
for kind, pixels in (("BINARY", labels), ("FRACTIONAL", shares), ("LABELMAP", labels)):
    made = hd.seg.Segmentation(
        [slice_of(k) for k in range(6)], pixels, segmentation_type=kind, segment_descriptions=[segment(1), segment(2)],
        series_instance_uid=generate_uid(), series_number=2, sop_instance_uid=generate_uid(), instance_number=1,
        manufacturer="none", manufacturer_model_name="none", software_versions="1", device_serial_number="1",
    )
    made.save_as("seg.dcm")
    frames = pydicom.dcmread("seg.dcm").PerFrameFunctionalGroupsSequence
    lies = [float(each.PlanePositionSequence[0].ImagePositionPatient[2]) for each in frames]
    try:
        image = sitk.ReadImage("seg.dcm")
    except RuntimeError:
        print(f"{kind}: frames at z {lies}; SimpleITK finds no reader for it")
        ok &= kind == "LABELMAP"
        continue
    read = sitk.GetArrayFromImage(image)
    marked = [int((each > 0).sum()) for each in read]
    seen = [image.GetOrigin()[2] + k * image.GetSpacing()[2] for k in range(len(read))]
    print(f"{kind}: frames at z {lies}; SimpleITK gives slices at z {seen} with {marked} marked, values {np.unique(read).tolist()}")
    ok &= lies == [8, 6, 4, 2, 6, 4] and seen == [8, 9, 10, 11, 12, 13] and marked == [16] * 4 + [4] * 2
    ok &= np.unique(read).tolist() == ([0, 255] if kind == "BINARY" else [0, 153, 255])
raise SystemExit(not ok)
PYTHON
echo "as described"
