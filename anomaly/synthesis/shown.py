"""Label maps in colours beside images, as pictures that a person can look at."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from anomaly.images.pictures import write_png
from anomaly.painters.mapped import NOWHERE
from anomaly.pictures import heatmaps
from anomaly.runs.previews import EDGES, flat_pictures

# Okabe and Ito's colours, which readers who see no red or no green tell apart; then again, darker.
_COLOURS = (
    *((0, 0, 0), (230, 220, 180), (86, 180, 233), (204, 121, 167), (150, 60, 50), (240, 228, 66)),
    *((0, 158, 115), (213, 94, 0), (0, 114, 178), (230, 159, 0)),
)


def coloured(places: np.ndarray) -> np.ndarray:
    """Places (...) of classes as colours (..., 3) uint8: the background black, outside a mask dark grey."""
    count, table = len(_COLOURS) - 1, [_COLOURS[0]]
    for place in range(NOWHERE - 1):
        red, green, blue = (channel >> place // count for channel in _COLOURS[1 + place % count])
        table.append((red, green, blue))
    return np.array([*table, (32, 32, 32)], dtype=np.uint8)[places]


def write_sheet(
    path: Path,
    places: np.ndarray,
    rows: Mapping[str, np.ndarray],
    *,
    turned: bool,
    title: str = "",
    footer: str = "",
    captions: Sequence[str] = (),
) -> None:
    """Write a page: label maps in colours, and below them rows of images of the same maps; as PNG.

    Args:
        path: of the file.
        places: (n, *space) whole numbers.
        rows: images (n, C, *space) in [-1, 1] by the name of their row.
        turned: they are slices of volumes, to be turned as a volume's are.
        title, footer: lines above and below.
        captions: of the columns.
    """
    turned = turned or places.ndim == 4
    flat = flat_pictures(places[:, None].astype(np.float64), turned)
    panels = [[coloured(np.rint(one).astype(np.int64)) for one in flat]]
    panels += [[heatmaps.grey(one, EDGES) for one in flat_pictures(each, turned)] for each in rows.values()]
    names = ["labels", *rows]
    write_png(
        path, heatmaps.sheet(panels, names, title=title, footer=footer, captions=captions, bar=False)
    )  # fmt: skip
