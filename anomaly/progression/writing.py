"""Predicted maps as files that say of themselves that they were drawn, and a picture of each person."""

from pathlib import Path

import numpy as np

from anomaly.images.nifti import write_volume
from anomaly.images.pictures import write_grey, write_png
from anomaly.images.redrawn import write_redrawn
from anomaly.pictures import heatmaps
from anomaly.progression.forecasting import Forecast
from anomaly.progression.reading import Pair
from anomaly.runs.previews import EDGES, flat_pictures

MAPS, PICTURES = "maps", "pictures"
FOLLOW_UP, EVOLUTION = "_followup", "_evolution"


def write_maps(out: Path, name: str, pair: Pair, told: Forecast, says: str) -> list[str]:
    """Write the predicted map, in the values of the map's file, and its change in [-1, 1]; names from the folder.

    NIfTI on the grid of the map's file; of pictures PNG, in which the change is 0 at grey 128, -1 at 1 and 1 at 255.

    Args:
        out: gets `maps/`.
        name: id of the image.
        pair: of the map now.
        told: what is predicted.
        says: in the files' headers, that they were drawn.
    """
    low, high = pair.span
    stem, values = out / MAPS / f"{name}{FOLLOW_UP}", low + told.after * (high - low)
    after = write_redrawn(stem, pair.image, values[None].astype(np.float32), says)
    change = after.with_name(f"{name}{EVOLUTION}{after.name.removeprefix(stem.name)}")
    if after.suffix == ".png":
        write_grey(change, np.rint(128 + 127 * told.change).astype(np.uint8), says=f"{says}; 128 is no change")
    else:
        write_volume(change, told.change, pair.image.frame, says=says)
    return [f"{MAPS}/{each.name}" for each in (after, change)]


def write_picture(out: Path, name: str, pair: Pair, told: Forecast, footer: str) -> str:
    """Write image, map now, map predicted and change side by side, of volumes the slice that changes most."""
    shown = np.stack([_stretched(pair.seen), 2 * pair.before - 1, 2 * told.after - 1, told.change])
    if pair.image.ndim == 3:
        changes = np.abs(told.change).sum((0, 1))
        where = int(changes.argmax()) if changes.any() else shown.shape[-1] // 2
        shown = shown[..., where]
    flat = flat_pictures(shown[:, None], pair.image.ndim == 3)
    panels = [heatmaps.grey(one, EDGES) for one in flat]
    captions = ("image", "map now", "drawn: next visit", "drawn: change (grey: none)")
    path = out / PICTURES / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet = heatmaps.sheet([panels], [""], title=name, footer=footer, captions=captions, side=192, bar=False)
    write_png(path, sheet)
    return f"{PICTURES}/{name}.png"


def _stretched(image: np.ndarray) -> np.ndarray:
    low, high = (float(each) for each in np.percentile(image, (0.5, 99.5)))
    found: np.ndarray = ((image - low) * (2 / max(high - low, 1e-12)) - 1).clip(-1, 1)
    return found
