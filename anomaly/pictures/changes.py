"""Draws two visits of one person beside each other, and what changed over the second."""

from pathlib import Path

import numpy as np

from anomaly.images.pictures import write_png
from anomaly.pictures.pages import STRIP, Scale, View, laid_out, legend, views, window

FADED, END = 2.0, 10.0
"""Below so many units of noise nothing is coloured; at so many the colours end, in all pictures alike."""
SIGNED = ((33, 80, 200), (110, 170, 245), (235, 235, 235), (250, 150, 90), (200, 30, 30))
DENSEST = 0.85
PANEL = 192
UNIT = "units of noise: red brighter, blue darker than before"


def save_change(
    path: Path,
    before: np.ndarray,
    after: np.ndarray,
    z: np.ndarray,
    *,
    title: str = "",
    footer: str = "",
    affine: np.ndarray | None = None,
) -> None:
    """Write a PNG of both visits and the change over the second; volumes in the slices through its highest peak.

    Args:
        path: of the picture.
        before, after: (*space), the second in the intensities of the first; both are shown on one scale of grey.
        z: the change in units of noise, (*space).
        title, footer: lines above and below.
        affine: as `anomaly.pictures.heatmaps.overlay` takes it.
    """
    greys, scale = window(before), Scale(-END, END, SIGNED, UNIT)
    seen = views(np.abs(z), affine, least=FADED, smallest=PANEL)
    rows = [_row(before, after, z, view, greys, scale) for view in seen]
    width = max(STRIP, sum(panel.shape[1] for panel in rows[0]))
    captions = ["first visit", "second visit", "change"]
    write_png(path, laid_out(rows, title=title, captions=captions, footer=footer, key=_key(width, scale)))


def _row(
    before: np.ndarray, after: np.ndarray, z: np.ndarray, view: View, greys: tuple[float, float], scale: Scale
) -> list[np.ndarray]:
    first, second = (view.grey(each, greys) for each in (before, after))
    return [view.marked(each) for each in (first, second, _laid(second, view.smooth(z), scale))]


def _laid(shown: np.ndarray, values: np.ndarray, scale: Scale) -> np.ndarray:
    """Colours over grey, none below `FADED`."""
    share = np.clip((np.abs(values) - FADED) / (END - FADED), 0, 1)
    alpha = DENSEST * np.sqrt(share)[..., None]
    return np.rint((1 - alpha) * shown[..., None] + alpha * scale.colours(values)).astype(np.uint8)


def _key(width: int, scale: Scale) -> np.ndarray:
    shades, values = np.full((STRIP, width), 128, np.uint8), np.linspace(-END, END, width)
    strip = _laid(shades, values[None].repeat(STRIP, axis=0), scale)
    return legend(width, scale.unit, strip, [f"-{END:g}", "0", f"+{END:g}"])
