"""What all DICOM files of ours share: patient, study and dates of their source, and UIDs that follow from content."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import DS

from anomaly import __version__
from anomaly.files import whole
from anomaly.images.dicom_sources import Frame
from anomaly.images.dicom_tags import OUR_CLASS, OURS, filled

NOBODY = "2.25.1"
"""Stands for a UID until the content is complete, of which it is made."""
PATIENT = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "PatientAge", "PatientSize"),
    *("PatientWeight", "PatientSpeciesDescription", "PatientIdentityRemoved", "DeidentificationMethod"),
    *("DeidentificationMethodCodeSequence", "IssuerOfPatientIDQualifiersSequence", "OtherPatientIDsSequence"),
    *("ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName", "ClinicalTrialSiteID"),
    *("ClinicalTrialSiteName", "ClinicalTrialSubjectID", "ClinicalTrialTimePointID"),
)
STUDY = (
    *("StudyInstanceUID", "StudyID", "StudyDate", "StudyTime", "StudyDescription", "AccessionNumber"),
    *("ReferringPhysicianName", "TimezoneOffsetFromUTC"),
)
ALWAYS = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime"),
    *("AccessionNumber", "ReferringPhysicianName"),
)
"""What has to be there, if need be empty."""
DAYS = ("Content", "Acquisition", "Series", "Study")
NO_DAY = ("19000101", "000000")


def uid(*of: str) -> str:
    """A UID that follows from texts alone: DICOM PS3.5 B.2, the number of a UUID below 2.25."""
    digest = hashlib.sha256("\0".join(of).encode()).digest()
    return f"2.25.{UUID(bytes=digest[:16], version=5).int}"


def ds(values: Sequence[float] | np.ndarray) -> list[Any]:
    """Decimal numbers in the 16 letters that the standard leaves them."""
    return [DS(float(value), auto_format=True) for value in values]


def day(header: Dataset) -> tuple[str, str]:
    """Date and time of the content of a source, or of the nearest there is of it; fixed where it tells none."""
    for name in DAYS:
        date, time = str(header.get(f"{name}Date") or "").strip(), str(header.get(f"{name}Time") or "").strip()
        if len(date) == 8 and date.isdigit():
            return date, time if time[:6].isdigit() and len(time) >= 6 else NO_DAY[1]
    return NO_DAY


def frame_of_reference(header: Dataset) -> str:
    """What places of a series are told in; where the source does not name it, made of the series' own name."""
    return str(header.get("FrameOfReferenceUID") or uid("frame of reference", str(header.SeriesInstanceUID)))


def file_beside(data: Dataset, source: Dataset, description: str, number: int) -> None:
    """Say whose a new object is, to which study it belongs, and what made it; in place."""
    for name in (*PATIENT, *STUDY, "SpecificCharacterSet"):
        if name in source:
            data[name] = deepcopy(source[name])
        elif name in data:
            del data[name]
    for name in ALWAYS:
        if name not in data:
            setattr(data, name, "")
    data.ContentDate, data.ContentTime = day(source)
    for name in ("InstanceCreationDate", "InstanceCreationTime"):
        if name in data:
            del data[name]
    data.SeriesNumber, data.InstanceNumber, data.SeriesDescription = number, 1, description
    data.Modality = "OT"
    data.Manufacturer, data.ManufacturerModelName = OURS, OURS
    data.SoftwareVersions, data.DeviceSerialNumber = __version__, "none"


def reference(frame: Frame, *, of_frame: bool = True) -> Dataset:
    """An item that names the object, and where it holds several the frame, that a slice was read from."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = frame.header.SOPClassUID, frame.header.SOPInstanceUID
    if of_frame and frame.number is not None:
        item.ReferencedFrameNumber = frame.number
    return item


def refer(data: Dataset, frames: Sequence[Frame]) -> None:
    """Name the source's objects, each once, as what the whole was derived from, and their series; in place."""
    objects = {str(frame.header.SOPInstanceUID): frame for frame in frames}
    series = Dataset()
    series.SeriesInstanceUID = frames[0].header.SeriesInstanceUID
    series.ReferencedInstanceSequence = [reference(frame, of_frame=False) for frame in objects.values()]
    data.ReferencedSeriesSequence = [series]
    data.SourceImageSequence = [reference(frame, of_frame=False) for frame in objects.values()]


def write_filed(path: Path, data: Dataset) -> None:
    """Give an object the UIDs that follow from its content, and write it, whole or not at all."""
    _name(data, NOBODY, NOBODY, NOBODY)
    stream = io.BytesIO()
    data.save_as(stream, enforce_file_format=True)
    content = hashlib.sha256(stream.getvalue()).hexdigest()
    _name(data, uid("series", content), uid("instance", content), uid("dimensions", content))
    with whole(path) as part:
        data.save_as(part, enforce_file_format=True)


def _name(data: Dataset, series: str, instance: str, dimensions: str) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = data.SOPClassUID, UID(instance)
    meta.TransferSyntaxUID, meta.ImplementationClassUID = ExplicitVRLittleEndian, OUR_CLASS
    meta.ImplementationVersionName = "ANOMALY"
    data.file_meta = meta
    data.SeriesInstanceUID, data.SOPInstanceUID = series, instance
    for item in _dimensions(data):
        item.DimensionOrganizationUID = dimensions


def _dimensions(data: Dataset) -> Iterator[Dataset]:
    for name in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        if filled(data, name):
            yield from (item for item in data[name].value if "DimensionOrganizationUID" in item)
