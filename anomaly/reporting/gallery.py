"""Chooses the images a report shows and turns their heatmaps into small pictures it can carry inside."""

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from PIL import Image as Picture

from anomaly.pictures import heatmaps as heat

SHOWN = 8
# Standard deviations of normal variation: below the first nothing is coloured, at the second the scale ends.
COLOUR_FROM, COLOUR_TO = heat.LOW, heat.HIGH
_WIDEST = (1000, 750)
_VOLUMES = (".nii", ".nii.gz")


def extremes(scores: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of the most abnormal images, highest first, and of the least, lowest first; none in both."""
    ordered = scores.sort_values("value", ascending=False, kind="stable")
    most = ordered.head(min(SHOWN, (len(ordered) + 1) // 2))
    return most, ordered.iloc[len(most) :].tail(SHOWN).iloc[::-1]


def heatmaps(row: pd.Series, folder: Path) -> list[Path]:
    """The heatmap files of a row of scores that exist, but DICOM; the column may list several, parted by `;`."""
    listed = row.get("heatmap")
    names = [] if not isinstance(listed, str) else [name.strip() for name in listed.split(";")]
    return [folder / name for name in names if name and not name.endswith(".dcm") and (folder / name).is_file()]


def is_volume(path: Path) -> bool:
    """Whether a heatmap is a NIfTI file, by its name."""
    return path.name.lower().endswith(_VOLUMES)


def read_volume(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Values (i, j, k), further axes laid behind the third, and the affine (4, 4) of a NIfTI file."""
    image = nib.Nifti1Image.from_filename(path)
    values = np.nan_to_num(np.asarray(image.dataobj, dtype=np.float32))
    return values.reshape(*values.shape[:2], -1), np.asarray(image.affine)


def background(source: Any, like: np.ndarray) -> np.ndarray | None:
    """The scored image under a heatmap, where it is a NIfTI file of the map's shape."""
    if not isinstance(source, str) or not is_volume(Path(source)) or not Path(source).is_file():
        return None
    try:
        values, _ = read_volume(Path(source))
    except (OSError, ValueError, EOFError, nib.filebasedimages.ImageFileError):
        return None
    return values if values.shape == like.shape else None


def picture(row: pd.Series, folder: Path) -> str | None:
    """A row's heatmap as a data URI of at most 1000 x 750 pixels: its picture, else a slice of its volume."""
    for file in sorted(heatmaps(row, folder), key=is_volume):
        try:
            return as_uri(_drawn(file, row.get("path")) if is_volume(file) else file.read_bytes())
        except (OSError, ValueError, EOFError, nib.filebasedimages.ImageFileError):
            continue  # a damaged picture must not cost the report; the next file, or the words, stand in
    return None


def explained(table: pd.DataFrame, folder: Path, thresholds: Mapping[str, float]) -> list[dict[str, Any]]:
    """Cards of explanations: those that change most and least, and those after which the case is still taken for one.

    The last by the judge where there is one, else by the target, each above its threshold before and after, the
    firmest first. Of attributions, which change nothing, those of the first images.
    """
    if "change" not in table:
        return [_group("The first", table.head(SHOWN), table, folder)]
    ordered = table.sort_values("change", ascending=False, kind="stable")
    most = ordered.head(min(SHOWN, (len(ordered) + 1) // 2))
    least = ordered.iloc[len(most) :].tail(SHOWN // 2).iloc[::-1]
    parts = {"Changed most": most, "Changed least": least}
    who = next((name for name in ("judge", "target") if name in thresholds and f"{name}_after" in table), None)
    if who is not None:
        still = table[table[[f"{who}_before", f"{who}_after"]].min(axis=1) > thresholds[who]]
        firmest = still.sort_values(f"{who}_after", ascending=False, kind="stable").head(SHOWN // 2)
        parts[f"Still taken for cases by the {who}"] = firmest
    return [_group(title, rows, table, folder) for title, rows in parts.items()]


def _group(title: str, rows: pd.DataFrame, table: pd.DataFrame, folder: Path) -> dict[str, Any]:
    cards = [_card(row, folder) for _, row in rows.iterrows()]
    return {"title": title, "about": None, "of": len(table), "cards": cards}


def _card(row: pd.Series, folder: Path) -> dict[str, Any]:
    figures = [(name, row[name]) for name in row.index if isinstance(row[name], int | float)]
    told = ", ".join(f"{str(name).replace('_', ' ')} {value:.3g}" for name, value in figures)
    files = str(row["files"]).split(";") if isinstance(row["files"], str) else []
    drawn = [folder / name for name in files if name == f"maps/{row['id']}.png"]
    try:
        shown = as_uri(drawn[0].read_bytes(), widest=(1150, 640)) if drawn else None
    except OSError:  # it is gone or damaged, which must not cost the report
        shown = None
    alt = f"Image {row['id']} with what explains it"
    return {"id": row["id"], "told": told, "picture": shown, "alt": alt, "tags": [], "flagged": False, "unlike": None}


def as_uri(encoded: bytes, *, widest: tuple[int, int] = _WIDEST, kind: str = "JPEG") -> str:
    """An encoded picture, made smaller where it is larger than `widest` (width, height), as a data URI."""
    buffer = io.BytesIO()
    with Picture.open(io.BytesIO(encoded)) as opened:
        smaller = opened.convert("RGBA")
    smaller.thumbnail(widest, Picture.Resampling.LANCZOS)
    flat = Picture.new("RGB", smaller.size, "white")
    flat.paste(smaller, mask=smaller.getchannel("A"))
    flat.save(buffer, kind, quality=82, optimize=True)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _drawn(file: Path, source: Any) -> bytes:
    """A map as scoring draws it, over its image where that is at hand, with the same colours."""
    values, affine = read_volume(file)
    under = background(source, values)
    buffer = io.BytesIO()
    heat.overlay(np.zeros_like(values) if under is None else under, values, affine=affine).save(buffer, "PNG")
    return buffer.getvalue()
