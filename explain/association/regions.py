"""The table of regions: where a group map is significant, how large, on which side, and how different."""

from typing import Any

import numpy as np
import pandas as pd
from nibabel.affines import apply_affine, voxel_sizes
from scipy import ndimage

from anomaly.images.image import located
from explain.association.groupmap import GroupMap
from explain.association.maps import Maps

COLUMNS = (
    *("region", "sign", "side", "peak_i", "peak_j", "peak_k", "peak_x", "peak_y", "peak_z", "peak_t", "p_corrected"),
    *("p_extent", "voxels", "size", "unit", "mean_difference", "auroc", "centroid_x", "centroid_y", "centroid_z"),
)


def regions(found: GroupMap, maps: Maps, alpha: float) -> pd.DataFrame:
    """A row for each connected group of voxels (by faces) of one sign with corrected p <= alpha, highest t first.

    `sign` is `more` where maps are higher with the outcome, else `less`. Peak in voxels (i, j, k from 0) and, like
    the centroid, in mm, RAS+ (empty where the files tell no geometry); `size` in mm3, mm2 or voxels, as `unit` says;
    `mean_difference` and `auroc` are means over the region. `side` is the patient's by the centroid's x (midline
    within a voxel of 0), or for a picture without geometry the half of the picture; empty for such a volume.
    """
    t, significant = maps.volume(found.t), maps.volume(found.p, 1.0) <= alpha
    fields = {"p_corrected": maps.volume(found.p, 1.0)}
    fields |= {"mean_difference": maps.volume(found.difference), "auroc": maps.volume(found.auroc)}
    if found.p_extent is not None:
        fields["p_extent"] = maps.volume(found.p_extent, 1.0)
    rows = []
    for sign, side in (("more", t > 0), ("less", t < 0)):
        labels, count = ndimage.label(significant & side)
        rows += [_region(labels == number, sign, t, fields, maps) for number in range(1, count + 1)]
    rows.sort(key=lambda row: -abs(row["peak_t"]))
    return pd.DataFrame([{"region": number} | row for number, row in enumerate(rows, start=1)], columns=list(COLUMNS))


def peak(found: GroupMap, maps: Maps) -> dict[str, Any]:
    """The voxel with the largest t, significant or not: i, j (k), t, corrected p, and mm where known."""
    best = int(np.abs(found.t).argmax())
    index = np.argwhere(maps.mask)[best]
    place = {"voxel": [int(i) for i in index], "t": float(found.t[best]), "p_corrected": float(found.p[best])}
    return place | ({"mm": [round(float(x), 2) for x in _mm(index, maps)]} if located(maps.affine) else {})


def _region(where: np.ndarray, sign: str, t: np.ndarray, fields: dict[str, np.ndarray], maps: Maps) -> dict[str, Any]:
    top = np.unravel_index(int(np.where(where, np.abs(t), -1).argmax()), t.shape)
    centre, voxels = np.argwhere(where).mean(axis=0), int(where.sum())
    row: dict[str, Any] = {"sign": sign, "side": _side(centre, maps), "peak_t": float(t[top]), "voxels": voxels}
    row |= {f"peak_{axis}": int(index) for axis, index in zip("ijk", top, strict=False)}
    row |= {"size": float(voxels), "unit": "voxels"}
    if located(maps.affine):
        row["size"] = float(voxels * np.prod(voxel_sizes(maps.affine)[: t.ndim]))
        row["unit"] = f"mm{t.ndim}"
        for name, point in (("peak", np.array(top)), ("centroid", centre)):
            row |= {f"{name}_{axis}": float(x) for axis, x in zip("xyz", _mm(point, maps), strict=True)}
    for name in ("p_corrected", "p_extent"):
        if name in fields:
            row[name] = float(fields[name][top])
    return row | {name: float(fields[name][where].mean()) for name in ("mean_difference", "auroc")}


def _mm(index: np.ndarray, maps: Maps) -> np.ndarray:
    return np.asarray(apply_affine(maps.affine, [*index, *[0] * (3 - len(index))]))


def _side(centre: np.ndarray, maps: Maps) -> str | None:
    if located(maps.affine):
        x, tolerance = _mm(centre, maps)[0], np.abs(maps.affine[0, :3]).max()
        return "midline" if abs(x) <= tolerance else "right" if x > 0 else "left"
    if len(centre) == 3:
        return None
    off = centre[1] - (maps.mask.shape[1] - 1) / 2
    return "middle of the picture" if abs(off) < 1 else f"{'right' if off > 0 else 'left'} half of the picture"
