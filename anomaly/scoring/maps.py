"""Anomaly maps as files: NIfTI and DICOM on the grid of the source, PNG with the image beside the overlay."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anomaly.images import Image, write_volume
from anomaly.images.dicom_captures import write_capture
from anomaly.images.dicom_maps import write_parametric_map
from anomaly.images.dicom_sources import Frame, sources
from anomaly.images.prepared import Prepared
from anomaly.pictures.heatmaps import HIGH, LOW, coloured, grey, save_overlay
from anomaly.scoring.ensemble import Verdict

FOLDER = "heatmaps"
DECIMALS = 3
"""Of numbers filed as DICOM, whose names follow from their bytes: sums differ in their last digits between machines."""
UNIT = "standard deviations of normal variation"


def write_heatmaps(
    folder: Path,
    row: Mapping[str, Any],
    image: Image,
    prepared: Sequence[Prepared],
    verdict: Verdict,
    kinds: Sequence[str],
    runs: Sequence[str] = (),
) -> list[str]:
    """Write the map of one image in the kinds asked for and name the files, relative to the folder.

    The maps of several runs are each brought onto the source grid, then averaged. `runs` are their identities, which
    stand in DICOM.
    """
    usual = {"nifti", "png"} if image.ndim == 3 else {"png"}
    wanted = {*kinds, *(usual if "auto" in kinds else ())} - {"auto", "none"}
    if not wanted:
        return []
    frames = sources(image) if "dicom" in wanted else []  # what refuses an image leaves no other file of it
    z = np.mean([one.restore(map_) for one, map_ in zip(prepared, verdict.maps, strict=True)], axis=0)
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    names = []
    if "nifti" in wanted:
        names.append(f"{FOLDER}/{row['id']}_anomaly.nii.gz")
        write_volume(folder / names[-1], z, image.frame)
    flag = "   FLAGGED" if row["flagged"] else ""
    footer = f"value {row['value']:.4g}   z {row['z']:.2f}   p {row['p_value']:.3f}{flag}"
    if frames:
        names += _write_dicom(folder, row["id"], image, z, frames, f"{footer}; weights {' '.join(runs) or 'unnamed'}")
    if "png" in wanted:
        names.append(f"{FOLDER}/{row['id']}.png")
        save_overlay(folder / names[-1], image.pixels.mean(0), z, title=row["id"], footer=footer, affine=image.affine)
    return names


def _write_dicom(
    folder: Path, name: str, image: Image, z: np.ndarray, frames: Sequence[Frame], says: str
) -> tuple[str, str]:
    """Write the map as numbers, and the image under it in colours: each a series of its own beside the source's."""
    numbers, colours = f"{FOLDER}/{name}_anomaly.dcm", f"{FOLDER}/{name}_overlay.dcm"
    says, z = " ".join(says.split()), np.round(z, DECIMALS) + 0.0  # and no -0
    write_parametric_map(
        folder / numbers, z, frames, label="z", unit=UNIT, says=f"{UNIT}; of the image: {says}", window=(LOW, HIGH)
    )
    drawn = coloured(grey(image.pixels.mean(0)), z)
    write_capture(folder / colours, drawn, frames, says=f"colour from {LOW:g} to {HIGH:g} {UNIT}; of the image: {says}")
    return numbers, colours
