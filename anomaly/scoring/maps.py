"""Anomaly maps as files: NIfTI on the grid of the source image, PNG with the image beside the overlay."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anomaly.images import Image, write_volume
from anomaly.images.prepared import Prepared
from anomaly.pictures.heatmaps import save_overlay
from anomaly.scoring.ensemble import Verdict

FOLDER = "heatmaps"


def write_heatmaps(
    folder: Path,
    row: Mapping[str, Any],
    image: Image,
    prepared: Sequence[Prepared],
    verdict: Verdict,
    kinds: Sequence[str],
) -> list[str]:
    """Write the map of one image in the kinds asked for and name the files, relative to the folder.

    The maps of several runs are each brought onto the source grid, then averaged.
    """
    wanted = {"nifti", "png"} if "auto" in kinds and image.ndim == 3 else set(kinds)
    wanted = {"png" if kind == "auto" else kind for kind in wanted} - {"none"}
    if not wanted:
        return []
    z = np.mean([one.restore(map_) for one, map_ in zip(prepared, verdict.maps, strict=True)], axis=0)
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    names = []
    if "nifti" in wanted:
        names.append(f"{FOLDER}/{row['id']}_anomaly.nii.gz")
        write_volume(folder / names[-1], z, image.frame)
    if "png" in wanted:
        names.append(f"{FOLDER}/{row['id']}.png")
        flag = "   FLAGGED" if row["flagged"] else ""
        footer = f"value {row['value']:.4g}   z {row['z']:.2f}   p {row['p_value']:.3f}{flag}"
        save_overlay(folder / names[-1], image.pixels.mean(0), z, title=row["id"], footer=footer, affine=image.affine)
    return names
