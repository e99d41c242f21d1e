"""Small valid files of every kind that is read, made at run time, and how each of them is to be damaged."""

from __future__ import annotations

import gzip
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import PIL.Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from anomaly.images.itk import has_reader

SPACE, SIDE = (9, 8, 7), (20, 18)
AFFINE = np.array([[-2.0, 0, 0, 9], [0, 0, 3, -5], [0, 2.5, 0, 4], [0, 0, 0, 1]])
PLACE: dict[str, Any] = {
    "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
    "PixelSpacing": [0.5, 0.25],
    "SliceThickness": 2,
}


@dataclass(frozen=True)
class Seed:
    """A valid input and what is done to it.

    Args:
        kind: row of the table.
        files: what lies in its folder.
        targets: which of the files are damaged, one of them for each mutant.
        opened: what is given to the door: "" for the folder itself, "*" for the file that is damaged.
        door: which door, a name of `mutant_doors.DOORS`.
        changes: names of `mutant_pool.CHANGES`, one of them for each mutant.
    """

    kind: str
    files: dict[str, bytes]
    targets: tuple[str, ...]
    opened: str
    door: str
    changes: tuple[str, ...]


def images() -> list[Seed]:
    """Seeds of every format of images."""
    return [*_niftis(), *_mghs(), *_dicoms(), *_pictures(), *_arrays(), *(_itks() if has_reader() else [])]


def _seed(kind: str, name: str, content: bytes, *changes: str) -> Seed:
    return Seed(kind, {name: content}, (name,), name, "image", ("bytes", *changes))


def _values(space: tuple[int, ...], kind: Any = np.int16) -> np.ndarray:
    """A bright ball with noise, from 0 to about 200."""
    rng = np.random.default_rng(7)
    from_centre = sum(((x - n / 2) / n) ** 2 for x, n in zip(np.indices(space), space, strict=True))
    return (180.0 * (from_centre < 0.15) + rng.integers(0, 20, space)).astype(kind)


def _niftis() -> list[Seed]:
    seeds = []
    plain = nib.Nifti1Image(_values(SPACE), AFFINE)
    plain.header.set_slope_inter(2.0, -5.0)
    colours = nib.Nifti1Image(_values((*SPACE, 3), np.float32), AFFINE)
    second = nib.Nifti2Image(_values((*SIDE, 1), np.uint8), AFFINE)
    for each in (plain, colours):
        content = each.to_bytes()
        seeds.append(_seed("NIfTI, .nii", "a.nii", content, "nifti field"))
        packed = gzip.compress(content, mtime=0)
        seeds.append(_seed("NIfTI, .nii.gz", "a.nii.gz", packed, "gzip bytes", "gzip nifti field", "gzip nifti field"))
    seeds.append(_seed("NIfTI, .nii", "a.nii", second.to_bytes()))
    for kind, image in (
        ("Analyze, two files", nib.AnalyzeImage(_values(SPACE), AFFINE)),
        ("NIfTI, two files", nib.Nifti1Pair(_values(SPACE), AFFINE)),
    ):
        with tempfile.TemporaryDirectory() as place:
            nib.save(image, Path(place) / "a.img")
            files = {one.name: one.read_bytes() for one in Path(place).iterdir() if one.suffix in (".img", ".hdr")}
        seeds.append(Seed(kind, files, ("a.hdr",), "a.img", "image", ("bytes", "nifti field", "nifti field")))
        seeds.append(Seed(kind, files, ("a.img",), "a.hdr", "image", ("bytes",)))
    return seeds


def _mghs() -> list[Seed]:
    content = nib.MGHImage(_values(SPACE, np.float32), AFFINE.astype(np.float32)).to_bytes()
    packed = gzip.compress(content, mtime=0)
    return [
        _seed("FreeSurfer, .mgh and .mgz", "a.mgh", content, "mgh field"),
        _seed("FreeSurfer, .mgh and .mgz", "a.mgz", packed, "gzip bytes", "gzip mgh field"),
    ]


def dicom(values: np.ndarray, syntax: UID = ExplicitVRLittleEndian, **tags: Any) -> bytes:
    """One DICOM file of 16-bit (or, with uint8, 8-bit) values, compressed as its syntax says."""
    data, bits = Dataset(), 8 * values.dtype.itemsize
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax == RLELossless else syntax
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = CTImageStorage, "1.2.3.4", "CT"
    data.SeriesInstanceUID, data.PatientID = "1.2.3", "p1"
    data.Rows, data.Columns = values.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = bits, bits, bits - 1, 0
    data.WindowCenter, data.WindowWidth, data.RescaleSlope, data.RescaleIntercept = 100, 200, 2, -10
    if values.ndim == 3:
        data.NumberOfFrames = len(values)
    for name, value in tags.items():
        setattr(data, name, value)
    data.PixelData = values.tobytes()
    if syntax == RLELossless:
        data.compress(syntax, generate_instance_uid=False)
    elif syntax.is_compressed:
        data.PixelData = encapsulate([_encoded(values, "JPEG" if syntax == JPEGBaseline8Bit else "JPEG2000")])
        data["PixelData"].VR = "OB"
    stream = io.BytesIO()
    data.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _encoded(values: np.ndarray, form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    PIL.Image.fromarray(values).save(stream, form, **options)
    return stream.getvalue()


def _dicoms() -> list[Seed]:
    flat, small, kind = _values(SIDE, np.uint16), _values(SIDE, np.uint8), "DICOM, one image"
    changes = ("DICOM element", "DICOM element")
    plain, implicit = dicom(flat, PixelPaddingValue=0), dicom(flat, ImplicitVRLittleEndian, **PLACE)
    seeds = [_seed(kind, "a.dcm", content, *changes) for content in (plain, implicit)]
    for syntax in (RLELossless, JPEGBaseline8Bit, JPEG2000Lossless):
        seeds.append(_seed("DICOM, compressed", "a.dcm", dicom(small, syntax), *changes))
    frames = []
    for height in range(4):
        frame, position = Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, 2 * height]
        frame.PlanePositionSequence = [position]
        frames.append(frame)
    shared, plane, measures = Dataset(), Dataset(), Dataset()
    plane.ImageOrientationPatient, measures.PixelSpacing = PLACE["ImageOrientationPatient"], [0.5, 0.25]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [plane], [measures]
    volume = _values((4, *SIDE), np.uint16)
    groups: dict[str, Any] = {"PerFrameFunctionalGroupsSequence": frames, "SharedFunctionalGroupsSequence": [shared]}
    enhanced = dicom(volume, SOPClassUID=EnhancedMRImageStorage, **groups)
    stepped = dicom(volume, ImagePositionPatient=[0, 0, 0], **PLACE)
    seeds += [_seed("DICOM, multi-frame", "a.dcm", content, *changes) for content in (enhanced, stepped)]
    slices = {f"{z}.dcm": dicom(volume[z], ImagePositionPatient=[0, 0, 2 * z], **PLACE) for z in range(4)}
    return [*seeds, Seed("DICOM, series", slices, tuple(slices), "", "image", ("bytes", *changes))]


def _pictures() -> list[Seed]:
    grey, deep = _values(SIDE, np.uint8), _values(SIDE, np.uint16)
    colours, fractions = np.stack([grey, grey // 2, 255 - grey], axis=-1), _values(SIDE, np.float32)
    seeds = [_seed("PNG", "a.png", _encoded(values, "PNG"), "PNG chunk") for values in (grey, deep, colours)]
    for values, options in ((grey, {}), (colours, {}), (grey, {"progressive": True})):
        seeds.append(_seed("JPEG", "a.jpg", _encoded(values, "JPEG", **options), "JPEG size"))
    for kind, values, packed in (
        ("TIFF, 8 bits", grey, ("raw", "tiff_lzw", "jpeg")),
        ("TIFF, 8 bits", colours, ("raw", "tiff_adobe_deflate")),
        ("TIFF, 16 bits", deep, ("raw", "tiff_lzw")),
        ("TIFF, floating point", fractions, ("raw", "tiff_adobe_deflate")),
    ):
        for compression in packed:
            content = _encoded(values, "TIFF", compression=compression)
            seeds.append(_seed(kind, "a.tif", content, "TIFF tag", "TIFF tag"))
    return [*seeds, *(_seed("BMP and GIF", f"a.{end}", _encoded(grey, end.upper())) for end in ("bmp", "gif"))]


def _arrays() -> list[Seed]:
    seeds = []
    for values in (_values(SIDE, np.float32), _values(SPACE, np.int16), _values((2, *SPACE), np.uint8)):
        plain, packed = io.BytesIO(), io.BytesIO()
        np.save(plain, values)
        np.savez_compressed(packed, image=values)
        seeds.append(_seed("NumPy, .npy", "a.npy", plain.getvalue(), "npy header"))
        seeds.append(_seed("NumPy, .npz", "a.npz", packed.getvalue(), "npz inside"))
    return seeds


def _itks() -> list[Seed]:
    import SimpleITK

    image = SimpleITK.GetImageFromArray(_values(SPACE))
    image.SetSpacing((1.5, 2.0, 2.5))
    seeds = []
    with tempfile.TemporaryDirectory() as place:
        for ending, packed in ((".nrrd", False), (".nrrd", True), (".mha", False), (".mha", True), (".mhd", False)):
            SimpleITK.WriteImage(image, f"{place}/a{ending}", packed)
            files = {one.name: one.read_bytes() for one in Path(place).iterdir()}
            kind = "NRRD" if ending == ".nrrd" else "MetaImage"
            seeds.append(Seed(kind, files, tuple(files), f"a{ending}", "image", ("bytes", "header lines")))
            for one in Path(place).iterdir():
                one.unlink()
    return seeds
