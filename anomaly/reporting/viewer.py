"""Interactive 3D viewers of heatmaps, drawn by nilearn where it is installed, that work without a network."""

import importlib.util
import math
import re
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from anomaly.reporting.gallery import COLOUR_FROM, COLOUR_TO, background, heatmaps, is_volume, read_volume

SHOWN = 3
MISSING = 'Install nilearn for viewers to turn and slice these volumes: pip install "anomaly-explain[neuro]".'
# Voxels an axis: three viewers of this size add one to three megabytes to a report, whatever the scanner.
_FINEST = 64


@dataclass(frozen=True)
class Viewer:
    """A web page that shows one volume, to be set inside a frame of the report."""

    id: str
    page: str


def viewers(rows: pd.DataFrame, folder: Path) -> tuple[list[Viewer], str | None]:
    """Viewers of the first three rows with a 3D heatmap; and, where nilearn is absent, how to get them."""
    volumes = [(row, file) for _, row in rows.iterrows() for file in heatmaps(row, folder) if is_volume(file)]
    found = [(row, file, *read_volume(file)) for row, file in volumes[:SHOWN]]
    solid = [each for each in found if each[2].shape[2] > 1]
    if not solid:
        return [], None
    if importlib.util.find_spec("nilearn") is None:
        return [], MISSING
    return [_view(row, values, affine) for row, _, values, affine in solid], None


def coarser(values: np.ndarray, affine: np.ndarray, *, peaks: bool) -> tuple[np.ndarray, np.ndarray]:
    """A volume (i, j, k) with at most 64 voxels an axis, and its affine (4, 4).

    Each new voxel is the maximum of the old ones it covers (`peaks`, so that no small finding is lost) or
    their mean.
    """
    step = math.ceil(max(values.shape) / _FINEST)
    padding = [(0, -length % step) for length in values.shape]
    blocks = np.pad(values, padding, mode="edge")
    shape = [part for length in blocks.shape for part in (length // step, step)]
    reduce = np.max if peaks else np.mean
    moved = np.array(affine, dtype=float)
    moved[:3, 3] += affine[:3, :3] @ np.full(3, (step - 1) / 2)
    moved[:3, :3] *= step
    return reduce(blocks.reshape(shape), axis=(1, 3, 5)), moved


def _view(row: pd.Series, values: np.ndarray, affine: np.ndarray) -> Viewer:
    import warnings

    from nilearn import plotting

    warnings.filterwarnings("ignore", category=UserWarning, module=__name__)  # maps that nowhere pass the threshold
    under = background(row.get("path"), values)
    small, moved = coarser(values, affine, peaks=True)
    below = False if under is None else nib.Nifti1Image(coarser(under, affine, peaks=False)[0], moved)
    view = plotting.view_img(
        nib.Nifti1Image(small, moved),
        bg_img=below,
        threshold=None if under is None else COLOUR_FROM,
        vmin=0,
        vmax=COLOUR_TO,
        cmap="inferno",
        symmetric_cmap=False,
        black_bg=False,
        resampling_interpolation="nearest",
        opacity=0.85,
    )
    # The page names an icon on the network, the only thing in it that does.
    page = re.sub(r"<link[^>]*>", "", view.get_standalone())
    return Viewer(str(row["id"]), page)
