"""The picture of a check: a few images, their real maps, and below these the maps that should be other ones."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from anomaly.images.pictures import write_png
from anomaly.pictures.pages import Scale, legend, page, views, window
from explain.checking.findings import Shown
from explain.pictures.pictures import SIDE, SIGNED, limit_of

LONGEST = 28
"""Letters of a label; of longer names of layers the end is kept."""


def draw(shown: Shown, path: Path, *, title: str, footer: str) -> None:
    """Write the picture of a check; of volumes the axial slice through the peak of the real map is shown.

    Args:
        shown: images and maps.
        path: of the PNG file.
        title, footer: above and below.
    """
    images = _flat(shown.images, shown.turned)
    maps = {name: _flat(each, shown.turned) for name, each in shown.maps.items()}
    seen = [views(np.abs(each), None, smallest=SIDE, largest=SIDE)[0] for each in next(iter(maps.values()))]
    greys = window(np.concatenate([image.ravel() for image in images]))
    panels = [[view.grey(image, greys) for view, image in zip(seen, images, strict=True)]]
    for row in maps.values():
        end = limit_of(row) if shown.limit is None else shown.limit
        scale = Scale(-end, end, SIGNED, shown.unit)
        panels.append([scale.colours(view.smooth(each)) for view, each in zip(seen, row, strict=True)])
    if any(view.label for view in seen):
        panels.append([legend(max(view.size[0], SIDE // 2), view.label) for view in seen])
    end = shown.limit or 1.0
    key = Scale(-end, end, SIGNED, shown.unit).bar(2 * SIDE)
    labels = ["original", *map(_short, maps)]
    write_png(path, page(panels, title=title, labels=labels, footer=footer, key=key))


def _flat(images: np.ndarray, turned: bool) -> Sequence[np.ndarray]:
    """Channels averaged; slices of volumes (n, i, j) as a reader holds them: front or head up."""
    mean = images.mean(1)
    return list(mean.swapaxes(1, 2)[:, ::-1, ::-1] if turned else mean)


def _short(label: str) -> str:
    number, colon, name = label.partition(": ")
    return label if len(label) <= LONGEST or not colon else f"{number}: ...{name[len(label) - LONGEST + 3 :]}"
